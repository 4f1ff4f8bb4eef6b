//! `fai rm`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::object::RepoPath;
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format::files;

/// Remove files from the worktree and from the next commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai rm old.pt\n  fai rm -r checkpoints/\n  fai rm --cached secrets.json")]
pub struct Args {
    /// Tracked files and folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Folders with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// Only stop tracking: the files stay where they are
    #[arg(long)]
    cached: bool,
    /// Even files with changes that are in no commit
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let paths = context.paths(&repository, &self.paths)?;
        let removed = repository.remove(&paths, self.recursive, self.cached, self.force)?;
        let verb = if self.cached { "Stopped tracking" } else { "Removed" };
        if removed.len() <= 20 {
            removed
                .iter()
                .try_for_each(|path| context.out.say(Symbol::Done, format!("{verb} {path}")))?;
        } else {
            context
                .out
                .say(Symbol::Done, format!("{verb} {}", files(removed.len())))?;
        }
        let removed: Vec<&str> = removed.iter().map(RepoPath::as_str).collect();
        context.out.document(&json!({ "removed": removed }))
    }
}
