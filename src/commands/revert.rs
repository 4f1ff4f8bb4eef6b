//! `fai revert`

use anyhow::Result;
use fai_core::repo::MergeKind;

use super::merge::Common;
use crate::context::Context;

/// Undo what a commit changed, with a new commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai revert HEAD~1\n  fai revert --continue\n  fai revert --abort")]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        self.common.run(context, MergeKind::Revert, |request| request)
    }
}
