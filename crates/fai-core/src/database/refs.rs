//! Refs: names of commits (`refs/heads/main`, `refs/tags/v1`). They move by compare-and-swap only.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, hash_column};
use crate::object::{CommitId, Id};

impl Database {
    /// The commit that a ref names.
    ///
    /// # Errors
    /// When SQLite fails or the row is damaged.
    pub fn read_ref(&self, name: &str) -> Result<Option<CommitId>, DatabaseError> {
        let found = self.row("SELECT target FROM refs WHERE name = ?1", [name], |row| {
            hash_column(row, 0)
        })?;
        found
            .map(|hash| hash.map(CommitId::from_hash).ok_or_else(|| self.damaged("refs")))
            .transpose()
    }

    /// All refs by name.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn refs(&self) -> Result<Vec<(String, CommitId)>, DatabaseError> {
        let sql = "SELECT name, target FROM refs ORDER BY name";
        let found = self.rows(sql, [], |row| Ok((row.get(0)?, hash_column(row, 1)?)))?;
        let typed = |(name, hash): (String, Option<_>)| hash.map(|hash| (name, CommitId::from_hash(hash)));
        found
            .into_iter()
            .map(|row| typed(row).ok_or_else(|| self.damaged("refs")))
            .collect()
    }
}

impl Writer<'_> {
    /// The commit that a ref names, as this transaction sees it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn read_ref(&self, name: &str) -> Result<Option<CommitId>, DatabaseError> {
        let found = self.row("SELECT target FROM refs WHERE name = ?1", [name], |row| {
            hash_column(row, 0)
        })?;
        Ok(found.flatten().map(CommitId::from_hash))
    }

    /// Moves a ref from `before` to `after`, `None` meaning that it does not exist. Returns false, and changes
    /// nothing, when it is not at `before`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn move_ref(
        &self,
        name: &str,
        before: Option<CommitId>,
        after: Option<CommitId>,
    ) -> Result<bool, DatabaseError> {
        let changed = match (&before, &after) {
            (None, Some(after)) => {
                let sql = "INSERT INTO refs (name, target) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
                self.execute(sql, params![name, after.as_bytes()])?
            }
            (Some(before), Some(after)) => {
                let sql = "UPDATE refs SET target = ?3 WHERE name = ?1 AND target = ?2";
                self.execute(sql, params![name, before.as_bytes(), after.as_bytes()])?
            }
            (Some(before), None) => self.execute(
                "DELETE FROM refs WHERE name = ?1 AND target = ?2",
                params![name, before.as_bytes()],
            )?,
            (None, None) => usize::from(
                self.row("SELECT 1 FROM refs WHERE name = ?1", [name], |_| Ok(()))?
                    .is_none(),
            ),
        };
        Ok(changed == 1)
    }
}
