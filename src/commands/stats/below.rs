//! `fai stats PATH...`: what some files cost.

use std::path::Path;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{BaseFile, Error, StatsBelow};
use serde_json::json;

use super::made_of;
use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format::{percent, size};

pub(super) fn run(context: &Context, paths: &[String]) -> Result<()> {
    let repository = context.repository()?;
    let places = paths.iter().map(|text| place(context, &repository, text));
    let stats = repository.stats_below(&places.collect::<Result<Vec<_>>>()?)?;
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
    let base = |base: &BaseFile| {
        json!({
            "path": base.path.as_str(), "commit": base.commit.map(|commit| commit.to_string()),
            "id": base.file.to_string(), "chunks": base.chunks, "bytes": base.bytes,
        })
    };
    context.out.document(&json!({
        "files": stats.files,
        "chunks": stats.chunks,
        "logical_bytes": stats.logical_bytes,
        "unique_bytes": stats.unique_bytes,
        "stored_bytes": stats.stored_bytes,
        "shared_bytes": stats.shared_bytes,
        "shared_stored_bytes": stats.shared_stored_bytes,
        "own_bytes": stats.own_bytes,
        "own_stored_bytes": stats.own_stored_bytes,
        "absent_bytes": stats.absent_bytes,
        "overhead_bytes": stats.overhead_bytes,
        "savings_by_cause": causes.collect::<serde_json::Map<_, _>>(),
        "encodings": encodings.collect::<serde_json::Map<_, _>>(),
        "deltas_by_depth": stats.delta_depths,
        "longest_chain": stats.delta_depths.len(),
        "bases": stats.bases.iter().map(base).collect::<Vec<_>>(),
    }))
}

/// The commit and path that `text` names.
fn place(context: &Context, repository: &Repository, text: &str) -> Result<(CommitId, RepoPath)> {
    if let Some((revision, path)) = text.split_once(':') {
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() {
            RepoPath::root()
        } else {
            RepoPath::parse(path)?
        };
        return Ok((repository.resolve(revision)?, path));
    }
    let none = || Error::NoCommits("HEAD".into());
    let commit = repository.head_commit()?.ok_or_else(none)?;
    let path = match repository.worktree() {
        Some(_) => repository.repo_path(&context.folder, Path::new(text))?,
        None => RepoPath::parse(text)?,
    };
    Ok((commit, path))
}

fn print(context: &Context, stats: &StatsBelow) -> Result<()> {
    let out = &context.out;
    let (files, chunks) = (stats.files, stats.chunks);
    out.say(Symbol::Compare, format!("{files} files in {chunks} distinct chunks"))?;
    let line = |label: &str, bytes: u64, what: String| {
        let share = percent(stats.share(bytes));
        let row = format!("  {label:<13}{:>8}{share:>8}   {what}", size(bytes));
        out.say(Symbol::Item, row.trim_end())
    };
    line("Logical", stats.logical_bytes, "as separate copies".to_owned())?;
    let shared = format!("{} of them shared with other files", size(stats.shared_bytes));
    line("Unique", stats.unique_bytes, shared)?;
    line("Stored", stats.stored_bytes, String::new())?;
    line(
        "only for it",
        stats.own_stored_bytes,
        "no other file holds this".to_owned(),
    )?;
    let others = "other files hold this, too".to_owned();
    line("shared", stats.shared_stored_bytes, others)?;
    if stats.absent_bytes > 0 {
        line(
            "absent",
            stats.absent_bytes,
            "not here: the selection leaves it out".to_owned(),
        )?;
    }
    out.say(Symbol::Item, "Saved by:")?;
    for (name, bytes) in stats.savings_by_cause() {
        match stats.by_encoding.get(name) {
            Some(totals) => line(name, bytes, made_of(totals))?,
            None if name == "identical" => line(name, bytes, "equal chunks among these stored once".to_owned())?,
            None => {}
        }
    }
    if let Some(raw) = stats.by_encoding.get("raw") {
        line("raw", raw.saved(), made_of(raw))?;
    }
    let longest = stats.delta_depths.len();
    if longest > 0 {
        let deltas: u64 = stats.delta_depths.iter().sum();
        out.say(
            Symbol::Item,
            format!("Deltas: {deltas}; the longest chain has {longest}"),
        )?;
    }
    for base in &stats.bases {
        let at = base
            .commit
            .map_or_else(String::new, |commit| format!("{}:", commit.short()));
        let (bytes, chunks) = (size(base.bytes), base.chunks);
        out.say(
            Symbol::Item,
            format!("  {bytes} in {chunks} chunks stand on {at}{}", base.path),
        )?;
    }
    let own = stats.share(stats.own_stored_bytes);
    out.say(
        Symbol::Summary,
        format!("Costs: {}, {} of its size", size(stats.own_stored_bytes), percent(own)),
    )
}
