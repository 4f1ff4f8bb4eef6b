//! What can still be read from a damaged database and is nowhere else: refs, staging, evicted paths, operations.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use super::{Database, DatabaseError, Operation, Staged, evicted, hash_column, staging};
use crate::object::{CommitId, Id, RepoPath};

/// Rows saved from a damaged database.
#[derive(Debug, Default)]
pub struct Rescued {
    /// Refs.
    pub refs: Vec<(String, CommitId)>,
    /// What was staged.
    pub staging: Vec<(RepoPath, Staged)>,
    /// Paths that were taken out of the worktree on purpose.
    pub evicted: Vec<RepoPath>,
    /// The operation log, oldest first.
    pub operations: Vec<Operation>,
}

impl Rescued {
    /// Reads whatever the file at `path` still gives: each table up to its first page that cannot be read, without
    /// rows that make no sense. Nothing at all is an answer, too.
    pub fn read(path: &Path) -> Self {
        let Ok(connection) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE) else {
            return Self::default();
        };
        Self {
            refs: rows(&connection, "SELECT name, target FROM refs", |row| {
                Ok(hash_column(row, 1)?
                    .map(CommitId::from_hash)
                    .zip(row.get(0)?)
                    .map(|(id, name)| (name, id)))
            }),
            staging: rows(
                &connection,
                "SELECT path, file, size, executable FROM staging",
                staging::staged,
            ),
            evicted: rows(&connection, "SELECT path FROM evicted", evicted::evicted),
            operations: rows(
                &connection,
                "SELECT time, offset, command, ref_name, before, after FROM operations ORDER BY id",
                |row| super::operations::operation(row).map(Some),
            ),
        }
    }

    /// Writes the rows to a new database.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn write(&self, database: &Database) -> Result<(), DatabaseError> {
        database.transaction(|writer| {
            for (name, commit) in &self.refs {
                writer.move_ref(name, None, Some(*commit))?;
            }
            for (path, staged) in &self.staging {
                writer.stage(path, staged)?;
            }
            for path in &self.evicted {
                writer.evict(path)?;
            }
            self.operations
                .iter()
                .try_for_each(|operation| writer.log_operation(operation))
        })
    }
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
