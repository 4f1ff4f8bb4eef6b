//! `fai status`

use anyhow::Result;
use fai_core::object::RepoPath;
use fai_core::repo::{Distance, Status, Tracking, Undecided, Underway};
use serde_json::json;

use super::merge;
use crate::context::Context;
use crate::present::not_here;
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Show what the next commit holds and what differs from it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai status --json | jq '.modified'")]
pub struct Args {}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let status = repository.status(&Bar::new(context.out, "Comparing"))?;
        let tracking = match status.head.branch() {
            Some(branch) => repository.tracking(branch)?,
            None => None,
        };
        print(context, &status, tracking.as_ref())?;
        status
            .refused
            .iter()
            .for_each(|error| context.out.warn(error.to_string()));
        context.out.document(&document(&status, tracking.as_ref()))
    }
}

/// How the current branch stands to what it follows.
fn follows(tracking: &Tracking) -> String {
    let (name, Distance { ahead, behind }) = (tracking.upstream.name(), tracking.distance);
    let commits = |number: u64| match number {
        1 => "1 commit".to_owned(),
        number => format!("{number} commits"),
    };
    match (tracking.commit, ahead, behind) {
        (None, ..) => format!("Your branch follows {name}, which is gone or was never seen"),
        (_, 0, 0) => format!("Your branch is up to date with {name}"),
        (_, ahead, 0) => format!("Your branch is {} ahead of {name}", commits(ahead)),
        (_, 0, behind) => format!("Your branch is {} behind {name} (fai pull)", commits(behind)),
        (_, ahead, behind) => format!("Your branch and {name} have parted: {ahead} and {behind} commits"),
    }
}

fn print(context: &Context, status: &Status, tracking: Option<&Tracking>) -> Result<()> {
    let out = &context.out;
    match (status.head.branch(), status.commit) {
        (Some(branch), Some(_)) => out.say(Symbol::Item, format!("On branch {branch}"))?,
        (Some(branch), None) => out.say(Symbol::Item, format!("On branch {branch}, without commits yet"))?,
        (None, commit) => {
            let id = commit.map(|commit| commit.short()).unwrap_or_default();
            out.say(Symbol::Item, format!("HEAD is detached at {id}"))?;
        }
    }
    if let Some(tracking) = tracking.filter(|_| status.commit.is_some()) {
        out.say(Symbol::Item, follows(tracking))?;
    }
    if let Some(underway) = &status.underway {
        print_underway(context, underway)?;
    }
    if !status.staged.is_empty() {
        out.say(Symbol::Item, "Changes to be committed:")?;
        for staged in &status.staged {
            let what = match staged.change {
                "added" => String::new(),
                change => format!("{change}: "),
            };
            let (id, bytes) = (staged.entry.file.short(), size(staged.entry.size));
            out.say(Symbol::Item, format!("  {what}{} ({id} - {bytes})", staged.path))?;
        }
    }
    section(
        context,
        "Changes not staged (fai add PATH):",
        &status.modified,
        "modified: ",
    )?;
    section(
        context,
        "Deleted from the worktree (fai add PATH, or fai restore PATH):",
        &status.deleted,
        "deleted: ",
    )?;
    if !status.evicted.is_empty() {
        out.say(
            Symbol::Item,
            "Evicted, stored only (fai checkout PATH brings one back):",
        )?;
        for (path, entry) in &status.evicted {
            out.say(Symbol::Item, format!("  {path} ({})", size(entry.size)))?;
        }
    }
    section(context, "Untracked files (fai add PATH):", &status.untracked, "")?;
    section(context, "Symbolic links (never tracked):", &status.symlinks, "")?;
    if !status.absent.is_empty() {
        out.say(Symbol::Item, not_here(status.absent.len()))?;
    }
    let clean = status.underway.is_none() && status.modified.is_empty() && status.deleted.is_empty();
    if clean && status.staged.is_empty() && status.untracked.is_empty() {
        out.say(Symbol::Done, "Nothing to commit, worktree clean")?;
    }
    Ok(())
}

fn conflicts(status: &Status) -> impl Iterator<Item = &Undecided> {
    status.underway.iter().flat_map(|underway| &underway.conflicts)
}

fn print_underway(context: &Context, underway: &Underway) -> Result<()> {
    let (out, kind) = (&context.out, &underway.kind);
    let what = format!("A {kind} of {} is under way", underway.other.short());
    if !underway.placed {
        let text = format!("{what}, and was interrupted (fai {kind} --continue, or fai {kind} --abort)");
        return out.say(Symbol::Item, text);
    }
    if underway.conflicts.is_empty() {
        return out.say(
            Symbol::Item,
            format!("{what}, and everything is decided (fai {kind} --continue)"),
        );
    }
    out.say(
        Symbol::Item,
        format!("{what} (fai resolve PATH, or fai {kind} --abort); to decide:"),
    )?;
    underway
        .conflicts
        .iter()
        .try_for_each(|conflict| merge::describe(context, conflict))
}

fn section(context: &Context, title: &str, paths: &[RepoPath], what: &str) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    context.out.say(Symbol::Item, title)?;
    paths
        .iter()
        .try_for_each(|path| context.out.say(Symbol::Item, format!("  {what}{path}")))
}

fn document(status: &Status, tracking: Option<&Tracking>) -> serde_json::Value {
    let paths = |paths: &[RepoPath]| paths.iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>();
    let staged = status.staged.iter().map(|staged| {
        json!({
            "path": staged.path.as_str(), "change": staged.change,
            "id": staged.entry.file.to_string(), "size": staged.entry.size,
        })
    });
    let evicted = status
        .evicted
        .iter()
        .map(|(path, entry)| json!({ "path": path.as_str(), "id": entry.file.to_string(), "size": entry.size }));
    json!({
        "branch": status.head.branch(),
        "head": status.commit.map(|commit| commit.to_string()),
        "upstream": tracking.map(super::branch::document),
        "staged": staged.collect::<Vec<_>>(),
        "modified": paths(&status.modified),
        "deleted": paths(&status.deleted),
        "absent": paths(&status.absent),
        "evicted": evicted.collect::<Vec<_>>(),
        "untracked": paths(&status.untracked),
        "symlinks": paths(&status.symlinks),
        "underway": status.underway.as_ref().map(|underway| {
            json!({ "kind": underway.kind, "other": underway.other.to_string(), "placed": underway.placed })
        }),
        "conflicts": conflicts(status).map(merge::document).collect::<Vec<_>>(),
    })
}
