//! Commands and their effects: what one command changed, each thing as it was before and is after.
//!
//! A connection is told which command it works for. From then on whatever a transaction does to refs, staging and evicted
//! paths is written down by triggers, so that no workflow can forget it; what happens to `HEAD` and to files of the worktree
//! is told by the places that change them. The command itself is entered with its first effect: one that changes nothing
//! leaves nothing.

use rusqlite::params;
use rusqlite::types::Value;

use super::{Database, DatabaseError, Writer, from_sql, to_sql};
use crate::object::{CommitId, FileId, Hash, Id, Time};

/// What kind of thing an effect is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What is staged for a path.
    Staging,
    /// A file of the worktree.
    File,
    /// Whether a path is evicted.
    Evicted,
    /// A branch or tag.
    Ref,
    /// `HEAD`.
    Head,
}

const WHATS: [What; 5] = [What::Staging, What::File, What::Evicted, What::Ref, What::Head];

/// How such a thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is not there, or nothing is said of it.
    Nothing,
    /// A file, staged or in the worktree.
    File {
        /// The file.
        file: FileId,
        /// Its size in bytes.
        size: u64,
        /// Its executable bit.
        executable: bool,
    },
    /// Staged as removed.
    Removed,
    /// A ref stands on this commit.
    Commit(CommitId),
    /// What `HEAD` says.
    Head(String),
    /// The path is evicted.
    Evicted,
    /// Something that was not kept, so that it cannot come back.
    Lost,
}

/// One thing that a command changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What kind of thing.
    pub what: What,
    /// Its path or name.
    pub name: String,
    /// How it was.
    pub before: State,
    /// How it is.
    pub after: State,
}

/// What a command is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// A command of its own.
    Plain,
    /// It takes back the command with this number.
    Undo(i64),
    /// It does the command with this number again.
    Redo(i64),
}

/// A command that changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its number, rising.
    pub id: i64,
    /// When.
    pub time: Time,
    /// The command line, or who did it.
    pub command: String,
    /// What it was.
    pub kind: CommandKind,
    /// False while its files may be half changed.
    pub finished: bool,
}

/// The command that a connection works for.
#[derive(Debug, Clone)]
pub(super) struct Current {
    time: Time,
    command: String,
    kind: CommandKind,
    /// Once it is entered.
    id: Option<i64>,
    unfinished: bool,
}

/// What its triggers are made from: see where the list is.
type Watched<'a> = (&'a str, u8, &'a str, &'a dyn Fn(&str) -> String, &'a str);

/// Triggers that write down what happens to a table. A failed compare-and-swap fires none of them.
fn triggers() -> String {
    let staged = |row: &str| {
        format!("CASE WHEN {row}.file IS NULL THEN 3 WHEN {row}.executable THEN 2 ELSE 1 END, {row}.file, {row}.size")
    };
    let nothing = "0, NULL, 0";
    let evicted = |_: &str| "6, NULL, 0".to_owned();
    let commit = |row: &str| format!("4, {row}.target, 0");
    let mut sql = "CREATE TEMP TABLE current_command (id INTEGER NOT NULL);".to_owned();
    let tables: [Watched<'_>; 3] = [
        ("staging", 0, "path", &staged, ""),
        ("evicted", 2, "path", &evicted, ""),
        // What peers were seen to have is knowledge, and not the work of a command.
        ("refs", 3, "name", &commit, "AND {row}.name NOT LIKE 'refs/remotes/%'"),
    ];
    for (table, what, key, state, only) in tables {
        for (event, row, before, after) in [
            ("INSERT", "new", nothing.to_owned(), state("new")),
            ("UPDATE", "new", state("old"), state("new")),
            ("DELETE", "old", state("old"), nothing.to_owned()),
        ] {
            let only = only.replace("{row}", row);
            sql += &format!(
                "CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table} BEGIN
                   INSERT INTO effects (command, what, name, before_kind, before, before_size, after_kind, after, after_size)
                   SELECT id, {what}, {row}.{key}, {before}, {after} FROM current_command WHERE true {only}
                   ON CONFLICT (command, what, name) DO UPDATE SET
                     after_kind = excluded.after_kind, after = excluded.after, after_size = excluded.after_size;
                 END;"
            );
        }
    }
    sql
}

