//! Bases: for every chunk of a file that is being added, a stored chunk that it is probably close to.
//!
//! A tensor is looked for by name, dtype and shape of a row: in files that the user declares, in the version before at the
//! same path, in files added just before, and in the newest tensor like it anywhere. Several files may offer themselves;
//! a trial on a few chunks ranks them. Nothing is lost when a base is missing or far off: then chunks stand alone. How
//! a chunk is encoded against its base is not here.
//!
//! For files that came in an unlucky order the same is asked once more when packs are rewritten (`family`): then all of them
//! are there, and the one that serves the others best can stand alone (`arrange`).

mod arrange;
mod family;
mod offer;
mod trial;

use std::collections::HashMap;

pub(super) use family::Rebase;
pub(super) use offer::FileBases;

use self::offer::Offer;
use self::trial::Trial;
use super::snapshot::Snapshot;
use super::{Error, Repository};
use crate::database::TensorRecord;
use crate::object::{Commit, FileId, RepoPath};
use crate::storage::Feeder;
use crate::tensor::{Element, ReadAt, Region};

/// Files that are tried for one file, at the most.
const OFFERS: usize = 6;

/// The newest tensors decide by so many of the largest ones which files are tried.
const LARGEST: usize = 8;

/// Making a file durable before the next one takes longer than this many bytes would save.
const WORTH_WAITING: u64 = 1 << 20;

/// A tensor of the file that is being added.
#[derive(Debug, Clone)]
struct Wanted {
    tensor: TensorRecord,
    element: Element,
}

/// Finds bases for the files of one `add`, in their order.
pub(super) struct Bases<'a> {
    repository: &'a Repository,
    expected: &'a Snapshot,
    declared: Vec<FileId>,
    /// What this `add` has read so far: the tensors of every file.
    before: Vec<HashMap<String, TensorRecord>>,
    /// The ids of the first of them, which are durable.
    durable: Vec<FileId>,
    trial: Trial,
}

impl<'a> Bases<'a> {
    /// `expected` are the versions before; `declared` files come from the user.
    pub fn new(repository: &'a Repository, expected: &'a Snapshot, declared: Vec<FileId>) -> Self {
        Self {
            repository,
            expected,
            declared,
            before: Vec::new(),
            durable: Vec::new(),
            trial: Trial::default(),
        }
    }

