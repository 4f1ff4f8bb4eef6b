//! The graph of commits as far as it was walked.

use std::ops::Range;
use std::sync::Arc;

use rusqlite::{Row, params};

use super::{Database, DatabaseError, Writer, from_sql, hash_column, to_sql};
use crate::object::{CommitId, Hash, Id};

/// What is known about a commit without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphRow {
    /// One more than the highest of its parents' generations; 1 without parents.
    pub generation: u64,
    /// Its parents, in their order.
    pub parents: Arc<[CommitId]>,
}

impl Database {
    /// What is known about a commit.
    ///
    /// # Errors
    /// When SQLite fails, or the row is damaged.
    pub fn graph_row(&self, commit: CommitId) -> Result<Option<GraphRow>, DatabaseError> {
        let sql = "SELECT generation, parents FROM commit_graph WHERE \"commit\" = ?1";
        let found = self.row(sql, [commit.as_bytes()], graph_row)?;
        found
            .map(|row| row.ok_or_else(|| self.damaged("commit_graph")))
            .transpose()
    }

    /// What is known about the commits of some generations.
    ///
    /// # Errors
    /// When SQLite fails, or a row is damaged.
    pub fn graph_rows(&self, generations: Range<u64>) -> Result<Vec<(CommitId, GraphRow)>, DatabaseError> {
        let sql = "SELECT generation, parents, \"commit\" FROM commit_graph WHERE generation >= ?1 AND generation < ?2";
        let bounds = [to_sql(generations.start), to_sql(generations.end)];
        let read = |row: &Row<'_>| Ok(hash_column(row, 2)?.map(CommitId::from_hash).zip(graph_row(row)?));
        let rows = self.rows(sql, bounds, read)?;
        let all: Option<Vec<_>> = rows.into_iter().collect();
        all.ok_or_else(|| self.damaged("commit_graph"))
    }
}

impl Writer<'_> {
    /// Remembers what was learnt about a commit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn remember_in_graph(&self, commit: CommitId, row: &GraphRow) -> Result<(), DatabaseError> {
        let sql = "INSERT OR REPLACE INTO commit_graph (\"commit\", generation, parents) VALUES (?1, ?2, ?3)";
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

/// Reads a generation and parents, in this order. `None` when they are damaged.
fn graph_row(row: &Row<'_>) -> rusqlite::Result<Option<GraphRow>> {
    let parents = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let parents = parents.chunks(32).map(Hash::from_slice);
    let parents: Option<Arc<[CommitId]>> = parents.map(|hash| hash.map(CommitId::from_hash)).collect();
    let generation = from_sql(row.get(0)?);
    Ok(parents.map(|parents| GraphRow { generation, parents }))
}
