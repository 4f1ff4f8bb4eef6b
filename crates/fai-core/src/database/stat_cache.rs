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

/// The columns that [`cached`] reads.
macro_rules! columns {
    () => {
        "file, size, mtime, ctime, inode, recorded"
    };
}

impl Database {
    /// The whole cache by path.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn stat_cache(&self) -> Result<HashMap<String, CachedStat>, DatabaseError> {
        let sql = concat!("SELECT ", columns!(), ", folder, name FROM stat_cache");
        let read = |row: &rusqlite::Row<'_>| {
            let (folder, name) = (row.get_ref(6)?.as_str()?, row.get_ref(7)?.as_str()?);
            let path = if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            };
            Ok(cached(row)?.map(|cached| (path, cached)))
        };
        // A damaged row is no memory at all: the file is read again.
        Ok(self.rows(sql, [], read)?.into_iter().flatten().collect())
    }

    /// Hands what is remembered of the files directly in `folder` to `visit`, in the order of their names.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn for_each_stat_in(
        &self,
        folder: &RepoPath,
        mut visit: impl FnMut(&str, CachedStat),
    ) -> Result<(), DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", name FROM stat_cache WHERE folder = ?1 ORDER BY name"
        );
        let mut query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([folder.as_str()])?;
            while let Some(row) = rows.next()? {
                if let Some(cached) = cached(row)? {
                    visit(row.get_ref(6)?.as_str()?, cached);
                }
            }
            Ok(())
        };
        query().map_err(|source| self.wrap(source))
    }

    /// What is remembered of one file.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn stat_of(&self, path: &RepoPath) -> Result<Option<CachedStat>, DatabaseError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM stat_cache WHERE folder = ?1 AND name = ?2"
        );
        Ok(self.row(sql, [folder_of(path), name_of(path)], cached)?.flatten())
    }
}

/// A row of `columns!()`; `None` when it is damaged.
fn cached(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<CachedStat>> {
    let stat = FileStat {
        size: from_sql(row.get(1)?),
        mtime: row.get(2)?,
        ctime: row.get(3)?,
        inode: row.get::<_, i64>(4)? as u64,
    };
    let recorded = row.get(5)?;
    let file = hash_column(row, 0)?.map(FileId::from_hash);
    Ok(file.map(|file| CachedStat { stat, file, recorded }))
}

/// The folder's path; empty for the root.
fn folder_of(path: &RepoPath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn name_of(path: &RepoPath) -> &str {
    path.as_str().rsplit_once('/').map_or(path.as_str(), |(_, name)| name)
}

impl Writer<'_> {
    /// Remembers a file.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn remember_stat(&self, path: &RepoPath, cached: &CachedStat) -> Result<(), DatabaseError> {
        let CachedStat { stat, file, recorded } = cached;
        let sql = "INSERT OR REPLACE INTO stat_cache (folder, name, file, size, mtime, ctime, inode, recorded) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let inode = stat.inode as i64;
        let values = params![
            folder_of(path),
            name_of(path),
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
        let sql = "DELETE FROM stat_cache WHERE folder = ?1 AND name = ?2";
        self.execute(sql, [folder_of(path), name_of(path)]).map(drop)
    }
}
