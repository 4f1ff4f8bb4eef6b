//! `search`: words in file names, messages, tensors, params, metrics and models of all commits that branches, tags and
//! `HEAD` lead to. How they are entered is in `experiments`.
//!
//! Every word must be found, in one thing; the last part of a word may be the beginning of a longer one, unless it ends
//! with a digit: `layers.1` does not mean layer 12.

use std::collections::{HashMap, HashSet};

use super::{Error, Repository};
use crate::database::{Found, ModelRow, RowId, ValueKind};
use crate::object::{Commit, CommitId, RepoPath, Time, Tree};

/// The longest text that is searched for, in bytes.
const MAX_TEXT: usize = 2000;

/// Models that are looked at for one tensor.
const MODELS: usize = 64;

/// Values of a commit that a hit shows.
const SHOWN: usize = 8;

/// What to search for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Words, as they were typed. Without any, all models are found.
    pub text: String,
    /// Where.
    pub kinds: Vec<Found>,
    /// How many parameters a model must have, at least and at most.
    pub parameters: Option<(u64, u64)>,
    /// How many hits at the most.
    pub limit: usize,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// In what.
    pub kind: Found,
    /// The newest commit with it.
    pub commit: CommitId,
    /// When that was made.
    pub time: Time,
    /// The first line of its message.
    pub title: String,
    /// The file, if it is about one.
    pub path: Option<String>,
    /// What matched: a path, a line of the message, a tensor's name, `lr=0.001`, an architecture.
    pub text: String,
    /// The model, if it is about one: format, architecture (may be empty), number of parameters.
    pub model: Option<(String, String, u64)>,
}

/// What was found, and whether there is more.
#[derive(Debug, Clone, Default)]
pub struct SearchReport {
    /// The best first.
    pub hits: Vec<Hit>,
    /// True when more was found than was asked for.
    pub more: bool,
}

impl Repository {
    /// Searches.
    ///
    /// # Errors
    /// When there is nothing to search for, or the repository cannot be read.
    pub fn search(&self, query: &SearchQuery) -> Result<SearchReport, Error> {
        let words = words(&query.text)?;
        if words.is_empty() && query.parameters.is_none() {
            return Err(Error::Usage(format!(
                "{:?} has no letters or digits to search for",
                query.text
            )));
        }
        self.enter_commits(&[])?;
        let mut search = Search {
            repository: self,
            query,
            words,
            reachable: HashSet::new(),
            tips: self.newest_tips()?,
            trees: HashMap::new(),
            report: SearchReport::default(),
        };
        let tips: Vec<CommitId> = search.tips.iter().map(|(_, id)| *id).collect();
        search.reachable = self.rows_before(&tips)?.into_iter().map(|node| node.id).collect();
        match search.words.is_empty() {
            true => search.models()?,
            false => search.by_words()?,
        }
        Ok(search.report)
    }

    /// Where refs stand, `HEAD` first and then the newest.
    fn newest_tips(&self) -> Result<Vec<(RowId, CommitId)>, Error> {
        let head = self.head_commit()?;
        let mut tips = Vec::new();
        let mut seen = HashSet::new();
        for commit in self.tips_of_refs()? {
            if !seen.insert(commit) {
                continue;
            }
            if let Some(row) = self.database().experiment_id(commit)?
                && let Some(known) = self.database().experiment(row)?
            {
                tips.push((Some(commit) != head, std::cmp::Reverse(known.time.seconds), row, commit));
            }
        }
        tips.sort();
        Ok(tips.into_iter().map(|(_, _, row, commit)| (row, commit)).collect())
    }
}

struct Search<'a> {
    repository: &'a Repository,
    query: &'a SearchQuery,
    words: Vec<String>,
    reachable: HashSet<RowId>,
    tips: Vec<(RowId, CommitId)>,
    trees: HashMap<CommitId, Tree>,
    report: SearchReport,
}

