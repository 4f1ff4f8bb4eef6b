//! Which commits an experiment command is about, and how their values are shown: shared by `exp`, `best`, `metrics` and
//! `plot`. What experiments are is in the core.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::Value;
use fai_core::repo::{Among, Error, Experiment, Filter};
use serde_json::json;

use crate::ui::errors::Hinted;
use crate::ui::format;

/// Options that choose commits.
#[derive(Debug, clap::Args)]
pub struct Scope {
    /// The commits of this branch instead of those up to here
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    branch: Option<String>,
    /// The commits of all branches and tags
    #[arg(long)]
    all: bool,
    /// Only where this holds, like 'lr<1e-3 and optimizer=adamw'; several must all hold
    #[arg(long, value_name = "CONDITION")]
    filter: Vec<String>,
}

impl Scope {
    /// The commits that are meant, when no revisions are named.
    pub fn among(&self, repository: &Repository) -> Result<Among> {
        if self.all {
            return Ok(Among::All);
        }
        let start = match &self.branch {
            Some(name) => {
                let full = format!("refs/heads/{}", name.strip_prefix("refs/heads/").unwrap_or(name));
                let missing = |_| Error::Usage(format!("there is no branch {name:?}"));
                repository.resolve(&full).map_err(missing)?
            }
            None => repository.resolve("HEAD")?,
        };
        Ok(Among::Before(vec![start]))
    }

    /// True when options choose commits that revisions would choose, too.
    pub fn is_chosen(&self) -> bool {
        self.all || self.branch.is_some()
    }

    /// All conditions together.
    pub fn filter(&self) -> Result<Filter> {
        let mut all = Filter::default();
        for text in &self.filter {
            let parsed = Filter::parse(text);
            let hint = "write it like 'accuracy>=0.9 and lr<1e-3'; a name or value with other signs stands in quotes";
            all.conditions
                .extend(parsed.map_err(|error| Hinted::new(error, hint))?.conditions);
        }
        Ok(all)
    }
}

/// One experiment as scripts see it.
pub fn document(experiment: &Experiment) -> serde_json::Value {
    let map = |values: &std::collections::BTreeMap<String, Value>| -> serde_json::Map<String, serde_json::Value> {
        let pair = |(name, value): (&String, &Value)| (name.clone(), value.to_json());
        values.iter().map(pair).collect()
    };
    json!({
        "commit": experiment.id.to_string(),
        "branches": experiment.branches,
        "tags": experiment.tags,
        "time": format::time_rfc3339(experiment.time),
        "author": experiment.author,
        "message": experiment.title,
        "labels": experiment.labels,
        "params": map(&experiment.params),
        "metrics": map(&experiment.metrics),
    })
}

/// A value in a table: numbers with at most six digits, text without what would disturb the line.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => format::number(*number),
        other => format::safe(&format::plain(other)),
    }
}
