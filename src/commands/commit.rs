//! `fai commit`

use std::collections::BTreeMap;

use anyhow::Result;
use fai_core::object::Value;
use fai_core::repo::{CommitReport, CommitRequest, Error};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::format;

/// Record what is staged as a new version
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai commit -m \"Initial ResNet-50 model\"\n  \
    fai commit -m \"Lower rate\" --param lr=1e-4 --metric accuracy=0.931 --tag-with baseline\n\n\
    metrics.json, dvclive/metrics.json, params.yaml and params.json are read by themselves when they are staged. So are \
    step series: metrics.csv, events.jsonl and dvclive/plots/metrics/**/*.tsv, of which the last values are noted. The \
    commit of a git repository around this one is noted, too, unless commit.code is false.")]
pub struct Args {
    /// Why; several make paragraphs
    #[arg(short, long, value_name = "TEXT", required_unless_present = "amend")]
    message: Vec<String>,
    /// Replace the newest commit instead of following it
    #[arg(long)]
    amend: bool,
    // Not a doc comment: rustdoc would take the angle brackets for HTML.
    #[arg(long, help = "Who, as \"Name <email>\"")]
    author: Option<String>,
    /// A parameter of the run
    #[arg(long, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// A metric of the run
    #[arg(long, value_name = "KEY=VALUE")]
    metric: Vec<String>,
    /// A label of this commit
    #[arg(long, value_name = "LABEL")]
    tag_with: Vec<String>,
    /// What was fine-tuned; as REV:PATH it also helps to store later files
    #[arg(long, value_name = "TEXT")]
    base_model: Option<String>,
    /// What it was trained on: a path, REV:PATH, or any text
    #[arg(long, value_name = "PATH|TEXT")]
    dataset: Vec<String>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        if !self.message.is_empty() && self.message.iter().all(|text| text.trim().is_empty()) {
            let error = Error::Usage("the message is empty".into());
            return Err(Hinted::new(error, "say in a few words what changed and why").into());
        }
        let keeps_author = self.author.is_none() && (self.amend || repository.underway()?.is_some());
        let author = match keeps_author {
            true => None,
            false => Some(context.author(&repository, self.author.as_deref())?),
        };
        let dataset = |text: &String| repository.dataset(text, &context.folder);
        let datasets: Result<Vec<_>, Error> = self.dataset.iter().map(dataset).collect();
        let request = CommitRequest {
            message: (!self.message.is_empty()).then(|| self.message.join("\n\n")),
            author,
            time: context.now()?,
            amend: self.amend,
            params: pairs(&self.param)?,
            metrics: pairs(&self.metric)?,
            labels: self.tag_with,
            base_model: self.base_model,
            datasets: datasets?,
            code: crate::code::revision(context, &repository)?,
        };
        let report = repository.commit(&request)?;
        report.warnings.iter().for_each(|warning| context.out.warn(warning));
        context
            .out
            .say(Symbol::Done, format!("Created commit {}", report.id.short()))?;
        context.out.document(&document(&report))
    }
}

fn document(report: &CommitReport) -> serde_json::Value {
    let commit = &report.commit;
    json!({
        "id": report.id.to_string(),
        "tree": commit.tree.to_string(),
        "parents": commit.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "message": commit.message,
        "author": { "name": commit.author.name, "email": commit.author.email },
        "time": format::time_rfc3339(commit.time),
        "params": commit.metadata.get("params").map(format::json).unwrap_or_else(|| json!({})),
        "metrics": commit.metadata.get("metrics").map(format::json).unwrap_or_else(|| json!({})),
        "labels": commit.labels(),
        "base_model": commit.metadata.get("base_model").map(format::json),
        "datasets": commit.metadata.get("datasets").map_or_else(|| json!([]), format::json),
        "code": commit.metadata.get("code").map(format::json),
        "warnings": report.warnings,
    })
}

fn pairs(texts: &[String]) -> Result<BTreeMap<String, Value>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), Value::from_typed(value.trim()))),
        _ => {
            let error = Error::Usage(format!("{text:?} is not a key and a value"));
            Err(Hinted::new(error, "write it like accuracy=0.93").into())
        }
    };
    texts.iter().map(pair).collect()
}
