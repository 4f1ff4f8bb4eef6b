//! The newest tensor of every name, dtype and shape of a row: where a base for the next one is looked for.

use rusqlite::params;

use super::{Database, DatabaseError, TensorRecord, Writer, hash_column};
use crate::object::{FileId, Id};

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
    /// The file, which may be gone by now, with the newest tensor of this name, shape of a row and dtype.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn newest_tensor(&self, name: &str, row: &str, dtype: &str) -> Result<Option<FileId>, DatabaseError> {
        let sql = "SELECT file FROM newest_tensors WHERE name = ?1 AND row = ?2 AND dtype = ?3";
        let found = self.row(sql, params![name, row, dtype], |row| hash_column(row, 0))?;
        Ok(found.flatten().map(FileId::from_hash))
    }
}

impl Writer<'_> {
    /// These tensors of a file are the newest of their kind.
    pub(super) fn note_newest(&self, file: FileId, tensors: &[TensorRecord]) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO newest_tensors (name, row, dtype, file) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET file = ?4";
        for tensor in tensors.iter().filter(|tensor| tensor.start < tensor.end) {
            self.execute(sql, params![tensor.name, tensor.row(), tensor.dtype, file.as_bytes()])?;
        }
        Ok(())
    }
}
