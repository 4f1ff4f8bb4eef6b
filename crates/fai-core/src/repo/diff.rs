//! `diff`: which files differ between two versions, and what a file holds on either side.
//!
//! Which paths differ is found in `differences`, which of them are one file in `renames`, and which tensors changed in
//! `tensor_diff`.

use std::collections::BTreeMap;
use std::io::Read;

use super::differences::Difference;
use super::renames::Candidate;
use super::snapshot::Entry;
use super::tensor_diff::{Depth, TensorChanges};
use super::worktree::open_regular;
use super::{Error, Progress, Repository};
use crate::object::{CommitId, FileId, RepoPath};

/// A version that can be compared with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Nothing at all: what a first commit is compared with.
    Empty,
    /// A commit.
    Commit(CommitId),
    /// What the next commit will hold: `HEAD` with what is staged.
    Index,
    /// The tracked files as they are on disk. Untracked files are no part of it.
    Worktree,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It is only in the new version.
    Added,
    /// It is only in the old version.
    Removed,
    /// Its content or executable bit differs.
    Modified,
    /// It is at another path, with the same or similar content.
    Renamed,
}

impl Change {
    /// The word that people and scripts read.
    pub const fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Modified => "modified",
            Change::Renamed => "renamed",
        }
    }
}

/// A file in one of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The file; `None` for content that is only on disk.
    pub file: Option<FileId>,
    /// Its size in bytes.
    pub size: u64,
    /// Its executable bit.
    pub executable: bool,
}

impl From<Entry> for Side {
    fn from(entry: Entry) -> Self {
        Self {
            file: Some(entry.file),
            size: entry.size,
            executable: entry.executable,
        }
    }
}

/// A file that is not the same in both versions.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedFile {
    /// What happened.
    pub change: Change,
    /// Its path in the new version; of a removed file, in the old one.
    pub path: RepoPath,
    /// Of a renamed file, its path in the old version.
    pub old_path: Option<RepoPath>,
    /// What it was; `None` for an added file.
    pub old: Option<Side>,
    /// What it is; `None` for a removed file.
    pub new: Option<Side>,
    /// Of a renamed file, how much of its content stayed: 50 to 100 percent, 100 only for exactly the same.
    pub similarity: Option<u8>,
    /// What changed among its tensors, when the contents differ and both have tensors.
    pub tensors: Option<TensorChanges>,
}

impl ChangedFile {
    /// True when only the path or the executable bit differs.
    pub fn same_content(&self) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => old.file.is_some() && old.file == new.file,
            _ => false,
        }
    }
}

/// All differences between two versions, each list by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Files that are only in the new version.
    pub added: Vec<ChangedFile>,
    /// Files that are only in the old version.
    pub removed: Vec<ChangedFile>,
    /// Files whose content or executable bit differs.
    pub modified: Vec<ChangedFile>,
    /// Files that are at another path.
    pub renamed: Vec<ChangedFile>,
}

impl Comparison {
    /// All changed files: added, removed, modified, renamed.
    pub fn files(&self) -> impl Iterator<Item = &ChangedFile> {
        let Self {
            added,
            removed,
            modified,
            renamed,
        } = self;
        added.iter().chain(removed).chain(modified).chain(renamed)
    }

    /// True when the versions do not differ.
    pub fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    /// Sum of the sizes of added files.
    pub fn bytes_added(&self) -> u64 {
        total(&self.added, |file| file.new)
    }

    /// Sum of the sizes of removed files.
    pub fn bytes_removed(&self) -> u64 {
        total(&self.removed, |file| file.old)
    }

    /// By how many bytes the new version is larger over all changed files; negative when it is smaller.
    pub fn size_delta(&self) -> i128 {
        let size = |side: Option<Side>| side.map_or(0, |side| i128::from(side.size));
        self.files().map(|file| size(file.new) - size(file.old)).sum()
    }
}

fn total(files: &[ChangedFile], side: impl Fn(&ChangedFile) -> Option<Side>) -> u64 {
    let sizes = files.iter().filter_map(side).map(|side| side.size);
    sizes.fold(0, u64::saturating_add)
}

impl Repository {
    /// Compares two versions, at and below `scopes` or everywhere when there are none, with the tensors of files
    /// that have some.
    ///
    /// # Errors
    /// When objects are missing or damaged, a file of the worktree cannot be read, or a worktree is asked for and
    /// there is none.
    pub fn compare(
        &self,
        old: &Version,
        new: &Version,
        scopes: &[RepoPath],
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        self.compare_to(Depth::Names, old, new, scopes, progress)
    }

