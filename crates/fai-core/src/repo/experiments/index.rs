//! Enters commits into the tables of experiments, when somebody asks for them: those that refs and `HEAD` lead to and that
//! are not entered yet.
//!
//! Parents are entered before their children, so that a walk ends where it meets a commit that is entered, and what a
//! killed process has done is never done again. A batch is a transaction: a long history holds nobody up.

use std::collections::{BTreeMap, HashSet};

use super::super::shallow::Cuts;
use super::super::{Error, Repository};
use super::seen::{self, Knowledge, Seen};
use crate::database::{ExperimentRow, Found, RowId, ValueKind, Words, Writer};
use crate::object::{Commit, CommitId, Value};

/// Commits of one transaction.
const BATCH: usize = 500;

/// Paths, models and tensors that a transaction may enter before it ends.
const BATCH_PATHS: usize = 50_000;

/// Params, and metrics, of a commit that are entered at the most.
const MAX_VALUES: usize = 4096;

/// Names that are longer are not entered.
const MAX_NAME: usize = 256;

/// Characters of a message that are entered.
const MAX_MESSAGE: usize = 10_000;

/// Characters of a text that are entered.
const MAX_TEXT: usize = 1024;

impl Repository {
    /// Enters all commits that refs, `HEAD` and `besides` lead to.
    ///
    /// # Errors
    /// When one of `besides` cannot be read, or the database fails.
    pub(in crate::repo) fn enter_commits(&self, besides: &[CommitId]) -> Result<(), Error> {
        let cuts = self.store.cuts()?;
        let mut starts = besides.to_vec();
        starts.extend(self.head_commit()?);
        starts.extend(self.refs_of_history()?.into_iter().map(|(_, commit)| commit));
        let grown = self.grown(&cuts)?;
        starts.extend(grown.iter().flat_map(|(_, parents)| parents));
        let fresh = self.not_entered(&starts, &cuts)?;
        let mut known = Knowledge::default();
        let mut batch: Vec<Fresh> = Vec::new();
        let mut paths = 0;
        for id in fresh {
            let commit: Commit = self.store.get(id)?;
            let parents = self.store.parents(&cuts, id, &commit)?;
            let parent: Option<Commit> = parents.first().map(|id| self.store.get(*id)).transpose()?;
            let seen = self.seen(&commit, parent.as_ref(), &mut known)?;
            paths += seen.paths();
            batch.push(Fresh {
                id,
                commit,
                parents,
                seen,
            });
            if batch.len() >= BATCH || paths >= BATCH_PATHS {
                self.enter_batch(&batch)?;
                (batch, paths) = (Vec::new(), 0);
            }
        }
        self.enter_batch(&batch)?;
        if grown.is_empty() {
            return Ok(());
        }
        self.database().transaction(|writer| -> Result<(), Error> {
            for (id, parents) in &grown {
                let (Some(row), commit) = (writer.experiment_id(*id)?, self.store.get::<Commit>(*id)?) else {
                    continue;
                };
                let parents = rows(writer, parents)?;
                writer.set_parents(row, &parents, parents.len() < commit.parents.len())?;
            }
            Ok(())
        })
    }

    fn enter_batch(&self, batch: &[Fresh]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.database().transaction(|writer| {
            let mut words = Words::default();
            for fresh in batch {
                enter(writer, fresh, &mut words)?;
            }
            Ok(writer.enter_words(&words)?)
        })
    }

    /// Commits that were entered without parents that have come since, with their parents.
    fn grown(&self, cuts: &Cuts) -> Result<Vec<(CommitId, Vec<CommitId>)>, Error> {
        let mut grown = Vec::new();
        for id in self.database().cut_experiments()? {
            // One that was collected meanwhile has no parents to come.
            let Ok(commit) = self.store.get::<Commit>(id) else {
                continue;
            };
            let parents = self.store.parents(cuts, id, &commit)?;
            let known = self.database().experiment_id(id)?;
            let known = known.map(|row| self.database().experiment(row)).transpose()?.flatten();
            if known.is_some_and(|row| row.parents.len() < parents.len()) {
                grown.push((id, parents));
            }
        }
        Ok(grown)
    }

