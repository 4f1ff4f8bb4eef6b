//! `fai switch`

use anyhow::Result;
use fai_core::Repository;
use fai_core::repo::{Error, Head, SwitchTo};
use serde_json::json;

use super::branch::upstream_of;
use super::push::short;
use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::errors::Hinted;
use crate::ui::{Bar, Symbol};

/// Go to another branch: only files that differ are touched
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai switch main\n  fai switch -c tuned\n  fai switch -c tuned v1\n  fai switch -\n  \
    fai switch --detach HEAD~2\n\n\
    A branch that only a remembered peer has is made here, and follows that one."
)]
pub struct Args {
    /// The branch; - for the one before
    #[arg(required_unless_present = "create")]
    name: Option<String>,
    /// Make this branch first; it begins at the current commit, or at the revision that follows
    #[arg(short, long, value_name = "NEW", conflicts_with = "detach")]
    create: Option<String>,
    /// Stand on the commit itself
    #[arg(short, long)]
    detach: bool,
    /// Overwrite local changes
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let to = self.target(&repository)?;
        let commit = match &to {
            SwitchTo::Branch(name) => Some(repository.resolve(&format!("refs/heads/{name}"))?),
            SwitchTo::New { start, .. } => *start,
            SwitchTo::Commit(commit) => Some(*commit),
        };
        if let Some(commit) = commit
            && repository.worktree().is_some()
        {
            ensure_present(context, &repository, repository.files_to_check_out(commit)?)?;
        }
        let before = repository.head()?;
        let bar = Bar::new(context.out, "Writing");
        let report = repository.switch(&to, self.force, context.now()?, &bar)?;
        bar.finish();
        let said = match (&to, &report.head) {
            (SwitchTo::New { name, upstream, .. }, _) => match upstream {
                Some(upstream) => format!("Switched to a new branch {name}, which follows {}", upstream.name()),
                None => format!("Switched to a new branch {name}"),
            },
            (_, Head::Branch(full)) if before == report.head => format!("Already on {}", short(full)),
            (_, Head::Branch(full)) => format!("Switched to {}", short(full)),
            (_, Head::Detached(commit)) => format!("HEAD is at {}, on no branch", commit.short()),
        };
        context.out.say(Symbol::Done, said)?;
        context.out.document(&json!({
            "branch": report.head.branch(),
            "commit": repository.head_commit()?.map(|commit| commit.to_string()),
            "created": matches!(to, SwitchTo::New { .. }),
            "written": report.written, "removed": report.removed, "bytes": report.bytes,
        }))
    }

    fn target(&self, repository: &Repository) -> Result<SwitchTo> {
        if let Some(name) = &self.create {
            let start = self.name.as_deref();
            let upstream = start.map(|start| upstream_of(repository, start)).transpose()?.flatten();
            let start = start.map(|start| repository.resolve(start)).transpose()?;
            let name = name.clone();
            return Ok(SwitchTo::New { name, start, upstream });
        }
        let name = match self.name.as_deref() {
            Some("-") => "@{-1}",
            name => name.unwrap_or_default(),
        };
        if let Some(back) = name.strip_prefix("@{-").and_then(|rest| rest.strip_suffix('}')) {
            let number = back.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| Error::UnknownRevision(name.to_owned()))?;
            let before = repository.stood_before(number, name).map_err(|error| {
                Hinted::new(error, "`fai reflog` lists where HEAD was; there is nothing before that")
            })?;
            return Ok(match before {
                Head::Branch(full) if !self.detach => SwitchTo::Branch(short(&full).to_owned()),
                _ => SwitchTo::Commit(repository.resolve(name)?),
            });
        }
        if self.detach {
            return Ok(SwitchTo::Commit(repository.resolve(name)?));
        }
        match repository.switch_target(name) {
            // A person who types a commit wants to stand on it, and must say so.
            Err(error @ Error::NoSuchRef { .. }) => Err(match repository.resolve(name) {
                Ok(_) => Hinted::new(error, format!("`fai switch --detach {name}` stands on that commit")),
                Err(_) => Hinted::new(
                    error,
                    format!("`fai branch` lists them; `fai switch -c {name}` makes it"),
                ),
            }
            .into()),
            other => Ok(other?),
        }
    }
}
