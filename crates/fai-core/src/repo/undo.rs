//! `undo` and `redo`: everything that one command changed goes back, or forward again.
//!
//! Each thing must stand as the command left it, or already as it is to be. So what was changed since is never lost, and an
//! undo that was killed halfway is completed by the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::keep::Unkept;
use super::materialize::Target;
use super::progress::Progress;
use super::snapshot::{Entry, Snapshot};
use super::worktree::Looker;
use super::{Error, Head, Repository};
use crate::database::{CommandKind, CommandRow, Effect, Operation, Staged, State, What, Writer};
use crate::object::{CommitId, Id, RepoPath, Time};

/// Commands that are read from the log at a time.
const PAGE: usize = 100;

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Back to how things were before the command.
    Undo,
    /// Forward to how they were after it.
    Redo,
}

impl Direction {
    /// What the command of it is called.
    pub fn verb(self) -> &'static str {
        match self {
            Direction::Undo => "undo",
            Direction::Redo => "redo",
        }
    }
}

/// How to undo or redo.
#[derive(Debug, Clone, Copy)]
pub struct UndoOptions {
    /// Which of the two.
    pub direction: Direction,
    /// When, for the log.
    pub time: Time,
    /// Also where something was changed since.
    pub force: bool,
}

/// A command that was taken back, or done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted {
    /// Its number.
    pub id: i64,
    /// The command itself.
    pub command: String,
    /// Refs that moved, `HEAD` counted.
    pub refs: Vec<String>,
    /// Paths whose staging changed.
    pub staged: u64,
    /// Files that were written.
    pub written: u64,
    /// Files that were removed.
    pub removed: u64,
}

/// What later entries of the log say of earlier ones. Entries are shown newest first.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// By command: true when it was taken back last, false when it was done again.
    undone: HashMap<i64, bool>,
}

impl Marks {
    /// True when later entries took this command back.
    pub fn is_undone(&mut self, row: &CommandRow) -> bool {
        match row.kind {
            CommandKind::Undo(id) => {
                self.undone.entry(id).or_insert(true);
            }
            CommandKind::Redo(id) => {
                self.undone.entry(id).or_insert(false);
            }
            CommandKind::Plain => return self.undone.get(&row.id).copied().unwrap_or(false),
        }
        false
    }
}

/// What is to be done about files.
#[derive(Default)]
struct Files {
    targets: Vec<Target>,
    gone: Vec<RepoPath>,
}

impl Repository {
    /// Takes the newest command back that was not yet taken back, or does the one again that was taken back last.
    ///
    /// # Errors
    /// [`Error::NothingToUndo`], [`Error::TooOld`]; [`Error::ChangedSince`] names what would be lost, and nothing is changed
    /// then.
    pub fn undo(&self, options: UndoOptions, progress: &dyn Progress) -> Result<Reverted, Error> {
        let _pin = self.pin()?;
        let _alone = self.alone()?;
        self.nothing_underway()?;
        let _no_commits = super::durable::lock(&self.directory.join("commit.lock"), false)?;
        let row = self.to_revert(options.direction)?;
        let effects = self.database().effects(row.id)?;
        if effects.is_empty() {
            return Err(Error::TooOld { command: row.command });
        }
        let back = options.direction == Direction::Undo;
        let effects: Vec<Effect> = match back {
            true => effects.into_iter().map(turned).collect(),
            false => effects,
        };
        let changed = self.changed_since(&effects)?;
        if !options.force && !changed.is_empty() {
            return Err(Error::ChangedSince {
                command: row.command,
                names: changed.into_iter().collect(),
            });
        }
        let files = self.files_to_move(&row, &effects, options.force)?;
        let kind = match back {
            true => CommandKind::Undo(row.id),
            false => CommandKind::Redo(row.id),
        };
        let text = format!("{}: {}", options.direction.verb(), row.command);
        self.begin_as(options.time, &text, kind)?;
        let marked = self.database().evicted()?;
        let (written, removed) = self.move_files(&files, options.force, progress)?;
        let log = |name: &str, before, after| Operation {
            time: options.time,
            command: text.clone(),
            name: name.to_owned(),
            before,
            after,
        };
        self.database().transaction(|writer| {
            // Also where a killed undo had left nothing to do; and not done before HEAD has moved as well.
            writer.enter_command()?;
            // A file that is written ends the eviction of its path; where the command left that as it was, so does this.
            marked.iter().try_for_each(|path| writer.evict(path))?;
            for effect in &effects {
                match (effect.what, RepoPath::parse(&effect.name)) {
                    (What::Staging, Ok(path)) => put_staging(writer, &path, &effect.after)?,
                    (What::Evicted, Ok(path)) if effect.after == State::Evicted => writer.evict(&path)?,
                    (What::Evicted, Ok(path)) => writer.end_eviction(&path)?,
                    (What::Ref, _) => {
                        let (now, after) = (writer.read_ref(&effect.name)?, commit(&effect.after));
                        if now != after {
                            writer.move_ref(&effect.name, now, after)?;
                            writer.log_operation(&log(&effect.name, now, after))?;
                        }
                    }
                    _ => {}
                }
            }
            Ok::<(), Error>(())
        })?;
        for effect in effects.iter().filter(|effect| effect.what == What::Head) {
            if let State::Head(said) = &effect.after
                && let Some(head) = Head::parse(said)
            {
                self.move_head(&head, options.time, &text)?;
            }
        }
        let refs = effects
            .iter()
            .filter(|effect| matches!(effect.what, What::Ref | What::Head));
        Ok(Reverted {
            id: row.id,
            command: row.command,
            refs: refs.map(|effect| effect.name.clone()).collect(),
            staged: effects.iter().filter(|effect| effect.what == What::Staging).count() as u64,
            written,
            removed,
        })
    }

