//! `restore`: files as they were, in the worktree or in what is staged.

use std::collections::BTreeMap;

use super::keep::Unkept;
use super::materialize::Target;
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::{Error, Repository};
use crate::database::Staged;
use crate::object::{CommitId, RepoPath};

/// What to restore where.
#[derive(Debug, Clone, Copy)]
pub struct RestoreOptions {
    /// The commit to take files from; `None` takes what is staged for the worktree, and `HEAD` for staging.
    pub source: Option<CommitId>,
    /// Restore what is staged.
    pub staged: bool,
    /// Restore the worktree.
    pub worktree: bool,
    /// Overwrite local changes of the worktree.
    pub force: bool,
    /// Also where they cannot be kept, so that this could not be undone.
    pub give_up: bool,
}

impl Repository {
    /// Restores the files at and below `paths`. Tracked files that the source does not have are removed. Returns the
    /// paths that changed.
    ///
    /// # Errors
    /// When a path matches nothing in the source or among tracked files; [`Error::LocalChanges`] when files would be
    /// overwritten that are in no commit and not staged, and `force` is not given; [`Error::OnlyStaged`] when staging
    /// alone is restored and is the only place of an evicted file.
    pub fn restore(
        &self,
        paths: &[RepoPath],
        options: RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<RepoPath>, Error> {
        let root = self.need_worktree("restore")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let head = self.snapshot_within(self.head_commit()?, paths)?;
        let (expected, staging) = self.expected(paths)?;
        let source = match options.source {
            Some(commit) => self.snapshot_within(Some(commit), paths)?,
            None if options.staged => head.clone(),
            None => expected.clone(),
        };
        for scope in paths {
            let known = source.keys().chain(expected.keys()).any(|path| path.is_within(scope));
            if !known {
                return Err(Error::NoSuchPath(scope.as_str().into()));
            }
        }
        if options.staged && !options.worktree {
            let unstaged = |(path, staged): &(&RepoPath, &Staged)| {
                matches!(staged, Staged::File { .. })
                    && paths.iter().any(|scope| path.is_within(scope))
                    && source.get(*path).copied().map(Staged::from) != Some(**staged)
            };
            let lost = self.evicted_and_gone(staging.iter().filter(unstaged).map(|(path, _)| path))?;
            if !lost.is_empty() {
                return Err(Error::OnlyStaged(lost));
            }
        }
        let surplus = |wanted: &Snapshot, expected: &Snapshot| -> Vec<RepoPath> {
            let gone = expected.keys().filter(|path| !wanted.contains_key(*path));
            gone.cloned().collect()
        };
        let mut changed: Vec<RepoPath> = Vec::new();
        if options.worktree {
            // What is not in the worktree on purpose comes only when it is named.
            let (wanted, expected) = (self.kept(source.clone(), paths)?, self.kept(expected.clone(), paths)?);
            let surplus = surplus(&wanted, &expected);
            changed.extend(self.restore_worktree(&root, &wanted, &surplus, &expected, options, progress)?);
        }
        if options.staged {
            let surplus = surplus(&source, &expected);
            changed.extend(self.restore_staging(&source, &surplus, &head, &staging)?);
        }
        changed.sort();
        changed.dedup();
        Ok(changed)
    }

    fn restore_worktree(
        &self,
        root: &std::path::Path,
        wanted: &Snapshot,
        surplus: &[RepoPath],
        expected: &Snapshot,
        options: RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<RepoPath>, Error> {
        let differing = self.differing(wanted)?;
        if !options.force {
            let in_danger = differing.iter().chain(surplus);
            let tracked = in_danger
                .filter_map(|path| Some((path.clone(), *expected.get(path)?)))
                .collect();
            let mut lost = self.changed_locally(&tracked)?;
            let untracked =
                |path: &&RepoPath| !expected.contains_key(*path) && path.below(root).symlink_metadata().is_ok();
            lost.extend(differing.iter().filter(untracked).cloned());
            if !lost.is_empty() {
                lost.sort();
                return Err(Error::LocalChanges(lost));
            }
        }
        let unkept = match options.give_up {
            true => Unkept::GiveUp,
            false => Unkept::Refuse,
        };
        let targets: Vec<Target> = differing
            .iter()
            .filter_map(|path| {
                Some(Target {
                    path: path.clone(),
                    entry: *wanted.get(path)?,
                })
            })
            .collect();
        let placed = self.write_worktree(root, &targets, surplus, unkept, progress)?;
        self.remember(&placed, wanted, surplus, &BTreeMap::new(), |_| true)?;
        Ok(placed
            .into_iter()
            .map(|(path, _)| path)
            .chain(surplus.iter().cloned())
            .collect())
    }

    fn restore_staging(
        &self,
        wanted: &Snapshot,
        surplus: &[RepoPath],
        head: &Snapshot,
        staging: &BTreeMap<RepoPath, Staged>,
    ) -> Result<Vec<RepoPath>, Error> {
        let mut changed = Vec::new();
        self.database().transaction(|writer| {
            let removals = surplus.iter().map(|path| (path, None));
            for (path, entry) in wanted.iter().map(|(path, entry)| (path, Some(*entry))).chain(removals) {
                let staged = match entry {
                    entry if entry == head.get(path).copied() => None,
                    Some(entry) => Some(Staged::from(entry)),
                    None => Some(Staged::Removed),
                };
                if staged.as_ref() == staging.get(path) {
                    continue;
                }
                match &staged {
                    Some(staged) => writer.stage(path, staged)?,
                    None => writer.unstage(path)?,
                }
                changed.push(path.clone());
            }
            Ok::<(), Error>(())
        })?;
        Ok(changed)
    }
}
