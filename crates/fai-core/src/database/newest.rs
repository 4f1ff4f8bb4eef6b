//! The newest tensor of every name, dtype and shape of a row: where a base for the next one is looked for.

use rusqlite::params;

use super::{Database, DatabaseError, TensorRecord, Writer, from_sql, hash_column, to_sql};
use crate::object::{FileId, Id};

/// Where a tensor lies in a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorPlace {
    /// The file. It may be gone by now.
    pub file: FileId,
    /// First byte in the file.
    pub start: u64,
    /// Byte after its last.
    pub end: u64,
}

impl TensorRecord {
    /// The shape without its first dimension, as a JSON array: what stays when rows are added, as to a vocabulary.
    pub fn row(&self) -> String {
        match self.shape.split_once(',') {
            Some((_, rest)) => format!("[{rest}"),
            None => "[]".to_owned(),
        }
    }
}

impl Database {
    /// The newest tensor with this name, shape of a row and dtype.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn newest_tensor(&self, name: &str, row: &str, dtype: &str) -> Result<Option<TensorPlace>, DatabaseError> {
        let sql = "SELECT file, start, end FROM newest_tensors WHERE name = ?1 AND row = ?2 AND dtype = ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let (start, end) = (from_sql(row.get(1)?), from_sql(row.get(2)?));
            Ok(hash_column(row, 0)?.map(|file| TensorPlace {
                file: FileId::from_hash(file),
                start,
                end,
            }))
        };
        Ok(self.row(sql, params![name, row, dtype], read)?.flatten())
    }
}

impl Writer<'_> {
    /// These tensors of a file are the newest of their kind.
    pub(super) fn note_newest(&self, file: FileId, tensors: &[TensorRecord]) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO newest_tensors (name, row, dtype, file, start, end) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT DO UPDATE SET file = ?4, start = ?5, end = ?6";
        for tensor in tensors.iter().filter(|tensor| tensor.start < tensor.end) {
            let (start, end) = (to_sql(tensor.start), to_sql(tensor.end));
            self.execute(
                sql,
                params![tensor.name, tensor.row(), tensor.dtype, file.as_bytes(), start, end],
            )?;
        }
        Ok(())
    }
}
