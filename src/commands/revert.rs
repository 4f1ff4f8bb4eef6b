//! `fai revert`

use anyhow::Result;
use fai_core::repo::{MergeKind, MergeRequest};

use super::merge;
use crate::context::Context;

/// Undo what a commit changed, with a new commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai revert HEAD~1\n  fai revert --continue\n  fai revert --abort")]
pub struct Args {
    /// The commit
    #[arg(value_name = "REV", required_unless_present_any = ["go_on", "abort"])]
    revision: Option<String>,
    /// How tensors that both sides changed become one: ours, theirs, average, weighted=A,B, task-arithmetic[=SCALE], slerp, ties
    #[arg(long, value_name = "HOW")]
    tensors: Option<String>,
    /// What the commit says
    #[arg(short, long, value_name = "TEXT")]
    message: Vec<String>,
    /// Go on once everything is decided, or after the process was killed
    #[arg(long = "continue", conflicts_with_all = ["revision", "abort"])]
    go_on: bool,
    /// Bring back what was there before
    #[arg(long, conflicts_with = "revision")]
    abort: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        if self.abort {
            return merge::abort(context, &repository);
        }
        if self.go_on {
            return merge::go_on(context, &repository);
        }
        let name = self.revision.unwrap_or_default();
        let request = MergeRequest {
            kind: MergeKind::Revert,
            other: repository.resolve(&name)?,
            name,
            message: (!self.message.is_empty()).then(|| self.message.join("\n\n")),
            author: context.author(&repository, None)?,
            time: context.now()?,
            choice: self.tensors.as_deref().map(merge::choice).transpose()?,
            no_ff: true,
            ff_only: false,
            unrelated: false,
        };
        merge::run(context, &repository, &request)
    }
}
