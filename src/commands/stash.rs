//! `fai stash`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::RepoPath;
use fai_core::repo::{Applied, ApplyOptions, Error, Stash, StashOptions, Version};
use serde_json::{Value, json};

use super::diff;
use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::errors::{Hinted, document as error_document, warn_all};
use crate::ui::format::{files, safe, time_rfc3339};
use crate::ui::{Bar, Symbol};

/// Put what is staged and changed aside, and bring it back later
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  fai stash\n  fai stash -u -m \"half a recipe\"\n  fai stash push config.yaml\n  fai stash list\n  \
    fai stash pop\n  fai stash apply 1 --index\n  fai stash branch tryout\n\n\
    A stash is a revision: fai diff stash@{0}, fai checkout stash@{0} config.yaml. Stashes stay here: no peer gets them. \
    fai undo takes back each of these commands."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    push: Push,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Put it aside, and make files and staging those of HEAD; what fai stash alone does
    Push(Push),
    /// List what was put aside, newest first
    List,
    /// Show what a stash changes, file by file
    Show(Named),
    /// Bring a stash back, and keep it
    Apply(Bring),
    /// Bring a stash back, and forget it
    Pop(Bring),
    /// Forget a stash
    Drop(Named),
    /// Forget all stashes
    Clear,
    /// Bring a stash back on a new branch that begins where it was put aside, and forget it
    Branch {
        /// The new branch
        branch: String,
        #[command(flatten)]
        named: Named,
    },
}

#[derive(Debug, clap::Args)]
struct Push {
    /// Only these files and folders
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What it is
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Also files that are neither tracked nor ignored
    #[arg(short = 'u', long)]
    include_untracked: bool,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Which one: stash@{1}, or just 1; the newest by default
    #[arg(value_name = "STASH", default_value = "stash")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct Bring {
    #[command(flatten)]
    named: Named,
    /// What was staged is staged again
    #[arg(long)]
    index: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        match self.action.unwrap_or(Action::Push(self.push)) {
            Action::Push(push) => push.run(context, &repository),
            Action::List => list(context, &repository),
            Action::Show(named) => {
                let stash = repository.stash_named(&named.name)?;
                let (old, new) = (Version::Commit(stash.base()?), Version::Commit(stash.id));
                diff::print_stat(context, &repository, &old, &new)
            }
            Action::Apply(bring) => bring.run(context, &repository, false),
            Action::Pop(bring) => bring.run(context, &repository, true),
            Action::Drop(named) => {
                let stash = repository.stash_named(&named.name)?;
                repository.stash_drop(&stash, context.now()?)?;
                dropped(context, &[stash])
            }
            Action::Clear => dropped(context, &repository.stash_clear(context.now()?)?),
            Action::Branch { branch, named } => self::branch(context, &repository, &branch, &named),
        }
    }
}

impl Push {
    fn run(self, context: &Context, repository: &Repository) -> Result<()> {
        let paths = context.paths(repository, &self.paths)?;
        let options = StashOptions {
            message: self.message,
            untracked: self.include_untracked,
            author: context.author(repository, None)?,
            time: context.now()?,
        };
        if let Some(head) = repository.head_commit()? {
            ensure_present(context, repository, repository.files_to_check_out(head)?)?;
        }
        let bar = Bar::new(context.out, "Stashing");
        let report = repository.stash_push(&paths, &options, &bar).map_err(|error| match error {
            Error::LocalChanges(_) => Hinted::new(
                error,
                "they stand where a file of HEAD belongs and are not tracked: move them away, or take them along with -u",
            )
            .into(),
            error => anyhow::Error::from(error),
        })?;
        bar.finish();
        match &report.stash {
            Some(stash) => {
                let said = format!("Stashed as {}: {}", stash.name(), safe(stash.commit.title()));
                context.out.say(Symbol::Done, said)?;
            }
            None => context.out.say(Symbol::Item, "Nothing to stash")?,
        }
        if !report.left.is_empty() {
            let left: Vec<&str> = report.left.iter().map(RepoPath::as_str).collect();
            let said = format!(
                "these are not in the worktree on purpose, and stay staged: {}",
                left.join(", ")
            );
            context.out.warn(safe(&said));
        }
        warn_all(&context.out, &report.refused);
        context.out.document(&json!({
            "stash": report.stash.as_ref().map(document),
            "written": report.written, "removed": report.removed,
            "left": report.left.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
            "refused": report.refused.iter().map(error_document).collect::<Vec<_>>(),
        }))
    }
}