    /// The bases for a file that lies in `source` and will stand at `path`. None for one without tensors.
    ///
    /// # Errors
    /// When the index cannot be read, or storing what was read before fails.
    pub fn of(
        &mut self,
        feeder: &mut Feeder<'_>,
        path: &RepoPath,
        regions: &[Region],
        tensors: &[TensorRecord],
        source: &dyn ReadAt,
    ) -> Result<FileBases<'a>, Error> {
        let wanted = wanted(regions, tensors);
        if wanted.is_empty() {
            return Ok(FileBases::default());
        }
        let mut offers = Vec::new();
        for file in self.candidates(feeder, path, &wanted)? {
            offers.extend(Offer::open(self.repository, file));
        }
        let ranked = self.trial.rank(self.repository, offers, &wanted, source)?;
        let mut bases = FileBases::new(ranked);
        for wanted in &wanted {
            if !bases.take(wanted)
                && let Some(file) = self.newest(&wanted.tensor)?.first()
            {
                bases.take_from(self.repository, *file, wanted);
            }
        }
        Ok(bases)
    }

    /// A file was read to its end.
    pub fn ended(&mut self, tensors: &[TensorRecord]) {
        self.before.push(by_name(tensors));
    }

    /// Files that probably hold what the new one was made from.
    fn candidates(
        &mut self,
        feeder: &mut Feeder<'_>,
        path: &RepoPath,
        wanted: &[Wanted],
    ) -> Result<Vec<FileId>, Error> {
        let mut found = self.declared.clone();
        found.extend(self.expected.get(path).map(|entry| entry.file));
        let mut largest: Vec<&TensorRecord> = wanted.iter().map(|wanted| &wanted.tensor).collect();
        largest.sort_by_key(|tensor| std::cmp::Reverse(tensor.end - tensor.start));
        largest.truncate(LARGEST);
        found.extend(self.read_before(feeder, &largest)?);
        for tensor in &largest {
            found.extend(self.newest(tensor)?);
        }
        let mut seen = Vec::new();
        found.retain(|file| {
            let fresh = !seen.contains(file) && seen.len() < OFFERS;
            if fresh {
                seen.push(*file);
            }
            fresh
        });
        Ok(found)
    }

    /// The first and the last file of this `add` that have these tensors: mostly the base of a family and the
    /// checkpoint before. They are made durable if they are not yet.
    fn read_before(&mut self, feeder: &mut Feeder<'_>, largest: &[&TensorRecord]) -> Result<Vec<FileId>, Error> {
        let shared = |before: &HashMap<String, TensorRecord>| {
            let alike = largest.iter().filter(|tensor| matching(before, tensor).is_some());
            alike.map(|tensor| tensor.end - tensor.start).sum::<u64>()
        };
        let like: Vec<usize> = (0..self.before.len())
            .filter(|index| self.before.get(*index).map(shared) >= Some(WORTH_WAITING))
            .collect();
        let ends: Vec<usize> = like.first().into_iter().chain(like.last()).copied().collect();
        if ends.iter().any(|index| *index >= self.durable.len()) {
            self.durable = feeder.flush()?;
        }
        Ok(ends
            .iter()
            .filter_map(|index| self.durable.get(*index).copied())
            .collect())
    }

    /// The files with the newest tensors like this one, as far as the index knows: of its own dtype first.
    fn newest(&self, tensor: &TensorRecord) -> Result<Vec<FileId>, Error> {
        let (database, row) = (self.repository.database(), tensor.row());
        let mut files = Vec::new();
        for dtype in base_types(&tensor.dtype) {
            files.extend(database.newest_tensor(&tensor.name, &row, dtype)?);
        }
        Ok(files)
    }
}

impl Repository {
    /// The file that the commit at `HEAD` names as its base model, if it names one that is here.
    pub(super) fn base_model(&self) -> Option<FileId> {
        let commit: Commit = self.store.get(self.head_commit().ok()??).ok()?;
        let base = super::lineage::base_of(&commit)?;
        // Commits of older versions have the text alone.
        base.file.or_else(|| self.origin(&base.text).ok()?.file)
    }
}

/// The tensors of a file that lie in regions of their own, by their starts.
fn wanted(regions: &[Region], tensors: &[TensorRecord]) -> Vec<Wanted> {
    let mut by_range: HashMap<(u64, u64), &TensorRecord> = HashMap::new();
    for tensor in tensors {
        by_range.entry((tensor.start, tensor.end)).or_insert(tensor);
    }
    let wanted = regions.iter().filter_map(|region| {
        let tensor = by_range.get(&(region.range.start, region.range.end))?;
        Some(Wanted {
            tensor: (*tensor).clone(),
            element: region.element,
        })
    });
    wanted.filter(|wanted| wanted.element != Element::Opaque).collect()
}

fn by_name(tensors: &[TensorRecord]) -> HashMap<String, TensorRecord> {
    let named = |tensor: &TensorRecord| (tensor.name.clone(), tensor.clone());
    tensors.iter().map(named).collect()
}

/// The tensor that another one was probably made from, as far as names and shapes tell.
fn matching<'t>(tensors: &'t HashMap<String, TensorRecord>, like: &TensorRecord) -> Option<&'t TensorRecord> {
    let found = tensors.get(&like.name)?;
    let fits = base_types(&like.dtype).any(|dtype| dtype == found.dtype) && found.row() == like.row();
    fits.then_some(found)
}

/// The dtypes that a tensor of this one may stand on: its own, and for f32 bf16, from which it may have been widened.
fn base_types(dtype: &str) -> impl Iterator<Item = &str> {
    std::iter::once(dtype).chain((dtype == "f32").then_some("bf16"))
}
