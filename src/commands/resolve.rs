//! `fai resolve`

use std::path::PathBuf;

use anyhow::Result;
use fai_core::repo::{Error, Resolution};
use serde_json::json;

use super::merge;
use crate::context::Context;
use crate::ui::errors::Hinted;
use crate::ui::format::files;
use crate::ui::{Bar, Symbol};

/// Decide about files that a merge left open
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai resolve                                    lists what is open\n  fai resolve config.json --theirs\n  \
    fai resolve model.safetensors --tensors average\n\n\
    --ours and --theirs take the whole file as it is on that side; --tensors keeps what could be merged and decides about the\n\
    tensors that both sides changed: ours, theirs, average, weighted=A,B, task-arithmetic[=SCALE], slerp, ties. A file that was\n\
    edited by hand is decided by `fai add PATH`."
)]
pub struct Args {
    /// Files in conflict
    paths: Vec<PathBuf>,
    /// As the file is here
    #[arg(long, group = "how")]
    ours: bool,
    /// As the file is there
    #[arg(long, group = "how")]
    theirs: bool,
    /// Merged, and so where both sides changed a tensor
    #[arg(long, value_name = "HOW", group = "how")]
    tensors: Option<String>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let resolution = match &self.tensors {
            _ if self.ours => Some(Resolution::Ours),
            _ if self.theirs => Some(Resolution::Theirs),
            Some(how) => Some(Resolution::Merge(merge::choice(how)?)),
            None => None,
        };
        let paths = context.paths(&repository, &self.paths)?;
        match resolution {
            None if paths.is_empty() => {}
            None => {
                let error = Error::Usage("how to decide is not said".into());
                return Err(Hinted::new(error, "--ours, --theirs or --tensors HOW").into());
            }
            Some(_) if paths.is_empty() => {
                let error = Error::Usage("which file to decide about is not said".into());
                return Err(Hinted::new(error, "`fai resolve` alone lists what is open").into());
            }
            Some(resolution) => {
                let bar = Bar::new(context.out, "Merging");
                for path in &paths {
                    repository.resolve_conflict(path, resolution, &bar)?;
                    context.out.say(Symbol::Done, format!("Decided {path}"))?;
                }
                bar.finish();
            }
        }
        let underway = repository.underway()?.ok_or(Error::NothingUnderway)?;
        match underway.conflicts.as_slice() {
            [] => context.out.say(
                Symbol::Done,
                format!(
                    "Everything is decided; fai {} --continue makes the commit",
                    underway.kind
                ),
            )?,
            open => {
                context
                    .out
                    .say(Symbol::Item, format!("{} to decide:", files(open.len())))?;
                open.iter()
                    .try_for_each(|conflict| merge::describe(context, conflict))?;
            }
        }
        context.out.document(&json!({
            "kind": underway.kind,
            "conflicts": underway.conflicts.iter().map(merge::document).collect::<Vec<_>>(),
        }))
    }
}
