//! `fai branch`

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::Commit;
use fai_core::repo::{Branch, Error, Head, Tracking, Upstream};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::format;

/// List branches, make one, rename or delete it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai branch\n  fai branch -v\n  fai branch tuned HEAD~2\n  fai branch -m tuned tuned-v2\n  \
    fai branch -d tuned\n  fai branch -u origin/main"
)]
pub struct Args {
    /// The new branch; without it all are listed
    name: Option<String>,
    /// Where it begins: the current commit without it
    rev: Option<String>,
    /// Delete branches whose commits are in the current branch or upstream
    #[arg(short, long, conflicts_with_all = ["rev", "rename", "list", "upstream", "unset_upstream"])]
    delete: bool,
    /// Delete branches, whatever is on them
    #[arg(short = 'D', conflicts_with_all = ["rev", "rename", "list", "upstream", "unset_upstream"])]
    delete_unmerged: bool,
    /// Rename OLD to NEW, or the current branch when only one name is given
    #[arg(short = 'm', long = "move", conflicts_with_all = ["list", "upstream", "unset_upstream"])]
    rename: bool,
    /// Only list
    #[arg(short, long)]
    list: bool,
    /// With the commit that each one stands on; the same as -v
    #[arg(long)]
    long: bool,
    /// Also branches of remembered peers
    #[arg(short, long, conflicts_with_all = ["delete", "delete_unmerged", "rename"])]
    all: bool,
    /// Move a branch that exists
    #[arg(short, long)]
    force: bool,
    /// Let the branch, or the current one, follow this branch of a remembered peer
    #[arg(short = 'u', long = "set-upstream-to", value_name = "REMOTE/BRANCH")]
    upstream: Option<String>,
    /// Let the branch, or the current one, follow none
    #[arg(long, conflicts_with = "upstream")]
    unset_upstream: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        if self.delete || self.delete_unmerged {
            return self.remove(context, &repository);
        }
        if self.rename {
            return self.rename(context, &repository);
        }
        if self.upstream.is_some() || self.unset_upstream {
            return self.follow(context, &repository);
        }
        match &self.name {
            Some(name) if !self.list => self.create(context, &repository, name),
            _ => self.show(context, &repository),
        }
    }

    fn is_long(&self, context: &Context) -> bool {
        self.long || context.verbose
    }

    fn create(&self, context: &Context, repository: &Repository, name: &str) -> Result<()> {
        let start = self.rev.as_deref().unwrap_or("HEAD");
        let commit = repository.resolve(start)?;
        let upstream = upstream_of(repository, start)?;
        let created = repository.create_branch(name, commit, upstream.as_ref(), context.now()?);
        match created {
            Err(Error::RefExists { .. }) if self.force => repository.move_branch(name, commit, context.now()?)?,
            other => other?,
        }
        let said = format!("Branch {name} stands on {}", commit.short());
        context.out.say(Symbol::Done, said)?;
        context
            .out
            .document(&json!({ "branch": name, "commit": commit.to_string() }))
    }

    fn remove(&self, context: &Context, repository: &Repository) -> Result<()> {
        let Some(name) = &self.name else {
            return Err(Error::Usage("name the branch to delete".into()).into());
        };
        let force = self.delete_unmerged || self.force;
        let commit = repository.delete_branch(name, force, context.now()?)?;
        let said = format!("Deleted branch {name} (it stood on {})", commit.short());
        context.out.say(Symbol::Done, said)?;
        context
            .out
            .document(&json!({ "deleted": name, "commit": commit.to_string() }))
    }

    fn rename(&self, context: &Context, repository: &Repository) -> Result<()> {
        let (old, new) = match (&self.name, &self.rev) {
            (Some(old), Some(new)) => (old.clone(), new.clone()),
            (Some(new), None) => (current(repository)?, new.clone()),
            _ => return Err(Error::Usage("name the branch and its new name".into()).into()),
        };
        repository.rename_branch(&old, &new, context.now()?)?;
        context.out.say(Symbol::Done, format!("Branch {old} is {new} now"))?;
        context.out.document(&json!({ "from": old, "to": new }))
    }

    fn follow(&self, context: &Context, repository: &Repository) -> Result<()> {
        let branch = match &self.name {
            Some(name) => name.clone(),
            None => current(repository)?,
        };
        let upstream = match &self.upstream {
            None => None,
            Some(text) => match upstream_of(repository, text)? {
                None => {
                    let error = Error::UnknownRevision(text.clone());
                    let hint = "`fai branch --all` lists the branches of remembered peers, `fai fetch` asks for news";
                    return Err(Hinted::new(error, hint).into());
                }
                upstream => upstream,
            },
        };
        repository.follow(&branch, upstream.as_ref())?;
        let said = match &upstream {
            Some(upstream) => format!("Branch {branch} follows {}", upstream.name()),
            None => format!("Branch {branch} follows nothing"),
        };
        context.out.say(Symbol::Done, said)?;
        context
            .out
            .document(&json!({ "branch": branch, "upstream": upstream.map(|upstream| upstream.name()) }))
    }

    fn show(&self, context: &Context, repository: &Repository) -> Result<()> {
        let mut branches = repository.branches()?;
        if let Some(pattern) = self.name.as_deref() {
            branches.retain(|branch| branch.name == pattern || branch.name.starts_with(&format!("{pattern}/")));
        }
        let width = branches
            .iter()
            .map(|branch| branch.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut documents = Vec::new();
        if let Head::Detached(commit) = repository.head()? {
            let name = context.out.paint("32", &format!("(detached at {})", commit.short()));
            context.out.line(format!("* {name}"))?;
        }
        for branch in &branches {
            let tracking = match self.is_long(context) || context.out.json {
                true => repository.tracking(&branch.name)?,
                false => None,
            };
            context
                .out
                .line(self.shown(context, repository, branch, width, tracking.as_ref())?)?;
            documents.push(json!({
                "name": branch.name, "commit": branch.commit.to_string(), "current": branch.current,
                "upstream": tracking.as_ref().map(document),
            }));
        }
        let mut remotes = Vec::new();
        if self.all {
            for (name, commit) in repository.remote_refs()? {
                let name = name.strip_prefix("refs/remotes/").unwrap_or(&name).to_owned();
                let shown = context.out.paint("31", &name);
                context.out.line(format!(
                    "  {shown}{}",
                    if self.is_long(context) {
                        format!(" {}", commit.short())
                    } else {
                        String::new()
                    }
                ))?;
                remotes.push(json!({ "name": name, "commit": commit.to_string() }));
            }
        }
        context
            .out
            .document(&json!({ "branches": documents, "remotes": remotes }))
    }

    fn shown(
        &self,
        context: &Context,
        repository: &Repository,
        branch: &Branch,
        width: usize,
        tracking: Option<&Tracking>,
    ) -> Result<String> {
        let mark = if branch.current { "* " } else { "  " };
        let name = match branch.current {
            true => context.out.paint("32", &branch.name),
            false => branch.name.clone(),
        };
        if !self.is_long(context) {
            return Ok(format!("{mark}{name}"));
        }
        let gap = " ".repeat(width - branch.name.chars().count());
        let commit: Commit = repository.store().get(branch.commit)?;
        let follows = tracking
            .map(|tracking| format!("[{}] ", brief(tracking)))
            .unwrap_or_default();
        let (id, title) = (branch.commit.short(), format::safe(commit.title()));
        Ok(format!("{mark}{name}{gap} {id} {follows}{title}"))
    }
}

