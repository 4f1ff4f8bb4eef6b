//! `fai show`

use anyhow::Result;
use serde_json::json;

use super::{diff, log};
use crate::context::Context;
use crate::ui::Symbol;

/// Show a commit: who, when, why, and what it changes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai show HEAD~1")]
pub struct Args {
    /// The revision
    #[arg(default_value = "HEAD")]
    revision: String,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let commit = repository.resolve(&self.revision)?;
        let Some(logged) = repository.history(commit, None)?.next() else {
            return Ok(());
        };
        let logged = logged?;
        log::print(context, &logged, false, &Default::default(), &log::names(&logged))?;
        if logged.cut {
            let line =
                "history is cut here, so that everything is shown as added: fai pull --unshallow brings the rest";
            context.out.say(Symbol::Item, line)?;
        }
        let parent = logged.commit.parents.first().filter(|_| !logged.cut);
        let changes = diff::against_parent(context, &repository, commit, parent.copied())?;
        let mut document = log::document(&logged);
        if let Some(document) = document.as_object_mut() {
            document.insert("tree".into(), json!(logged.commit.tree.to_string()));
            document.insert("changes".into(), changes);
        }
        context.out.document(&document)
    }
}
