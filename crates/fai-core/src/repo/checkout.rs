//! `checkout`: the worktree becomes a commit, without losing what is not committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ahead::Ready;
use super::evict::ASIDE;
use super::keep::Unkept;
use super::materialize::{Target, remove_file};
use super::progress::Progress;
use super::snapshot::{Entry, Snapshot, overlay};
use super::worktree::Looker;
use super::{Error, Head, Repository};
use crate::database::{CachedStat, FileStat, Staged};
use crate::object::{CommitId, RepoPath, Time};

/// How to check out.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutOptions {
    /// Overwrite local changes and forget what is staged.
    pub force: bool,
    /// Detach `HEAD` even when a branch was named.
    pub detach: bool,
    /// When, for the operation log.
    pub time: Time,
}

/// How files follow a change of `HEAD`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switching {
    /// Overwrite local changes and forget what is staged.
    pub force: bool,
    /// Tracked files that are missing come back, also those that do not differ between the two commits.
    pub missing: bool,
    /// What happens to content that is overwritten and cannot be kept.
    pub unkept: Unkept,
}

impl Switching {
    /// What a commit that comes from elsewhere does to a worktree.
    pub const GENTLE: Self = Self {
        force: false,
        missing: true,
        unkept: Unkept::Refuse,
    };

    /// What a person asks for, who may have given up local changes.
    pub fn forced(force: bool) -> Self {
        Self {
            force,
            missing: true,
            unkept: if force { Unkept::GiveUp } else { Unkept::Refuse },
        }
    }
}

/// What a checkout did.
#[derive(Debug, Clone)]
pub struct CheckoutReport {
    /// The commit that the files come from.
    pub commit: CommitId,
    /// Where `HEAD` is now.
    pub head: Head,
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
    /// Bytes of the files written.
    pub bytes: u64,
}

/// What it takes to make the worktree another one.
pub(super) struct Switch {
    /// All that it will hold.
    target: Snapshot,
    /// What must be written for that.
    targets: Vec<Target>,
    /// What must go.
    gone: Vec<RepoPath>,
    /// Where the two sets of files differ.
    changed: BTreeSet<RepoPath>,
    staging: BTreeMap<RepoPath, Staged>,
    /// Evicted paths whose content is staged and nowhere else.
    only_staged: BTreeSet<RepoPath>,
}

/// What a switch did.
pub(super) struct Switched {
    /// Files written.
    pub written: u64,
    /// Files removed.
    pub removed: u64,
    /// Bytes of the files written.
    pub bytes: u64,
}

impl Repository {
    /// Makes the worktree a commit: files that differ between `HEAD` and it are written, removed or left when they are
    /// right already; local changes to other files stay. Tracked files that are missing come back, but not those that were
    /// evicted: they stay away in every commit.
    ///
    /// # Errors
    /// [`Error::LocalChanges`] when uncommitted work would be lost and `force` is not given; nothing is changed then.
    pub fn checkout(
        &self,
        revision: &str,
        options: CheckoutOptions,
        progress: &dyn Progress,
    ) -> Result<CheckoutReport, Error> {
        let root = self.need_worktree("checkout")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        self.nothing_underway()?;
        let (old_head, old_commit) = match self.head() {
            Ok(head) => (Some(head), self.head_commit()?),
            // A damaged HEAD says nothing of the worktree: whatever is there must not be overwritten.
            Err(Error::BadHead(_)) => (None, None),
            Err(error) => return Err(error),
        };
        let commit = self.resolve(revision)?;
        let head = self.head_after(revision, old_head.as_ref(), commit, options.detach)?;
        let report = self.switch_files(&root, old_commit, commit, Switching::forced(options.force), progress)?;
        self.move_head(&head, options.time, &format!("checkout: {revision}"))?;
        Ok(CheckoutReport { head, ..report })
    }

    /// Makes the worktree, which holds `from` and local changes, hold `to` and those changes. The caller holds the lock
    /// and sees to `HEAD`.
    pub(super) fn switch_files(
        &self,
        root: &Path,
        from: Option<CommitId>,
        to: CommitId,
        switching: Switching,
        progress: &dyn Progress,
    ) -> Result<CheckoutReport, Error> {
        let (after, before) = (self.snapshot(Some(to))?, self.snapshot(from)?);
        let done = self.switch_snapshots(root, before, after, switching, progress)?;
        Ok(CheckoutReport {
            commit: to,
            head: Head::Detached(to),
            written: done.written,
            removed: done.removed,
            bytes: done.bytes,
        })
    }

