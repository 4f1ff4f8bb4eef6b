//! What can still be read from a damaged database and is nowhere else, copied to a new one.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::{Database, DatabaseError, Writer, evicted, hash_column, staging};
use crate::object::{CommitId, Id};

/// Tables that are copied as they are. The others can be made anew from the packs, or are copied row by row.
const TABLES: [&str; 8] = [
    "operations",
    "commands",
    "effects",
    "tag_messages",
    "upstreams",
    "pending",
    "conflicts",
    "conflict_sides",
];

/// How many rows were saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Refs.
    pub refs: u64,
    /// Staged paths.
    pub staged: u64,
    /// Moves of refs in the log.
    pub operations: u64,
}

impl Database {
    /// Copies whatever the file at `damaged` still gives, in one transaction: each table up to its first page that cannot be
    /// read, without rows that make no sense. Nothing at all is an answer, too.
    ///
    /// # Errors
    /// When this database cannot be written.
    pub fn rescue(&self, damaged: &Path) -> Result<Rescued, DatabaseError> {
        let Ok(old) = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE) else {
            return Ok(Rescued::default());
        };
        let rescued = self.transaction(|writer| {
            let mut rescued = Rescued::default();
            for (name, commit) in rows(&old, "SELECT name, target FROM refs", |row| {
                let commit = hash_column(row, 1)?.map(CommitId::from_hash);
                Ok(row.get::<_, Option<String>>(0)?.zip(commit))
            }) {
                writer.move_ref(&name, None, Some(commit))?;
                rescued.refs += 1;
            }
            let staged = "SELECT path, file, size, executable FROM staging";
            for (path, staged) in rows(&old, staged, staging::staged) {
                writer.stage(&path, &staged)?;
                rescued.staged += 1;
            }
            for path in rows(&old, "SELECT path FROM evicted", evicted::evicted) {
                writer.evict(&path)?;
            }
            for table in TABLES {
                let copied = copy(&old, writer, table)?;
                if table == "operations" {
                    rescued.operations = copied;
                }
            }
            Ok::<_, DatabaseError>(rescued)
        })?;
        // Every command reads these: rows that make no sense would be in the way for ever.
        if self.pending().is_err() || self.conflicts().is_err() {
            self.transaction(|writer| writer.end_pending())?;
        }
        if self.unfinished_commands().is_err() {
            self.transaction(|writer| writer.batch("DELETE FROM effects; DELETE FROM commands;"))?;
        }
        Ok(rescued)
    }

    /// What is wrong with the file, as far as looking at every page and at the rows that commands read tells.
    ///
    /// # Errors
    /// The first thing that cannot be read.
    pub fn check(&self) -> Result<Vec<String>, DatabaseError> {
        let problems = self.integrity_problems()?;
        self.packs()?;
        self.record_totals()?;
        self.refs()?;
        self.staging()?;
        self.evicted()?;
        self.operations(1)?;
        self.pending()?;
        self.conflicts()?;
        self.unfinished_commands()?;
        Ok(problems)
    }
}

/// Copies a table as far as both databases have its columns, and says how many rows that were.
fn copy(old: &Connection, new: &Writer<'_>, table: &str) -> Result<u64, DatabaseError> {
    let known = columns(&new.inner, table);
    let shared: Vec<String> = columns(old, table)
        .into_iter()
        .filter(|column| known.contains(column))
        .map(|column| format!("\"{column}\""))
        .collect();
    if shared.is_empty() {
        return Ok(0);
    }
    let (names, places) = (shared.join(", "), vec!["?"; shared.len()].join(", "));
    let insert = format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})");
    let values = |row: &Row<'_>| {
        let values = (0..shared.len()).map(|index| row.get::<_, Value>(index));
        values.collect::<rusqlite::Result<Vec<Value>>>().map(Some)
    };
    let mut copied = 0;
    for row in rows(old, &format!("SELECT {names} FROM {table}"), values) {
        match new.execute(&insert, params_from_iter(row)) {
            Ok(count) => copied += count as u64,
            // A value of another type than the column's.
            Err(DatabaseError::Sqlite { source, .. })
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    rows(connection, &format!("PRAGMA table_info({table})"), |row| row.get(1))
}

/// The rows that can be read, up to the first failure of SQLite itself.
fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>) -> Vec<T> {
    let mut found = Vec::new();
    let Ok(mut statement) = connection.prepare(sql) else {
        return found;
    };
    let Ok(mut rows) = statement.query([]) else {
        return found;
    };
    while let Ok(Some(row)) = rows.next() {
        found.extend(read(row).ok().flatten());
    }
    found
}
