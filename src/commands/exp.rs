//! `fai exp`

use std::collections::BTreeSet;

use anyhow::Result;
use fai_core::object::Value;
use fai_core::repo::{Among, Error, Experiment, ExperimentQuery};
use serde_json::json;

use crate::context::Context;
use crate::experiments::{Scope, document, shown};
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::format;
use crate::ui::table::{Align, Column, Table};

/// The longest message in the table, in characters.
const MESSAGE: usize = 40;

/// The longest value in the table, in characters.
const VALUE: usize = 24;

/// Compare experiments: the params and metrics of commits
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai exp --sort -accuracy -n 10\n  fai exp --all --filter 'lr<1e-3 and optimizer=adamw'\n  \
    fai exp HEAD baseline --json\n\n\
    Without REV: the commits up to here that have params or metrics, newest first. A name in --sort and --filter is a \
    metric, or else a param; metrics.NAME and params.NAME say which."
)]
pub struct Args {
    /// Only these revisions
    #[arg(value_name = "REV")]
    revisions: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// Sort by a metric or param; with - in front the highest comes first
    #[arg(long, value_name = "[-]NAME", allow_hyphen_values = true)]
    sort: Option<String>,
    /// At most so many
    #[arg(short = 'n', long = "max-count", value_name = "N")]
    limit: Option<usize>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let among = match self.revisions.as_slice() {
            [] => self.scope.among(&repository)?,
            _ if self.scope.is_chosen() => {
                let error = Error::Usage("--branch and --all choose commits, and so do revisions".into());
                return Err(Hinted::new(error, "name either").into());
            }
            named => {
                let commits: Result<Vec<_>, Error> = named.iter().map(|text| repository.resolve(text)).collect();
                Among::Only(commits?)
            }
        };
        let sort = self.sort.as_ref().map(|text| match text.strip_prefix('-') {
            Some(name) => (name.to_owned(), true),
            None => (text.clone(), false),
        });
        let found = repository.experiments(&ExperimentQuery {
            among,
            filter: self.scope.filter()?,
            sort,
            limit: self.limit.unwrap_or(usize::MAX),
        })?;
        if self.csv {
            return csv(context, &found);
        }
        if found.is_empty() {
            context.out.say(
                Symbol::Item,
                "No experiments: commit with --param and --metric, or with params.yaml and metrics.json staged",
            )?;
        } else {
            table(context, &found)?;
        }
        let experiments: Vec<_> = found.iter().map(document).collect();
        context.out.document(&json!({ "experiments": experiments }))
    }
}

/// A param or metric that is a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    is_param: bool,
    name: String,
}

impl Name {
    fn of<'a>(&self, experiment: &'a Experiment) -> Option<&'a Value> {
        match self.is_param {
            true => experiment.params.get(&self.name),
            false => experiment.metrics.get(&self.name),
        }
    }
}

/// All names: metrics before params.
fn names(found: &[Experiment]) -> Vec<Name> {
    let mut all = BTreeSet::new();
    for experiment in found {
        for (is_param, values) in [(false, &experiment.metrics), (true, &experiment.params)] {
            let name = |name: &String| Name {
                is_param,
                name: name.clone(),
            };
            all.extend(values.keys().map(name));
        }
    }
    all.into_iter().collect()
}

fn table(context: &Context, found: &[Experiment]) -> Result<()> {
    let mut names = names(found);
    // What tells experiments apart comes first.
    let varies = |name: &Name| {
        let mut values = found.iter().map(|experiment| name.of(experiment).map(shown));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    names.sort_by_cached_key(|name| found.len() > 1 && !varies(name));
    let twice = |name: &Name| names.iter().filter(|other| other.name == name.name).count() > 1;
    let mut table = Table::default();
    let cells = |cell: &dyn Fn(&Experiment) -> String| found.iter().map(cell).collect::<Vec<_>>();
    table.fixed(Column::new(
        "COMMIT",
        cells(&|experiment| {
            let names: Vec<&str> = experiment
                .branches
                .iter()
                .chain(&experiment.tags)
                .map(String::as_str)
                .collect();
            match names.is_empty() {
                true => experiment.id.short(),
                false => format!("{} [{}]", experiment.id.short(), names.join(", ")),
            }
        }),
    ));
    table.fixed(Column::new(
        "TIME",
        cells(&|experiment| format::time(experiment.time).chars().take(16).collect()),
    ));
    table.fixed(Column::new(
        "MESSAGE",
        cells(&|experiment| format::shortened(&format::safe(&experiment.title), MESSAGE)),
    ));
    for name in &names {
        let title = match twice(name) {
            true if name.is_param => format!("params.{}", name.name),
            true => format!("metrics.{}", name.name),
            false => name.name.clone(),
        };
        let values = cells(&|experiment| match name.of(experiment) {
            Some(value) => format::shortened(&shown(value), VALUE),
            None => "-".to_owned(),
        });
        let numeric = |experiment: &Experiment| name.of(experiment).is_none_or(|value| value.as_number().is_some());
        let align = match found.iter().all(numeric) {
            true => Align::Right,
            false => Align::Left,
        };
        let title = format::shortened(&format::safe(&title), VALUE);
        table.optional(Column::new(title, values).aligned(align));
    }
    let (lines, hidden) = table.lines(context.out.columns());
    lines.iter().try_for_each(|line| context.out.line(line))?;
    if hidden > 0 {
        let columns = if hidden == 1 { "column" } else { "columns" };
        context.out.aside(format!(
            "{hidden} more {columns}: a wider terminal, --csv or --json shows them"
        ));
    }
    Ok(())
}

/// One line an experiment, with names that say what is a param and what a metric.
fn csv(context: &Context, found: &[Experiment]) -> Result<()> {
    let names = names(found);
    let mut head: Vec<String> = ["commit", "branches", "tags", "time", "author", "message"]
        .map(str::to_owned)
        .to_vec();
    let title = |name: &Name| match name.is_param {
        true => format!("params.{}", name.name),
        false => format!("metrics.{}", name.name),
    };
    head.extend(names.iter().map(title));
    context.out.line(line(&head))?;
    for experiment in found {
        let mut cells = vec![
            experiment.id.to_string(),
            experiment.branches.join(" "),
            experiment.tags.join(" "),
            format::time_rfc3339(experiment.time),
            experiment.author.clone(),
            experiment.title.clone(),
        ];
        cells.extend(
            names
                .iter()
                .map(|name| name.of(experiment).map(format::plain).unwrap_or_default()),
        );
        context.out.line(line(&cells))?;
    }
    Ok(())
}

/// A line as RFC 4180 has it.
fn line(cells: &[String]) -> String {
    let quoted = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",")
}
