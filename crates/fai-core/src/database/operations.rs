//! The operation log: every move of a ref or of a detached HEAD, in order.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, hash_column};
use crate::object::{CommitId, Id, Time};

/// One move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// When.
    pub time: Time,
    /// What was done, as a short text (`commit: Initial model`).
    pub command: String,
    /// The ref that moved, or `HEAD`.
    pub name: String,
    /// Where it was.
    pub before: Option<CommitId>,
    /// Where it is.
    pub after: Option<CommitId>,
}

impl Database {
    /// The newest `limit` operations, newest first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn operations(&self, limit: usize) -> Result<Vec<Operation>, DatabaseError> {
        let sql = "SELECT time, offset, command, ref_name, before, after FROM operations ORDER BY id DESC LIMIT ?1";
        self.rows(sql, [limit as i64], operation)
    }

    /// The commits that were named before or after an operation later than `time`, in seconds since 1970.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn commits_since(&self, time: i64) -> Result<Vec<CommitId>, DatabaseError> {
        let sql = "SELECT before FROM operations WHERE time > ?1 AND before IS NOT NULL \
                   UNION SELECT after FROM operations WHERE time > ?1 AND after IS NOT NULL";
        let found = self.rows(sql, [time], |row| hash_column(row, 0))?;
        Ok(found.into_iter().flatten().map(CommitId::from_hash).collect())
    }
}

impl Writer<'_> {
    /// Appends an operation.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn log_operation(&self, operation: &Operation) -> Result<(), DatabaseError> {
        let Operation {
            time,
            command,
            name,
            before,
            after,
        } = operation;
        let sql =
            "INSERT INTO operations (time, offset, command, ref_name, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let blob = |id: &Option<CommitId>| id.map(|id| id.as_bytes().to_vec());
        let values = params![
            time.seconds,
            time.offset_minutes,
            command,
            name,
            blob(before),
            blob(after)
        ];
        self.execute(sql, values).map(drop)
    }
}

/// A move as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedMove {
    /// Its place in the log.
    pub id: i64,
    /// The move.
    pub operation: Operation,
    /// What `HEAD` said before, for a move of `HEAD` itself. Old ones do not tell.
    pub head_before: Option<String>,
    /// What it says since.
    pub head_after: Option<String>,
}

impl Database {
    /// The newest `limit` moves with a place below `below`, newest first: all of them, or those of one ref.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn moves(&self, name: Option<&str>, below: i64, limit: usize) -> Result<Vec<LoggedMove>, DatabaseError> {
        let columns = "time, offset, command, ref_name, before, after, id, head_before, head_after";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(LoggedMove {
                operation: operation(row)?,
                id: row.get(6)?,
                head_before: row.get(7)?,
                head_after: row.get(8)?,
            })
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        match name {
            Some(name) => {
                let sql = format!(
                    "SELECT {columns} FROM operations WHERE ref_name = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
                );
                self.rows(&sql, params![name, below, limit], read)
            }
            None => {
                let sql = format!("SELECT {columns} FROM operations WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
                self.rows(&sql, params![below, limit], read)
            }
        }
    }
}

impl Writer<'_> {
    /// Appends a move of `HEAD` itself, with what it said and says.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn log_head_move(&self, operation: &Operation, before: Option<&str>, after: &str) -> Result<(), DatabaseError> {
        self.log_operation(operation)?;
        let sql = "UPDATE operations SET head_before = ?1, head_after = ?2 WHERE id = last_insert_rowid()";
        self.execute(sql, params![before, after]).map(drop)
    }
}

/// A row of time, offset, command, name, before, after.
pub(super) fn operation(row: &rusqlite::Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        time: Time {
            seconds: row.get(0)?,
            offset_minutes: row.get(1)?,
        },
        command: row.get(2)?,
        name: row.get(3)?,
        before: hash_column(row, 4)?.map(CommitId::from_hash),
        after: hash_column(row, 5)?.map(CommitId::from_hash),
    })
}
