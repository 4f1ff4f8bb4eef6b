//! `fai init`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::Repository;
use fai_core::repo::InitOptions;
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;

/// Make a folder a repository
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai init my-models && cd my-models")]
pub struct Args {
    /// The folder, created when needed; the current one by default
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Without files of its own: a place to push to and clone from
    #[arg(long)]
    bare: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let path = self
            .folder
            .map_or_else(|| context.folder.clone(), |folder| context.folder.join(folder));
        let (repository, fresh) = Repository::init(
            &path,
            InitOptions {
                bare: self.bare,
                id: None,
            },
        )?;
        let shown = format!("{}/", context.shown(repository.directory()));
        let kind = if self.bare {
            "bare FAI repository"
        } else {
            "FAI repository"
        };
        if fresh {
            context
                .out
                .say(Symbol::Done, format!("Initialized {kind} in {shown}"))?;
        } else {
            context.out.say(
                Symbol::Done,
                format!("{shown} is a {kind} already; nothing was changed"),
            )?;
        }
        context.out.document(&json!({
            "directory": repository.directory(),
            "worktree": repository.worktree(),
            "bare": self.bare,
            "created": fresh,
        }))
    }
}
