//! `fai version`

use anyhow::Result;
use serde_json::json;

use crate::context::Context;

/// Show the version
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai version --json")]
pub struct Args {}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        context.out.line(format!("fai {version}"))?;
        context.out.document(&json!({ "version": version, "format": 1 }))
    }
}
