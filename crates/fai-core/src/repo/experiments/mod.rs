//! `exp`, `best` and `metrics`: commits as experiments, by the params and metrics that they carry.

mod filter;
mod index;
mod preference;
mod seen;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap, HashSet};

pub use filter::{Condition, Filter, Operator};
pub use preference::Preference;
pub(super) use seen::forget;

use super::history::Names;
use super::{Error, Repository};
use crate::database::{ExperimentNode, RowId, ValueKind};
use crate::object::{CommitId, Time, Value};

/// Names that an error lists.
const NAMED: usize = 10;

/// A commit and what it says of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The commit.
    pub id: CommitId,
    /// When it was made.
    pub time: Time,
    /// Its author's name.
    pub author: String,
    /// The first line of its message.
    pub title: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Short names of the branches that stand on it.
    pub branches: Vec<String>,
    /// Short names of the tags that stand on it.
    pub tags: Vec<String>,
    /// What was chosen.
    pub params: BTreeMap<String, Value>,
    /// What was measured.
    pub metrics: BTreeMap<String, Value>,
}

/// Which commits are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Among {
    /// These and no others, with or without params and metrics.
    Only(Vec<CommitId>),
    /// These and what comes before them.
    Before(Vec<CommitId>),
    /// All that branches, tags and `HEAD` lead to.
    All,
}

/// What to list.
#[derive(Debug, Clone)]
pub struct ExperimentQuery {
    /// Of which commits.
    pub among: Among,
    /// What must hold.
    pub filter: Filter,
    /// A metric or param to sort by, and whether the highest comes first. Without it the newest commit does.
    pub sort: Option<(String, bool)>,
    /// How many at the most.
    pub limit: usize,
}

