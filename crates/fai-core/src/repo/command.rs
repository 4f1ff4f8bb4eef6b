//! One command of a user is one operation: what it changes belongs together and can be taken back together. What exactly is
//! written down of it is decided in `database/commands`; taking it back is in `undo`.

use std::fs::File;

use super::durable::{lock, try_lock};
use super::{Error, Repository};
use crate::database::{CommandKind, CommandRow, What};
use crate::object::Time;

/// The longest command line that is kept, in characters.
const LONGEST: usize = 500;

/// A command of the operation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCommand {
    /// Which one.
    pub row: CommandRow,
    /// How many refs it moved, `HEAD` counted.
    pub refs: u64,
    /// How many paths it staged or unstaged.
    pub staged: u64,
    /// How many files of the worktree it wrote or removed.
    pub files: u64,
    /// True when it was taken back and not done again.
    pub undone: bool,
}

/// Nobody else changes the worktree while this lives. When it ends, what the command did to files counts as whole.
pub(super) struct Alone<'a> {
    repository: &'a Repository,
    _lock: File,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.repository.database().finish_command() {
            tracing::warn!(%error, "the operation stays unfinished in the log");
        }
    }
}

impl Repository {
    /// What this repository does from now on is the work of one command, so that it can be undone. `text` is the command
    /// line, or who did it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin(&self, time: Time, text: &str) -> Result<(), Error> {
        self.begin_as(time, text, CommandKind::Plain)
    }

    pub(super) fn begin_as(&self, time: Time, text: &str, kind: CommandKind) -> Result<(), Error> {
        let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Ok(self.database().begin_command(time, &text, kind)?)
    }

    /// Another handle on the same repository, whose work is not that of this one's command.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn reopen(&self) -> Result<Self, Error> {
        let root = self.worktree.as_deref().unwrap_or(&self.directory);
        Ok(Self::open(root)?.with_threads(self.threads))
    }

    /// The newest `limit` commands that changed something, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn command_log(&self, limit: usize) -> Result<Vec<LoggedCommand>, Error> {
        let mut log = Vec::new();
        let database = self.database();
        let mut marks = super::undo::Marks::default();
        for row in database.commands(i64::MAX, limit)? {
            let mut logged = LoggedCommand {
                undone: marks.is_undone(&row),
                row,
                refs: 0,
                staged: 0,
                files: 0,
            };
            for (what, count) in database.count_effects(logged.row.id)? {
                match what {
                    What::Ref | What::Head => logged.refs += count,
                    What::Staging => logged.staged += count,
                    What::File => logged.files += count,
                    What::Evicted => {}
                }
            }
            log.push(logged);
        }
        Ok(log)
    }

    /// The newest command that was killed while it changed files, if nothing has put that right since.
    ///
    /// # Errors
    /// When the database fails or the lock cannot be looked at.
    pub fn interrupted(&self) -> Result<Option<CommandRow>, Error> {
        let mut unfinished = self.database().unfinished_commands()?;
        let Some(newest) = unfinished.pop() else {
            return Ok(None);
        };
        // Whoever is at work holds the lock.
        if try_lock(&self.directory.join("lock"))?.is_none() {
            return Ok(None);
        }
        // It may have come to its end between the two questions.
        let still = self
            .database()
            .unfinished_commands()?
            .iter()
            .any(|row| row.id == newest.id);
        Ok(Some(newest).filter(|_| still))
    }

    /// Waits until nobody else changes the worktree, and keeps others from it.
    pub(super) fn alone(&self) -> Result<Alone<'_>, Error> {
        Ok(Alone {
            repository: self,
            _lock: lock(&self.directory.join("lock"), false)?,
        })
    }
}
