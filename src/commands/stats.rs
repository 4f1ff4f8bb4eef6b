//! `fai stats`

use anyhow::Result;
use fai_core::repo::Stats;
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format::{percent, size};

/// Show what the repository holds and what it saves
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai stats --json | jq .savings")]
pub struct Args {}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let stats = context.repository()?.stats()?;
        print(context, &stats)?;
        let encodings = stats.by_encoding.iter().map(|(name, totals)| {
            let value = json!({
                "chunks": totals.count, "raw_bytes": totals.raw_bytes, "stored_bytes": totals.stored_bytes,
            });
            ((*name).to_owned(), value)
        });
        context.out.document(&json!({
            "logical_bytes": stats.logical_bytes,
            "unique_bytes": stats.unique_bytes,
            "stored_bytes": stats.stored_bytes,
            "savings": stats.savings(),
            "files": stats.files,
            "commits": stats.commits,
            "chunks": stats.chunks,
            "packs": stats.packs,
            "saved_identical": stats.saved_identical,
            "encodings": encodings.collect::<serde_json::Map<_, _>>(),
        }))
    }
}

fn print(context: &Context, stats: &Stats) -> Result<()> {
    let out = &context.out;
    let line = |label: &str, value: String| out.say(Symbol::Item, format!("  {label:<12}{value}"));
    let (files, commits) = (stats.files, stats.commits);
    out.say(
        Symbol::Compare,
        format!("{files} versions of files in {commits} commits"),
    )?;
    line("Logical:", format!("{} as separate copies", size(stats.logical_bytes)))?;
    line(
        "Unique:",
        format!("{} after equal chunks are stored once", size(stats.unique_bytes)),
    )?;
    line(
        "Stored:",
        format!("{} in {} packs", size(stats.stored_bytes), stats.packs),
    )?;
    for (name, totals) in &stats.by_encoding {
        let (raw, stored) = (size(totals.raw_bytes), size(totals.stored_bytes));
        line(
            &format!("  {name}:"),
            format!("{} chunks, {raw} in {stored}", totals.count),
        )?;
    }
    out.say(Symbol::Summary, format!("Saved: {}", percent(stats.savings())))
}
