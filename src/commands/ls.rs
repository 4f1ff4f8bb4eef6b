//! `fai ls`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::object::{CommitId, RepoPath};
use fai_core::repo::{Error, ListedFile};
use serde_json::json;

use crate::context::Context;
use crate::ui::format::{count, size};

/// List the files of a commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai ls\n  fai ls HEAD~1 models/")]
pub struct Args {
    /// A revision (by default what the next commit will hold), or a path
    first: Option<String>,
    /// Only files at and below this path
    path: Option<PathBuf>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let root = || Ok::<_, Error>(RepoPath::root());
        let place = |path: &PathBuf| match repository.worktree() {
            Some(_) => repository.repo_path(&context.folder, path),
            None => Ok(RepoPath::parse(&path.to_string_lossy())?),
        };
        let (commit, path): (Option<CommitId>, RepoPath) = match &self.first {
            None => (None, root()?),
            Some(first) => match (repository.resolve(first), &self.path) {
                (Ok(commit), path) => (Some(commit), path.as_ref().map_or_else(root, place)?),
                (Err(Error::UnknownRevision(text)), None) => {
                    let path = place(&PathBuf::from(first))?;
                    let found = repository.list(None, &path).map_err(|_| Error::UnknownRevision(text))?;
                    return print(context, &found);
                }
                (Err(error), _) => return Err(error.into()),
            },
        };
        print(context, &repository.list(commit, &path)?)
    }
}

fn print(context: &Context, files: &[ListedFile]) -> Result<()> {
    for file in files {
        let model = match (&file.format, file.parameters) {
            (Some(format), Some(parameters)) => format!("  {format}, {} parameters", count(parameters)),
            _ => String::new(),
        };
        let mark = if file.executable { "*" } else { "" };
        let line = format!(
            "{}  {:>7}  {}{mark}{model}",
            file.file.short(),
            size(file.size),
            file.path
        );
        context.out.line(line)?;
    }
    let file = |file: &ListedFile| {
        json!({
            "path": file.path.as_str(), "id": file.file.to_string(), "content": file.content.to_string(),
            "size": file.size, "executable": file.executable, "format": file.format, "parameters": file.parameters,
        })
    };
    context
        .out
        .document(&json!({ "files": files.iter().map(file).collect::<Vec<_>>() }))
}
