//! `reset`: the current branch, or a detached `HEAD`, goes to another commit; what is staged and the worktree follow as far
//! as is asked.

use std::collections::BTreeMap;

use super::branches::moved;
use super::checkout::Switching;
use super::keep::Unkept;
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::{Error, Head, Repository};
use crate::database::Staged;
use crate::object::{CommitId, RepoPath, Time};

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMode {
    /// Nothing: what the next commit would hold stays, and so do files.
    Soft,
    /// What is staged: nothing is. Files stay.
    Mixed,
    /// Files, too: the worktree becomes the commit. What is not tracked stays.
    Hard,
}

/// How to reset.
#[derive(Debug, Clone, Copy)]
pub struct ResetOptions {
    /// What follows.
    pub mode: ResetMode,
    /// Also where what is overwritten cannot be kept.
    pub give_up: bool,
    /// When, for the log.
    pub time: Time,
}

/// What a reset did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetReport {
    /// Where `HEAD` was.
    pub before: Option<CommitId>,
    /// Where it is.
    pub after: CommitId,
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
}

impl Repository {
    /// Makes the current branch, or a detached `HEAD`, stand on `commit`.
    ///
    /// # Errors
    /// [`Error::OnlyStaged`] when the only place of an evicted file is what is staged, and would be forgotten;
    /// [`Error::CannotKeep`]; when files cannot be written.
    pub fn reset(
        &self,
        commit: CommitId,
        options: ResetOptions,
        progress: &dyn Progress,
    ) -> Result<ResetReport, Error> {
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        self.nothing_underway()?;
        let _no_commits = super::durable::lock(&self.directory.join("commit.lock"), false)?;
        let (head, before) = (self.head()?, self.head_commit()?);
        let staging = self.database().staging()?;
        let target = self.snapshot(Some(commit))?;
        let (mut written, mut removed) = (0, 0);
        let staged: BTreeMap<RepoPath, Staged> = match options.mode {
            ResetMode::Soft => {
                let (expected, _) = self.expected(&[])?;
                staged_between(&target, &expected)
            }
            ResetMode::Mixed => {
                self.refuse_to_forget(&staging, &target)?;
                BTreeMap::new()
            }
            ResetMode::Hard => {
                self.refuse_to_forget(&staging, &target)?;
                (written, removed) = self.reset_files(before, commit, &staging, &target, options, progress)?;
                BTreeMap::new()
            }
        };
        let command = format!("reset: moving to {}", commit.short());
        if let Head::Detached(_) = head {
            self.move_head(&Head::Detached(commit), options.time, &command)?;
        }
        self.database().transaction(|writer| {
            for path in staging.keys().filter(|path| !staged.contains_key(*path)) {
                writer.unstage(path)?;
            }
            staged
                .iter()
                .try_for_each(|(path, staged)| writer.stage(path, staged))?;
            if let Head::Branch(name) = &head
                && before != Some(commit)
            {
                if !writer.move_ref(name, before, Some(commit))? {
                    return Err(Error::RefMoved(name.clone()));
                }
                writer.log_operation(&moved(name, before, Some(commit), options.time, command.clone()))?;
            }
            Ok(())
        })?;
        Ok(ResetReport {
            before,
            after: commit,
            written,
            removed,
        })
    }

    /// What is staged for an evicted file and stands in no commit is nowhere else.
    fn refuse_to_forget(&self, staging: &BTreeMap<RepoPath, Staged>, target: &Snapshot) -> Result<(), Error> {
        let forgotten = staging.iter().filter(|(path, staged)| {
            matches!(staged, Staged::File { .. }) && target.get(*path).copied().map(Staged::from) != Some(**staged)
        });
        let lost = self.evicted_and_gone(forgotten.map(|(path, _)| path))?;
        match lost.is_empty() {
            true => Ok(()),
            false => Err(Error::OnlyStaged(lost)),
        }
    }

    /// Files that were tracked make way for those of the commit.
    fn reset_files(
        &self,
        before: Option<CommitId>,
        commit: CommitId,
        staging: &BTreeMap<RepoPath, Staged>,
        target: &Snapshot,
        options: ResetOptions,
        progress: &dyn Progress,
    ) -> Result<(u64, u64), Error> {
        let root = self.need_worktree("reset --hard")?.to_owned();
        let unkept = match options.give_up {
            true => Unkept::GiveUp,
            false => Unkept::Refuse,
        };
        // Staged for the first time, and in neither commit: tracked until now, so it goes.
        let added = staging
            .iter()
            .filter(|(path, staged)| matches!(staged, Staged::File { .. }) && !target.contains_key(*path));
        let added: Vec<RepoPath> = added.map(|(path, _)| path.clone()).collect();
        let gone = self.look_at(&added.iter().collect::<Vec<_>>()).0;
        let gone: Vec<RepoPath> = gone.into_iter().map(|found| found.path).collect();
        if !gone.is_empty() {
            self.write_worktree(&root, &[], &gone, unkept, progress)?;
            self.remember(&[], target, &gone, &BTreeMap::new(), |_| true)?;
        }
        let switching = Switching {
            unkept,
            ..Switching::forced(true)
        };
        let report = self.switch_files(&root, before, commit, switching, progress)?;
        Ok((report.written, report.removed + gone.len() as u64))
    }
}

/// What must be staged on `base` so that the next commit holds `wanted`.
pub(super) fn staged_between(base: &Snapshot, wanted: &Snapshot) -> BTreeMap<RepoPath, Staged> {
    let changed = wanted.iter().filter(|(path, entry)| base.get(*path) != Some(entry));
    let gone = base.keys().filter(|path| !wanted.contains_key(*path));
    changed
        .map(|(path, entry)| (path.clone(), Staged::from(*entry)))
        .chain(gone.map(|path| (path.clone(), Staged::Removed)))
        .collect()
}
