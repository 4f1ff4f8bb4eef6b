//! `fai metrics`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{Commit, CommitId, Value};
use serde_json::json;

use crate::context::Context;
use crate::experiments::shown;
use crate::ui::Symbol;
use crate::ui::format;
use crate::ui::table::{Align, Column, Table};

/// Show the metrics and params of a commit, or what differs between two
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai metrics\n  fai metrics --diff HEAD~1 HEAD")]
pub struct Args {
    /// The revision
    #[arg(value_name = "REV", default_value = "HEAD")]
    revision: String,
    /// Compare two revisions
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "revision")]
    diff: Option<Vec<String>>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        match self.diff.as_deref() {
            Some([one, other]) => diff(
                context,
                &repository,
                repository.resolve(one)?,
                repository.resolve(other)?,
            ),
            _ => values(context, &repository, repository.resolve(&self.revision)?),
        }
    }
}

type Values = BTreeMap<String, Value>;

fn read(repository: &Repository, id: CommitId) -> Result<[(&'static str, Values); 2]> {
    let commit: Commit = repository.store().get(id)?;
    Ok(["metrics", "params"].map(|name| (name, commit.metadata_map(name).cloned().unwrap_or_default())))
}

fn values(context: &Context, repository: &Repository, id: CommitId) -> Result<()> {
    let found = read(repository, id)?;
    let mut document = serde_json::Map::from_iter([("commit".to_owned(), json!(id.to_string()))]);
    for (what, values) in &found {
        document.insert((*what).to_owned(), Value::Map(values.clone()).to_json());
        if values.is_empty() {
            continue;
        }
        context.out.say(Symbol::Numbers, format!("{what} of {}", id.short()))?;
        let mut table = Table::default();
        table.fixed(Column::new(
            "  NAME",
            values.keys().map(|name| format!("  {}", format::safe(name))).collect(),
        ));
        let texts = values.values().map(|value| format::safe(&format::plain(value)));
        table.fixed(Column::new("VALUE", texts.collect()).aligned(Align::Right));
        table.lines(None).0.iter().try_for_each(|line| context.out.line(line))?;
    }
    if found.iter().all(|(_, values)| values.is_empty()) {
        context.out.say(
            Symbol::Item,
            format!("Commit {} has no metrics and no params", id.short()),
        )?;
    }
    context.out.document(&document.into())
}

/// What differs in one value.
struct Difference {
    name: String,
    before: Option<Value>,
    after: Option<Value>,
    /// After less before, where both are numbers.
    change: Option<f64>,
    /// The change by the value before, where that is not zero.
    share: Option<f64>,
}

fn differences(before: &Values, after: &Values) -> Vec<Difference> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let same = |one: Option<&Value>, other: Option<&Value>| match (one, other) {
        // NaN is what it was when it is NaN again.
        (Some(Value::Float(one)), Some(Value::Float(other))) => one == other || (one.is_nan() && other.is_nan()),
        _ => one == other,
    };
    let mut found = Vec::new();
    for name in names {
        let (before, after) = (before.get(name), after.get(name));
        if same(before, after) {
            continue;
        }
        let numbers = before.and_then(Value::as_number).zip(after.and_then(Value::as_number));
        let change = numbers.map(|(before, after)| after - before);
        let share = numbers
            .filter(|(before, _)| *before != 0.0)
            .map(|(before, after)| (after - before) / before.abs());
        found.push(Difference {
            name: name.clone(),
            before: before.cloned(),
            after: after.cloned(),
            change,
            share: share.filter(|share| share.is_finite()),
        });
    }
    found
}

fn diff(context: &Context, repository: &Repository, one: CommitId, other: CommitId) -> Result<()> {
    let (before, after) = (read(repository, one)?, read(repository, other)?);
    let mut document = serde_json::Map::from_iter([
        ("before".to_owned(), json!(one.to_string())),
        ("after".to_owned(), json!(other.to_string())),
    ]);
    let mut equal = true;
    for ((what, before), (_, after)) in before.iter().zip(&after) {
        let found = differences(before, after);
        let entry = |difference: &Difference| {
            json!({
                "name": difference.name,
                "before": difference.before.as_ref().map(Value::to_json),
                "after": difference.after.as_ref().map(Value::to_json),
                "change": difference.change.map(|change| Value::Float(change).to_json()),
                "percent": difference.share.map(|share| share * 100.0),
            })
        };
        document.insert((*what).to_owned(), found.iter().map(entry).collect());
        if found.is_empty() {
            continue;
        }
        equal = false;
        context
            .out
            .say(Symbol::Compare, format!("{what}: {} to {}", one.short(), other.short()))?;
        table(context, &found)?;
    }
    if equal {
        let line = format!("{} and {} have the same metrics and params", one.short(), other.short());
        context.out.say(Symbol::Item, line)?;
    }
    context.out.document(&document.into())
}

fn table(context: &Context, found: &[Difference]) -> Result<()> {
    let cells = |cell: &dyn Fn(&Difference) -> String| found.iter().map(cell).collect::<Vec<_>>();
    let value = |value: &Option<Value>| {
        value
            .as_ref()
            .map_or_else(|| "-".to_owned(), |value| format::shortened(&shown(value), 24))
    };
    let mut table = Table::default();
    table.fixed(Column::new(
        "  NAME",
        cells(&|difference| format!("  {}", format::safe(&difference.name))),
    ));
    table.fixed(Column::new("BEFORE", cells(&|difference| value(&difference.before))).aligned(Align::Right));
    table.fixed(Column::new("AFTER", cells(&|difference| value(&difference.after))).aligned(Align::Right));
    let change = cells(&|difference| match difference.change {
        Some(change) if change > 0.0 => format!("+{}", format::number(change)),
        Some(change) => format::number(change),
        None => String::new(),
    });
    table.fixed(Column::new("CHANGE", change).aligned(Align::Right));
    let share = cells(&|difference| match difference.share {
        Some(share) if share > 0.0 => format!("+{}", format::percent(share)),
        Some(share) => format::percent(share),
        None => String::new(),
    });
    table.fixed(Column::new("PERCENT", share).aligned(Align::Right));
    table.lines(None).0.iter().try_for_each(|line| context.out.line(line))
}
