//! `fai diff`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{Commit, CommitId, RepoPath};
use fai_core::repo::{AbsentFile, ChangedFile, Comparison, Error, Side, TensorChanges, Version};
use serde_json::{Value, json};

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::format::{self, safe, size};
use crate::ui::{Bar, Symbol, text_diff};

/// Longer files are not compared line by line.
const MAX_TEXT: u64 = 1 << 20;

/// Names that are listed of each kind of change to tensors.
const LISTED: usize = 10;

/// Compare versions: files, tensors, and text line by line
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai diff                      what is not staged yet\n  fai diff --staged             what the next commit changes\n  \
    fai diff HEAD~1               a commit and the worktree\n  fai diff abc12345 9f01cc2e    two commits"
)]
pub struct Args {
    /// Up to two revisions, then a path
    #[arg(num_args = 0..=3)]
    words: Vec<String>,
    /// Compare HEAD with what is staged
    #[arg(long, alias = "cached")]
    staged: bool,
    /// Only the summary of files, no lines of text
    #[arg(long)]
    stat: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let (revisions, scope) = self.words(context, &repository)?;
        let (old, new) = match (revisions.as_slice(), self.staged) {
            ([], false) => (Version::Index, Version::Worktree),
            ([], true) => (Version::Commit(repository.resolve("HEAD")?), Version::Index),
            ([one], false) => (Version::Commit(*one), Version::Worktree),
            ([one], true) => (Version::Commit(*one), Version::Index),
            ([one, other, ..], _) => (Version::Commit(*one), Version::Commit(*other)),
        };
        let comparison = compare(context, &repository, &old, &new, &scope)?;
        if !self.stat && !context.out.json {
            print_texts(context, &repository, &comparison)?;
        }
        print_summary(context, &repository, &old, &new, &comparison)?;
        context.out.document(&document(&comparison))
    }

    /// Words that are revisions come first; the last may be a path.
    fn words(&self, context: &Context, repository: &Repository) -> Result<(Vec<CommitId>, RepoPath)> {
        let mut revisions = Vec::new();
        let mut words = self
            .words
            .iter()
            .map(String::as_str)
            .filter(|word| *word != "--")
            .peekable();
        while let Some(word) = words.next_if(|_| revisions.len() < 2) {
            match repository.resolve(word) {
                Ok(commit) => revisions.push(commit),
                Err(error @ Error::UnknownRevision(_)) => {
                    let path = repository.repo_path(&context.folder, &PathBuf::from(word));
                    let known = |path: &RepoPath| {
                        let commits = revisions.iter().copied().map(Some).chain([None]);
                        commits.into_iter().any(|commit| repository.list(commit, path).is_ok())
                    };
                    return match path {
                        Ok(path) if known(&path) && words.peek().is_none() => Ok((revisions, path)),
                        _ => Err(error.into()),
                    };
                }
                Err(error) => return Err(error.into()),
            }
        }
        let scope = match words.next() {
            Some(path) => repository.repo_path(&context.folder, &PathBuf::from(path))?,
            None => RepoPath::root(),
        };
        Ok((revisions, scope))
    }
}

fn compare(
    context: &Context,
    repository: &Repository,
    old: &Version,
    new: &Version,
    scope: &RepoPath,
) -> Result<Comparison> {
    let (scopes, bar) = (std::slice::from_ref(scope), Bar::new(context.out, "Comparing"));
    if repository.selection()?.is_some() {
        // Which tensors changed, and which lines, only the contents of both sides tell.
        let files = repository.compare_files(old, new, scopes, &bar)?;
        let changed = files.modified.iter().chain(&files.renamed);
        let needed = changed.filter(|file| !file.same_content()).flat_map(needed);
        ensure_present(context, repository, needed)?;
    }
    Ok(repository.compare(old, new, scopes, &bar)?)
}

/// What a comparison reads of a changed file.
fn needed(file: &ChangedFile) -> impl Iterator<Item = AbsentFile> {
    let sides = [file.old, file.new].into_iter().flatten();
    sides.filter_map(|side| {
        Some(AbsentFile {
            path: Some(file.path.clone()),
            file: side.file?,
            size: side.size,
        })
    })
}

/// Compares and prints the summary of two versions.
pub fn print(context: &Context, repository: &Repository, old: &Version, new: &Version) -> Result<()> {
    let comparison = compare(context, repository, old, new, &RepoPath::root())?;
    print_summary(context, repository, old, new, &comparison)
}

/// Prints what a commit changes against its first parent, and returns it for scripts.
pub fn against_parent(
    context: &Context,
    repository: &Repository,
    commit: CommitId,
    parent: Option<CommitId>,
) -> Result<Value> {
    let old = parent.map_or(Version::Empty, Version::Commit);
    let comparison = compare(context, repository, &old, &Version::Commit(commit), &RepoPath::root())?;
    print_changes(context, &comparison)?;
    Ok(document(&comparison))
}

fn print_summary(
    context: &Context,
    repository: &Repository,
    old: &Version,
    new: &Version,
    comparison: &Comparison,
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
    print_changes(context, comparison)
}

