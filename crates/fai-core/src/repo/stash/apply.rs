//! Bringing back: what was put aside is merged into what is here. All of it fits, or nothing is changed.

use std::collections::BTreeMap;

use super::Stash;
use super::push::pick;
use crate::database::Staged;
use crate::object::{RepoPath, Time};
use crate::repo::branches::{SwitchTo, moved};
use crate::repo::checkout::changed_paths;
use crate::repo::durable::lock;
use crate::repo::keep::Unkept;
use crate::repo::materialize::Target;
use crate::repo::merge::Sides;
use crate::repo::progress::Progress;
use crate::repo::snapshot::Snapshot;
use crate::repo::{Error, Repository};

/// How to bring back.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// What was staged is staged again; else only new files are.
    pub index: bool,
    /// Forget the stash in the end.
    pub drop: bool,
    /// When, for the log.
    pub time: Time,
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
    /// Paths whose staging changed.
    pub staged: Vec<RepoPath>,
}

impl Repository {
    /// Merges a stash into the worktree, as a change of what it was put aside on. What comes of it is not staged, but for
    /// what [`ApplyOptions::index`] says.
    ///
    /// # Errors
    /// [`Error::StashConflict`] names what was changed both there and here, [`Error::LocalChanges`] what is in no commit yet
    /// and in the way, [`Error::Underway`]. Nothing is changed then. [`Error::RefMoved`] when the stash is gone.
    pub fn stash_apply(&self, stash: &Stash, options: ApplyOptions, progress: &dyn Progress) -> Result<Applied, Error> {
        let root = self.need_worktree("stash")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let _commits = lock(&self.directory.join("commit.lock"), false)?;
        self.nothing_underway()?;
        if self.database().read_ref(&stash.reference)? != Some(stash.id) {
            return Err(Error::RefMoved(stash.name()));
        }
        let base = self.snapshot(Some(stash.base()?))?;
        let index = self.snapshot(Some(stash.staged()?))?;
        let (ours, _) = self.expected(&[])?;
        let merged = |theirs: Snapshot, what: &str| -> Result<Snapshot, Error> {
            let sides = Sides {
                base: base.clone(),
                ours: ours.clone(),
                theirs,
            };
            let combined = self.combine(sides, what, None, progress)?;
            let stash = what.to_owned();
            match combined.conflicts.into_keys().collect::<Vec<_>>() {
                paths if paths.is_empty() => Ok(combined.files),
                paths => Err(Error::StashConflict { stash, paths }),
            }
        };
        let after = merged(self.snapshot(Some(stash.id))?, &stash.name())?;
        let wanted = match options.index {
            true => merged(index, &format!("what was staged in {}", stash.name()))?,
            false => {
                // As with git: what was new and staged would otherwise no longer be tracked.
                let is_new =
                    |path: &RepoPath| index.contains_key(path) && !base.contains_key(path) && !ours.contains_key(path);
                let mut wanted = ours.clone();
                wanted.extend(after.clone().into_iter().filter(|(path, _)| is_new(path)));
                wanted
            }
        };
        let staging = self.staging_for(&ours, &wanted)?;

        let changed = changed_paths(&ours, &after);
        let target = pick(&after, &changed);
        let differing = self.differing(&target)?;
        self.refuse_to_lose(&ours, &after, &changed, &differing)?;
        let targets: Vec<Target> = pick(&target, &differing)
            .into_iter()
            .map(|(path, entry)| Target { path, entry })
            .collect();
        // One that is not here on purpose need not be removed, but no longer counts as tracked here.
        let gone: Vec<RepoPath> = changed.into_iter().filter(|path| !target.contains_key(path)).collect();
        let (standing, _) = self.look_at(&gone.iter().collect::<Vec<_>>());
        let standing: Vec<RepoPath> = standing.into_iter().map(|found| found.path).collect();
        let placed = self.write_worktree(&root, &targets, &standing, Unkept::Refuse, progress)?;
        self.remember(&placed, &target, &gone, &BTreeMap::new(), |_| true)?;
        self.database().transaction(|writer| {
            for (path, staged) in &staging {
                match staged {
                    Some(staged) => writer.stage(path, staged)?,
                    None => writer.unstage(path)?,
                }
            }
            if !options.drop {
                return Ok(());
            }
            if !writer.move_ref(&stash.reference, Some(stash.id), None)? {
                return Err(Error::RefMoved(stash.name()));
            }
            let (command, before) = ("stash: popped".to_owned(), Some(stash.id));
            Ok(writer.log_operation(&moved(&stash.reference, before, None, options.time, command))?)
        })?;
        Ok(Applied {
            written: placed.len() as u64,
            removed: standing.len() as u64,
            staged: staging.into_keys().collect(),
        })
    }

    /// Makes a branch where a stash was put aside, goes there, and brings it back with what was staged: that fits unless
    /// local changes are in the way. Then the stash is forgotten.
    ///
    /// # Errors
    /// As [`Repository::switch`], and as [`Repository::stash_apply`]: the branch is made then, and the stash is kept.
    pub fn stash_branch(
        &self,
        name: &str,
        stash: &Stash,
        time: Time,
        progress: &dyn Progress,
    ) -> Result<Applied, Error> {
        self.need_worktree("stash")?;
        let to = SwitchTo::New {
            name: name.to_owned(),
            start: Some(stash.base()?),
            upstream: None,
        };
        self.switch(&to, false, time, progress)?;
        let options = ApplyOptions {
            index: true,
            drop: true,
            time,
        };
        self.stash_apply(stash, options, progress)
    }

    /// What must be staged, or unstaged, so that the next commit holds `wanted` instead of `now`.
    fn staging_for(&self, now: &Snapshot, wanted: &Snapshot) -> Result<BTreeMap<RepoPath, Option<Staged>>, Error> {
        let head = self.snapshot(self.head_commit()?)?;
        let staged = |path: RepoPath| {
            let staged = match (wanted.get(&path), head.get(&path)) {
                (wanted, head) if wanted == head => None,
                (Some(entry), _) => Some(Staged::from(*entry)),
                (None, _) => Some(Staged::Removed),
            };
            (path, staged)
        };
        Ok(changed_paths(now, wanted).into_iter().map(staged).collect())
    }
}
