//! `fai log`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{Error, History, LoggedCommit};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format;
use crate::ui::graph::{Edge, Graph};

/// Show the history, newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai log -n 5 --oneline\n  fai log --graph --all --oneline\n  fai log models/bert-base.pt"
)]
pub struct Args {
    /// A revision to start from, or a path of interest
    first: Option<String>,
    /// Only commits that change this path
    path: Option<PathBuf>,
    /// At most so many
    #[arg(short = 'n', long = "max-count", value_name = "N")]
    limit: Option<usize>,
    /// Draw how commits follow each other
    #[arg(long)]
    graph: bool,
    /// From all branches, tags, and what remembered peers were seen to have
    #[arg(long)]
    all: bool,
    /// A line each
    #[arg(long)]
    oneline: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let (mut history, of_path) = self.history(context, &repository)?;
        let limit = self.limit.unwrap_or(usize::MAX);
        let on = repository.head().ok().and_then(|head| head.branch().map(str::to_owned));
        let mut graph = Graph::default();
        let mut documents = Vec::new();
        for logged in history.by_ref().take(limit) {
            let logged = logged?;
            if context.out.json {
                documents.push(document(&logged));
                continue;
            }
            let edge = match (self.graph, of_path) {
                (false, _) => Edge::default(),
                // Between commits that change one path others are left out: nothing leads from one to the next.
                (true, true) => Graph::default().next(logged.id, &[]),
                (true, false) if logged.cut => graph.next(logged.id, &[]),
                (true, false) => graph.next(logged.id, &logged.commit.parents),
            };
            let names = match self.graph || self.all {
                true => all_names(&logged, on.as_deref()),
                false => names(&logged),
            };
            print(context, &logged, self.oneline, &edge, &names)?;
            edge.rows.iter().try_for_each(|row| context.out.line(row))?;
        }
        if history.is_cut() {
            let line = "history is cut here: fai pull --unshallow brings the rest";
            context.out.say(Symbol::Item, line)?;
        }
        context
            .out
            .document(&json!({ "commits": documents, "cut": history.is_cut() }))
    }

    /// What to show, and whether it is that of a path alone.
    fn history<'r>(&self, context: &Context, repository: &'r Repository) -> Result<(History<'r>, bool)> {
        if !self.all {
            let (start, path) = self.start(context, repository)?;
            let of_path = path.is_some();
            return Ok((repository.history(start, path)?, of_path));
        }
        let path = match (&self.first, &self.path) {
            (Some(_), Some(_)) => return Err(Error::Usage("--all begins everywhere: name no revision".into()).into()),
            (Some(first), None) => Some(repository.repo_path(&context.folder, &PathBuf::from(first))?),
            _ => None,
        };
        let of_path = path.is_some();
        Ok((repository.whole_history(path)?, of_path))
    }

    /// The first word may be a revision or a path, as with git.
    fn start(&self, context: &Context, repository: &Repository) -> Result<(CommitId, Option<RepoPath>)> {
        let as_path = |path: &PathBuf| repository.repo_path(&context.folder, path);
        let Some(first) = &self.first else {
            return Ok((repository.resolve("HEAD")?, None));
        };
        match (repository.resolve(first), &self.path) {
            (Ok(commit), Some(path)) => Ok((commit, Some(as_path(path)?))),
            (Ok(commit), None) => Ok((commit, None)),
            (Err(Error::UnknownRevision(text)), None) => {
                let path = as_path(&PathBuf::from(first))?;
                let head = repository.resolve("HEAD")?;
                // A path that no commit ever touched is more likely a mistyped revision.
                match repository.history(head, Some(path.clone()))?.next() {
                    Some(_) => Ok((head, Some(path))),
                    None => Err(Error::UnknownRevision(text).into()),
                }
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// One commit as scripts see it.
pub fn document(logged: &LoggedCommit) -> serde_json::Value {
    let commit = &logged.commit;
    let map = |name: &str| commit.metadata.get(name).map_or_else(|| json!({}), format::json);
    json!({
        "id": logged.id.to_string(),
        "parents": commit.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "author": { "name": commit.author.name, "email": commit.author.email },
        "time": format::time_rfc3339(commit.time),
        "message": commit.message,
        "params": map("params"),
        "metrics": map("metrics"),
        "labels": commit.labels(),
        "branches": logged.branches,
        "tags": logged.tags,
        "remotes": logged.remotes,
        "head": logged.head,
    })
}

/// Branches and tags that stand on a commit.
pub fn names(logged: &LoggedCommit) -> Vec<String> {
    logged.branches.iter().chain(&logged.tags).cloned().collect()
}

/// Everything that stands on a commit; `on` is the current branch.
fn all_names(logged: &LoggedCommit, on: Option<&str>) -> Vec<String> {
    let is_on = |branch: &&String| logged.head && Some(branch.as_str()) == on;
    let mut names: Vec<String> = logged
        .branches
        .iter()
        .filter(is_on)
        .map(|branch| format!("HEAD -> {branch}"))
        .collect();
    if logged.head && names.is_empty() {
        names.push("HEAD".to_owned());
    }
    names.extend(logged.branches.iter().filter(|branch| !is_on(branch)).cloned());
    names.extend(logged.tags.iter().map(|tag| format!("tag: {tag}")));
    names.extend(logged.remotes.iter().cloned());
    names
}

/// One commit as people see it.
pub fn print(context: &Context, logged: &LoggedCommit, oneline: bool, edge: &Edge, names: &[String]) -> Result<()> {
    let (out, commit) = (&context.out, &logged.commit);
    let names = if names.is_empty() {
        String::new()
    } else {
        format!(" [{}]", names.join(", "))
    };
    let id = out.paint("33", &logged.id.short());
    let Edge { mark, bar, .. } = edge;
    if oneline {
        let line = format!("{mark}{id}{names} {}", format::safe(commit.title()));
        return out.line(line);
    }
    out.say(
        Symbol::Item,
        format!("{mark}commit {id} ({}){names}", format::time(commit.time)),
    )?;
    let author = match commit.author.email.as_str() {
        "" => format::safe(&commit.author.name),
        email => format!("{} <{}>", format::safe(&commit.author.name), format::safe(email)),
    };
    out.say(Symbol::Item, format!("{bar}    Author: {author}"))?;
    for line in commit.message.lines() {
        out.say(Symbol::Item, format!("{bar}    {}", format::safe(line)))?;
    }
    for name in ["params", "metrics"] {
        if let Some(values) = commit.metadata_map(name) {
            let pair =
                |(key, value): (&String, _)| format!("{}={}", format::safe(key), format::safe(&format::plain(value)));
            let text = values.iter().map(pair).collect::<Vec<_>>().join(" ");
            out.say(Symbol::Item, format!("{bar}    {name}: {text}"))?;
        }
    }
    if !commit.labels().is_empty() {
        out.say(
            Symbol::Item,
            format!("{bar}    labels: {}", format::safe(&commit.labels().join(", "))),
        )?;
    }
    Ok(())
}
