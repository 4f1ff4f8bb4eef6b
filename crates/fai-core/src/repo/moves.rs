//! `rm` and `mv`: changes of the worktree and of what is staged in one step.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::absence::Absences;
use super::keep::Unkept;
use super::materialize::remove_file;
use super::snapshot::Snapshot;
use super::worktree::file_stat;
use super::{Error, Repository, Silent};
use crate::database::{CachedStat, FileStat, Staged, State};
use crate::object::RepoPath;

/// What a move did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveReport {
    /// Tracked files with their old and new paths.
    pub moved: Vec<(RepoPath, RepoPath)>,
}

impl Repository {
    /// Stops tracking the files at and below `paths` and, unless `cached`, removes them from the worktree. Returns
    /// their paths.
    ///
    /// # Errors
    /// When a path is not tracked, is a folder and `recursive` is not given, or holds changes that are in no commit
    /// and `force` is not given; the same for what is evicted and in no commit, as nothing of it stays.
    pub fn remove(
        &self,
        paths: &[RepoPath],
        recursive: bool,
        cached: bool,
        force: bool,
    ) -> Result<Vec<RepoPath>, Error> {
        let root = self.need_worktree("rm")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let (expected, staging) = self.expected(paths)?;
        let mut chosen = Snapshot::new();
        for path in paths {
            let below = expected.iter().filter(|(name, _)| name.is_within(path));
            let found: Vec<_> = below.map(|(name, entry)| (name.clone(), *entry)).collect();
            if found.is_empty() {
                return Err(Error::NoSuchPath(path.as_str().into()));
            }
            if !recursive && !expected.contains_key(path) {
                return Err(Error::WrongKind {
                    path: path.to_string(),
                    found: "a folder",
                    wanted: "a file, or -r,",
                });
            }
            chosen.extend(found);
        }
        if !force && !cached {
            let mut lost = self.changed_locally(&chosen)?;
            lost.extend(
                chosen
                    .keys()
                    .filter(|path| matches!(staging.get(*path), Some(Staged::File { .. })))
                    .cloned(),
            );
            if !lost.is_empty() {
                lost.sort();
                lost.dedup();
                return Err(Error::LocalChanges(lost));
            }
        }
        let head = self.snapshot_within(self.head_commit()?, paths)?;
        if !force && cached {
            let staged = chosen.iter().filter(|(path, entry)| head.get(*path) != Some(entry));
            let lost = self.evicted_and_gone(staged.map(|(path, _)| path))?;
            if !lost.is_empty() {
                return Err(Error::OnlyStaged(lost));
            }
        }
        if !cached {
            let unkept = if force { Unkept::GiveUp } else { Unkept::Refuse };
            let before = self.keep(&root, &chosen.keys().collect::<Vec<_>>(), unkept, &Silent)?;
            self.note_files(&before, |_| State::Nothing)?;
        }
        self.database().transaction(|writer| {
            for path in chosen.keys() {
                writer.end_conflict(path)?;
                match head.contains_key(path) {
                    true => writer.stage(path, &Staged::Removed)?,
                    false => writer.unstage(path)?,
                }
                writer.forget_stat(path)?;
                writer.end_eviction(path)?;
            }
            Ok::<(), Error>(())
        })?;
        if !cached {
            chosen.keys().try_for_each(|path| remove_file(&root, path))?;
        }
        Ok(chosen.into_keys().collect())
    }

    /// Renames a tracked file, or a folder with tracked files, in the worktree and in what is staged. When `to` is a
    /// folder, `from` moves into it. Nothing is ever overwritten unless `force`. What is not in the worktree on purpose
    /// is not there at its new place either, also where something else stood.
    ///
    /// # Errors
    /// When `from` is not tracked or not there, or something is at the new place.
    pub fn rename(&self, from: &RepoPath, to: &RepoPath, force: bool) -> Result<MoveReport, Error> {
        let root = self.need_worktree("mv")?.to_owned();
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        let (expected, _) = self.expected(std::slice::from_ref(from))?;
        let (_, name) = from
            .split_last()
            .ok_or_else(|| Error::Usage("the root cannot be moved".into()))?;
        let to = if to.below(&root).is_dir() {
            to.join(name)
        } else {
            to.clone()
        };
        if to.is_within(from) {
            return Err(Error::Usage(format!("{from} cannot be moved into itself")));
        }
        let pairs: Vec<(RepoPath, RepoPath)> = expected
            .keys()
            .filter(|path| path.is_within(from))
            .map(|path| (path.clone(), moved(path, from, &to)))
            .collect();
        let (source, absences) = (from.below(&root), self.absences()?);
        let stands = source.symlink_metadata().is_ok();
        if pairs.is_empty() || !stands && !pairs.iter().all(|(path, _)| absences.allow(path)) {
            return Err(Error::NoSuchPath(from.as_str().into()));
        }
        let target = to.below(&root);
        if !force && (target.symlink_metadata().is_ok() || self.is_absent(&to, &absences)?) {
            return Err(Error::LocalChanges(vec![to]));
        }
        let known = self.proven(&root, &pairs)?;
        if stands && let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let before = self.note_renames(&root, &pairs)?;
        let placed = match stands {
            true => fs::rename(&source, &target).map_err(Error::io("rename", &source)),
            // Nothing comes, and what stands there makes way all the same: it was kept.
            false => pairs.iter().try_for_each(|(_, to)| remove_file(&root, to)),
        };
        if let Err(error) = placed {
            self.note_failure(&root, &before)?;
            return Err(error);
        }
        let known = self.still_proven(&root, &pairs, &known)?;
        let head = self.snapshot_within(self.head_commit()?, &[from.clone(), to])?;
        self.stage_renames(&pairs, &expected, &head, &known, &absences)?;
        Ok(MoveReport { moved: pairs })
    }