impl Database {
    /// From now on transactions work for this command, until another one begins.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_command(&self, time: Time, command: &str, kind: CommandKind) -> Result<(), DatabaseError> {
        self.end_command()?;
        *self.current.borrow_mut() = Some(Current {
            time,
            command: command.to_owned(),
            kind,
            id: None,
            unfinished: false,
        });
        Ok(())
    }

    /// Commands that only read need no triggers, and wait for none.
    pub(super) fn ensure_triggers(&self) -> Result<(), DatabaseError> {
        if self.has_triggers.get() || self.current.borrow().is_none() {
            return Ok(());
        }
        self.connection
            .execute_batch(&triggers())
            .map_err(|source| self.wrap(source))?;
        self.has_triggers.set(true);
        Ok(())
    }

    /// The command is over: what follows works for none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn end_command(&self) -> Result<(), DatabaseError> {
        self.finish_command()?;
        *self.current.borrow_mut() = None;
        Ok(())
    }

    /// The files of the command are whole again.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn finish_command(&self) -> Result<(), DatabaseError> {
        let unfinished = self
            .current
            .borrow()
            .as_ref()
            .filter(|it| it.unfinished)
            .and_then(|it| it.id);
        let Some(id) = unfinished else { return Ok(()) };
        let gone = self.transaction(|writer| {
            // Whoever comes later has met what earlier ones left.
            writer.execute("UPDATE commands SET finished = 1 WHERE id <= ?1", [id])?;
            writer.drop_mere_intentions(id)?;
            let sql = "DELETE FROM commands WHERE id = ?1 AND kind = 0 \
                       AND NOT EXISTS (SELECT 1 FROM effects WHERE command = ?1)";
            Ok::<_, DatabaseError>(writer.execute(sql, [id])? > 0)
        })?;
        if let Some(current) = self.current.borrow_mut().as_mut() {
            current.unfinished = false;
            current.id = current.id.filter(|_| !gone);
        }
        Ok(())
    }

    /// True when what happens is written down.
    pub fn has_command(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// The newest `limit` commands with a number below `below`, newest first.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn commands(&self, below: i64, limit: usize) -> Result<Vec<CommandRow>, DatabaseError> {
        let sql = "SELECT id, time, \"offset\", command, kind, reverts, finished FROM commands WHERE id < ?1 \
                   ORDER BY id DESC LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.rows(sql, params![below, limit], command_row)?;
        self.all_sound(found, "commands")
    }

    /// Commands whose files may be half changed: they run, or were killed.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn unfinished_commands(&self) -> Result<Vec<CommandRow>, DatabaseError> {
        let sql = "SELECT id, time, \"offset\", command, kind, reverts, finished FROM commands WHERE finished = 0 \
                   ORDER BY id";
        let found = self.rows(sql, [], command_row)?;
        self.all_sound(found, "commands")
    }

    /// What a command changed. Empty for one that is too old to be undone.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn effects(&self, command: i64) -> Result<Vec<Effect>, DatabaseError> {
        let sql = "SELECT what, name, before_kind, before, before_size, after_kind, after, after_size FROM effects \
                   WHERE command = ?1 ORDER BY what, name";
        let found = self.rows(sql, [command], effect)?;
        self.all_sound(found, "effects")
    }

    /// How many things of each kind a command changed.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn count_effects(&self, command: i64) -> Result<Vec<(What, u64)>, DatabaseError> {
        let sql = "SELECT what, count(*) FROM effects WHERE command = ?1 GROUP BY what";
        let found = self.rows(sql, [command], |row| {
            let (what, count) = (row.get::<_, i64>(0)?, row.get(1)?);
            let what = usize::try_from(what).ok().and_then(|what| WHATS.get(what).copied());
            Ok(what.map(|what| (what, from_sql(count))))
        })?;
        self.all_sound(found, "effects")
    }

    /// The files that effects of commands later than `time`, in seconds since 1970, name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn files_of_commands_since(&self, time: i64) -> Result<Vec<FileId>, DatabaseError> {
        let recent = "SELECT id FROM commands WHERE time > ?1 OR finished = 0";
        let sql = format!(
            "SELECT before FROM effects WHERE before_kind IN (1, 2) AND command IN ({recent}) \
             UNION SELECT after FROM effects WHERE after_kind IN (1, 2) AND command IN ({recent})"
        );
        let found = self.rows(&sql, [time], |row| super::hash_column(row, 0))?;
        Ok(found.into_iter().flatten().map(FileId::from_hash).collect())
    }

    /// The commits that effects of commands later than `time`, in seconds since 1970, name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn commits_of_commands_since(&self, time: i64) -> Result<Vec<CommitId>, DatabaseError> {
        let recent = "SELECT id FROM commands WHERE time > ?1 OR finished = 0";
        let sql = format!(
            "SELECT before FROM effects WHERE before_kind = 4 AND command IN ({recent}) \
             UNION SELECT after FROM effects WHERE after_kind = 4 AND command IN ({recent})"
        );
        let found = self.rows(&sql, [time], |row| super::hash_column(row, 0))?;
        Ok(found.into_iter().flatten().map(CommitId::from_hash).collect())
    }

    fn all_sound<T>(&self, rows: Vec<Option<T>>, table: &'static str) -> Result<Vec<T>, DatabaseError> {
        rows.into_iter()
            .map(|row| row.ok_or_else(|| self.damaged(table)))
            .collect()
    }
}

