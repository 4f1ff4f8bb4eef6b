//! `fai cat`

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::Result;

use crate::context::Context;
use crate::present::ensure_file;

/// Write a stored file to standard output, verified
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai cat HEAD~1:config.json")]
pub struct Args {
    /// REV:PATH, a tracked path, or a file's id
    file: String,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let named = repository.resolve_file(&self.file, &context.folder)?;
        ensure_file(context, &repository, named.file, named.path.as_ref())?;
        // Not through the standard library's buffer, which looks for line ends in it.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // Chunk by chunk: each is verified before a byte of it is written.
        repository.stream(named.file, |bytes| Ok(out.write_all(bytes)?))
    }
}