impl Search<'_> {
    fn by_words(&mut self) -> Result<(), Error> {
        let fts = fts_query(&self.words);
        let mut kinds = self.query.kinds.clone();
        if self.query.parameters.is_some() {
            kinds.retain(|kind| matches!(kind, Found::Model | Found::Tensor));
        }
        let repository = self.repository;
        let database = repository.database();
        database.search_words::<Error>(&fts, &kinds, |kind, id| {
            let hit = self.hit(kind, id)?;
            Ok(self.take(hit))
        })
    }

    /// All models of the size that was asked for.
    fn models(&mut self) -> Result<(), Error> {
        let (least, most) = self.query.parameters.unwrap_or((0, u64::MAX));
        let models = self.repository.database().models_between(least, most)?;
        for model in models {
            let text = model.architecture.clone();
            let hit = self.model(Found::Model, vec![model], text)?;
            if !self.take(hit) {
                break;
            }
        }
        Ok(())
    }

    /// Takes a hit; false when there are enough.
    fn take(&mut self, hit: Option<Hit>) -> bool {
        let Some(hit) = hit else { return true };
        if self.report.hits.len() >= self.query.limit {
            self.report.more = true;
            return false;
        }
        self.report.hits.push(hit);
        true
    }

    fn hit(&mut self, kind: Found, id: i64) -> Result<Option<Hit>, Error> {
        let database = self.repository.database();
        match kind {
            Found::Name => {
                let Some((path, row)) = database.searched_path(id)? else {
                    return Ok(None);
                };
                let text = path.clone();
                match self.holder(&path, row, false)? {
                    Some(row) => self.found(kind, row, Some(path), text),
                    None => Ok(None),
                }
            }
            Found::Message => {
                let Some(mut hit) = self.found(kind, RowId(id), None, String::new())? else {
                    return Ok(None);
                };
                let commit: Commit = self.repository.store().get(hit.commit)?;
                let lines = commit.message.lines().chain(commit.labels());
                let line = lines.max_by_key(|line| std::cmp::Reverse(self.missing(line)));
                hit.text = line.unwrap_or_default().to_owned();
                Ok(Some(hit))
            }
            Found::Param | Found::Metric => {
                let wanted = match kind {
                    Found::Param => ValueKind::Param,
                    _ => ValueKind::Metric,
                };
                let mut pairs = Vec::new();
                for (found, name, value) in database.experiment_values(RowId(id))? {
                    let text = match value.to_json() {
                        serde_json::Value::String(text) => format!("{name}={text}"),
                        other => format!("{name}={other}"),
                    };
                    if found == wanted && self.missing(&text) < self.words.len() && pairs.len() < SHOWN {
                        pairs.push(text);
                    }
                }
                self.found(kind, RowId(id), None, pairs.join(" "))
            }
            Found::Tensor => {
                let Some(name) = database.searched_tensor(id)? else {
                    return Ok(None);
                };
                let models = database.models_with_tensor(id, MODELS)?;
                self.model(kind, models, name)
            }
            Found::Model => {
                let model = database.searched_model(id)?;
                let text = model.as_ref().map(|model| model.architecture.clone());
                self.model(kind, model.into_iter().collect(), text.unwrap_or_default())
            }
        }
    }

    /// A hit in the model that was seen last, of those that are of the size that was asked for and can be reached.
    fn model(&mut self, kind: Found, models: Vec<ModelRow>, text: String) -> Result<Option<Hit>, Error> {
        let (least, most) = self.query.parameters.unwrap_or((0, u64::MAX));
        let mut best: Option<(Hit, RowId)> = None;
        for model in models {
            if !(least..=most).contains(&model.parameters) {
                continue;
            }
            let Some(row) = self.holder(&model.path, model.experiment, true)? else {
                continue;
            };
            let Some(mut hit) = self.found(kind, row, Some(model.path), text.clone())? else {
                continue;
            };
            hit.model = Some((model.format, model.architecture, model.parameters));
            let newer = |(best, at): &(Hit, RowId)| (hit.time.seconds, row) > (best.time.seconds, *at);
            if best.as_ref().is_none_or(newer) {
                best = Some((hit, row));
            }
        }
        Ok(best.map(|(hit, _)| hit))
    }

    /// The newest commit that holds what was last brought at a path by `row`: a tip that still has it, or else `row`. Unless
    /// it must be `exact`, any file at that path will do.
    fn holder(&mut self, path: &str, row: RowId, exact: bool) -> Result<Option<RowId>, Error> {
        let Ok(path) = RepoPath::parse(path) else {
            return Ok(None);
        };
        let brought = match self.repository.database().experiment(row)? {
            Some(experiment) => self.at(experiment.commit, &path)?,
            None => None,
        };
        for (tip, commit) in self.tips.clone() {
            let there = self.at(commit, &path)?;
            if there.is_some() && (!exact || there == brought || brought.is_none()) {
                return Ok(Some(tip));
            }
        }
        Ok(self.reachable.contains(&row).then_some(row))
    }

    fn at(&mut self, commit: CommitId, path: &RepoPath) -> Result<Option<crate::object::Hash>, Error> {
        if !self.trees.contains_key(&commit) {
            if self.trees.len() > 256 {
                self.trees.clear();
            }
            let tree = match self.repository.tree_of(Some(commit)) {
                Err(Error::Missing { .. }) => return Ok(None),
                other => other?,
            };
            self.trees.insert(commit, tree);
        }
        let Some(tree) = self.trees.get(&commit) else {
            return Ok(None);
        };
        Ok(self.repository.lookup(tree, path)?.map(|entry| entry.hash))
    }

    fn found(&self, kind: Found, row: RowId, path: Option<String>, text: String) -> Result<Option<Hit>, Error> {
        if !self.reachable.contains(&row) {
            return Ok(None);
        }
        let row = self.repository.database().experiment(row)?;
        Ok(row.map(|row| Hit {
            kind,
            commit: row.commit,
            time: row.time,
            title: row.title,
            path,
            text,
            model: None,
        }))
    }

    /// How many of the words that are searched for a text does not have.
    fn missing(&self, text: &str) -> usize {
        let text = text.to_lowercase();
        self.words
            .iter()
            .filter(|word| !text.contains(&word.to_lowercase()))
            .count()
    }
}

/// The words of a text that have something to search for in them.
fn words(text: &str) -> Result<Vec<String>, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::Usage(format!(
            "the text to search for is longer than {MAX_TEXT} bytes"
        )));
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    Ok(words
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(str::to_owned)
        .collect())
}

/// Words in the language of FTS5: each is a text in quotes, so that nothing in it is a command.
fn fts_query(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let ends_open = word.chars().next_back().is_some_and(char::is_alphabetic);
        let star = if ends_open { "*" } else { "" };
        format!("\"{}\"{star}", word.replace('"', " "))
    });
    quoted.collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_text_cannot_command_the_search() {
        let query = |text: &str| fts_query(&words(text).unwrap());
        assert_eq!(query("layers.12.mlp"), "\"layers.12.mlp\"*");
        assert_eq!(
            query("a\" OR b:* NEAR(x) -- layer 1"),
            "\"a \" AND \"OR\"* AND \"b:*\" AND \"NEAR(x)\" AND \"layer\"* AND \"1\""
        );
        assert_eq!(query("* \" ( ^"), "");
        assert!(words(&"x".repeat(3000)).is_err());
    }
}
