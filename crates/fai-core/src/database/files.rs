//! What is known about files: content hash, format, parameters, tensors.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::object::{ContentHash, FileId, Id};

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id.
    pub file: FileId,
    /// BLAKE3 of its content.
    pub content: ContentHash,
    /// Its size in bytes.
    pub size: u64,
    /// Name of its tensor format, if it has one.
    pub format: Option<String>,
    /// Number of parameters over all tensors, if it has tensors.
    pub parameters: Option<u64>,
    /// Number of tensors.
    pub tensors: u64,
    /// The format's own descriptive entries, as a JSON object.
    pub metadata: String,
    /// Why a file that looked like a tensor format is treated as plain bytes.
    pub refusal: Option<String>,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRecord {
    /// Its name.
    pub name: String,
    /// Its dtype's short name.
    pub dtype: String,
    /// Its dimensions, as a JSON array.
    pub shape: String,
    /// First byte in the file.
    pub start: u64,
    /// Byte after its last.
    pub end: u64,
}

impl Database {
    /// What is known about a file.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn file(&self, file: FileId) -> Result<Option<FileRecord>, DatabaseError> {
        let sql = "SELECT content, size, format, parameters, tensors, metadata, refusal FROM files WHERE file = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let content = hash_column(row, 0)?.map(ContentHash::from_hash);
            let (size, tensors) = (from_sql(row.get(1)?), from_sql(row.get(4)?));
            let (format, metadata, refusal) = (row.get(2)?, row.get(5)?, row.get(6)?);
            let parameters = row.get::<_, Option<i64>>(3)?.map(from_sql);
            Ok(content.map(|content| FileRecord {
                file,
                content,
                size,
                format,
                parameters,
                tensors,
                metadata,
                refusal,
            }))
        };
        Ok(self.row(sql, [file.as_bytes()], read)?.flatten())
    }

    /// The tensors of a file, in the order of its own table.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tensors(&self, file: FileId) -> Result<Vec<TensorRecord>, DatabaseError> {
        let sql = "SELECT name, dtype, shape, start, end FROM tensors WHERE file = ?1 ORDER BY position";
        self.rows(sql, [file.as_bytes()], |row| {
            Ok(TensorRecord {
                name: row.get(0)?,
                dtype: row.get(1)?,
                shape: row.get(2)?,
                start: from_sql(row.get(3)?),
                end: from_sql(row.get(4)?),
            })
        })
    }

    /// The files that have tensors and are not condemned.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn files_with_tensors(&self) -> Result<Vec<FileId>, DatabaseError> {
        let sql = "SELECT file FROM files WHERE tensors > 0 AND file NOT IN (SELECT hash FROM condemned) ORDER BY file";
        let found = self.rows(sql, [], |row| hash_column(row, 0))?;
        Ok(found.into_iter().flatten().map(FileId::from_hash).collect())
    }

    /// The files with this content.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn files_with_content(&self, content: ContentHash) -> Result<Vec<FileId>, DatabaseError> {
        let sql = "SELECT file FROM files WHERE content = ?1";
        let found = self.rows(sql, [content.as_bytes()], |row| hash_column(row, 0))?;
        Ok(found.into_iter().flatten().map(FileId::from_hash).collect())
    }
}

impl Writer<'_> {
    /// Records what a file is, once.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn insert_file(&self, record: &FileRecord, tensors: &[TensorRecord]) -> Result<(), DatabaseError> {
        let file = record.file.as_bytes();
        let sql = "INSERT OR IGNORE INTO files (file, content, size, format, parameters, tensors, metadata, refusal) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![
            file,
            record.content.as_bytes(),
            to_sql(record.size),
            record.format,
            record.parameters.map(to_sql),
            to_sql(record.tensors),
            record.metadata,
            record.refusal,
        ];
        if self.execute(sql, values)? == 0 {
            return Ok(());
        }
        let sql =
            "INSERT INTO tensors (file, position, name, dtype, shape, start, end) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        for (position, tensor) in tensors.iter().enumerate() {
            let TensorRecord {
                name,
                dtype,
                shape,
                start,
                end,
            } = tensor;
            let position = position as i64;
            self.execute(
                sql,
                params![file, position, name, dtype, shape, to_sql(*start), to_sql(*end)],
            )?;
        }
        self.note_newest(record.file, tensors)
    }

    /// Forgets all files, before they are described again from the packs.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_files(&self) -> Result<(), DatabaseError> {
        self.batch("DELETE FROM newest_tensors; DELETE FROM tensors; DELETE FROM files;")
    }
}
