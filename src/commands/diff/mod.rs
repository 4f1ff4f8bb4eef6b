//! `fai diff`: what is asked for. How it is said is in `summary`, `tensors`, `texts`, `json` and `page`.

mod json;
mod keys;
mod page;
mod summary;
mod tables;
mod tensors;
mod texts;

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{AbsentFile, ChangedFile, Comparison, Depth, Error, Version};
use serde_json::Value;

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::file::write_whole;
use crate::ui::{Bar, pager};

/// Compare versions: files, tensors, and text line by line
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai diff                      what is not staged yet\n  fai diff --staged             what the next commit changes\n  \
    fai diff HEAD~1               a commit and the worktree\n  fai diff abc12345 9f01cc2e    two commits\n  \
    fai diff HEAD~1 HEAD --html changes.html"
)]
pub struct Args {
    /// Up to two revisions, then a path
    #[arg(num_args = 0..=3)]
    words: Vec<String>,
    /// Compare HEAD with what is staged
    #[arg(long, alias = "cached")]
    staged: bool,
    /// One line a file, no lines of text
    #[arg(long)]
    stat: bool,
    /// Every tensor that changed, not only groups of them
    #[arg(long)]
    tensors: bool,
    /// Do not look into models: fast, only their sizes are told
    #[arg(long, conflicts_with_all = ["tensors", "html"])]
    no_tensors: bool,
    /// Also write a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print at once, even when it is more than the terminal holds
    #[arg(long)]
    no_pager: bool,
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
        let depth = match (self.no_tensors, self.stat && self.html.is_none()) {
            (true, _) => Depth::Files,
            (false, true) if !context.out.json => Depth::Names,
            _ => Depth::Values,
        };
        let comparison = compare(context, &repository, &old, &new, &scope, depth)?;
        if let Some(file) = &self.html {
            write_whole(&context.folder.join(file), page::page(&comparison).as_bytes())?;
        }
        if context.out.json {
            return context.out.document(&json::document(&repository, &comparison)?);
        }
        let pager = if self.no_pager {
            None
        } else {
            pager::start(&context.out)?
        };
        let printed = self.print(context, &repository, &old, &new, &comparison);
        drop(pager);
        printed
    }

    fn print(
        &self,
        context: &Context,
        repository: &Repository,
        old: &Version,
        new: &Version,
        comparison: &Comparison,
    ) -> Result<()> {
        if self.stat {
            return summary::print_stat(context, repository, comparison);
        }
        texts::print(context, repository, comparison)?;
        summary::print(context, repository, old, new, comparison, self.tensors)
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
    depth: Depth,
) -> Result<Comparison> {
    let (scopes, bar) = (std::slice::from_ref(scope), Bar::new(context.out, "Comparing"));
    if repository.selection()?.is_some() {
        // Which tensors changed, and which lines, only the contents of both sides tell.
        let files = repository.compare_files(old, new, scopes, &bar)?;
        let changed = files.modified.iter().chain(&files.renamed);
        let needed = changed.filter(|file| !file.same_content()).flat_map(needed);
        ensure_present(context, repository, needed)?;
    }
    Ok(repository.compare_to(depth, old, new, scopes, &bar)?)
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
    let comparison = compare(context, repository, old, new, &RepoPath::root(), Depth::Values)?;
    summary::print(context, repository, old, new, &comparison, false)
}

/// Prints what a commit changes against its first parent, and returns it for scripts.
pub fn against_parent(
    context: &Context,
    repository: &Repository,
    commit: CommitId,
    parent: Option<CommitId>,
) -> Result<Value> {
    let old = parent.map_or(Version::Empty, Version::Commit);
    let new = Version::Commit(commit);
    // Which tensors changed, not how far: a commit is looked at often, and its models may be large.
    let comparison = compare(context, repository, &old, &new, &RepoPath::root(), Depth::Names)?;
    summary::print_changes(context, repository, &comparison, false)?;
    json::document(repository, &comparison)
}