    /// The command to take back or to do again.
    fn to_revert(&self, direction: Direction) -> Result<CommandRow, Error> {
        let nothing = Error::NothingToUndo(direction.verb());
        let (mut below, mut marks) = (i64::MAX, Marks::default());
        let mut wanted: Option<i64> = None;
        loop {
            let page = self.database().commands(below, PAGE)?;
            let Some(last) = page.last() else { return Err(nothing) };
            below = last.id;
            for row in page {
                let first = marks.undone.is_empty();
                let undone = marks.is_undone(&row);
                match (direction, row.kind) {
                    _ if wanted == Some(row.id) => return Ok(row),
                    // One that was killed goes on.
                    (Direction::Undo, CommandKind::Undo(id)) if first && !row.finished => wanted = Some(id),
                    (Direction::Undo, CommandKind::Plain) if wanted.is_none() && !undone => return Ok(row),
                    (Direction::Redo, CommandKind::Undo(id))
                        if wanted.is_none() && marks.undone.get(&id) == Some(&true) =>
                    {
                        wanted = Some(id);
                    }
                    // Whoever goes on from there has left what was taken back behind.
                    (Direction::Redo, CommandKind::Plain) if wanted.is_none() => return Err(nothing),
                    _ => {}
                }
            }
        }
    }

    /// Refs and paths that stand neither as the command left them nor as they are to be.
    fn changed_since(&self, effects: &[Effect]) -> Result<BTreeSet<String>, Error> {
        let mut changed = BTreeSet::new();
        let (staging, evicted) = (self.database().staging()?, self.database().evicted()?);
        for effect in effects {
            let path = || RepoPath::parse(&effect.name).unwrap_or_default();
            let now = match effect.what {
                What::Staging => staging.get(&path()).map_or(State::Nothing, |staged| (*staged).into()),
                What::Evicted if evicted.contains(&path()) => State::Evicted,
                What::Evicted => State::Nothing,
                What::Ref => self
                    .database()
                    .read_ref(&effect.name)?
                    .map_or(State::Nothing, State::Commit),
                What::Head => self.head().map_or(State::Nothing, |head| State::Head(head.text())),
                What::File => continue,
            };
            if now != effect.before && now != effect.after {
                changed.insert(effect.name.clone());
            }
        }
        changed.extend(self.files_changed_since(effects)?);
        Ok(changed)
    }

    fn files_changed_since(&self, effects: &[Effect]) -> Result<BTreeSet<String>, Error> {
        let files: Vec<(RepoPath, &Effect)> = file_effects(effects).collect();
        let Some(root) = self.worktree.as_deref().filter(|_| !files.is_empty()) else {
            return Ok(BTreeSet::new());
        };
        let before = self.unlike_states(root, files.iter().map(|(path, effect)| (path, &effect.before)))?;
        let doubtful = files.iter().filter(|(path, _)| before.contains(path));
        let changed = self.unlike_states(root, doubtful.map(|(path, effect)| (path, &effect.after)))?;
        Ok(changed.iter().map(ToString::to_string).collect())
    }

