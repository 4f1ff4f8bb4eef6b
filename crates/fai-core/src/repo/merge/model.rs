//! Model files merged tensor by tensor: which tensor of the result comes from where. The arithmetic is in `tensor/combine`.
//!
//! The result is never in memory: it is a source of bytes that reads from the versions as it is read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;

use super::Sides;
use super::choice::Choice;
use crate::object::{FileId, RepoPath};
use crate::repo::same_bytes::{Content, same};
use crate::repo::{Error, Repository};
use crate::tensor::{
    DType, Format, Layout, Plain, Prepared, ReadAt, Recipe, Survey, Tensor, Versions, can_combine, examine,
    safetensors_header, whole_metadata,
};

/// Bytes of each version that are worked on at a time: so few that memory for them is at hand.
const PIECE: u64 = 64 << 10;

/// A version of a model.
pub(super) struct Version<'a> {
    layout: Layout,
    /// Where tensors are in the layout's table.
    places: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
    content: Content<'a>,
}

impl<'a> Version<'a> {
    /// Opens a file; `None` when tensors cannot be taken out of it and put together again.
    pub fn open(repository: &'a Repository, file: FileId, path: &RepoPath) -> Result<Option<Self>, Error> {
        let content = repository.stored_content(file, path)?;
        let failed = Error::io("read", path.as_str().as_ref());
        let Ok(Some(layout)) = examine(content.bytes()).map_err(failed)? else {
            return Ok(None);
        };
        if layout.format != Format::Safetensors {
            return Ok(None);
        }
        // The layout keeps short entries alone.
        let Ok(metadata) = whole_metadata(content.bytes()) else {
            return Ok(None);
        };
        let names = layout.tensors.iter().map(|tensor| tensor.name.clone());
        Ok(Some(Self {
            places: names.zip(0..).collect(),
            layout,
            metadata,
            content,
        }))
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.layout.tensors.get(*self.places.get(name)?)
    }
}

/// Which version a tensor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Ours,
    Theirs,
    /// Both, by the recipe.
    Both,
}

/// What a merge of models came to.
pub(super) struct MergedModel<'a> {
    /// The result, in which ours stands wherever there is a conflict.
    pub bytes: Composed<'a>,
    /// Tensors, and entries of the header, that both sides changed differently, and why they could not be combined.
    pub conflicts: Vec<String>,
}

/// Merges three versions. Without a base, everything that is not the same on both sides is a conflict.
pub(super) fn merge<'a>(
    sides: &'a Sides<Option<Version<'a>>>,
    choice: Option<Choice>,
) -> Result<Option<MergedModel<'a>>, Error> {
    let (Some(ours), Some(theirs)) = (&sides.ours, &sides.theirs) else {
        return Ok(None);
    };
    let base = sides.base.as_ref();
    let mut merge = Merge {
        base,
        ours,
        theirs,
        choice,
        conflicts: Vec::new(),
    };
    let metadata = merge.metadata();
    let chosen = merge.tensors()?;
    let conflicts = std::mem::take(&mut merge.conflicts);
    let bytes = merge.compose(&chosen, &metadata)?;
    Ok(bytes.map(|bytes| MergedModel { bytes, conflicts }))
}

struct Merge<'a> {
    base: Option<&'a Version<'a>>,
    ours: &'a Version<'a>,
    theirs: &'a Version<'a>,
    choice: Option<Choice>,
    conflicts: Vec<String>,
}

impl<'a> Merge<'a> {
    /// The header's descriptive entries, key by key.
    fn metadata(&mut self) -> BTreeMap<String, String> {
        let empty = BTreeMap::new();
        let base = self.base.map_or(&empty, |base| &base.metadata);
        let (ours, theirs) = (&self.ours.metadata, &self.theirs.metadata);
        let mut merged = BTreeMap::new();
        let keys: BTreeSet<&String> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
        for key in keys {
            let (before, one, other) = (base.get(key), ours.get(key), theirs.get(key));
            let value = match (one == before, other == before || one == other) {
                (_, true) => one,
                (true, false) => other,
                (false, false) => match self.choice {
                    Some(Choice::Theirs) => other,
                    Some(_) => one,
                    None => {
                        self.conflicts.push(format!("__metadata__.{key}"));
                        one
                    }
                },
            };
            merged.extend(value.map(|value| (key.clone(), value.clone())));
        }
        merged
    }