impl Repository {
    /// The experiments that fulfil a query.
    ///
    /// # Errors
    /// When no commit has a param or metric that is named, or the repository cannot be read.
    pub fn experiments(&self, query: &ExperimentQuery) -> Result<Vec<Experiment>, Error> {
        let mut rows = self.chosen(&query.among, &query.filter)?;
        if let Some((name, falling)) = &query.sort {
            let values = self.values_named(name)?;
            rows.sort_by(|one, other| {
                by_value(values.get(&one.id), values.get(&other.id), *falling).then(newest_first(one, other))
            });
        }
        rows.truncate(query.limit);
        let mut names = self.names_of_commits()?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.extend(self.experiment_at(row.id, &mut names)?);
        }
        Ok(found)
    }

    /// The experiment with the best value of a metric, and that value. Of several that are equal the newest; NaN and
    /// text never win.
    ///
    /// # Errors
    /// When no commit has such a metric, or the repository cannot be read.
    pub fn best_experiment(
        &self,
        among: &Among,
        filter: &Filter,
        metric: &str,
        direction: Preference,
    ) -> Result<Option<(Experiment, Value)>, Error> {
        let rows = self.chosen(among, filter)?;
        let values = self.values_named(metric)?;
        let numbers = rows.iter().filter_map(|row| {
            let number = values.get(&row.id)?.as_number()?;
            (!number.is_nan()).then_some((row.id, number))
        });
        // Newest first, so that a later one must be better to win.
        let best = numbers.reduce(|best, next| {
            let better = match direction {
                Preference::Min => next.1 < best.1,
                Preference::Max => next.1 > best.1,
            };
            if better { next } else { best }
        });
        let Some((id, _)) = best else { return Ok(None) };
        let experiment = self.experiment_at(id, &mut self.names_of_commits()?)?;
        Ok(experiment.zip(values.get(&id).cloned()))
    }

    /// What every commit among some has for a metric or param, oldest first.
    ///
    /// # Errors
    /// When no commit has it, or the repository cannot be read.
    pub fn values_over_commits(&self, among: &Among, name: &str) -> Result<Vec<(CommitId, Value)>, Error> {
        let mut rows = self.chosen(among, &Filter::default())?;
        rows.reverse();
        let values = self.values_named(name)?;
        let mut found = Vec::new();
        for row in rows {
            if let Some(value) = values.get(&row.id)
                && let Some(experiment) = self.database().experiment(row.id)?
            {
                found.push((experiment.commit, value.clone()));
            }
        }
        Ok(found)
    }

    /// The commits that are meant and fulfil a filter, newest first.
    fn chosen(&self, among: &Among, filter: &Filter) -> Result<Vec<ExperimentNode>, Error> {
        let starts = match among {
            Among::Only(commits) | Among::Before(commits) => commits.clone(),
            Among::All => Vec::new(),
        };
        self.enter_commits(&starts)?;
        let mut rows = match among {
            Among::Only(_) => self.rows_of(&starts)?,
            Among::Before(_) => self.rows_before(&starts)?,
            Among::All => self.rows_before(&self.tips_of_refs()?)?,
        };
        if !matches!(among, Among::Only(_)) {
            rows.retain(|row| row.has_values);
        }
        for condition in &filter.conditions {
            let values = self.values_named(&condition.name)?;
            rows.retain(|row| values.get(&row.id).is_some_and(|value| condition.holds(value)));
        }
        if !matches!(among, Among::Only(_)) {
            rows.sort_by(newest_first);
        }
        Ok(rows)
    }

    /// Where branches, tags and `HEAD` stand.
    pub(super) fn tips_of_refs(&self) -> Result<Vec<CommitId>, Error> {
        let mut tips: Vec<CommitId> = self.head_commit()?.into_iter().collect();
        tips.extend(self.refs_of_history()?.into_iter().map(|(_, commit)| commit));
        Ok(tips)
    }

    fn rows_of(&self, commits: &[CommitId]) -> Result<Vec<ExperimentNode>, Error> {
        let mut found = Vec::new();
        for commit in commits {
            let Some(id) = self.database().experiment_id(*commit)? else {
                continue;
            };
            let row = self.database().experiment(id)?;
            found.extend(row.map(|row| ExperimentNode {
                id,
                seconds: row.time.seconds,
                parents: row.parents,
                has_values: row.entries > 0,
            }));
        }
        Ok(found)
    }

    /// `starts` and all that comes before them.
    pub(super) fn rows_before(&self, starts: &[CommitId]) -> Result<Vec<ExperimentNode>, Error> {
        let graph = self.database().experiment_graph()?;
        let places: HashMap<RowId, usize> = graph.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let mut waiting = Vec::new();
        for start in starts {
            waiting.extend(self.database().experiment_id(*start)?);
        }
        let mut seen: HashSet<RowId> = HashSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id)
                && let Some(node) = places.get(&id).and_then(|at| graph.get(*at))
            {
                waiting.extend(&node.parents);
            }
        }
        Ok(graph.into_iter().filter(|node| seen.contains(&node.id)).collect())
    }

    /// What commits have for a name: a metric, or where a commit has no such metric a param. `metrics.` and `params.`
    /// before the name choose one of them.
    fn values_named(&self, name: &str) -> Result<HashMap<RowId, Value>, Error> {
        let database = self.database();
        let mut values: HashMap<RowId, Value> = HashMap::new();
        for kind in [ValueKind::Param, ValueKind::Metric] {
            values.extend(database.values_of_key(kind, name)?);
        }
        if values.is_empty() {
            for (prefix, kind) in [("params.", ValueKind::Param), ("metrics.", ValueKind::Metric)] {
                if let Some(name) = name.strip_prefix(prefix) {
                    values.extend(database.values_of_key(kind, name)?);
                }
            }
        }
        match values.is_empty() {
            false => Ok(values),
            true => {
                let mut known = database.value_keys()?;
                let more = known.len().saturating_sub(NAMED);
                known.truncate(NAMED);
                Err(Error::NoSuchValue {
                    name: name.to_owned(),
                    known,
                    more,
                })
            }
        }
    }

    fn experiment_at(&self, id: RowId, names: &mut BTreeMap<CommitId, Names>) -> Result<Option<Experiment>, Error> {
        let Some(row) = self.database().experiment(id)? else {
            return Ok(None);
        };
        let (mut params, mut metrics) = (BTreeMap::new(), BTreeMap::new());
        for (kind, name, value) in self.database().experiment_values(id)? {
            match kind {
                ValueKind::Param => params.insert(name, value),
                ValueKind::Metric => metrics.insert(name, value),
            };
        }
        let Names { branches, tags, .. } = names.remove(&row.commit).unwrap_or_default();
        Ok(Some(Experiment {
            id: row.commit,
            time: row.time,
            author: row.author,
            title: row.title,
            labels: row.labels,
            branches,
            tags,
            params,
            metrics,
        }))
    }
}

/// Children before their parents, even within a second.
fn newest_first(one: &ExperimentNode, other: &ExperimentNode) -> Ordering {
    (Reverse(one.seconds), Reverse(one.id)).cmp(&(Reverse(other.seconds), Reverse(other.id)))
}

/// Numbers, then text, then NaN, then what is not there; only numbers and text are turned round.
fn by_value(one: Option<&Value>, other: Option<&Value>, falling: bool) -> Ordering {
    let class = |value: Option<&Value>| match value {
        None => 3,
        Some(value) => match value.as_number() {
            Some(number) if number.is_nan() => 2,
            Some(_) => 0,
            None => 1,
        },
    };
    let turned = |ordering: Ordering| if falling { ordering.reverse() } else { ordering };
    class(one).cmp(&class(other)).then_with(|| match (one, other) {
        (Some(one), Some(other)) => match (one.as_number(), other.as_number()) {
            (Some(one), Some(other)) => turned(one.partial_cmp(&other).unwrap_or(Ordering::Equal)),
            _ => turned(one.to_json().to_string().cmp(&other.to_json().to_string())),
        },
        _ => Ordering::Equal,
    })
}
