//! Words and what they are found in: file names, messages, tensor names, models, params, metrics. Built with the tables of
//! experiments, and as easily rebuilt.

use rusqlite::params;

use super::{Database, DatabaseError, RowId, Writer, to_sql};

/// What a word was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// A path.
    Name = 0,
    /// A commit's message or label.
    Message = 1,
    /// A tensor's name.
    Tensor = 2,
    /// A commit's params.
    Param = 3,
    /// A commit's metrics.
    Metric = 4,
    /// A model: its architecture and format.
    Model = 5,
}

impl Found {
    /// All of them.
    pub const ALL: [Found; 6] = [
        Found::Name,
        Found::Message,
        Found::Tensor,
        Found::Param,
        Found::Metric,
        Found::Model,
    ];

    fn from_row(row: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i64 == row & 7)
    }
}

/// A model as it is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its path.
    pub path: String,
    /// The name of its format.
    pub format: String,
    /// Its architecture; empty when it is not known.
    pub architecture: String,
    /// The number of its parameters.
    pub parameters: u64,
    /// A hash of the names of its tensors.
    pub names: [u8; 32],
    /// The newest commit that brought it, or that it was last seen in.
    pub experiment: RowId,
}

/// Words that wait to be entered, and where they are found. They are entered after everything else of a transaction: any
/// other statement between them makes FTS5 write what it has gathered so far.
#[derive(Debug, Default)]
pub struct Words(Vec<(Found, i64, String)>);

impl Words {
    /// Adds words by which something is found.
    pub fn add(&mut self, kind: Found, id: i64, words: &str) {
        if !words.trim().is_empty() {
            self.0.push((kind, id, words.to_owned()));
        }
    }
}

impl Database {
    /// What fulfils a query in the language of FTS5, best first, handed to `visit` until it says that it has enough.
    ///
    /// # Errors
    /// When SQLite fails, or the error of `visit`.
    pub fn search_words<E: From<DatabaseError>>(
        &self,
        query: &str,
        kinds: &[Found],
        mut visit: impl FnMut(Found, i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mask: i64 = kinds.iter().map(|kind| 1 << *kind as i64).sum();
        // Short texts first among equals, then what is newer.
        let sql = "SELECT rowid FROM search_words WHERE search_words MATCH ?1 AND (1 << (rowid & 7)) & ?2 \
                   ORDER BY bm25(search_words), rowid DESC";
        let wrap = |source| self.wrap(source);
        let mut statement = self.connection.prepare_cached(sql).map_err(wrap)?;
        let mut rows = statement.query(params![query, mask]).map_err(wrap)?;
        while let Some(row) = rows.next().map_err(wrap)? {
            let number: i64 = row.get(0).map_err(wrap)?;
            let Some(kind) = Found::from_row(number) else { continue };
            if !visit(kind, number >> 3)? {
                break;
            }
        }
        Ok(())
    }

    /// A path by its number, and the commit that it was last seen in.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn searched_path(&self, id: i64) -> Result<Option<(String, RowId)>, DatabaseError> {
        let sql = "SELECT path, experiment FROM search_paths WHERE id = ?1";
        self.row(sql, [id], |row| Ok((row.get(0)?, RowId(row.get(1)?))))
    }

    /// A tensor's name by its number.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn searched_tensor(&self, id: i64) -> Result<Option<String>, DatabaseError> {
        self.row("SELECT name FROM search_tensors WHERE id = ?1", [id], |row| row.get(0))
    }

    /// The models that have a tensor, the one that was seen last first; `limit` of them at the most.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn models_with_tensor(&self, id: i64, limit: usize) -> Result<Vec<ModelRow>, DatabaseError> {
        let sql = "SELECT m.path, m.format, m.architecture, m.parameters, m.names, m.experiment \
                   FROM search_tensor_sets s JOIN search_models m ON m.names = s.names \
                   WHERE s.tensor = ?1 ORDER BY m.experiment DESC LIMIT ?2";
        self.rows(sql, params![id, limit as i64], model)
    }

    /// A model by its number.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn searched_model(&self, id: i64) -> Result<Option<ModelRow>, DatabaseError> {
        let sql = "SELECT path, format, architecture, parameters, names, experiment FROM search_models WHERE id = ?1";
        self.row(sql, [id], model)
    }

    /// All models whose number of parameters lies between two, those seen last first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn models_between(&self, least: u64, most: u64) -> Result<Vec<ModelRow>, DatabaseError> {
        let sql = "SELECT path, format, architecture, parameters, names, experiment FROM search_models \
                   WHERE parameters BETWEEN ?1 AND ?2 ORDER BY experiment DESC";
        self.rows(sql, params![to_sql(least), to_sql(most)], model)
    }
}

