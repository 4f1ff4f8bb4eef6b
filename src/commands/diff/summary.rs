//! The summary of files, for people. What is said of tensors is in `tensors`, of lines of text in `texts`.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{Commit, RepoPath};
use fai_core::repo::{ChangedFile, Comparison, Side, Version};

use super::{tables, tensors, texts};
use crate::context::Context;
use crate::ui::format::{self, safe, size};
use crate::ui::{Symbol, text_diff};

/// Signs that stand for changed lines in `--stat`, at the most.
const SIGNS: u64 = 40;

/// Prints what is compared and what differs.
pub fn print(
    context: &Context,
    repository: &Repository,
    old: &Version,
    new: &Version,
    comparison: &Comparison,
    all_tensors: bool,
) -> Result<()> {
    let out = &context.out;
    if let (Version::Commit(old), Version::Commit(new)) = (old, new) {
        out.say(Symbol::Compare, "Comparing commits:")?;
        for (number, id) in [(1, old), (2, new)] {
            let commit: Commit = repository.store().get(*id)?;
            let files = repository.list(Some(*id), &RepoPath::root())?.len();
            out.say(
                Symbol::Item,
                format!("Commit {number}: {} - \"{}\"", id.short(), safe(commit.title())),
            )?;
            out.say(
                Symbol::Item,
                format!("  Date: {}, Files: {files}", format::time(commit.time)),
            )?;
        }
    }
    if comparison.is_empty() {
        return out.say(Symbol::Done, "No differences");
    }
    print_changes(context, repository, comparison, all_tensors)
}

/// Prints what differs.
pub fn print_changes(
    context: &Context,
    repository: &Repository,
    comparison: &Comparison,
    all_tensors: bool,
) -> Result<()> {
    let out = &context.out;
    out.say(Symbol::Changes, "Changes:")?;
    for (symbol, title, files) in sections(comparison) {
        out.say(symbol, format!("{title} files ({}):", files.len()))?;
        for file in files {
            out.say(Symbol::Item, format!("  {}", describe(file)))?;
            match &file.tensors {
                Some(changes) => tensors::print(context, changes, all_tensors)?,
                None => print_content(context, repository, file)?,
            }
        }
    }
    print_total(context, comparison)
}

/// One line a file.
pub fn print_stat(context: &Context, repository: &Repository, comparison: &Comparison) -> Result<()> {
    let out = &context.out;
    if comparison.is_empty() {
        return out.say(Symbol::Done, "No differences");
    }
    let name = |file: &ChangedFile| match &file.old_path {
        Some(old) => safe(&format!("{old} -> {}", file.path)),
        None => safe(file.path.as_str()),
    };
    let room = out.width().saturating_sub(30).max(20);
    let names: Vec<String> = comparison.files().map(|file| out.shorten(&name(file), room)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (file, name) in comparison.files().zip(names) {
        out.line(format!(" {name:widest$} | {}", stat(context, repository, file)?))?;
    }
    print_total(context, comparison)
}

fn stat(context: &Context, repository: &Repository, file: &ChangedFile) -> Result<String> {
    if file.same_content() {
        return Ok("0".to_owned());
    }
    if let Some(changes) = &file.tensors {
        return Ok(tensors::counts(changes));
    }
    if let Some((old, new)) = texts::both(repository, file)? {
        let (added, removed) = text_diff::counts(&old, &new);
        let all = added + removed;
        let scaled = |count: u64| {
            if all > SIGNS {
                (count * SIGNS).div_ceil(all)
            } else {
                count
            }
        };
        let signs =
            |sign: &str, color: &str, count: u64| context.out.paint(color, &sign.repeat(scaled(count) as usize));
        return Ok(format!(
            "{all} {}{}",
            signs("+", "32", added),
            signs("-", "31", removed)
        ));
    }
    let bytes = |side: &Option<Side>| size(side.map_or(0, |side| side.size));
    Ok(format!("Bin {} -> {}", bytes(&file.old), bytes(&file.new)))
}

fn sections(comparison: &Comparison) -> impl Iterator<Item = (Symbol, &'static str, &Vec<ChangedFile>)> {
    let sections = [
        (Symbol::Added, "Added", &comparison.added),
        (Symbol::Removed, "Removed", &comparison.removed),
        (Symbol::Modified, "Modified", &comparison.modified),
        (Symbol::Renamed, "Renamed", &comparison.renamed),
    ];
    sections.into_iter().filter(|(_, _, files)| !files.is_empty())
}

fn print_total(context: &Context, comparison: &Comparison) -> Result<()> {
    let counts: Vec<String> = sections(comparison)
        .map(|(_, title, files)| format!("{title}: {} files", files.len()))
        .collect();
    let change = format::size_change(comparison.size_delta());
    context.out.say(
        Symbol::Summary,
        format!("Summary: {}, Size: {change}", counts.join(", ")),
    )
}

/// What is told of a file whose content differs and that has no tensors: columns and rows of a table, and how much of
/// the content of a file that is not compared line by line stayed.
fn print_content(context: &Context, repository: &Repository, file: &ChangedFile) -> Result<()> {
    if file.same_content() || file.old.is_none() || file.new.is_none() {
        return Ok(());
    }
    let out = &context.out;
    if let Some((old, new)) = tables::both(repository, file)? {
        for line in tables::differences(&old, &new) {
            out.say(
                Symbol::Item,
                format!("      {}", out.shorten(&safe(&line), out.width().saturating_sub(8))),
            )?;
        }
    }
    if texts::both(repository, file)?.is_none()
        && let Some(shared) = repository.shared_bytes(file)?
    {
        let text = format!(
            "as before: {} of {}, in {} of {} chunks",
            size(shared.bytes),
            size(file.new.map_or(0, |side| side.size)),
            shared.chunks,
            shared.of_chunks
        );
        out.say(Symbol::Item, format!("      {text}"))?;
    }
    Ok(())
}

fn describe(file: &ChangedFile) -> String {
    let ids = |side: &Side| match side.file {
        Some(id) => format!("{} - {}", id.short(), size(side.size)),
        None => size(side.size),
    };
    match (&file.old, &file.new) {
        (Some(old), Some(new)) => {
            let from = file
                .old_path
                .as_ref()
                .map(|path| format!("{path} -> "))
                .unwrap_or_default();
            let mode = match (old.executable, new.executable) {
                (false, true) => ", now executable",
                (true, false) => ", no longer executable",
                _ => "",
            };
            let sides = if file.same_content() {
                ids(new)
            } else {
                format!("{} -> {}", ids(old), ids(new))
            };
            format!("{from}{} ({sides}{mode})", file.path)
        }
        (Some(side), None) | (None, Some(side)) => format!("{} ({})", file.path, ids(side)),
        (None, None) => file.path.to_string(),
    }
}
