//! A stored file whose chunks may serve as bases, and which of them stands where a new chunk does.

use std::collections::HashMap;

use super::{Wanted, by_name, matching};
use crate::database::TensorRecord;
use crate::object::FileId;
use crate::repo::Repository;
use crate::repo::content::FileReader;
use crate::storage::BaseHint;
use crate::tensor::Element;

/// A stored file with its tensors.
pub(super) struct Offer<'a> {
    pub(super) reader: FileReader<'a>,
    tensors: HashMap<String, TensorRecord>,
    /// What its chunks stand on is closer than they are.
    pub roots: bool,
}

/// A tensor of the new file and the one that it is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    start: u64,
    end: u64,
    element: Element,
    base_start: u64,
    base_element: Element,
    /// Which of the offers.
    offer: usize,
}

/// The bases of one file's chunks.
#[derive(Default)]
pub(in crate::repo) struct FileBases<'a> {
    offers: Vec<Offer<'a>>,
    /// By their starts; they do not overlap.
    pairs: Vec<Pair>,
}

impl<'a> Offer<'a> {
    /// A file that is gone or damaged offers nothing.
    pub fn open(repository: &'a Repository, file: FileId) -> Option<Self> {
        let reader = repository.open_file(file).ok()?;
        let tensors = by_name(&repository.tensors_of(&reader).ok()?);
        Some(Self {
            reader,
            tensors,
            roots: false,
        })
    }

    /// The tensor that `wanted` was made from.
    fn pair(&self, wanted: &Wanted, offer: usize) -> Option<Pair> {
        let base = matching(&self.tensors, &wanted.tensor)?;
        let base_element = if base.dtype == wanted.tensor.dtype {
            wanted.element
        } else {
            Element::Bf16
        };
        Some(Pair {
            start: wanted.tensor.start,
            end: wanted.tensor.end,
            element: wanted.element,
            base_start: base.start,
            base_element,
            offer,
        })
    }
}

impl Pair {
    /// The byte of the base's file that stands where `offset` does in the new one.
    fn counterpart(&self, offset: u64) -> Option<u64> {
        let (width, base_width) = (self.element.width() as u64, self.base_element.width() as u64);
        match offset.checked_sub(self.start) {
            Some(into) => self.base_start.checked_add(into / width * base_width),
            // A chunk that begins before its first tensor: what lies there is no element.
            None if width == base_width => self.base_start.checked_sub(self.start - offset),
            None => None,
        }
    }
}

impl<'a> FileBases<'a> {
    /// Offers, the best first.
    pub(super) fn new(offers: Vec<Offer<'a>>) -> Self {
        Self {
            offers,
            pairs: Vec::new(),
        }
    }

    /// Takes the base of a tensor from the first offer that has one. Tensors come in the order of the file.
    pub(super) fn take(&mut self, wanted: &Wanted) -> bool {
        let mut offers = self.offers.iter().enumerate();
        let found = offers.find_map(|(index, offer)| offer.pair(wanted, index));
        self.pairs.extend(found);
        found.is_some()
    }

    /// The same from another file, which joins the offers.
    pub(super) fn take_from(&mut self, repository: &'a Repository, file: FileId, wanted: &Wanted) {
        if let Some(offer) = Offer::open(repository, file) {
            self.pairs.extend(offer.pair(wanted, self.offers.len()));
            self.offers.push(offer);
        }
    }

    /// Whether the chunks that the offers' own chunks stand on are used instead.
    pub(super) fn set_roots(&mut self, roots: bool) {
        self.offers.iter_mut().for_each(|offer| offer.roots = roots);
    }

    pub(super) fn into_offers(self) -> Vec<Offer<'a>> {
        self.offers
    }

    /// The chunk that the one at `offset`, of `len` bytes, probably resembles.
    pub fn hint(&self, repository: &Repository, offset: u64, len: usize, element: Element) -> Option<BaseHint> {
        let pair = self.pair_of(offset, len)?;
        (element == pair.element).then(|| self.hint_of(repository, pair, offset))?
    }

    /// The same for a chunk that is stored, with the element that lies in it.
    pub(super) fn stored_hint(&self, repository: &Repository, offset: u64, len: usize) -> Option<(Element, BaseHint)> {
        let pair = self.pair_of(offset, len)?;
        Some((pair.element, self.hint_of(repository, pair, offset)?))
    }

    /// The pair that holds the byte at `offset`, or else the first one of the next `len` bytes.
    fn pair_of(&self, offset: u64, len: usize) -> Option<&Pair> {
        let after = self.pairs.partition_point(|pair| pair.start <= offset);
        let holding = after.checked_sub(1).and_then(|index| self.pairs.get(index));
        match holding.filter(|pair| offset < pair.end) {
            Some(pair) => Some(pair),
            None => self.pairs.get(after).filter(|pair| pair.start < offset + len as u64),
        }
    }

    fn hint_of(&self, repository: &Repository, pair: &Pair, offset: u64) -> Option<BaseHint> {
        let offer = self.offers.get(pair.offer)?;
        let counterpart = pair.counterpart(offset)?;
        let (start, extent) = offer.reader.extent_at(counterpart).ok()?;
        let width = pair.base_element.width() as u64;
        let into = counterpart - start;
        let chunk = if offer.roots {
            repository.store().root_of(&extent.hash)?
        } else {
            extent.hash
        };
        (into.is_multiple_of(width)).then_some(BaseHint {
            chunk,
            element: pair.base_element,
            first: u32::try_from(into / width).ok()?,
        })
    }
}
