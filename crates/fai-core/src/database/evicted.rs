//! Evicted paths: files that were taken out of the worktree on purpose. What they hold is what is staged or committed at
//! their path; only that they need not be on disk is remembered here.

use std::collections::BTreeSet;

use super::{Database, DatabaseError, Writer};
use crate::object::RepoPath;

impl Database {
    /// All evicted paths.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn evicted(&self) -> Result<BTreeSet<RepoPath>, DatabaseError> {
        let found = self.rows("SELECT path FROM evicted", [], evicted)?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("evicted")))
            .collect()
    }
}

impl Writer<'_> {
    /// Remembers that the file at a path need not be in the worktree.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn evict(&self, path: &RepoPath) -> Result<(), DatabaseError> {
        self.execute("INSERT OR IGNORE INTO evicted (path) VALUES (?1)", [path.as_str()])
            .map(drop)
    }

    /// Forgets that: from now on the file should be there.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn end_eviction(&self, path: &RepoPath) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM evicted WHERE path = ?1", [path.as_str()])
            .map(drop)
    }
}

/// A row of a path; `None` when it is damaged.
pub(super) fn evicted(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<RepoPath>> {
    Ok(RepoPath::parse(&row.get::<_, String>(0)?).ok())
}