    /// The commits that `starts` lead to and that are not entered, parents first.
    fn not_entered(&self, starts: &[CommitId], cuts: &Cuts) -> Result<Vec<CommitId>, Error> {
        enum Step {
            Look(CommitId),
            Leave(CommitId),
        }
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        let mut steps: Vec<Step> = starts.iter().rev().map(|id| Step::Look(*id)).collect();
        let named: HashSet<&CommitId> = starts.iter().collect();
        while let Some(step) = steps.pop() {
            let id = match step {
                Step::Leave(id) => {
                    order.push(id);
                    continue;
                }
                Step::Look(id) => id,
            };
            if !seen.insert(id) || self.database().experiment_id(id)?.is_some() {
                continue;
            }
            let parents = match self.store.get::<Commit>(id) {
                Ok(commit) => self.store.parents(cuts, id, &commit)?,
                Err(error) if named.contains(&id) => return Err(error),
                // What is damaged must not hide what is not: `fsck` names it.
                Err(error) => {
                    tracing::warn!(%error, "a commit is left out");
                    continue;
                }
            };
            steps.push(Step::Leave(id));
            steps.extend(parents.into_iter().rev().map(Step::Look));
        }
        Ok(order)
    }
}

fn rows(writer: &Writer<'_>, commits: &[CommitId]) -> Result<Vec<RowId>, Error> {
    let mut found = Vec::new();
    for commit in commits {
        found.extend(writer.experiment_id(*commit)?);
    }
    Ok(found)
}

/// A commit that is to be entered.
struct Fresh {
    id: CommitId,
    commit: Commit,
    parents: Vec<CommitId>,
    seen: Seen,
}

/// Enters one commit.
fn enter(writer: &Writer<'_>, fresh: &Fresh, words: &mut Words) -> Result<(), Error> {
    let Fresh { id, commit, .. } = fresh;
    let values = values(commit);
    let parents = rows(writer, &fresh.parents)?;
    let parent = parents.first().copied();
    let row = ExperimentRow {
        commit: *id,
        time: commit.time,
        author: commit.author.name.clone(),
        title: cut_short(commit.title()),
        labels: commit.labels().into_iter().map(cut_short).collect(),
        cut: parents.len() < commit.parents.len(),
        parents,
        entries: values.len() as u64,
    };
    // Another process may have been faster.
    let Some(row) = writer.insert_experiment(&row)? else {
        return Ok(());
    };
    let mut texts: BTreeMap<Found, String> = BTreeMap::new();
    for (kind, name, value) in values {
        writer.insert_value(row, kind, name, &value)?;
        let found = match kind {
            ValueKind::Param => Found::Param,
            ValueKind::Metric => Found::Metric,
        };
        let text = texts.entry(found).or_default();
        *text = format!("{text}{name} {}\n", value.to_json());
    }
    let message: String = commit.message.chars().take(MAX_MESSAGE).collect();
    texts.insert(Found::Message, format!("{message}\n{}", commit.labels().join(" ")));
    for (found, text) in &texts {
        words.add(*found, row.0, text);
    }
    seen::enter(writer, &fresh.seen, row, parent, words)
}

/// The params and metrics of a commit that are entered.
fn values(commit: &Commit) -> Vec<(ValueKind, &str, Value)> {
    let mut found = Vec::new();
    for (kind, name) in [(ValueKind::Param, "params"), (ValueKind::Metric, "metrics")] {
        let map = commit.metadata_map(name).into_iter().flatten();
        let short = map.filter(|(name, _)| name.len() <= MAX_NAME).take(MAX_VALUES);
        found.extend(short.map(|(name, value)| (kind, name.as_str(), bounded(value))));
    }
    found
}

fn bounded(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(cut_short(text)),
        Value::List(_) | Value::Map(_) => {
            let text = value.to_json().to_string();
            match text.len() > MAX_TEXT {
                true => Value::Text(cut_short(&text)),
                false => value.clone(),
            }
        }
        other => other.clone(),
    }
}

fn cut_short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
