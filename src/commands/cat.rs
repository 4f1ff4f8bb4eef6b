//! `fai cat`

use std::io::{self, Write};

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
        let reader = repository.open_file(named.file)?;
        let mut out = io::stdout().lock();
        // Chunk by chunk: each is verified before a byte of it is written.
        reader.for_each_chunk(&mut |_, extent| -> Result<()> {
            let written = repository
                .store()
                .with(fai_core::object::Kind::Chunk, &extent.hash, |bytes, _| {
                    out.write_all(bytes)
                })?;
            Ok(written?)
        })?;
        Ok(out.flush()?)
    }
}