    /// True when something at or below `path` is tracked and not there on purpose.
    fn is_absent(&self, path: &RepoPath, absences: &Absences) -> Result<bool, Error> {
        if absences.is_empty() {
            return Ok(false);
        }
        let (tracked, _) = self.expected(std::slice::from_ref(path))?;
        Ok(tracked.keys().any(|path| absences.allow(path)))
    }

    /// Keeps what is renamed as well as what makes way for it: undoing may have to write either.
    fn note_renames(&self, root: &Path, pairs: &[(RepoPath, RepoPath)]) -> Result<Vec<(RepoPath, State)>, Error> {
        let paths: Vec<&RepoPath> = pairs.iter().flat_map(|(from, to)| [from, to]).collect();
        let before = self.keep(root, &paths, Unkept::GiveUp, &Silent)?;
        let stood: BTreeMap<RepoPath, State> = before.iter().cloned().collect();
        let came: BTreeMap<&RepoPath, &RepoPath> = pairs.iter().map(|(from, to)| (to, from)).collect();
        let after = |path: &RepoPath| {
            let from = came.get(path).and_then(|from| stood.get(*from));
            from.cloned().unwrap_or(State::Nothing)
        };
        self.note_files(&before, after)?;
        Ok(before)
    }

    /// What the stat cache proves of files that are about to be renamed.
    fn proven(&self, root: &Path, pairs: &[(RepoPath, RepoPath)]) -> Result<Vec<Option<CachedStat>>, Error> {
        let cache = self.database().stat_cache()?;
        let prove = |(from, _): &(RepoPath, RepoPath)| {
            let cached = cache.get(from.as_str())?;
            let metadata = from.below(root).symlink_metadata().ok()?;
            cached.proves(&file_stat(&metadata)).then_some(*cached)
        };
        Ok(pairs.iter().map(prove).collect())
    }

    /// The same after the renaming, which changes ctime and nothing else: what was proven of the content stays so.
    fn still_proven(
        &self,
        root: &Path,
        pairs: &[(RepoPath, RepoPath)],
        known: &[Option<CachedStat>],
    ) -> Result<Vec<Option<CachedStat>>, Error> {
        let prove = |((_, to), known): (&(RepoPath, RepoPath), &Option<CachedStat>)| {
            let before = known.as_ref()?;
            let stat = file_stat(&to.below(root).symlink_metadata().ok()?);
            let renamed = FileStat {
                ctime: stat.ctime,
                ..before.stat
            };
            (stat == renamed).then_some(CachedStat { stat, ..*before })
        };
        let mut proven: Vec<_> = pairs.iter().zip(known).map(prove).collect();
        let latest = proven.iter().flatten().map(|cached| cached.stat.ctime).max();
        let clock = self.file_system_clock_after(latest.unwrap_or_default())?;
        proven.iter_mut().flatten().for_each(|cached| cached.recorded = clock);
        Ok(proven)
    }

    fn stage_renames(
        &self,
        pairs: &[(RepoPath, RepoPath)],
        expected: &Snapshot,
        head: &Snapshot,
        known: &[Option<CachedStat>],
        absences: &Absences,
    ) -> Result<(), Error> {
        self.database().transaction(|writer| {
            for ((from, to), known) in pairs.iter().zip(known) {
                let Some(entry) = expected.get(from) else { continue };
                match head.contains_key(from) {
                    true => writer.stage(from, &Staged::Removed)?,
                    false => writer.unstage(from)?,
                }
                match head.get(to) == Some(entry) {
                    true => writer.unstage(to)?,
                    false => writer.stage(to, &Staged::from(*entry))?,
                }
                match absences.is_evicted(from) {
                    true => writer.evict(to)?,
                    false => writer.end_eviction(to)?,
                }
                writer.end_eviction(from)?;
                writer.forget_stat(from)?;
                match known {
                    Some(known) => writer.remember_stat(to, known)?,
                    None => writer.forget_stat(to)?,
                }
            }
            Ok(())
        })
    }
}

/// `path`, which is within `from`, at its new place.
fn moved(path: &RepoPath, from: &RepoPath, to: &RepoPath) -> RepoPath {
    let skip = from.names().count();
    path.names().skip(skip).fold(to.clone(), |path, name| path.join(name))
}
