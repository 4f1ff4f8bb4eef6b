//! `fai add`

use std::path::PathBuf;

use anyhow::{Result, bail};
use fai_core::object::RepoPath;
use fai_core::repo::{AddOptions, AddReport, AddedFile};
use serde_json::json;

use crate::context::Context;
use crate::ui::errors::{self, Negative};
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// More files than this are summed up instead of listed.
const LISTED: usize = 20;

/// Store files and stage them for the next commit
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai add models/resnet50.onnx\n  fai add .\n  fai add -A\n  fai add tuned.safetensors --base HEAD:base.safetensors"
)]
pub struct Args {
    /// Files and folders; a tracked file that is gone is staged as removed
    #[arg(required_unless_present = "all")]
    paths: Vec<PathBuf>,
    /// Everything in the repository
    #[arg(short = 'A', long)]
    all: bool,
    /// Also what .faiignore excludes
    #[arg(short, long)]
    force: bool,
    /// A stored file that these were made from; what they share with it is stored once
    #[arg(long, value_name = "REV:PATH")]
    base: Vec<String>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let paths = match self.paths.as_slice() {
            [] => vec![RepoPath::root()],
            paths => context.paths(&repository, paths)?,
        };
        let base = |text: &String| Ok(repository.resolve_file(text, &context.folder)?.file);
        let options = AddOptions {
            force: self.force,
            bases: self.base.iter().map(base).collect::<Result<_>>()?,
        };
        let bar = Bar::new(context.out, "Adding");
        let report = repository.add(&paths, options, &bar)?;
        bar.finish();
        print(context, &report)?;
        report
            .symlinks
            .iter()
            .for_each(|path| context.out.warn(format!("{path} is a symbolic link and was skipped")));
        errors::warn_all(&context.out, &report.refused);
        if report.refused.is_empty() {
            Ok(())
        } else {
            bail!(Negative)
        }
    }
}

fn print(context: &Context, report: &AddReport) -> Result<()> {
    let out = &context.out;
    let total: u64 = report.files.iter().map(|file| file.size).sum();
    let stored: u64 = report.files.iter().map(|file| file.stored_bytes).sum();
    let staged: Vec<&AddedFile> = report.files.iter().filter(|file| file.staged).collect();
    if staged.len() + report.removed.len() <= LISTED {
        for file in &staged {
            out.say(
                Symbol::Done,
                format!("Added {} ({}){}", file.path, file.file.short(), savings(file)),
            )?;
        }
        for path in &report.removed {
            out.say(Symbol::Done, format!("Staged the removal of {path}"))?;
        }
    } else {
        out.say(
            Symbol::Done,
            format!(
                "Added {} files ({}, {} new in the store)",
                staged.len(),
                size(total),
                size(stored)
            ),
        )?;
        if !report.removed.is_empty() {
            out.say(
                Symbol::Done,
                format!("Staged the removal of {} files", report.removed.len()),
            )?;
        }
    }
    if staged.is_empty() && report.removed.is_empty() {
        out.say(Symbol::Done, "Nothing to add: everything there is committed already")?;
    }
    let file = |file: &AddedFile| {
        json!({
            "path": file.path.as_str(), "id": file.file.to_string(), "size": file.size, "chunks": file.chunks,
            "new_chunks": file.new_chunks, "stored_bytes": file.stored_bytes, "staged": file.staged,
        })
    };
    out.document(&json!({
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
        "removed": report.removed.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        "skipped": report.symlinks.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        "refused": report.refused.iter().map(errors::document).collect::<Vec<_>>(),
        "size": total,
        "stored_bytes": stored,
    }))
}

/// What a large file costs, for those who want to know what fai did to it.
fn savings(file: &AddedFile) -> String {
    match file.new_chunks {
        _ if file.size < 1_000_000 => String::new(),
        0 if file.chunks > 0 => format!(" - {}, all of it stored already", size(file.size)),
        0 => String::new(),
        _ => format!(" - {} stored in {}", size(file.size), size(file.stored_bytes)),
    }
}
