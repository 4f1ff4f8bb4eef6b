//! `fai log`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{Error, LoggedCommit};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format;

/// Show the history, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai log -n 5 --oneline\n  fai log models/bert-base.pt")]
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
    /// A line each
    #[arg(long)]
    oneline: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let (start, path) = self.start(context, &repository)?;
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut graph = Graph::default();
        let mut documents = Vec::new();
        let mut history = repository.history(start, path)?;
        for logged in history.by_ref().take(limit) {
            let logged = logged?;
            if context.out.json {
                documents.push(document(&logged));
            } else {
                let edge = if self.graph {
                    graph.next(&logged)
                } else {
                    (String::new(), String::new())
                };
                print(context, &logged, self.oneline, &edge)?;
            }
        }
        if history.is_cut() {
            let line = "history is cut here: fai pull --unshallow brings the rest";
            context.out.say(Symbol::Item, line)?;
        }
        context
            .out
            .document(&json!({ "commits": documents, "cut": history.is_cut() }))
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
    })
}

/// One commit as people see it.
pub fn print(context: &Context, logged: &LoggedCommit, oneline: bool, edge: &(String, String)) -> Result<()> {
    let (out, commit) = (&context.out, &logged.commit);
    let names: Vec<&str> = logged.branches.iter().chain(&logged.tags).map(String::as_str).collect();
    let names = if names.is_empty() {
        String::new()
    } else {
        format!(" [{}]", names.join(", "))
    };
    let id = out.paint("33", &logged.id.short());
    let (mark, bar) = edge;
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

/// Columns of the graph: which commit each open line leads to.
#[derive(Default)]
struct Graph {
    columns: Vec<CommitId>,
}

impl Graph {
    /// The marks before a commit's first line and before its other lines.
    fn next(&mut self, logged: &LoggedCommit) -> (String, String) {
        let column = self
            .columns
            .iter()
            .position(|open| *open == logged.id)
            .unwrap_or_else(|| {
                self.columns.push(logged.id);
                self.columns.len() - 1
            });
        let mark: String = (0..self.columns.len())
            .map(|index| if index == column { "* " } else { "| " })
            .collect();
        // The commit's line goes on to its parents; lines that lead to the same commit join.
        let open = |parent: &&CommitId| !self.columns.contains(parent);
        let parents = logged.commit.parents.iter().filter(|_| !logged.cut);
        let parents: Vec<CommitId> = parents.filter(open).copied().collect();
        self.columns.splice(column..=column, parents.first().copied());
        self.columns.extend(parents.iter().skip(1));
        let bar = "| ".repeat(self.columns.len());
        (mark, bar)
    }
}
