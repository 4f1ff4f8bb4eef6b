//! `fai cherry-pick`

use anyhow::Result;
use fai_core::repo::MergeKind;

use super::merge::Common;
use crate::context::Context;

/// Do again here what another commit changed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai cherry-pick experiment~2\n  fai cherry-pick --continue\n  fai cherry-pick --abort"
)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        self.common.run(context, MergeKind::CherryPick, |request| request)
    }
}
