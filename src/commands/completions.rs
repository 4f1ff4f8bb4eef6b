//! `fai completions`

use std::io::{self, Write};

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai completions bash > ~/.local/share/bash-completion/completions/fai")]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub fn run(self, _: &Context) -> Result<()> {
        // Into memory first: clap_complete panics when its writer fails, and a closed pipe is no reason to.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "fai", &mut script);
        Ok(io::stdout().lock().write_all(&script)?)
    }
}
