//! `fai id`

use anyhow::Result;
use fai_network::Identity;
use serde_json::json;

use crate::context::Context;

/// Print this peer's id
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  fai id\n\nThe id stands for a key in the user's own folder ($FAI_HOME), made at first use."
)]
pub struct Args {}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let peer = Identity::load_or_create(&context.home()?)?.peer().to_string();
        context.out.line(&peer)?;
        context.out.document(&json!({ "peer_id": peer }))
    }
}