    /// The same between any two sets of files.
    pub(super) fn switch_snapshots(
        &self,
        root: &Path,
        before: Snapshot,
        after: Snapshot,
        switching: Switching,
        progress: &dyn Progress,
    ) -> Result<Switched, Error> {
        let switch = self.plan_switch(before, after, switching)?;
        let Switching { force, unkept, .. } = switching;
        let placed = self.write_worktree(root, &switch.targets, &switch.gone, unkept, progress)?;
        let keep_staged =
            |path: &RepoPath| switch.only_staged.contains(path) || !force && !switch.changed.contains(path);
        self.remember(&placed, &switch.target, &switch.gone, &switch.staging, keep_staged)?;
        Ok(Switched {
            written: placed.len() as u64,
            removed: switch.gone.len() as u64,
            bytes: switch.targets.iter().map(|target| target.entry.size).sum(),
        })
    }

    /// What it would take, unless uncommitted work would be lost and `force` is not given.
    pub(super) fn plan_switch(&self, before: Snapshot, after: Snapshot, switching: Switching) -> Result<Switch, Error> {
        let Switching { force, missing, .. } = switching;
        let staging = self.database().staging()?;
        let only_staged = self.evicted_and_staged(&staging, &before, &after, force)?;
        let target = self.kept(after, &[])?;
        let committed = self.kept(before, &[])?;
        let mut expected = committed.clone();
        overlay(&mut expected, &staging);

        let changed = changed_paths(&committed, &target);
        let wanted = match missing {
            true => self.differing(&target)?,
            false => {
                let moving = changed
                    .iter()
                    .filter_map(|path| Some((path.clone(), *target.get(path)?)));
                self.differing(&moving.collect())?
            }
        };
        if !force {
            self.refuse_to_lose(&expected, &target, &changed, &wanted)?;
        }
        let write = |path: &RepoPath| force || changed.contains(path) || self.is_missing(path);
        let targets: Vec<Target> = wanted
            .into_iter()
            .filter(|path| write(path))
            .filter_map(|path| {
                target.get(&path).map(|entry| Target {
                    path: path.clone(),
                    entry: *entry,
                })
            })
            .collect();
        let gone = committed.keys().filter(|path| !target.contains_key(*path));
        let gone: Vec<RepoPath> = gone
            .filter(|path| !matches!(staging.get(*path), Some(Staged::File { .. })))
            .cloned()
            .collect();
        Ok(Switch {
            target,
            targets,
            gone,
            changed,
            staging,
            only_staged,
        })
    }

    /// Evicted paths whose staged content is in neither commit, so that it would be lost if it were unstaged: it stays
    /// staged, whatever `force` says. Without `force` no checkout changes what is committed below them.
    fn evicted_and_staged(
        &self,
        staging: &BTreeMap<RepoPath, Staged>,
        before: &Snapshot,
        after: &Snapshot,
        force: bool,
    ) -> Result<BTreeSet<RepoPath>, Error> {
        let unsaved = staging.iter().filter(|(path, staged)| {
            let committed = after.get(*path).copied().map(Staged::from);
            matches!(staged, Staged::File { .. }) && committed != Some(**staged)
        });
        let evicted = self.evicted_and_gone(unsaved.map(|(path, _)| path))?;
        let lost: Vec<RepoPath> = evicted
            .iter()
            .filter(|path| !force && before.get(*path) != after.get(*path))
            .cloned()
            .collect();
        if lost.is_empty() {
            Ok(evicted.into_iter().collect())
        } else {
            Err(Error::LocalChanges(lost))
        }
    }

    /// Writes the files of a commit at and below `path` into the folder `destination`, which is created when needed
    /// and must hold nothing in their place. `HEAD`, staging and the worktree stay as they are.
    ///
    /// # Errors
    /// [`Error::LocalChanges`] when files are in the way.
    pub fn export(
        &self,
        commit: CommitId,
        path: &RepoPath,
        destination: &Path,
        force: bool,
        progress: &dyn Progress,
    ) -> Result<CheckoutReport, Error> {
        let files = self.snapshot_within(Some(commit), std::slice::from_ref(path))?;
        if files.is_empty() && !path.is_root() {
            return Err(Error::NotInRevision {
                path: path.clone(),
                revision: commit.short(),
            });
        }
        let in_the_way = |path: &&RepoPath| path.below(destination).symlink_metadata().is_ok();
        let blocked: Vec<RepoPath> = files.keys().filter(in_the_way).cloned().collect();
        if !blocked.is_empty() && !force {
            return Err(Error::LocalChanges(blocked));
        }
        std::fs::create_dir_all(destination).map_err(Error::io("create", destination))?;
        let aside = tempfile::Builder::new()
            .prefix(".fai-checkout-")
            .tempdir_in(destination)
            .map_err(Error::io("create a folder in", destination))?;
        let targets: Vec<Target> = files
            .iter()
            .map(|(path, entry)| Target {
                path: path.clone(),
                entry: *entry,
            })
            .collect();
        let bytes = targets.iter().map(|target| target.entry.size).sum();
        let placed = self
            .prepare(&targets, aside.path(), None, progress)?
            .place(destination)?;
        Ok(CheckoutReport {
            commit,
            head: self.head()?,
            written: placed.len() as u64,
            removed: 0,
            bytes,
        })
    }

