//! `resolve`: a decision about one path.

use super::Sides;
use super::choice::Choice;
use super::outcome;
use super::trees::{Kind, Undecided};
use crate::database::Staged;
use crate::object::RepoPath;
use crate::repo::keep::Unkept;
use crate::repo::materialize::Target;
use crate::repo::progress::Progress;
use crate::repo::snapshot::{Entry, Snapshot};
use crate::repo::{Error, Repository};

/// How a path is decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolution {
    /// The whole file as it is here, or its absence.
    Ours,
    /// The whole file as it is there, or its absence.
    Theirs,
    /// As the file was merged, with this choice for what both sides changed.
    Merge(Choice),
}

impl Repository {
    /// Decides about a path that is in conflict: it is written and staged.
    ///
    /// # Errors
    /// [`Error::NothingUnderway`], [`Error::NotInConflict`]; [`Error::StillInConflict`] when the choice leaves something open. Nothing is changed then.
    pub fn resolve_conflict(
        &self,
        path: &RepoPath,
        resolution: Resolution,
        progress: &dyn Progress,
    ) -> Result<Option<Entry>, Error> {
        let root = self.need_worktree("resolve")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let pending = self.resumable()?;
        let conflicts = self.database().conflicts()?;
        let conflict = conflicts.get(path).ok_or_else(|| Error::NotInConflict(path.clone()))?;
        let [base, ours, theirs] = conflict.sides.map(outcome::entry);
        let entry = match resolution {
            Resolution::Ours => ours,
            Resolution::Theirs => theirs,
            Resolution::Merge(choice) => {
                let kind = match ours.is_some() && theirs.is_some() {
                    true => Kind::Content,
                    false => Kind::DeleteModify,
                };
                let undecided = Undecided {
                    path: path.clone(),
                    sides: Sides { base, ours, theirs },
                    kind,
                };
                let before = self.snapshot(Some(pending.head))?;
                let name = pending.other.short();
                let decided = self.decide_all(&[undecided], &before, &name, Some(choice), progress)?;
                match decided.into_iter().next() {
                    Some((_, entry, None)) => entry,
                    Some((_, _, Some(left))) => {
                        return Err(Error::StillInConflict {
                            path: path.clone(),
                            detail: left.detail,
                        });
                    }
                    None => None,
                }
            }
        };
        let wanted: Snapshot = entry.iter().map(|entry| (path.clone(), *entry)).collect();
        let targets: Vec<Target> = entry
            .iter()
            .map(|entry| Target {
                path: path.clone(),
                entry: *entry,
            })
            .collect();
        let gone: Vec<RepoPath> = entry.is_none().then(|| path.clone()).into_iter().collect();
        let placed = self.write_worktree(&root, &targets, &gone, Unkept::GiveUp, progress)?;
        self.remember(&placed, &wanted, &gone, &Default::default(), |_| true)?;
        let head = self.snapshot_within(Some(pending.head), std::slice::from_ref(path))?;
        self.database().transaction(|writer| {
            match (entry, head.get(path)) {
                (entry, before) if entry.as_ref() == before => writer.unstage(path)?,
                (Some(entry), _) => writer.stage(path, &Staged::from(entry))?,
                (None, _) => writer.stage(path, &Staged::Removed)?,
            }
            writer.end_conflict(path)
        })?;
        Ok(entry)
    }
}