    /// As [`Repository::compare`], looking at tensors as closely as `depth` says.
    ///
    /// # Errors
    /// As [`Repository::compare`].
    pub fn compare_to(
        &self,
        depth: Depth,
        old: &Version,
        new: &Version,
        scopes: &[RepoPath],
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let mut comparison = self.compare_files(old, new, scopes, progress)?;
        if depth != Depth::Files {
            let changed = comparison.modified.iter_mut().chain(&mut comparison.renamed);
            let changed = changed.filter(|file| !file.same_content()).collect();
            self.compare_tensors(changed, depth, progress)?;
        }
        Ok(comparison)
    }

    /// As [`Repository::compare`], without looking at tensors.
    ///
    /// # Errors
    /// As [`Repository::compare`].
    pub fn compare_files(
        &self,
        old: &Version,
        new: &Version,
        scopes: &[RepoPath],
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let differences = self.differences(*old, *new, scopes, progress)?;
        self.sorted_out(differences)
    }

    /// What the file of a side holds, or `None` when that is longer than `limit` bytes. `path` is the file's path in
    /// the side's version.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_content(&self, side: &Side, path: &RepoPath, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        if side.size > limit {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        // One byte more than wanted tells a file that grew since it was looked at.
        let most = limit.saturating_add(1);
        match side.file {
            Some(file) => {
                let read = self.open_file(file)?.reader().take(most).read_to_end(&mut bytes);
                read.map_err(Error::io("read", path.as_str().as_ref()))?;
            }
            None => {
                let absolute = path.below(self.need_worktree("diff")?);
                let read = open_regular(&absolute).and_then(|disk| disk.take(most).read_to_end(&mut bytes));
                read.map_err(Error::io("read", &absolute))?;
            }
        }
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// What the file at `path` of a version holds, or `None` when that is longer than `limit` bytes.
    ///
    /// # Errors
    /// When there is no file at that path, or it cannot be read.
    pub fn read_side(&self, version: &Version, path: &RepoPath, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let side = match *version {
            Version::Empty => {
                return Err(Error::NotInRevision {
                    path: path.clone(),
                    revision: "nothing".to_owned(),
                });
            }
            Version::Commit(commit) => self.file_in(commit, path, &commit.short())?.into(),
            Version::Index => {
                let entry = self.expected(std::slice::from_ref(path))?.0.get(path).copied();
                entry.map(Side::from).ok_or_else(|| Error::NotInRevision {
                    path: path.clone(),
                    revision: "the index".to_owned(),
                })?
            }
            Version::Worktree => {
                let (found, _) = self.need_worktree("diff").map(|_| self.look_at(&[path]))?;
                let found = found.first().ok_or_else(|| Error::NotInRevision {
                    path: path.clone(),
                    revision: "the worktree".to_owned(),
                })?;
                Side {
                    file: None,
                    size: found.stat.size,
                    executable: found.executable,
                }
            }
        };
        self.read_content(&side, path, limit)
    }

    /// Differences by kind, with renamed files found among the added and removed ones.
    fn sorted_out(&self, differences: Vec<Difference>) -> Result<Comparison, Error> {
        let mut comparison = Comparison::default();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (path, old, new) in differences {
            match (old, new) {
                (Some(side), None) => removed.push(Candidate { path, side }),
                (None, Some(side)) => added.push(Candidate { path, side }),
                _ => comparison.modified.push(changed(Change::Modified, path, old, new)),
            }
        }
        let renames = self.find_renames(&removed, &added)?;
        let mut sources: BTreeMap<usize, (usize, u8)> = BTreeMap::new();
        for rename in &renames {
            sources.insert(rename.added, (rename.removed, rename.similarity));
        }
        for (index, Candidate { path, side }) in added.into_iter().enumerate() {
            let source = sources
                .get(&index)
                .and_then(|(old, similarity)| Some((removed.get(*old)?, *similarity)));
            match source {
                Some((old, similarity)) => comparison.renamed.push(ChangedFile {
                    old_path: Some(old.path.clone()),
                    similarity: Some(similarity),
                    ..changed(Change::Renamed, path, Some(old.side), Some(side))
                }),
                None => comparison.added.push(changed(Change::Added, path, None, Some(side))),
            }
        }
        let mut moved = vec![false; removed.len()];
        for rename in &renames {
            moved
                .get_mut(rename.removed)
                .into_iter()
                .for_each(|moved| *moved = true);
        }
        let gone = removed.into_iter().zip(moved).filter(|(_, moved)| !moved);
        comparison.removed = gone
            .map(|(old, _)| changed(Change::Removed, old.path, Some(old.side), None))
            .collect();
        Ok(comparison)
    }
}

fn changed(change: Change, path: RepoPath, old: Option<Side>, new: Option<Side>) -> ChangedFile {
    ChangedFile {
        change,
        path,
        old_path: None,
        old,
        new,
        similarity: None,
        tensors: None,
    }
}
