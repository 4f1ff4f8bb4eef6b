//! `fai mv`

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;

/// Rename a tracked file or folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai mv model.pt models/base.pt")]
pub struct Args {
    /// What to rename
    source: PathBuf,
    /// Its new name, or a folder to move it into
    destination: PathBuf,
    /// Overwrite what is at the new place
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let from = repository.repo_path(&context.folder, &self.source)?;
        let to = repository.repo_path(&context.folder, &self.destination)?;
        let report = repository.rename(&from, &to, self.force)?;
        for (from, to) in report.moved.iter().take(20) {
            context.out.say(Symbol::Done, format!("Renamed {from} to {to}"))?;
        }
        if report.moved.len() > 20 {
            context
                .out
                .say(Symbol::Done, format!("... and {} more", report.moved.len() - 20))?;
        }
        let moved = report
            .moved
            .iter()
            .map(|(from, to)| json!({ "from": from.as_str(), "to": to.as_str() }));
        context.out.document(&json!({ "renamed": moved.collect::<Vec<_>>() }))
    }
}
