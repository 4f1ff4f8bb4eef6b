//! `fai restore`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::object::RepoPath;
use fai_core::repo::RestoreOptions;
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_present;
use crate::ui::{Bar, Symbol};

/// Bring files back as they were staged or committed, giving up local changes to them; fai undo brings those back
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai restore model.safetensors\n  fai restore --staged model.safetensors\n  \
    fai restore --source HEAD~2 models/\n\n\
    Files that were evicted come back when they, or a folder that they lie in, are named; the root (fai restore .) names\n\
    nothing."
)]
pub struct Args {
    /// Files and folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Take them from this revision
    #[arg(long, value_name = "REV")]
    source: Option<String>,
    /// Restore what is staged, not the worktree
    #[arg(long)]
    staged: bool,
    /// Restore the worktree as well (with --staged)
    #[arg(long)]
    worktree: bool,
    /// Go on where what is overwritten cannot be stored, so that this cannot be undone
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let source = self
            .source
            .as_deref()
            .map(|text| repository.resolve(text))
            .transpose()?;
        let paths = context.paths(&repository, &self.paths)?;
        let worktree = self.worktree || !self.staged;
        // Naming a file here is asking for its changes to go, as with git.
        let options = RestoreOptions {
            source,
            staged: self.staged,
            worktree,
            force: true,
            give_up: self.force,
        };
        if worktree {
            ensure_present(context, &repository, repository.files_to_restore(&paths, source)?)?;
        }
        let bar = Bar::new(context.out, "Writing");
        let changed = repository.restore(&paths, options, &bar)?;
        bar.finish();
        for path in changed.iter().take(20) {
            context.out.say(Symbol::Done, format!("Restored {path}"))?;
        }
        if changed.len() > 20 {
            context
                .out
                .say(Symbol::Done, format!("... and {} more", changed.len() - 20))?;
        }
        let changed: Vec<&str> = changed.iter().map(RepoPath::as_str).collect();
        context.out.document(&json!({ "restored": changed }))
    }
}
