//! What a command is about to overwrite or remove in the worktree is stored first, as `add` would store it but without
//! staging it, so that undoing the command can bring it back.

use std::path::Path;

use super::add::Stored;
use super::bases::Bases;
use super::materialize::Target;
use super::progress::{Event, Progress};
use super::snapshot::{Entry, Snapshot};
use super::walk::Found;
use super::worktree::{Looker, file_stat, is_executable};
use super::{Error, Repository, Silent};
use crate::database::{Effect, State, What};
use crate::object::RepoPath;
use crate::storage::free_space;

/// What to do about content that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unkept {
    /// The command does not go on.
    Refuse,
    /// The user has given it up.
    GiveUp,
}

impl From<Entry> for State {
    fn from(Entry { file, size, executable }: Entry) -> Self {
        State::File { file, size, executable }
    }
}

impl Repository {
    /// How each of `paths` stands in the worktree, whose content is durable when this returns. Nothing is asked and nothing
    /// kept when no command is written down.
    ///
    /// # Errors
    /// [`Error::CannotKeep`] when there is no room for it or it cannot be read, and `unkept` says so.
    pub(super) fn keep(
        &self,
        root: &Path,
        paths: &[&RepoPath],
        unkept: Unkept,
        progress: &dyn Progress,
    ) -> Result<Vec<(RepoPath, State)>, Error> {
        if !self.database().has_command() {
            return Ok(Vec::new());
        }
        let (mut states, mut unknown) = (Vec::with_capacity(paths.len()), Vec::new());
        let mut looker = Looker::new(root);
        let partial = self.selection()?.is_some();
        for path in paths {
            let path = (*path).clone();
            let state = match looker.look(&path) {
                Err(_) => State::Nothing,
                Ok(metadata) if metadata.is_dir() => State::Nothing,
                Ok(metadata) if !metadata.is_file() => State::Lost,
                Ok(metadata) => {
                    let (stat, executable) = (file_stat(&metadata), is_executable(&metadata));
                    let cached = self.database().stat_of(&path)?.filter(|cached| cached.proves(&stat));
                    let here = |cached: &crate::database::CachedStat| match partial {
                        true => self.store.holds(cached.file),
                        false => self.store.has(crate::object::Id::hash(&cached.file)),
                    };
                    match cached {
                        Some(cached) if here(&cached)? => State::File {
                            file: cached.file,
                            size: stat.size,
                            executable,
                        },
                        _ => {
                            unknown.push(Found { path, stat, executable });
                            continue;
                        }
                    }
                }
            };
            states.push((path, state));
        }
        states.extend(self.keep_unknown(unknown, unkept, progress)?);
        Ok(states)
    }

    fn keep_unknown(
        &self,
        files: Vec<Found>,
        unkept: Unkept,
        progress: &dyn Progress,
    ) -> Result<Vec<(RepoPath, State)>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let needed: u64 = files.iter().map(|found| found.stat.size).sum();
        let free = free_space(&self.directory)?;
        let stored = match needed <= free {
            true => self.store_kept(&files),
            false => Err(Error::NoSpace {
                path: self.directory.clone(),
                needed,
                free,
            }),
        };
        let (stored, mut reason) = match stored {
            Ok((stored, refused)) => (stored, refused.first().map(ToString::to_string)),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let mut states: Vec<(RepoPath, State)> = stored
            .into_iter()
            .map(|Stored { found, file, .. }| {
                let (size, executable) = (found.stat.size, found.executable);
                (found.path, State::File { file, size, executable })
            })
            .collect();
        let kept: std::collections::BTreeSet<RepoPath> = states.iter().map(|(path, _)| path.clone()).collect();
        let lost: Vec<RepoPath> = files
            .into_iter()
            .map(|found| found.path)
            .filter(|path| !kept.contains(path))
            .collect();
        if lost.is_empty() {
            return Ok(states);
        }
        let reason = reason
            .take()
            .unwrap_or_else(|| "it changes while it is read".to_owned());
        if unkept == Unkept::Refuse {
            return Err(Error::CannotKeep { paths: lost, reason });
        }
        progress.on(Event::Warning(&format!(
            "{} files could not be kept, so this cannot be undone: {reason}",
            lost.len()
        )));
        states.extend(lost.into_iter().map(|path| (path, State::Lost)));
        Ok(states)
    }

    fn store_kept(&self, files: &[Found]) -> Result<(Vec<Stored>, Vec<Error>), Error> {
        let scopes: Vec<RepoPath> = files.iter().map(|found| found.path.clone()).collect();
        let expected: Snapshot = match scopes.len() {
            0..1000 => self.expected(&scopes)?.0,
            _ => self.expected(&[])?.0,
        };
        let mut bases = Bases::new(self, &expected, Vec::new());
        let (clock, mut refused) = (self.file_system_clock()?, Vec::new());
        let stored = self.store_files(files, clock, &Silent, &mut refused, &[], &mut bases)?;
        self.database().transaction(|writer| {
            stored
                .iter()
                .try_for_each(|stored| match (&stored.summary, &stored.known) {
                    (Some(summary), Some(known)) => writer.insert_file(
                        &known.record(summary.file, summary.content, summary.size),
                        &known.tensors,
                    ),
                    _ => Ok(()),
                })
        })?;
        Ok((stored, refused))
    }

    /// Writes down what is about to happen to files: `before` says how they stand, `after` how they will.
    pub(super) fn note_files(
        &self,
        before: &[(RepoPath, State)],
        after: impl Fn(&RepoPath) -> State,
    ) -> Result<(), Error> {
        if before.is_empty() {
            return Ok(());
        }
        self.database().transaction(|writer| {
            for (path, before) in before {
                let after = after(path);
                if *before != after {
                    writer.note_effect(&Effect {
                        what: What::File,
                        name: path.to_string(),
                        before: before.clone(),
                        after,
                    })?;
                }
            }
            Ok(())
        })
    }

    /// Keeps what stands where files are about to be written or removed, and writes down what is about to happen.
    pub(super) fn keep_and_note(
        &self,
        root: &Path,
        targets: &[Target],
        gone: &[RepoPath],
        unkept: Unkept,
        progress: &dyn Progress,
    ) -> Result<Vec<(RepoPath, State)>, Error> {
        let wanted: Snapshot = targets
            .iter()
            .map(|target| (target.path.clone(), target.entry))
            .collect();
        let paths: Vec<&RepoPath> = wanted.keys().chain(gone).collect();
        let before = self.keep(root, &paths, unkept, progress)?;
        self.note_files(&before, |path| {
            wanted.get(path).map_or(State::Nothing, |entry| (*entry).into())
        })?;
        Ok(before)
    }

    /// What was written down and did not happen, because the command failed, is taken out of the log again. `before` is how
    /// the files stood.
    pub(super) fn note_failure(&self, root: &Path, before: &[(RepoPath, State)]) -> Result<(), Error> {
        let moved = self.unlike_states(root, before.iter().map(|(path, state)| (path, state)))?;
        let unmoved = before.iter().filter(|(path, _)| !moved.contains(path));
        self.database().transaction(|writer| {
            for (path, state) in unmoved {
                writer.note_effect(&Effect {
                    what: What::File,
                    name: path.to_string(),
                    before: state.clone(),
                    after: state.clone(),
                })?;
            }
            Ok(())
        })
    }
}