    /// Which paths do not stand in the worktree as they should.
    pub(super) fn unlike_states<'e>(
        &self,
        root: &Path,
        states: impl Iterator<Item = (&'e RepoPath, &'e State)>,
    ) -> Result<BTreeSet<RepoPath>, Error> {
        let (mut unlike, mut files) = (BTreeSet::new(), Snapshot::new());
        let mut looker = Looker::new(root);
        for (path, state) in states {
            let stands = looker.look(path).ok();
            match entry(state) {
                Some(entry) if stands.as_ref().is_some_and(|found| found.is_file()) => {
                    files.insert(path.clone(), entry);
                }
                // An empty folder may be left of it.
                None if *state == State::Nothing && stands.as_ref().is_none_or(std::fs::Metadata::is_dir) => {}
                _ => {
                    unlike.insert(path.clone());
                }
            }
        }
        unlike.extend(self.changed_locally(&files)?);
        Ok(unlike)
    }

    /// What must be written and removed. All of it is here, or nothing is done; with `force` what was not kept stays as it is.
    fn files_to_move(&self, row: &CommandRow, effects: &[Effect], force: bool) -> Result<Files, Error> {
        let mut files = Files::default();
        let mut lost = Vec::new();
        for (path, effect) in file_effects(effects) {
            match (entry(&effect.after), &effect.after) {
                (Some(entry), _) => {
                    if !self.store.has(entry.file.hash())? {
                        return Err(Error::TooOld {
                            command: row.command.clone(),
                        });
                    }
                    files.targets.push(Target { path, entry });
                }
                (None, State::Lost) => lost.push(path),
                (None, _) => files.gone.push(path),
            }
        }
        for effect in effects {
            let missing = match &effect.after {
                State::Commit(commit) => !self.store.has(commit.hash())?,
                State::File { file, .. } => !self.store.has(file.hash())?,
                _ => false,
            };
            if missing {
                return Err(Error::TooOld {
                    command: row.command.clone(),
                });
            }
        }
        match lost.is_empty() || force {
            true => Ok(files),
            false => Err(Error::CannotKeep {
                paths: lost,
                reason: "they were not kept when they were overwritten".to_owned(),
            }),
        }
    }

    fn move_files(&self, files: &Files, force: bool, progress: &dyn Progress) -> Result<(u64, u64), Error> {
        let Some(root) = self.worktree.clone() else {
            return Ok((0, 0));
        };
        let wanted: Snapshot = files
            .targets
            .iter()
            .map(|target| (target.path.clone(), target.entry))
            .collect();
        let differing = self.differing(&wanted)?;
        let targets: Vec<Target> = files
            .targets
            .iter()
            .filter(|target| differing.contains(&target.path))
            .cloned()
            .collect();
        let mut looker = Looker::new(&root);
        let stands = |path: &&RepoPath| looker.look(path).is_ok_and(|found| !found.is_dir());
        let gone: Vec<RepoPath> = files.gone.iter().filter(stands).cloned().collect();
        if targets.is_empty() && gone.is_empty() {
            return Ok((0, 0));
        }
        let unkept = if force { Unkept::GiveUp } else { Unkept::Refuse };
        let placed = self.write_worktree(&root, &targets, &gone, unkept, progress)?;
        self.remember(&placed, &wanted, &gone, &BTreeMap::new(), |_| true)?;
        Ok((placed.len() as u64, gone.len() as u64))
    }
}

fn turned(effect: Effect) -> Effect {
    Effect {
        before: effect.after,
        after: effect.before,
        ..effect
    }
}

fn file_effects(effects: &[Effect]) -> impl Iterator<Item = (RepoPath, &Effect)> {
    let files = effects.iter().filter(|effect| effect.what == What::File);
    files.filter_map(|effect| Some((RepoPath::parse(&effect.name).ok()?, effect)))
}

fn entry(state: &State) -> Option<Entry> {
    match *state {
        State::File { file, size, executable } => Some(Entry { file, size, executable }),
        _ => None,
    }
}

fn commit(state: &State) -> Option<CommitId> {
    match state {
        State::Commit(commit) => Some(*commit),
        _ => None,
    }
}

fn put_staging(writer: &Writer<'_>, path: &RepoPath, state: &State) -> Result<(), Error> {
    match (entry(state), state) {
        (Some(entry), _) => writer.stage(path, &Staged::from(entry))?,
        (None, State::Removed) => writer.stage(path, &Staged::Removed)?,
        _ => writer.unstage(path)?,
    }
    Ok(())
}

impl From<Staged> for State {
    fn from(staged: Staged) -> Self {
        match staged {
            Staged::Removed => State::Removed,
            Staged::File { file, size, executable } => State::File { file, size, executable },
        }
    }
}
