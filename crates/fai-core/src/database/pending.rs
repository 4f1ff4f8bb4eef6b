//! A merge, cherry-pick or revert that is under way, and the paths that wait for a decision.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Database, DatabaseError, Staged, Writer, from_sql, hash_column, to_sql};
use crate::object::{CommitId, FileId, Hash, Id, RepoPath};

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// `merge`, `cherry-pick` or `revert`.
    pub kind: String,
    /// The commit that it would make if everything were as it is proposed; keeps alive what it needs.
    pub draft: CommitId,
    /// Where `HEAD` was.
    pub head: CommitId,
    /// The commit that is merged, picked or reverted.
    pub other: CommitId,
    /// True once the worktree holds the draft.
    pub placed: bool,
}

/// A path that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `content`, `tensors`, `keys`, `binary`, `both_added`, `delete_modify`, `renamed`, `folder`.
    pub kind: String,
    /// What exactly: tensors, keys, another path.
    pub detail: Vec<String>,
    /// What the path was before, is here, and is there; [`Staged::Removed`] for nothing.
    pub sides: [Staged; 3],
}

impl Database {
    /// What is under way, if anything is.
    ///
    /// # Errors
    /// When SQLite fails or the row is damaged.
    pub fn pending(&self) -> Result<Option<Pending>, DatabaseError> {
        let sql = "SELECT kind, draft, head, other, placed FROM pending";
        let found = self.row(sql, [], |row| {
            let commits = [1, 2, 3].map(|index| hash_column(row, index));
            Ok((row.get::<_, String>(0)?, commits, row.get::<_, bool>(4)?))
        })?;
        let Some((kind, commits, placed)) = found else {
            return Ok(None);
        };
        let [draft, head, other] = commits.map(|commit| commit.ok().flatten().map(CommitId::from_hash));
        match (draft, head, other) {
            (Some(draft), Some(head), Some(other)) => Ok(Some(Pending {
                kind,
                draft,
                head,
                other,
                placed,
            })),
            _ => Err(self.damaged("pending")),
        }
    }

    /// The paths that wait for a decision.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn conflicts(&self) -> Result<BTreeMap<RepoPath, Conflict>, DatabaseError> {
        let mut found = BTreeMap::new();
        let rows = self.rows("SELECT path, kind, detail FROM conflicts", [], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        })?;
        for (path, kind, detail) in rows {
            let damaged = || self.damaged("conflicts");
            let path = RepoPath::parse(&path).map_err(|_| damaged())?;
            let detail = serde_json::from_str(&detail).map_err(|_| damaged())?;
            let mut sides = [Staged::Removed; 3];
            let sql = "SELECT side, file, size, executable FROM conflict_sides WHERE path = ?1";
            let columns = |row: &rusqlite::Row<'_>| {
                let side = row.get::<_, u8>(0)?;
                Ok((
                    side,
                    hash_column(row, 1)?,
                    from_sql(row.get(2)?),
                    row.get::<_, bool>(3)?,
                ))
            };
            for (side, file, size, executable) in self.rows(sql, [path.as_str()], columns)? {
                let file = FileId::from_hash(file.ok_or_else(damaged)?);
                let place = sides.get_mut(usize::from(side)).ok_or_else(damaged)?;
                *place = Staged::File { file, size, executable };
            }
            found.insert(path, Conflict { kind, detail, sides });
        }
        Ok(found)
    }
}

impl Writer<'_> {
    /// Begins, or goes on.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_pending(&self, pending: &Pending) -> Result<(), DatabaseError> {
        let sql = "INSERT OR REPLACE INTO pending VALUES (1, ?1, ?2, ?3, ?4, ?5)";
        let Pending {
            kind,
            draft,
            head,
            other,
            placed,
        } = pending;
        let [draft, head, other] = [draft, head, other].map(|commit| Hash::as_bytes(commit.hash()).to_vec());
        self.execute(sql, params![kind, draft, head, other, placed]).map(drop)
    }

    /// Ends what is under way, with all its conflicts.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn end_pending(&self) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM conflict_sides", [])?;
        self.execute("DELETE FROM conflicts", [])?;
        self.execute("DELETE FROM pending", []).map(drop)
    }

    /// A path waits for a decision.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_conflict(&self, path: &RepoPath, conflict: &Conflict) -> Result<(), DatabaseError> {
        let detail = serde_json::Value::from(conflict.detail.clone()).to_string();
        let sql = "INSERT OR REPLACE INTO conflicts VALUES (?1, ?2, ?3)";
        self.execute(sql, params![path.as_str(), conflict.kind, detail])?;
        for (side, entry) in (0u8..).zip(&conflict.sides) {
            if let Staged::File { file, size, executable } = entry {
                let sql = "INSERT OR REPLACE INTO conflict_sides VALUES (?1, ?2, ?3, ?4, ?5)";
                let values = params![path.as_str(), side, file.as_bytes(), to_sql(*size), executable];
                self.execute(sql, values)?;
            }
        }
        Ok(())
    }

    /// A path is decided.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn end_conflict(&self, path: &RepoPath) -> Result<(), DatabaseError> {
        self.execute("DELETE FROM conflict_sides WHERE path = ?1", [path.as_str()])?;
        self.execute("DELETE FROM conflicts WHERE path = ?1", [path.as_str()])
            .map(drop)
    }
}
