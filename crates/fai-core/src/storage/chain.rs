//! Reading records through their bases: a delta is decoded against another chunk, which may be a delta itself.
//!
//! Where records lie is asked for, so that the same way serves an index, a store over another one, and packs whose
//! index is being made anew.

use super::error::StorageError;
use super::reader::{Location, PackSet};
use super::recent::Recent;
use std::sync::Arc;

use crate::codec::{Codec, Decoder};
use crate::object::{Hash, Kind};

/// Most deltas that writers let stand between a chunk and one that stands alone.
pub const MAX_CHAIN: usize = 4;

/// Most that readers follow. More than [`MAX_CHAIN`], as two writers may lengthen a chain at both ends without knowing
/// of each other; few enough that a loop is found at once.
pub const LONGEST_CHAIN: usize = 32;

/// Memory and decoder of one reading thread.
pub struct Reading {
    decoder: Decoder,
    payload: Vec<u8>,
    raw: Vec<u8>,
    base: Vec<u8>,
}

impl Reading {
    /// Allocates a decoder.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> Result<Self, StorageError> {
        Ok(Self {
            decoder: Decoder::new()?,
            payload: Vec::new(),
            raw: Vec::new(),
            base: Vec::new(),
        })
    }

    /// The raw bytes of the record read last.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Reads and decodes the record at `location` in `packs`, and checks it against its hash. `locate` says where
    /// bases lie. Returns how many deltas were decoded: 0 for a record that stands alone.
    ///
    /// # Errors
    /// `Damaged` when anything on the way is not what the index says or a base is missing, naming the record at fault;
    /// the errors of `locate`. Nothing in [`Reading::raw`] may be used then.
    pub fn read<'p, E: From<StorageError>>(
        &mut self,
        packs: &'p PackSet,
        location: Location,
        locate: impl FnMut(&Hash) -> Result<Option<(&'p PackSet, Location)>, E>,
    ) -> Result<usize, E> {
        self.read_beside(packs, location, None, locate)
    }

    /// The same with chunks at hand: those in `recent` are not read again, and the record joins them with all that it
    /// stands on.
    ///
    /// # Errors
    /// As [`Reading::read`].
    pub fn read_beside<'p, E: From<StorageError>>(
        &mut self,
        packs: &'p PackSet,
        location: Location,
        recent: Option<&Recent>,
        mut locate: impl FnMut(&Hash) -> Result<Option<(&'p PackSet, Location)>, E>,
    ) -> Result<usize, E> {
        let chain = chain(packs, location, recent, &mut locate)?;
        if let Err(error) = self.decode(&chain, recent, false) {
            // The same again, looking at every link: which record is damaged?
            self.decode(&chain, None, true)?;
            return Err(error.into());
        }
        Ok(chain.links.len() - usize::from(chain.below.is_none()))
    }

    /// Decodes a chain from its root. Only the last record is checked unless `each`: when it is what its hash says, so
    /// was everything below. What joins `recent` is checked, too.
    fn decode(&mut self, chain: &Chain<'_>, recent: Option<&Recent>, each: bool) -> Result<(), StorageError> {
        if let Some(below) = &chain.below {
            self.raw.clear();
            self.raw.extend_from_slice(below);
        }
        for (links, (packs, location)) in chain.links.iter().enumerate().rev() {
            std::mem::swap(&mut self.raw, &mut self.base);
            let Self {
                decoder,
                payload,
                raw,
                base,
            } = self;
            packs.decode(location, base, decoder, payload, raw)?;
            if each || links == 0 || recent.is_some() {
                packs.check(location, raw)?;
            }
            if let Some(recent) = recent {
                recent.put(&location.header.hash, raw);
            }
        }
        Ok(())
    }
}

/// What is to be decoded for a record.
struct Chain<'p> {
    /// The record and the bases below it.
    links: Vec<(&'p PackSet, Location)>,
    /// The base of the last of them, unless that stands alone.
    below: Option<Arc<[u8]>>,
}

/// The record at `location` and the bases below it, down to one that stands alone or is at hand.
fn chain<'p, E: From<StorageError>>(
    packs: &'p PackSet,
    location: Location,
    recent: Option<&Recent>,
    locate: &mut impl FnMut(&Hash) -> Result<Option<(&'p PackSet, Location)>, E>,
) -> Result<Chain<'p>, E> {
    let mut links = vec![(packs, location)];
    let (mut packs, mut last) = (packs, location);
    while let (Codec::Delta, Some(base)) = (last.header.codec, last.header.base) {
        let below = recent.and_then(|recent| recent.get(&base));
        if below.is_some() {
            return Ok(Chain { links, below });
        }
        if links.len() > LONGEST_CHAIN {
            let reason = format!("it leads to more than {LONGEST_CHAIN} bases, or back to itself");
            return Err(packs.damaged(&location, reason).into());
        }
        let found = locate(&base)?.filter(|(_, found)| found.header.kind == Kind::Chunk);
        let Some((holder, found)) = found else {
            let reason = format!("its base, chunk {base}, is not stored");
            return Err(packs.damaged(&last, reason).into());
        };
        links.push((holder, found));
        (packs, last) = (holder, found);
    }
    Ok(Chain { links, below: None })
}
