//! `fai stats`

mod below;

use anyhow::Result;
use fai_core::repo::{EncodingStats, Stats};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format::{percent, size, size_change};

/// Show what the repository holds and what it saves
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai stats\n  fai stats fine-tune.safetensors\n  fai stats HEAD~1:models/\n  fai stats --json | jq .savings"
)]
pub struct Args {
    /// Only what these files cost, and those below these folders: paths in HEAD, or REV:PATH
    paths: Vec<String>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        if !self.paths.is_empty() {
            return below::run(context, &self.paths);
        }
        let stats = context.repository()?.stats()?;
        print(context, &stats)?;
        let encodings = stats.by_encoding.iter().map(|(name, totals)| {
            let value = json!({
                "chunks": totals.count, "raw_bytes": totals.raw_bytes, "stored_bytes": totals.stored_bytes,
            });
            ((*name).to_owned(), value)
        });
        let causes = stats.savings_by_cause().into_iter().map(|(name, bytes)| {
            let value = json!({ "bytes": bytes, "share": stats.share(bytes) });
            (name.to_owned(), value)
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
            "savings_by_cause": causes.collect::<serde_json::Map<_, _>>(),
            "overhead_bytes": stats.overhead_bytes,
            "unreferenced_bytes": stats.unreferenced_bytes,
            "encodings": encodings.collect::<serde_json::Map<_, _>>(),
            "deltas_by_depth": stats.delta_depths,
            "longest_chain": stats.delta_depths.len(),
        }))
    }
}

fn print(context: &Context, stats: &Stats) -> Result<()> {
    let out = &context.out;
    let (files, commits) = (stats.files, stats.commits);
    out.say(
        Symbol::Compare,
        format!("{files} versions of files in {commits} commits"),
    )?;
    let line = |label: &str, bytes: String, share: String, what: String| {
        let row = format!("  {label:<13}{bytes:>8}{share:>8}   {what}");
        out.say(Symbol::Item, row.trim_end())
    };
    let whole = |label: &str, bytes: u64, what: String| line(label, size(bytes), percent(stats.share(bytes)), what);
    whole("Logical", stats.logical_bytes, "as separate copies".to_owned())?;
    whole(
        "Unique",
        stats.unique_bytes,
        format!("in {} chunks, equal ones stored once", stats.chunks),
    )?;
    whole("Stored", stats.stored_bytes, format!("in {} packs", stats.packs))?;

    out.say(Symbol::Item, "Saved by:")?;
    for (name, bytes) in stats.savings_by_cause() {
        let what = match stats.by_encoding.get(name) {
            Some(totals) => made_of(totals),
            None if name == "identical" => "equal chunks stored once".to_owned(),
            None => continue,
        };
        whole(name, bytes, what)?;
    }
    if let Some(raw) = stats.by_encoding.get("raw") {
        whole("raw", raw.saved(), made_of(raw))?;
    }
    let cost = |label: &str, bytes: u64, what: &str| match bytes {
        0 => Ok(()),
        _ => line(
            label,
            size_change(-i128::from(bytes)),
            percent(-stats.share(bytes)),
            what.to_owned(),
        ),
    };
    cost(
        "packs",
        stats.overhead_bytes,
        "what they cost besides: lists, headers, indexes",
    )?;
    cost(
        "unreferenced",
        stats.unreferenced_bytes,
        "stored, and nothing leads to it",
    )?;
    if !stats.delta_depths.is_empty() {
        let by_depth = stats.delta_depths.iter().zip(1..);
        let counts: Vec<String> = by_depth
            .map(|(count, depth)| format!("{count} of depth {depth}"))
            .collect();
        let longest = stats.delta_depths.len();
        out.say(
            Symbol::Item,
            format!("Deltas: {}; the longest chain has {longest}", counts.join(", ")),
        )?;
    }
    out.say(Symbol::Summary, format!("Saved: {}", percent(stats.savings())))
}

/// `1234 chunks, 1.2GB in 340MB`.
fn made_of(totals: &EncodingStats) -> String {
    let (raw, stored) = (size(totals.raw_bytes), size(totals.stored_bytes));
    format!("{} chunks, {raw} in {stored}", totals.count)
}
