//! The graph of commits as far as it was walked.

use rusqlite::params;

use super::{Database, DatabaseError, Writer, from_sql, to_sql};
use crate::object::{CommitId, Hash, Id};

/// What is known about a commit without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphRow {
    /// One more than the highest of its parents' generations; 1 without parents.
    pub generation: u64,
    /// Its parents, in their order.
    pub parents: Vec<CommitId>,
}

impl Database {
    /// What is known about a commit.
    ///
    /// # Errors
    /// When SQLite fails, or the row is damaged.
    pub fn graph_row(&self, commit: CommitId) -> Result<Option<GraphRow>, DatabaseError> {
        let sql = "SELECT generation, parents FROM commit_graph WHERE \"commit\" = ?1";
        let found = self.row(sql, [commit.as_bytes()], |row| {
            let parents = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            Ok((row.get::<_, i64>(0)?, hashes(parents)))
        })?;
        let Some((generation, parents)) = found else {
            return Ok(None);
        };
        let parents = parents.ok_or_else(|| self.damaged("commit_graph"))?;
        let generation = from_sql(generation);
        Ok(Some(GraphRow { generation, parents }))
    }
}

impl Writer<'_> {
    /// Remembers what was learnt about a commit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn remember_in_graph(&self, commit: CommitId, row: &GraphRow) -> Result<(), DatabaseError> {
        let sql = "INSERT OR REPLACE INTO commit_graph VALUES (?1, ?2, ?3)";
        let parents: Vec<u8> = row.parents.iter().flat_map(|parent| *parent.as_bytes()).collect();
        self.execute(sql, params![commit.as_bytes(), to_sql(row.generation), parents])
            .map(drop)
    }

    /// Forgets all of it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_graph(&self) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM commit_graph", []).map(drop)
    }
}

fn hashes(bytes: &[u8]) -> Option<Vec<CommitId>> {
    let parts = bytes.chunks(32).map(Hash::from_slice);
    parts.map(|hash| hash.map(CommitId::from_hash)).collect()
}