impl Bring {
    fn run(self, context: &Context, repository: &Repository, drop: bool) -> Result<()> {
        let stash = repository.stash_named(&self.named.name)?;
        ensure_present(context, repository, repository.files_to_check_out(stash.id)?)?;
        let options = ApplyOptions {
            index: self.index,
            drop,
            time: context.now()?,
        };
        let bar = Bar::new(context.out, "Writing");
        let applied = repository.stash_apply(&stash, options, &bar).map_err(in_the_way)?;
        bar.finish();
        said(context, &stash, &applied, drop, None)
    }
}

fn branch(context: &Context, repository: &Repository, branch: &str, named: &Named) -> Result<()> {
    let stash = repository.stash_named(&named.name)?;
    ensure_present(context, repository, repository.files_to_check_out(stash.id)?)?;
    let bar = Bar::new(context.out, "Writing");
    let applied = repository.stash_branch(branch, &stash, context.now()?, &bar);
    let applied = applied.map_err(in_the_way)?;
    bar.finish();
    context
        .out
        .say(Symbol::Done, format!("Switched to a new branch {}", safe(branch)))?;
    said(context, &stash, &applied, true, Some(branch))
}

/// What is in the way can be put aside as well.
fn in_the_way(error: Error) -> anyhow::Error {
    match error {
        Error::LocalChanges(_) => {
            Hinted::new(error, "commit them first, or put them aside with `fai stash` as well").into()
        }
        error => error.into(),
    }
}

fn said(context: &Context, stash: &Stash, applied: &Applied, dropped: bool, branch: Option<&str>) -> Result<()> {
    let Applied {
        written,
        removed,
        staged,
    } = applied;
    let counts = format!(
        "{} written, {removed} removed, {} staged",
        files(*written),
        staged.len()
    );
    let verb = if dropped { "Applied and dropped" } else { "Applied" };
    context
        .out
        .say(Symbol::Done, format!("{verb} {} ({counts})", stash.name()))?;
    context.out.document(&json!({
        "stash": document(stash), "branch": branch, "dropped": dropped, "written": written, "removed": removed,
        "staged": staged.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
    }))
}

fn list(context: &Context, repository: &Repository) -> Result<()> {
    let stashes = repository.stashes()?;
    for stash in &stashes {
        let name = context.out.paint("33", &stash.name());
        context.out.line(format!("{name}: {}", safe(stash.commit.title())))?;
    }
    let stashes: Vec<Value> = stashes.iter().map(document).collect();
    context.out.document(&json!({ "stashes": stashes }))
}

fn dropped(context: &Context, stashes: &[Stash]) -> Result<()> {
    for stash in stashes {
        let said = format!("Dropped {} ({})", stash.name(), stash.id.short());
        context.out.say(Symbol::Done, said)?;
    }
    let stashes: Vec<Value> = stashes.iter().map(document).collect();
    context.out.document(&json!({ "dropped": stashes }))
}

fn document(stash: &Stash) -> Value {
    let parent = |number: usize| stash.commit.parents.get(number).map(ToString::to_string);
    json!({
        "number": stash.number, "name": stash.name(), "commit": stash.id.to_string(), "message": stash.commit.message,
        "base": parent(0), "staged": parent(1), "time": time_rfc3339(stash.commit.time),
    })
}
