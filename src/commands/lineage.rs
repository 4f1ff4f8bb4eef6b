//! `fai lineage`

use anyhow::Result;
use fai_core::object::RepoPath;
use fai_core::repo::{Ancestor, CodeRevision, Lineage, Link, Origin};
use serde_json::{Value, json};

use crate::context::Context;
use crate::ui::format;

/// Show where a commit comes from: what was fine-tuned, on which data, with which code
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai lineage\n  fai lineage v1.0 models/chat.safetensors\n\n\
    It shows what `fai commit --base-model` and `--dataset` recorded, and the commit of a git repository around this one."
)]
pub struct Args {
    /// The revision
    #[arg(value_name = "REV", default_value = "HEAD")]
    revision: String,
    /// Begin with the commit that last changed this file
    path: Option<String>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let commit = repository.resolve(&self.revision)?;
        let path = match (&self.path, repository.worktree()) {
            (None, _) => None,
            (Some(path), Some(_)) => Some(repository.repo_path(&context.folder, path.as_ref())?),
            (Some(path), None) => Some(RepoPath::parse(path)?),
        };
        let lineage = repository.lineage(commit, path.as_ref())?;
        let mut tree = Tree {
            signs: match context.out.shows_utf8() {
                true => ["├─ ", "└─ ", "│  "],
                false => ["|- ", "`- ", "|  "],
            },
            lines: Vec::new(),
        };
        tree.commit(&lineage, "", "");
        tree.lines.iter().try_for_each(|line| context.out.line(line))?;
        context.out.document(&document(&lineage))
    }
}

/// The lines of a drawn tree.
struct Tree {
    /// Before a branch, before the last one, and beside what hangs on a branch.
    signs: [&'static str; 3],
    lines: Vec<String>,
}

/// What hangs on a commit.
enum Branch<'a> {
    Link(&'static str, &'a Link),
    Code(&'a CodeRevision),
}

impl Tree {
    /// A commit and all that hangs on it; `first` stands before its line, `others` before those below.
    fn commit(&mut self, lineage: &Lineage, first: &str, others: &str) {
        let (id, title) = (lineage.commit.short(), format::safe(&lineage.title));
        let time = format::time(lineage.time);
        self.lines.push(format!("{first}commit {id} ({time}) {title}"));
        let mut branches: Vec<Branch<'_>> = Vec::new();
        branches.extend(lineage.base.iter().map(|link| Branch::Link("base model", link)));
        branches.extend(lineage.datasets.iter().map(|link| Branch::Link("dataset", link)));
        branches.extend(lineage.code.iter().map(Branch::Code));
        let last = branches.len().saturating_sub(1);
        let [branch_sign, last_sign, beside] = self.signs;
        for (index, branch) in branches.iter().enumerate() {
            let (sign, beside) = if index == last {
                (last_sign, "   ")
            } else {
                (branch_sign, beside)
            };
            let (first, others) = (format!("{others}{sign}"), format!("{others}{beside}"));
            match branch {
                Branch::Link(what, link) => self.link(what, link, &first, &others),
                Branch::Code(code) => self.lines.push(format!("{first}code: {}", shown_code(code))),
            }
        }
    }

    fn link(&mut self, what: &str, link: &Link, first: &str, others: &str) {
        let named = shown_origin(&link.origin);
        match &link.ancestor {
            Ancestor::Elsewhere | Ancestor::Same => self.lines.push(format!("{first}{what}: {named}")),
            Ancestor::Known(commit) => {
                let line = format!("{first}{what}: {named}, of commit {}, see there", commit.short());
                self.lines.push(line);
            }
            Ancestor::Missing(commit) => {
                let line = format!(
                    "{first}{what}: {named}, of commit {}, which is not here",
                    commit.short()
                );
                self.lines.push(line);
            }
            Ancestor::Commit(lineage) => {
                self.lines.push(format!("{first}{what}: {named}"));
                let last = self.signs.get(1).copied().unwrap_or_default();
                self.commit(lineage, &format!("{others}{last}"), &format!("{others}   "));
            }
        }
    }
}

fn shown_origin(origin: &Origin) -> String {
    let text = format::safe(&origin.text);
    match (&origin.path, origin.file) {
        (_, Some(file)) => format!("{text} (file {})", file.short()),
        (Some(_), None) => format!("{text} (folder)"),
        (None, None) => text,
    }
}

fn shown_code(code: &CodeRevision) -> String {
    let commit: String = code.commit.chars().take(12).collect();
    let state = match code.dirty {
        Some(true) => ", with changes that are in no commit",
        Some(false) => "",
        None => ", changes unknown",
    };
    let remote = code
        .remote
        .as_ref()
        .map(|remote| format!(" of {}", format::safe(remote)));
    format!("git {}{}{state}", format::safe(&commit), remote.unwrap_or_default())
}

fn document(lineage: &Lineage) -> Value {
    let datasets: Vec<Value> = lineage.datasets.iter().map(link_document).collect();
    json!({
        "commit": lineage.commit.to_string(),
        "time": format::time_rfc3339(lineage.time),
        "message": lineage.title,
        "base_model": lineage.base.as_ref().map(link_document),
        "datasets": datasets,
        "code": lineage.code.as_ref().map(|code| json!({
            "git": code.commit, "dirty": code.dirty, "remote": code.remote,
        })),
    })
}

fn link_document(link: &Link) -> Value {
    let Link { origin, ancestor } = link;
    let (state, commit, lineage) = match ancestor {
        Ancestor::Elsewhere => ("elsewhere", None, None),
        Ancestor::Same => ("same_commit", None, None),
        Ancestor::Known(commit) => ("shown_above", Some(*commit), None),
        Ancestor::Missing(commit) => ("missing", Some(*commit), None),
        Ancestor::Commit(lineage) => ("commit", Some(lineage.commit), Some(document(lineage))),
    };
    json!({
        "text": origin.text,
        "path": origin.path.as_ref().map(RepoPath::as_str),
        "file": origin.file.map(|file| file.to_string()),
        "from": state,
        "commit": commit.map(|commit| commit.to_string()),
        "lineage": lineage,
    })
}