    /// The tensors of the result, in the order of ours, and behind them those that only theirs has.
    fn tensors(&mut self) -> Result<Vec<(&'a Tensor, Origin)>, Error> {
        let (base, ours, theirs) = (self.base, self.ours, self.theirs);
        let base = |name: &str| base.and_then(|base| base.tensor(name));
        let mut chosen = Vec::new();
        for tensor in &ours.layout.tensors {
            let before = base(&tensor.name);
            let other = theirs.tensor(&tensor.name);
            let unchanged = self.is_of_base(before, tensor, self.ours)?;
            match other {
                // Removed by them.
                None if unchanged => {}
                None => match before {
                    None => chosen.push((tensor, Origin::Ours)),
                    Some(_) => match self.choice {
                        Some(Choice::Theirs) => {}
                        Some(_) => chosen.push((tensor, Origin::Ours)),
                        None => {
                            self.conflict(&tensor.name, "changed here and removed there");
                            chosen.push((tensor, Origin::Ours));
                        }
                    },
                },
                Some(other) if unchanged => chosen.push((other, Origin::Theirs)),
                Some(other) => {
                    let equal = same_tensor(tensor, &self.ours.content, other, &self.theirs.content)?;
                    if equal || self.is_of_base(before, other, self.theirs)? {
                        chosen.push((tensor, Origin::Ours));
                    } else {
                        chosen.push(self.both_changed(before, tensor, other));
                    }
                }
            }
        }
        for tensor in &theirs.layout.tensors {
            if ours.tensor(&tensor.name).is_some() {
                continue;
            }
            let removed = match base(&tensor.name).zip(self.base) {
                Some((before, version)) => {
                    if same_tensor(before, &version.content, tensor, &self.theirs.content)? {
                        continue;
                    }
                    true
                }
                None => false,
            };
            match self.choice {
                _ if !removed => chosen.push((tensor, Origin::Theirs)),
                Some(Choice::Theirs) => chosen.push((tensor, Origin::Theirs)),
                Some(_) => {}
                None => self.conflict(&tensor.name, "removed here and changed there"),
            }
        }
        Ok(chosen)
    }

    /// True when a tensor is what the base had under its name.
    fn is_of_base(&self, before: Option<&Tensor>, tensor: &Tensor, of: &Version<'_>) -> Result<bool, Error> {
        match before.zip(self.base) {
            Some((before, base)) => same_tensor(before, &base.content, tensor, &of.content),
            None => Ok(false),
        }
    }

    /// A tensor that both sides changed, each in its way.
    fn both_changed(&mut self, before: Option<&Tensor>, ours: &'a Tensor, theirs: &'a Tensor) -> (&'a Tensor, Origin) {
        let recipe = match self.choice {
            Some(Choice::Ours) => return (ours, Origin::Ours),
            Some(Choice::Theirs) => return (theirs, Origin::Theirs),
            Some(Choice::Combine(recipe)) => Some(recipe),
            None => None,
        };
        let alike = |one: &Tensor, other: &Tensor| one.shape == other.shape && one.dtype == other.dtype;
        let reason = match (ours.dtype, recipe) {
            _ if ours.shape != theirs.shape => "has another shape on each side",
            _ if ours.dtype != theirs.dtype => "has another dtype on each side",
            (_, None) => "changed on both sides",
            (DType::Plain(dtype), Some(recipe)) if can_combine(dtype) => match before {
                Some(before) if recipe.needs_base() && !alike(before, ours) => "had another shape or dtype before",
                None if recipe.needs_base() => "has no common base",
                _ => return (ours, Origin::Both),
            },
            (_, Some(_)) => "is of a dtype that cannot be combined",
        };
        self.conflict(&ours.name, reason);
        (ours, Origin::Ours)
    }

