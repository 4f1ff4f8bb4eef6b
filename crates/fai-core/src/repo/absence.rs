//! What need not be in the worktree: files that the selection leaves out, and files that were evicted. Whoever compares
//! the worktree with what it should hold asks here, so that neither is taken for removed.

use std::collections::BTreeSet;

use super::snapshot::{Snapshot, in_scope};
use super::worktree::Looker;
use super::{Error, Repository, Selection};
use crate::object::RepoPath;

/// Which tracked files may be missing from the worktree.
#[derive(Debug)]
pub(super) struct Absences {
    selection: Option<Selection>,
    evicted: BTreeSet<RepoPath>,
}

impl Absences {
    /// True when every tracked file must be there.
    pub(super) fn is_empty(&self) -> bool {
        self.selection.is_none() && self.evicted.is_empty()
    }

    /// True when the file at `path` may be missing.
    pub(super) fn allow(&self, path: &RepoPath) -> bool {
        let left_out = |selection: &Selection| !selection.selects(path);
        self.evicted.contains(path) || self.selection.as_ref().is_some_and(left_out)
    }

    /// True when `path` was evicted, whatever stands there now.
    pub(super) fn is_evicted(&self, path: &RepoPath) -> bool {
        self.evicted.contains(path)
    }

    /// Takes those out of `paths`, which are not in the worktree, that are not there on purpose, and returns them.
    pub(super) fn take(&self, paths: &mut Vec<RepoPath>) -> Vec<RepoPath> {
        if self.is_empty() {
            return Vec::new();
        }
        let (absent, missing) = std::mem::take(paths).into_iter().partition(|path| self.allow(path));
        *paths = missing;
        absent
    }
}

impl Repository {
    /// What need not be in the worktree.
    pub(super) fn absences(&self) -> Result<Absences, Error> {
        Ok(Absences {
            selection: self.selection()?,
            evicted: self.database().evicted()?,
        })
    }

    /// `files` without those that are not in the worktree on purpose: neither there, nor named by one of `scopes`. The
    /// root names nothing.
    pub(super) fn kept(&self, mut files: Snapshot, scopes: &[RepoPath]) -> Result<Snapshot, Error> {
        let absences = self.absences()?;
        if absences.is_empty() {
            return Ok(files);
        }
        let naming: Vec<RepoPath> = scopes.iter().filter(|scope| !scope.is_root()).cloned().collect();
        let mut looker = self.worktree.as_deref().map(Looker::new);
        files.retain(|path, _| {
            let mut stands = || {
                looker
                    .as_mut()
                    .is_some_and(|looker| looker.look(path).is_ok_and(|found| found.is_file()))
            };
            !absences.allow(path) || (!naming.is_empty() && in_scope(path, &naming)) || stands()
        });
        Ok(files)
    }
}