impl Writer<'_> {
    /// Enters that a commit holds a file at a path.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn see_path(&self, path: &str, experiment: RowId, words: &mut Words) -> Result<(), DatabaseError> {
        let known = "SELECT id, experiment FROM search_paths WHERE path = ?1";
        let known = self.row(known, [path], |row| Ok((row.get::<_, i64>(0)?, RowId(row.get(1)?))))?;
        if let Some((id, before)) = known {
            if self.is_newer(experiment, before)? {
                let sql = "UPDATE search_paths SET experiment = ?2 WHERE id = ?1";
                self.execute(sql, params![id, experiment.0])?;
            }
            return Ok(());
        }
        let sql = "INSERT INTO search_paths (path, experiment) VALUES (?1, ?2) RETURNING id";
        let id = self.row(sql, params![path, experiment.0], |row| row.get(0))?;
        id.into_iter().for_each(|id| words.add(Found::Name, id, path));
        Ok(())
    }

    /// Enters that a commit holds a model.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn see_model(&self, model: &ModelRow, text: &str, words: &mut Words) -> Result<(), DatabaseError> {
        let known = "SELECT id, experiment FROM search_models WHERE path = ?1 AND format = ?2 AND architecture = ?3 \
                     AND parameters = ?4 AND names = ?5";
        let values = params![
            model.path,
            model.format,
            model.architecture,
            to_sql(model.parameters),
            model.names,
        ];
        let known = self.row(known, values, |row| Ok((row.get::<_, i64>(0)?, RowId(row.get(1)?))))?;
        if let Some((id, before)) = known {
            if self.is_newer(model.experiment, before)? {
                let sql = "UPDATE search_models SET experiment = ?2 WHERE id = ?1";
                self.execute(sql, params![id, model.experiment.0])?;
            }
            return Ok(());
        }
        let sql = "INSERT INTO search_models (path, format, architecture, parameters, names, experiment) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id";
        let values = params![
            model.path,
            model.format,
            model.architecture,
            to_sql(model.parameters),
            model.names,
            model.experiment.0,
        ];
        let id = self.row(sql, values, |row| row.get(0))?;
        id.into_iter().for_each(|id| words.add(Found::Model, id, text));
        Ok(())
    }

    /// True when some model with this set of tensor names is entered.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn knows_tensor_set(&self, names: &[u8; 32]) -> Result<bool, DatabaseError> {
        let sql = "SELECT 1 FROM search_models WHERE names = ?1 LIMIT 1";
        Ok(self.row(sql, [names], |_| Ok(()))?.is_some())
    }

    /// Enters a tensor's name, as one of a set.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn see_tensor(&self, name: &str, names: &[u8; 32], words: &mut Words) -> Result<(), DatabaseError> {
        let known = self.row("SELECT id FROM search_tensors WHERE name = ?1", [name], |row| {
            row.get(0)
        })?;
        let id: i64 = match known {
            Some(id) => id,
            None => {
                let sql = "INSERT INTO search_tensors (name) VALUES (?1) RETURNING id";
                let Some(id) = self.row(sql, [name], |row| row.get(0))? else {
                    return Ok(());
                };
                words.add(Found::Tensor, id, name);
                id
            }
        };
        let sql = "INSERT OR IGNORE INTO search_tensor_sets (tensor, names) VALUES (?1, ?2)";
        self.execute(sql, params![id, names]).map(drop)
    }

    /// Enters words.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn enter_words(&self, words: &Words) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO search_words (rowid, body) VALUES (?1, ?2)";
        let mut waiting: Vec<_> = words
            .0
            .iter()
            .map(|(kind, id, text)| ((id << 3) | *kind as i64, text))
            .collect();
        // FTS5 gathers rows in memory as long as their numbers rise.
        waiting.sort_unstable_by_key(|(row, _)| *row);
        waiting
            .into_iter()
            .try_for_each(|(row, text)| self.execute(sql, params![row, text]).map(drop))
    }

    /// Forgets all that is found.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear_search(&self) -> Result<(), DatabaseError> {
        self.batch(
            "INSERT INTO search_words (search_words) VALUES ('delete-all'); DELETE FROM search_tensor_sets; \
             DELETE FROM search_tensors; DELETE FROM search_models; DELETE FROM search_paths;",
        )
    }

    /// True when one commit was not made before another.
    fn is_newer(&self, one: RowId, other: RowId) -> Result<bool, DatabaseError> {
        if one == other {
            return Ok(false);
        }
        let sql = "SELECT (SELECT time FROM experiments WHERE id = ?1) >= (SELECT time FROM experiments WHERE id = ?2)";
        let newer: Option<Option<bool>> = self.row(sql, params![one.0, other.0], |row| row.get(0))?;
        // Where the other one is gone, this one counts.
        Ok(newer.flatten().unwrap_or(true))
    }
}

fn model(row: &rusqlite::Row<'_>) -> rusqlite::Result<ModelRow> {
    Ok(ModelRow {
        path: row.get(0)?,
        format: row.get(1)?,
        architecture: row.get(2)?,
        parameters: super::from_sql(row.get(3)?),
        names: row.get(4)?,
        experiment: RowId(row.get(5)?),
    })
}
