//! Commits as experiments: when, by whom, and the params and metrics that they carry. What words are found by is in
//! `search`; which commits are entered, and when, is not here.

use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Row, params};

use super::{Database, DatabaseError, Writer, hash_column};
use crate::object::{CommitId, Id, Time, Value};

/// The number of a commit in these tables. A parent that is here has a lower one than its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// What a value of a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// Chosen before the run.
    Param = 1,
    /// Measured by the run.
    Metric = 2,
}

/// A commit as these tables know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentRow {
    /// Its id.
    pub commit: CommitId,
    /// When it was made.
    pub time: Time,
    /// Its author's name.
    pub author: String,
    /// The first line of its message.
    pub title: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its parents that are here.
    pub parents: Vec<RowId>,
    /// True when it has parents that are not here.
    pub cut: bool,
    /// How many params and metrics it has.
    pub entries: u64,
}

/// One commit of the graph of all that are entered.
#[derive(Debug, Clone)]
pub struct ExperimentNode {
    /// Its number.
    pub id: RowId,
    /// When, in seconds since 1970.
    pub seconds: i64,
    /// Its parents that are here.
    pub parents: Vec<RowId>,
    /// True when it has params or metrics.
    pub has_values: bool,
}

impl Database {
    /// The number of a commit, if it is entered.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn experiment_id(&self, commit: CommitId) -> Result<Option<RowId>, DatabaseError> {
        let sql = "SELECT id FROM experiments WHERE \"commit\" = ?1";
        self.row(sql, [commit.as_bytes()], |row| row.get(0).map(RowId))
    }

    /// Commits that were entered without all of their parents.
    ///
    /// # Errors
    /// When SQLite fails or a row is damaged.
    pub fn cut_experiments(&self) -> Result<Vec<CommitId>, DatabaseError> {
        let sql = "SELECT \"commit\" FROM experiments WHERE cut = 1";
        let found = self.rows(sql, [], |row| hash_column(row, 0))?;
        found
            .into_iter()
            .map(|hash| hash.map(CommitId::from_hash).ok_or_else(|| self.damaged("experiments")))
            .collect()
    }

    /// All commits that are entered, by number.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn experiment_graph(&self) -> Result<Vec<ExperimentNode>, DatabaseError> {
        let sql = "SELECT id, time, parents, entries > 0 FROM experiments ORDER BY id";
        self.rows(sql, [], |row| {
            Ok(ExperimentNode {
                id: RowId(row.get(0)?),
                seconds: row.get(1)?,
                parents: numbers(row.get_ref(2)?.as_blob()?),
                has_values: row.get(3)?,
            })
        })
    }

    /// One commit by its number.
    ///
    /// # Errors
    /// When SQLite fails or the row is damaged.
    pub fn experiment(&self, id: RowId) -> Result<Option<ExperimentRow>, DatabaseError> {
        let sql = "SELECT \"commit\", time, offset, author, title, labels, parents, cut, entries \
                   FROM experiments WHERE id = ?1";
        let found = self.row(sql, [id.0], experiment)?;
        found
            .map(|row| row.ok_or_else(|| self.damaged("experiments")))
            .transpose()
    }

    /// The params and metrics of one commit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn experiment_values(&self, id: RowId) -> Result<Vec<(ValueKind, String, Value)>, DatabaseError> {
        let sql = "SELECT k.kind, k.name, v.value FROM experiment_values v JOIN experiment_keys k ON k.id = v.key \
                   WHERE v.experiment = ?1 ORDER BY k.kind, k.name";
        self.rows(sql, [id.0], |row| {
            let kind = match row.get(0)? {
                1 => ValueKind::Param,
                _ => ValueKind::Metric,
            };
            Ok((kind, row.get(1)?, value(row.get_ref(2)?)))
        })
    }

    /// What every commit has for one param or metric.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn values_of_key(&self, kind: ValueKind, name: &str) -> Result<Vec<(RowId, Value)>, DatabaseError> {
        let sql = "SELECT v.experiment, v.value FROM experiment_values v JOIN experiment_keys k ON k.id = v.key \
                   WHERE k.kind = ?1 AND k.name = ?2";
        self.rows(sql, params![kind as u8, name], |row| {
            Ok((RowId(row.get(0)?), value(row.get_ref(1)?)))
        })
    }

    /// The names of all params and metrics.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn value_keys(&self) -> Result<Vec<String>, DatabaseError> {
        let sql = "SELECT name FROM experiment_keys GROUP BY name ORDER BY max(kind) DESC, name";
        self.rows(sql, [], |row| row.get(0))
    }
}