    fn head_after(&self, revision: &str, old: Option<&Head>, commit: CommitId, detach: bool) -> Result<Head, Error> {
        Ok(match self.branch_named(revision)? {
            _ if detach => Head::Detached(commit),
            Some(branch) => Head::Branch(branch),
            None if matches!(revision, "HEAD" | "@") => old.cloned().unwrap_or(Head::Detached(commit)),
            None => Head::Detached(commit),
        })
    }

    /// The paths of `target` where the worktree holds something else, or nothing.
    pub(super) fn differing(&self, target: &Snapshot) -> Result<BTreeSet<RepoPath>, Error> {
        let paths: Vec<&RepoPath> = target.keys().collect();
        let (_, missing) = self.look_at(&paths);
        Ok(self.changed_locally(target)?.into_iter().chain(missing).collect())
    }

    fn is_missing(&self, path: &RepoPath) -> bool {
        let root = self.worktree.clone().unwrap_or_default();
        Looker::new(&root).look(path).is_err()
    }

    /// True when something stands at `path` that was never committed: a file that is not tracked, a link, a folder
    /// with more in it than tracked files that make way.
    pub(super) fn is_in_the_way(
        &self,
        path: &RepoPath,
        expected: &Snapshot,
        changed: &BTreeSet<RepoPath>,
    ) -> Result<bool, Error> {
        let root = self.worktree.clone().unwrap_or_default();
        let metadata = match Looker::new(&root).look(path) {
            Ok(metadata) => metadata,
            Err(_) => return Ok(false),
        };
        if !metadata.is_dir() {
            return Ok(!metadata.is_file() || !expected.contains_key(path));
        }
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            let absolute = folder.below(&root);
            for entry in std::fs::read_dir(&absolute).map_err(Error::io("read", &absolute))? {
                let entry = entry.map_err(Error::io("read", &absolute))?;
                let kind = entry.file_type().map_err(Error::io("read", &absolute))?;
                let name = entry.file_name();
                let Some(inner) = name.to_str().map(|name| folder.join(name)) else {
                    return Ok(true);
                };
                if kind.is_dir() {
                    folders.push(inner);
                } else if !kind.is_file() || !expected.contains_key(&inner) || !changed.contains(&inner) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Fails when a path that the checkout would change holds work that is in no commit.
    pub(super) fn refuse_to_lose(
        &self,
        expected: &Snapshot,
        target: &Snapshot,
        changed: &BTreeSet<RepoPath>,
        differing: &BTreeSet<RepoPath>,
    ) -> Result<(), Error> {
        // What is on disk is safe when it is what is expected, or what the target wants there anyway.
        let tracked: Snapshot = changed
            .iter()
            .filter_map(|path| Some((path.clone(), *expected.get(path)?)))
            .collect();
        let modified: BTreeSet<RepoPath> = self.changed_locally(&tracked)?.into_iter().collect();
        let mut lost: Vec<RepoPath> = Vec::new();
        for path in changed {
            let right_already = target.contains_key(path) && !differing.contains(path);
            let unsaved = modified.contains(path) || self.is_in_the_way(path, expected, changed)?;
            let staged_only = expected.get(path).is_some_and(|entry| target.get(path) != Some(entry))
                && !self.is_committed(path, expected)?;
            if !right_already && (unsaved || staged_only) {
                lost.push(path.clone());
            }
        }
        lost.extend(self.blocked_folders(target, expected, changed));
        lost.sort();
        lost.dedup();
        if lost.is_empty() {
            Ok(())
        } else {
            Err(Error::LocalChanges(lost))
        }
    }

    /// True when what is expected at `path` is what `HEAD` has there.
    fn is_committed(&self, path: &RepoPath, expected: &Snapshot) -> Result<bool, Error> {
        let staging = self.database().staging()?;
        let Some(Staged::File { file, executable, .. }) = staging.get(path) else {
            return Ok(true);
        };
        Ok(expected
            .get(path)
            .is_none_or(|entry| entry.file != *file || entry.executable != *executable))
    }

    /// Files of the worktree that stand where the target needs a folder, and the other way round.
    pub(super) fn blocked_folders(
        &self,
        target: &Snapshot,
        expected: &Snapshot,
        changed: &BTreeSet<RepoPath>,
    ) -> Vec<RepoPath> {
        let root = self.worktree.clone().unwrap_or_default();
        let mut blocked = Vec::new();
        for path in changed.iter().filter(|path| target.contains_key(*path)) {
            let mut folder = path.split_last().map(|(folder, _)| folder);
            while let Some(above) = folder.filter(|folder| !folder.is_root()) {
                let is_file = above
                    .below(&root)
                    .symlink_metadata()
                    .is_ok_and(|metadata| !metadata.is_dir());
                if is_file && !expected.contains_key(&above) {
                    blocked.push(above.clone());
                }
                folder = above.split_last().map(|(folder, _)| folder);
            }
        }
        blocked
    }

    /// Carries out a change of the worktree: everything is written aside before anything is touched, and
    /// what makes way is kept.
    pub(super) fn write_worktree(
        &self,
        root: &Path,
        targets: &[Target],
        gone: &[RepoPath],
        unkept: Unkept,
        progress: &dyn Progress,
    ) -> Result<Vec<(RepoPath, FileStat)>, Error> {
        let temporary = self.directory.join("tmp");
        discard_leftovers(&temporary, Some(&self.ready))?;
        let prepared = self.prepare(targets, &temporary, Some(&self.ready), progress)?;
        let before = self.keep_and_note(root, targets, gone, unkept, progress)?;
        let removed = gone.iter().try_for_each(|path| remove_file(root, path));
        let placed = removed.and_then(|()| prepared.place(root));
        if placed.is_err() {
            self.note_failure(root, &before)?;
        }
        placed
    }

    /// Tells the stat cache and staging about a changed worktree.
    pub(super) fn remember(
        &self,
        placed: &[(RepoPath, FileStat)],
        files: &Snapshot,
        gone: &[RepoPath],
        staging: &BTreeMap<RepoPath, Staged>,
        keep_staged: impl Fn(&RepoPath) -> bool,
    ) -> Result<(), Error> {
        let (recorded, evicted) = (self.file_system_clock()?, self.database().evicted()?);
        self.database().transaction(|writer| {
            let touched = placed.iter().map(|(path, _)| path).chain(gone);
            touched
                .filter(|path| evicted.contains(*path))
                .try_for_each(|path| writer.end_eviction(path))?;
            for (path, stat) in placed {
                if let Some(Entry { file, .. }) = files.get(path).copied() {
                    writer.remember_stat(
                        path,
                        &CachedStat {
                            stat: *stat,
                            file,
                            recorded,
                        },
                    )?;
                }
            }
            for path in gone {
                writer.forget_stat(path)?;
            }
            for path in staging.keys().filter(|path| !keep_staged(path)) {
                writer.unstage(path)?;
            }
            Ok(())
        })
    }
}

/// Removes what a killed checkout left aside, and returns how many files it was, and their length. The caller holds the
/// lock under which such files are written, so nobody but itself needs them, which has those that are `ready`.
pub(super) fn discard_leftovers(temporary: &Path, ready: Option<&Ready>) -> Result<(u64, u64), Error> {
    let (mut files, mut bytes) = (0, 0);
    let listing = std::fs::read_dir(temporary).map_err(Error::io("list", temporary))?;
    for entry in listing {
        let path = entry.map_err(Error::io("list", temporary))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What an eviction took aside may be the only copy of what it holds: the next one looks at it before it goes.
        let needed = name.starts_with(ASIDE) || ready.is_some_and(|ready| ready.holds(&path));
        if name != "clock" && !needed {
            bytes += path.symlink_metadata().map_or(0, |metadata| metadata.len());
            files += 1;
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok((files, bytes))
}

/// Paths at which two snapshots differ.
pub(super) fn changed_paths(before: &Snapshot, after: &Snapshot) -> BTreeSet<RepoPath> {
    let differs = |path: &&RepoPath| before.get(*path) != after.get(*path);
    before.keys().chain(after.keys()).filter(differs).cloned().collect()
}
