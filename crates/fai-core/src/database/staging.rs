//! Staging: what the next commit changes against HEAD.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::object::{FileId, Id, RepoPath};

/// What is staged for a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// The path will hold this file.
    File {
        /// The file.
        file: FileId,
        /// Its size in bytes.
        size: u64,
        /// Its executable bit.
        executable: bool,
    },
    /// The path will be gone.
    Removed,
}

impl Database {
    /// Everything staged, by path.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn staging(&self) -> Result<BTreeMap<RepoPath, Staged>, DatabaseError> {
        let sql = "SELECT path, file, size, executable FROM staging";
        let found = self.rows(sql, [], staged)?;
        found
            .into_iter()
            .map(|row| row.ok_or_else(|| self.damaged("staging")))
            .collect()
    }
}

impl Writer<'_> {
    /// Stages a change.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn stage(&self, path: &RepoPath, staged: &Staged) -> Result<(), DatabaseError> {
        let (file, size, executable) = match staged {
            Staged::File { file, size, executable } => (Some(&file.as_bytes()[..]), *size, *executable),
            Staged::Removed => (None, 0, false),
        };
        // What is staged already is no change: it writes nothing, and is no effect.
        let sql = "INSERT INTO staging (path, file, size, executable) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (path) DO UPDATE \
                   SET file = excluded.file, size = excluded.size, executable = excluded.executable \
                   WHERE file IS NOT excluded.file OR executable IS NOT excluded.executable";
        self.execute(sql, params![path.as_str(), file, to_sql(size), executable])
            .map(drop)
    }

    /// Unstages a path.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unstage(&self, path: &RepoPath) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM staging WHERE path = ?1", [path.as_str()])
            .map(drop)
    }

    /// Unstages a path if exactly this is staged for it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unstage_exactly(&self, path: &RepoPath, staged: &Staged) -> Result<(), DatabaseError> {
        let (file, executable) = match staged {
            Staged::File { file, executable, .. } => (Some(&file.as_bytes()[..]), *executable),
            Staged::Removed => (None, false),
        };
        let sql = "DELETE FROM staging WHERE path = ?1 AND file IS ?2 AND executable = ?3";
        self.execute(sql, params![path.as_str(), file, executable]).map(drop)
    }

    /// Unstages everything.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_staging(&self) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM staging", []).map(drop)
    }
}

/// A row of path, file, size, executable bit; `None` when it is damaged.
pub(super) fn staged(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<(RepoPath, Staged)>> {
    let (path, size, executable) = (row.get::<_, String>(0)?, from_sql(row.get(2)?), row.get(3)?);
    let file = hash_column(row, 1)?.map(FileId::from_hash);
    let staged = file.map_or(Staged::Removed, |file| Staged::File { file, size, executable });
    Ok(RepoPath::parse(&path).ok().map(|path| (path, staged)))
}