impl Writer<'_> {
    /// Enters a commit and gives its number; `None` when it was entered before.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn insert_experiment(&self, experiment: &ExperimentRow) -> Result<Option<RowId>, DatabaseError> {
        let sql = "INSERT INTO experiments (\"commit\", time, offset, author, title, labels, parents, cut, entries) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING RETURNING id";
        let values = params![
            experiment.commit.as_bytes(),
            experiment.time.seconds,
            experiment.time.offset_minutes,
            experiment.author,
            experiment.title,
            serde_json::to_string(&experiment.labels).unwrap_or_default(),
            blob(&experiment.parents),
            experiment.cut,
            super::to_sql(experiment.entries),
        ];
        self.row(sql, values, |row| row.get(0).map(RowId))
    }

    /// The number of a commit, if it is entered.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn experiment_id(&self, commit: CommitId) -> Result<Option<RowId>, DatabaseError> {
        let sql = "SELECT id FROM experiments WHERE \"commit\" = ?1";
        self.row(sql, [commit.as_bytes()], |row| row.get(0).map(RowId))
    }

    /// Enters a param or metric of a commit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn insert_value(&self, id: RowId, kind: ValueKind, name: &str, value: &Value) -> Result<(), DatabaseError> {
        let known = "SELECT id FROM experiment_keys WHERE kind = ?1 AND name = ?2";
        let key: Option<i64> = self.row(known, params![kind as u8, name], |row| row.get(0))?;
        let key = match key {
            Some(key) => Some(key),
            None => {
                let sql = "INSERT INTO experiment_keys (kind, name) VALUES (?1, ?2) RETURNING id";
                self.row(sql, params![kind as u8, name], |row| row.get(0))?
            }
        };
        let sql = "INSERT OR REPLACE INTO experiment_values (key, experiment, value) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![key, id.0, sql_value(value)]).map(drop)
    }

    /// Enters parents of a commit that came after it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_parents(&self, id: RowId, parents: &[RowId], cut: bool) -> Result<(), DatabaseError> {
        let sql = "UPDATE experiments SET parents = ?2, cut = ?3 WHERE id = ?1";
        self.execute(sql, params![id.0, blob(parents), cut]).map(drop)
    }

    /// Forgets all experiments.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_experiments(&self) -> Result<(), DatabaseError> {
        self.batch("DELETE FROM experiment_values; DELETE FROM experiment_keys; DELETE FROM experiments;")
    }
}

fn experiment(row: &Row<'_>) -> rusqlite::Result<Option<ExperimentRow>> {
    let commit = hash_column(row, 0)?.map(CommitId::from_hash);
    let (time, author, title) = (
        Time {
            seconds: row.get(1)?,
            offset_minutes: row.get(2)?,
        },
        row.get(3)?,
        row.get(4)?,
    );
    let labels = serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default();
    let parents = numbers(row.get_ref(6)?.as_blob()?);
    let (cut, entries) = (row.get(7)?, super::from_sql(row.get(8)?));
    Ok(commit.map(|commit| ExperimentRow {
        commit,
        time,
        author,
        title,
        labels,
        parents,
        cut,
        entries,
    }))
}

fn blob(ids: &[RowId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0.to_le_bytes()).collect()
}

fn numbers(blob: &[u8]) -> Vec<RowId> {
    let (whole, _) = blob.as_chunks();
    whole.iter().map(|bytes| RowId(i64::from_le_bytes(*bytes))).collect()
}

/// Numbers and text as SQLite has them, so that they can be compared there; NaN, which it does not have, is NULL; all
/// else is JSON in a blob.
fn sql_value(value: &Value) -> Sql {
    match value {
        Value::Int(number) => Sql::Integer(*number),
        Value::Float(number) if number.is_nan() => Sql::Null,
        Value::Float(number) => Sql::Real(*number),
        Value::Text(text) => Sql::Text(text.clone()),
        other => Sql::Blob(serde_json::to_vec(&other.to_json()).unwrap_or_default()),
    }
}

fn value(sql: ValueRef<'_>) -> Value {
    match sql {
        ValueRef::Null => Value::Float(f64::NAN),
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(json) => {
            let document = serde_json::from_slice(json).unwrap_or_default();
            Value::from_json(&document)
        }
    }
}