    fn conflict(&mut self, name: &str, reason: &str) {
        self.conflicts.push(format!("{name} ({reason})"));
    }

    /// Puts the chosen tensors together: in the file of a side where its table is that of the result, so that even what lies
    /// between tensors stays, else in a new one. `None` when a new header would be too long.
    fn compose(
        &self,
        chosen: &[(&'a Tensor, Origin)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<Composed<'a>>, Error> {
        let fits = |version: &Version<'_>| {
            let tensors = &version.layout.tensors;
            let same = |(one, (other, _)): (&Tensor, &(&Tensor, Origin))| {
                one.name == other.name && one.shape == other.shape && one.dtype == other.dtype
            };
            version.metadata == *metadata && tensors.len() == chosen.len() && tensors.iter().zip(chosen).all(same)
        };
        let mut composed = Composed::default();
        let frame = [self.ours, self.theirs].into_iter().find(|version| fits(version));
        match frame {
            Some(version) => {
                let mut order: Vec<_> = version.layout.tensors.iter().zip(chosen).collect();
                order.sort_by_key(|(place, _)| (place.range.start, place.range.end));
                for (place, (tensor, from)) in order {
                    composed.copy(version, composed.len..place.range.start);
                    self.put(&mut composed, tensor, *from)?;
                }
                composed.copy(version, composed.len..version.content.bytes().len());
            }
            None => {
                let tensors: Vec<Tensor> = chosen.iter().map(|(tensor, _)| (*tensor).clone()).collect();
                let Some(header) = safetensors_header(&tensors, metadata) else {
                    return Ok(None);
                };
                composed.push(header.len() as u64, Part::Bytes(header));
                for (tensor, from) in chosen {
                    self.put(&mut composed, tensor, *from)?;
                }
            }
        }
        Ok(Some(composed))
    }

    fn put(&self, composed: &mut Composed<'a>, tensor: &'a Tensor, from: Origin) -> Result<(), Error> {
        match from {
            Origin::Ours => composed.copy(self.ours, tensor.range.clone()),
            Origin::Theirs => composed.copy(self.theirs, tensor.range.clone()),
            Origin::Both => {
                let place = |version: &'a Version<'a>| -> Option<(&'a dyn ReadAt, u64)> {
                    let found = version.tensor(&tensor.name)?;
                    Some((version.content.bytes(), found.range.start))
                };
                let (Some(theirs), DType::Plain(dtype), Some(Choice::Combine(recipe))) =
                    (place(self.theirs), tensor.dtype, self.choice)
                else {
                    return Ok(());
                };
                let mut combined = Combined {
                    dtype,
                    base: self.base.filter(|_| recipe.needs_base()).and_then(place),
                    ours: (self.ours.content.bytes(), tensor.range.start),
                    theirs,
                    prepared: Prepared::Linear(0.5, 0.5),
                };
                let len = tensor.range.end - tensor.range.start;
                combined.prepared = combined
                    .survey(recipe, len)
                    .map_err(Error::io("read", tensor.name.as_ref()))?;
                composed.push(len, Part::Combined(combined));
            }
        }
        Ok(())
    }
}

/// True when two tensors are the same: dtype, shape and bytes.
fn same_tensor(one: &Tensor, one_in: &Content<'_>, other: &Tensor, other_in: &Content<'_>) -> Result<bool, Error> {
    let len = one.range.end - one.range.start;
    Ok(one.dtype == other.dtype
        && one.shape == other.shape
        && len == other.range.end - other.range.start
        && same(one_in, one.range.start, other_in, other.range.start, len)?)
}

/// A file put together from parts of others.
#[derive(Default)]
pub(super) struct Composed<'a> {
    parts: Vec<(u64, Part<'a>)>,
    len: u64,
}

enum Part<'a> {
    Bytes(Vec<u8>),
    Copy(&'a dyn ReadAt, u64),
    Combined(Combined<'a>),
}

/// A tensor that is computed as it is read.
struct Combined<'a> {
    dtype: Plain,
    base: Option<(&'a dyn ReadAt, u64)>,
    ours: (&'a dyn ReadAt, u64),
    theirs: (&'a dyn ReadAt, u64),
    prepared: Prepared,
}

impl<'a> Composed<'a> {
    fn push(&mut self, len: u64, part: Part<'a>) {
        if len > 0 {
            self.parts.push((self.len, part));
            self.len += len;
        }
    }

    fn copy(&mut self, version: &'a Version<'a>, range: Range<u64>) {
        let len = range.end.saturating_sub(range.start);
        self.push(len, Part::Copy(version.content.bytes(), range.start));
    }
}

impl Combined<'_> {
    /// Reads the whole tensor as often as the recipe needs.
    fn survey(&self, recipe: Recipe, len: u64) -> io::Result<Prepared> {
        let mut survey = Survey::new(recipe);
        loop {
            if let Survey::Ready(prepared) = survey {
                return Ok(prepared);
            }
            for at in (0..len).step_by(PIECE as usize) {
                let [base, ours, theirs] = self.read(at, PIECE.min(len - at) as usize)?;
                survey.read(
                    self.dtype,
                    Versions {
                        base: &base,
                        ours: &ours,
                        theirs: &theirs,
                    },
                );
            }
            survey = survey.next().map_or_else(|more| more, Survey::Ready);
        }
    }

    fn read(&self, at: u64, len: usize) -> io::Result<[Vec<u8>; 3]> {
        let read = |(source, start): (&dyn ReadAt, u64)| {
            let mut buffer = vec![0; len];
            source.read_exact_at(&mut buffer, start + at).map(|()| buffer)
        };
        Ok([
            self.base.map(read).transpose()?.unwrap_or_default(),
            read(self.ours)?,
            read(self.theirs)?,
        ])
    }

    /// Fills `buffer` with the bytes from `at` on, which may begin and end inside elements.
    fn fill(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let pieces = buffer.chunks_mut(PIECE as usize).zip((at..).step_by(PIECE as usize));
        pieces
            .into_iter()
            .try_for_each(|(piece, at)| self.fill_piece(piece, at))
    }

    fn fill_piece(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let width = self.dtype.width();
        let first = at / width * width;
        let end = (at + buffer.len() as u64).next_multiple_of(width);
        let [base, ours, theirs] = self.read(first, (end - first) as usize)?;
        let versions = Versions {
            base: &base,
            ours: &ours,
            theirs: &theirs,
        };
        let mut made = Vec::with_capacity(ours.len());
        self.prepared.combine(self.dtype, versions, &mut made);
        let from = (at - first) as usize;
        let made = made
            .get(from..from + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(made);
        Ok(())
    }
}

impl Composed<'_> {
    /// Where its parts begin.
    pub fn borders(&self) -> Vec<u64> {
        self.parts.iter().map(|(start, _)| *start).collect()
    }
}

impl ReadAt for Composed<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset;
        let first = self
            .parts
            .partition_point(|(start, _)| *start <= offset)
            .saturating_sub(1);
        let ends = self
            .parts
            .iter()
            .skip(first + 1)
            .map(|(start, _)| *start)
            .chain([self.len]);
        for ((start, part), end) in self.parts.iter().skip(first).zip(ends) {
            if buffer.is_empty() {
                break;
            }
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(len);
            let inside = at - start;
            match part {
                Part::Bytes(bytes) => bytes.read_exact_at(now, inside)?,
                Part::Copy(source, from) => source.read_exact_at(now, from + inside)?,
                Part::Combined(combined) => combined.fill(now, inside)?,
            }
            at = end;
            buffer = rest;
        }
        Ok(())
    }
}