fn print_changes(context: &Context, comparison: &Comparison) -> Result<()> {
    let out = &context.out;
    out.say(Symbol::Changes, "Changes:")?;
    let sections = [
        (Symbol::Added, "Added", &comparison.added),
        (Symbol::Removed, "Removed", &comparison.removed),
        (Symbol::Modified, "Modified", &comparison.modified),
        (Symbol::Renamed, "Renamed", &comparison.renamed),
    ];
    for (symbol, title, files) in sections.iter().filter(|(_, _, files)| !files.is_empty()) {
        out.say(*symbol, format!("{title} files ({}):", files.len()))?;
        for file in files.iter() {
            out.say(Symbol::Item, format!("  {}", describe(file)))?;
            if let Some(tensors) = &file.tensors {
                print_tensors(context, tensors)?;
            }
        }
    }
    let counts = sections.iter().filter(|(_, _, files)| !files.is_empty());
    let counts = counts
        .map(|(_, title, files)| format!("{title}: {} files", files.len()))
        .collect::<Vec<_>>();
    let change = format::size_change(comparison.size_delta());
    out.say(
        Symbol::Summary,
        format!("Summary: {}, Size: {change}", counts.join(", ")),
    )
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

fn print_tensors(context: &Context, tensors: &TensorChanges) -> Result<()> {
    let changed = tensors.changed.len() + tensors.reshaped.len() + tensors.retyped.len();
    let total = changed as u64 + tensors.unchanged;
    let mut parts = vec![format!("{changed} of {total} tensors changed")];
    for (what, names) in [("added", &tensors.added), ("removed", &tensors.removed)] {
        if !names.is_empty() {
            parts.push(format!("{} {what}", names.len()));
        }
    }
    context.out.say(Symbol::Item, format!("      {}", parts.join(", ")))?;
    let plain = |sign: char, names: &[String]| {
        names
            .iter()
            .map(|name| format!("{sign} {}", safe(name)))
            .collect::<Vec<_>>()
    };
    let mut lines = plain('~', &tensors.changed);
    lines.extend(
        tensors
            .reshaped
            .iter()
            .map(|t| format!("~ {} {:?} -> {:?}", safe(&t.name), t.old, t.new)),
    );
    lines.extend(
        tensors
            .retyped
            .iter()
            .map(|t| format!("~ {} {} -> {}", safe(&t.name), t.old, t.new)),
    );
    lines.extend(plain('+', &tensors.added));
    lines.extend(plain('-', &tensors.removed));
    for line in lines.iter().take(LISTED) {
        context.out.say(Symbol::Item, format!("        {line}"))?;
    }
    if lines.len() > LISTED {
        context.out.say(
            Symbol::Item,
            format!("        ... and {} more (--json lists all)", lines.len() - LISTED),
        )?;
    }
    Ok(())
}

/// Text files line by line, before the summary.
fn print_texts(context: &Context, repository: &Repository, comparison: &Comparison) -> Result<()> {
    for file in comparison.files().filter(|file| !file.same_content()) {
        let read = |side: &Option<Side>, path: &RepoPath| match side {
            Some(side) => repository.read_content(side, path, MAX_TEXT),
            None => Ok(Some(Vec::new())),
        };
        let old_path = file.old_path.as_ref().unwrap_or(&file.path);
        let (Some(old), Some(new)) = (read(&file.old, old_path)?, read(&file.new, &file.path)?) else {
            continue;
        };
        if let (Some(old), Some(new)) = (text_diff::as_text(&old), text_diff::as_text(&new)) {
            text_diff::print(&context.out, file.path.as_str(), old, new)?;
        }
    }
    Ok(())
}

fn document(comparison: &Comparison) -> Value {
    let side = |side: &Option<Side>| match side {
        Some(side) => json!({
            "id": side.file.map(|id| id.to_string()), "size": side.size, "executable": side.executable,
        }),
        None => Value::Null,
    };
    let one_sided = |file: &ChangedFile| {
        let present = file.new.as_ref().or(file.old.as_ref());
        json!({
            "path": file.path.as_str(),
            "id": present.and_then(|side| side.file).map(|id| id.to_string()),
            "size": present.map(|side| side.size),
        })
    };
    let two_sided = |file: &ChangedFile| {
        json!({
            "path": file.path.as_str(),
            "old_path": file.old_path.as_ref().map(RepoPath::as_str),
            "old": side(&file.old),
            "new": side(&file.new),
            "tensors": file.tensors.as_ref().map(tensors),
        })
    };
    json!({
        "added": comparison.added.iter().map(one_sided).collect::<Vec<_>>(),
        "removed": comparison.removed.iter().map(one_sided).collect::<Vec<_>>(),
        "modified": comparison.modified.iter().map(two_sided).collect::<Vec<_>>(),
        "renamed": comparison.renamed.iter().map(two_sided).collect::<Vec<_>>(),
        "summary": {
            "added": comparison.added.len(), "removed": comparison.removed.len(),
            "modified": comparison.modified.len(), "renamed": comparison.renamed.len(),
            "bytes_added": comparison.bytes_added(), "bytes_removed": comparison.bytes_removed(),
            "size_change": i64::try_from(comparison.size_delta()).unwrap_or(i64::MAX),
        },
    })
}

fn tensors(tensors: &TensorChanges) -> Value {
    json!({
        "added": tensors.added,
        "removed": tensors.removed,
        "changed": tensors.changed,
        "reshaped": tensors.reshaped.iter().map(|t| json!({ "name": t.name, "old": t.old, "new": t.new })).collect::<Vec<_>>(),
        "retyped": tensors.retyped.iter().map(|t| json!({ "name": t.name, "old": t.old, "new": t.new })).collect::<Vec<_>>(),
        "unchanged": tensors.unchanged,
    })
}