/// `origin/main: ahead 2, behind 1`.
fn brief(tracking: &Tracking) -> String {
    let (name, distance) = (tracking.upstream.name(), tracking.distance);
    match (tracking.commit, distance.ahead, distance.behind) {
        (None, ..) => format!("{name}: gone"),
        (_, 0, 0) => name,
        (_, ahead, 0) => format!("{name}: ahead {ahead}"),
        (_, 0, behind) => format!("{name}: behind {behind}"),
        (_, ahead, behind) => format!("{name}: ahead {ahead}, behind {behind}"),
    }
}

/// What scripts are told of an upstream.
pub fn document(tracking: &Tracking) -> serde_json::Value {
    json!({
        "name": tracking.upstream.name(),
        "commit": tracking.commit.map(|commit| commit.to_string()),
        "ahead": tracking.distance.ahead, "behind": tracking.distance.behind,
    })
}

/// The branch of a remembered peer that `text` names.
pub fn upstream_of(repository: &Repository, text: &str) -> Result<Option<Upstream>> {
    let full = repository.full_name(text)?;
    Ok(full.and_then(|full| Upstream::of_tracking(&full)))
}

/// The short name of the current branch.
fn current(repository: &Repository) -> Result<String> {
    let head = repository.head()?;
    let none = || Error::Usage("HEAD stands on a commit, not on a branch: name one".into());
    Ok(head.branch().ok_or_else(none)?.to_owned())
}