impl Writer<'_> {
    /// Writes down an effect that no trigger sees. It is unfinished until [`Database::finish_command`]: whoever changes
    /// `HEAD` or files says so before. Nothing without a command.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn note_effect(&self, effect: &Effect) -> Result<(), DatabaseError> {
        let Some(id) = self.command else { return Ok(()) };
        let ((before_kind, before, before_size), (after_kind, after, after_size)) =
            (columns(&effect.before), columns(&effect.after));
        let sql =
            "INSERT INTO effects (command, what, name, before_kind, before, before_size, after_kind, after, after_size)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                   ON CONFLICT (command, what, name) DO UPDATE SET
                     after_kind = excluded.after_kind, after = excluded.after, after_size = excluded.after_size";
        let what = effect.what as i64;
        let values = params![
            id,
            what,
            effect.name,
            before_kind,
            before,
            before_size,
            after_kind,
            after,
            after_size
        ];
        self.execute(sql, values)?;
        self.unfinished.set(true);
        Ok(())
    }

    /// Enters the command that runs, unless it is entered already: one that takes another back is told of even when it
    /// found nothing left to do.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn enter_command(&self) -> Result<(), DatabaseError> {
        self.entered.set(true);
        // So that it is known in the end that what an earlier one left is put right.
        self.unfinished.set(true);
        Ok(())
    }

    /// Forgets the effects of commands up to `time`, in seconds since 1970; all of them for `None`. They can no longer be
    /// undone.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_effects(&self, time: Option<i64>) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM effects WHERE command IN (SELECT id FROM commands WHERE time <= ?1 AND finished = 1)";
        self.execute(sql, [time.unwrap_or(i64::MAX)])?;
        let sql = "DELETE FROM tag_messages WHERE NOT EXISTS (SELECT 1 FROM refs WHERE refs.name = tag_messages.name)";
        self.execute(sql, []).map(drop)
    }

    /// Reserves the command's number for what follows.
    pub(super) fn open_command(&mut self, current: Option<&Current>) -> Result<(), DatabaseError> {
        let Some(current) = current else { return Ok(()) };
        let id = match current.id {
            Some(id) => id,
            None => {
                let newest = self.row("SELECT max(id) FROM commands", [], |row| row.get::<_, Option<i64>>(0))?;
                newest.flatten().unwrap_or(0) + 1
            }
        };
        self.execute("DELETE FROM current_command", [])?;
        self.execute("INSERT INTO current_command (id) VALUES (?1)", [id])?;
        self.command = Some(id);
        Ok(())
    }

    /// What came and went again, or did not come to pass, is no effect.
    fn drop_mere_intentions(&self, id: i64) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM effects WHERE command = ?1 AND before_kind = after_kind AND before IS after";
        self.execute(sql, [id]).map(drop)
    }

    /// Enters the command when it has effects. Returns what is true of it once this is committed.
    pub(super) fn close_command(&self, current: Option<&Current>) -> Result<Option<Current>, DatabaseError> {
        let (Some(current), Some(id)) = (current, self.command) else {
            return Ok(None);
        };
        let unfinished = current.unfinished || self.unfinished.get();
        let mut after = Current {
            unfinished,
            ..current.clone()
        };
        if current.id.is_none() {
            self.drop_mere_intentions(id)?;
            let any = self.row("SELECT 1 FROM effects WHERE command = ?1 LIMIT 1", [id], |_| Ok(()))?;
            if any.is_none() && !self.entered.get() {
                after.unfinished = false;
                return Ok(Some(after));
            }
            let (kind, reverts) = match current.kind {
                CommandKind::Plain => (0, None),
                CommandKind::Undo(id) => (1, Some(id)),
                CommandKind::Redo(id) => (2, Some(id)),
            };
            let sql = "INSERT INTO commands (id, time, \"offset\", command, kind, reverts, finished) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let Time {
                seconds,
                offset_minutes,
            } = current.time;
            let values = params![id, seconds, offset_minutes, current.command, kind, reverts, !unfinished];
            self.execute(sql, values)?;
            after.id = Some(id);
        } else if unfinished && !current.unfinished {
            self.execute("UPDATE commands SET finished = 0 WHERE id = ?1", [id])?;
        }
        Ok(Some(after))
    }
}

