//! The stat cache: which file a path held when the operating system described it so.

use std::collections::HashMap;

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::object::{FileId, Id, RepoPath};

/// What the operating system says about a file; any change of content changes one of these, racy clocks aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Length in bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime: i64,
    /// Time of the last change of the inode, in nanoseconds since 1970.
    pub ctime: i64,
    /// Inode number.
    pub inode: u64,
}

/// A remembered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedStat {
    /// How it looked.
    pub stat: FileStat,
    /// What it held.
    pub file: FileId,
    /// The file system's clock when that was established, in nanoseconds since 1970. A file whose time of change is
    /// not before this may have changed again within one tick of the clock.
    pub recorded: i64,
}

impl CachedStat {
    /// True when a file that looks like `stat` now surely holds what is remembered.
    pub fn proves(&self, stat: &FileStat) -> bool {
        self.stat == *stat && stat.mtime < self.recorded && stat.ctime < self.recorded
    }
}

impl Database {
    /// The whole cache.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn stat_cache(&self) -> Result<HashMap<String, CachedStat>, DatabaseError> {
        let sql = "SELECT path, file, size, mtime, ctime, inode, recorded FROM stat_cache";
        let read = |row: &rusqlite::Row<'_>| {
            let stat = FileStat {
                size: from_sql(row.get(2)?),
                mtime: row.get(3)?,
                ctime: row.get(4)?,
                inode: row.get::<_, i64>(5)? as u64,
            };
            let (path, recorded) = (row.get(0)?, row.get(6)?);
            let file = hash_column(row, 1)?.map(FileId::from_hash);
            Ok(file.map(|file| (path, CachedStat { stat, file, recorded })))
        };
        // A damaged row is no memory at all: the file is read again.
        Ok(self.rows(sql, [], read)?.into_iter().flatten().collect())
    }
}

impl Writer<'_> {
    /// Remembers a file.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn remember_stat(&self, path: &RepoPath, cached: &CachedStat) -> Result<(), DatabaseError> {
        let CachedStat { stat, file, recorded } = cached;
        let sql = "INSERT OR REPLACE INTO stat_cache (path, file, size, mtime, ctime, inode, recorded) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let inode = stat.inode as i64;
        let values = params![
            path.as_str(),
            file.as_bytes(),
            to_sql(stat.size),
            stat.mtime,
            stat.ctime,
            inode,
            recorded
        ];
        self.execute(sql, values).map(drop)
    }

    /// Forgets everything: all files will be read again.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_stat_cache(&self) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM stat_cache", []).map(drop)
    }

    /// Forgets a path.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_stat(&self, path: &RepoPath) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM stat_cache WHERE path = ?1", [path.as_str()])
            .map(drop)
    }
}
