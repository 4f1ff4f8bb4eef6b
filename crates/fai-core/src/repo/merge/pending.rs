//! A merge from the moment when it is written down to its end: by a commit, or back to where it began.

use std::collections::BTreeSet;
use std::path::Path;

use super::head_name;
use super::outcome::{self, MergeReport, Outcome, Undecided};
use crate::database::{Operation, Pending, Writer};
use crate::object::{CommitId, Id, RepoPath, Time};
use crate::repo::checkout::Switching;
use crate::repo::durable::lock;
use crate::repo::keep::Unkept;
use crate::repo::materialize::Target;
use crate::repo::progress::Progress;
use crate::repo::reset::staged_between;
use crate::repo::snapshot::Snapshot;
use crate::repo::{Error, Head, Repository};

/// What is under way in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underway {
    /// `merge`, `cherry-pick` or `revert`.
    pub kind: String,
    /// The commit that is merged, picked or reverted.
    pub other: CommitId,
    /// False when the process was killed before the worktree held the result.
    pub placed: bool,
    /// What waits for decisions, by path.
    pub conflicts: Vec<Undecided>,
}

impl Repository {
    /// What is under way, if anything is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn underway(&self) -> Result<Option<Underway>, Error> {
        let Some(pending) = self.database().pending()? else {
            return Ok(None);
        };
        let conflicts = outcome::undecided(self.database().conflicts()?);
        Ok(Some(Underway {
            kind: pending.kind,
            other: pending.other,
            placed: pending.placed,
            conflicts,
        }))
    }

    /// Refuses when something is under way.
    pub(in crate::repo) fn nothing_underway(&self) -> Result<(), Error> {
        match self.database().pending()? {
            None => Ok(()),
            Some(pending) => Err(Error::Underway { kind: pending.kind }),
        }
    }

    /// What is under way and can go on: the worktree holds it, and `HEAD` is where it was.
    pub(super) fn resumable(&self) -> Result<Pending, Error> {
        let pending = self.database().pending()?.ok_or(Error::NothingUnderway)?;
        match self.head_commit()? == Some(pending.head) {
            true => Ok(pending),
            false => Err(Error::RefMoved("HEAD".to_owned())),
        }
    }

    /// The worktree becomes the draft, and everything that is decided is staged. Once more does no harm.
    pub(super) fn place(
        &self,
        root: &Path,
        pending: &Pending,
        before: &Snapshot,
        after: &Snapshot,
        progress: &dyn Progress,
    ) -> Result<MergeReport, Error> {
        let done = self.switch_snapshots(root, before.clone(), after.clone(), Switching::GENTLE, progress)?;
        let conflicts = self.database().conflicts()?;
        if !conflicts.is_empty() {
            let placed = Pending {
                placed: true,
                ..pending.clone()
            };
            self.database().transaction(|writer| {
                for (path, staged) in staged_between(before, after) {
                    if !conflicts.contains_key(&path) {
                        writer.stage(&path, &staged)?;
                    }
                }
                writer.set_pending(&placed)
            })?;
        }
        Ok(MergeReport {
            outcome: match conflicts.is_empty() {
                true => Outcome::Committed,
                false => Outcome::Conflicts,
            },
            commit: pending.draft,
            before: Some(pending.head),
            written: done.written,
            removed: done.removed,
            conflicts: outcome::undecided(conflicts),
        })
    }

    /// The branch moves to the draft.
    pub(super) fn finish(&self, head: &Head, pending: &Pending, time: Time) -> Result<(), Error> {
        let operation = Operation {
            time,
            command: format!("{}: {}", pending.kind, pending.other.short()),
            name: head_name(head),
            before: Some(pending.head),
            after: Some(pending.draft),
        };
        self.advance_head(head, &operation, |writer| Ok(writer.end_pending()?))
    }

    /// Moves the branch, or a detached `HEAD`, and does `more` in the same transaction.
    pub(super) fn advance_head(
        &self,
        head: &Head,
        operation: &Operation,
        more: impl FnOnce(&Writer<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let (Head::Detached(_), Some(after)) = (head, operation.after) {
            self.move_head(&Head::Detached(after), operation.time, &operation.command)?;
        }
        self.database().transaction(|writer| {
            if let Head::Branch(name) = head
                && !writer.move_ref(name, operation.before, operation.after)?
            {
                return Err(Error::RefMoved(name.clone()));
            }
            if let Head::Branch(_) = head {
                writer.log_operation(operation)?;
            }
            more(writer)
        })
    }

    /// Goes on with what a killed process left, up to the point where the user decides. Returns what is left to decide; nothing when it
    /// is over: then the commit is made.
    ///
    /// # Errors
    /// [`Error::NothingUnderway`]; [`Error::RefMoved`] when the branch is somewhere else by now; [`Error::Undecided`] names what waits
    /// for a decision; as [`Repository::merge`].
    pub fn merge_continue(&self, time: Time, progress: &dyn Progress) -> Result<Option<MergeReport>, Error> {
        let root = self.need_worktree("merge")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let _commits = lock(&self.directory.join("commit.lock"), false)?;
        let pending = self.resumable()?;
        if pending.placed {
            let conflicts: Vec<RepoPath> = self.database().conflicts()?.into_keys().collect();
            return match conflicts.is_empty() {
                true => Ok(None),
                false => Err(Error::Undecided(conflicts)),
            };
        }
        let (before, after) = (self.snapshot(Some(pending.head))?, self.snapshot(Some(pending.draft))?);
        let report = self.place(&root, &pending, &before, &after, progress)?;
        if report.outcome == Outcome::Committed {
            self.finish(&self.head()?, &pending, time)?;
        }
        Ok(Some(report))
    }

    /// Ends what is under way and brings back what it changed: files that it touched become those of `HEAD` again, also where they were
    /// edited since. Returns their paths.
    ///
    /// # Errors
    /// [`Error::NothingUnderway`]; [`Error::RefMoved`] when the branch is somewhere else by now.
    pub fn merge_abort(&self, progress: &dyn Progress) -> Result<Vec<RepoPath>, Error> {
        let root = self.need_worktree("merge")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let _commits = lock(&self.directory.join("commit.lock"), false)?;
        let pending = self.resumable()?;
        let (before, after) = (self.snapshot(Some(pending.head))?, self.snapshot(Some(pending.draft))?);
        let mut touched: BTreeSet<RepoPath> = staged_between(&before, &after).into_keys().collect();
        touched.extend(self.database().conflicts()?.into_keys());
        let wanted: Snapshot = touched
            .iter()
            .filter_map(|path| Some((path.clone(), *before.get(path)?)))
            .collect();
        let wanted = self.kept(wanted, &[])?;
        let differing = self.differing(&wanted)?;
        let target = |path: &RepoPath| {
            Some(Target {
                path: path.clone(),
                entry: *wanted.get(path)?,
            })
        };
        let targets: Vec<Target> = differing.iter().filter_map(target).collect();
        let gone: Vec<RepoPath> = touched
            .iter()
            .filter(|path| !before.contains_key(*path))
            .cloned()
            .collect();
        let placed = self.write_worktree(&root, &targets, &gone, Unkept::GiveUp, progress)?;
        let staging = self.database().staging()?;
        self.remember(&placed, &wanted, &gone, &staging, |path| !touched.contains(path))?;
        self.database().transaction(|writer| writer.end_pending())?;
        Ok(touched.into_iter().collect())
    }

    /// What must stay as long as it is under way: the draft, and the commit that is merged.
    pub(in crate::repo) fn pending_roots(&self) -> Result<Vec<(String, CommitId)>, Error> {
        let Some(pending) = self.database().pending()? else {
            return Ok(Vec::new());
        };
        let named = |commit| (format!("the {} under way", pending.kind), commit);
        let mut roots = vec![named(pending.draft)];
        // In a copy without all of its history it may be known by name only.
        if self.store.has(pending.other.hash())? {
            roots.push(named(pending.other));
        }
        Ok(roots)
    }
}