fn columns(state: &State) -> (i64, Value, i64) {
    let blob = |hash: &Hash| Value::Blob(hash.as_bytes().to_vec());
    match state {
        State::Nothing => (0, Value::Null, 0),
        State::File { file, size, executable } => (1 + i64::from(*executable), blob(file.hash()), to_sql(*size)),
        State::Removed => (3, Value::Null, 0),
        State::Commit(commit) => (4, blob(commit.hash()), 0),
        State::Head(text) => (5, Value::Blob(text.clone().into_bytes()), 0),
        State::Evicted => (6, Value::Null, 0),
        State::Lost => (7, Value::Null, 0),
    }
}

fn state(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Option<State>> {
    let (kind, size) = (row.get::<_, i64>(first)?, row.get::<_, i64>(first + 2)?);
    let bytes = row.get::<_, Option<Vec<u8>>>(first + 1)?;
    let hash = || bytes.as_deref().and_then(Hash::from_slice);
    Ok(match kind {
        0 => Some(State::Nothing),
        1 | 2 => hash().map(|hash| State::File {
            file: FileId::from_hash(hash),
            size: from_sql(size),
            executable: kind == 2,
        }),
        3 => Some(State::Removed),
        4 => hash().map(|hash| State::Commit(CommitId::from_hash(hash))),
        5 => bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(State::Head),
        6 => Some(State::Evicted),
        7 => Some(State::Lost),
        _ => None,
    })
}

/// A row of what, name, and both states; `None` when it is damaged.
fn effect(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Effect>> {
    let what = usize::try_from(row.get::<_, i64>(0)?).ok();
    let what = what.and_then(|what| WHATS.get(what).copied());
    let (name, before, after) = (row.get(1)?, state(row, 2)?, state(row, 5)?);
    let both = before.zip(after);
    Ok(what.zip(both).map(|(what, (before, after))| Effect {
        what,
        name,
        before,
        after,
    }))
}

/// A row of id, time, offset, command, kind, reverts, finished; `None` when it is damaged.
fn command_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<CommandRow>> {
    let reverts = row.get::<_, Option<i64>>(5)?;
    let kind = match (row.get::<_, i64>(4)?, reverts) {
        (0, _) => CommandKind::Plain,
        (1, Some(id)) => CommandKind::Undo(id),
        (2, Some(id)) => CommandKind::Redo(id),
        _ => return Ok(None),
    };
    Ok(Some(CommandRow {
        id: row.get(0)?,
        time: Time {
            seconds: row.get(1)?,
            offset_minutes: row.get(2)?,
        },
        command: row.get(3)?,
        kind,
        finished: row.get(6)?,
    }))
}
