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
    after_help = "Examples:\n  fai add models/resnet50.onnx\n  fai add .\n  fai add -A\n  \
    fai add tuned.safetensors --base HEAD:base.safetensors\n  fai add --evict archive/\n\n\
    With --evict a file leaves the folder once it is stored, read back and staged, so that there is no second copy. Files\n\
    go in groups of about 1GB. fai status lists what was evicted, fai cat reads it, fai checkout PATH brings it back. A file\n\
    that changes meanwhile stays."
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
    /// Remove the files from this folder once they are stored; fai checkout PATH brings them back
    #[arg(long)]
    evict: bool,
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
            evict: self.evict,
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
    } else if !staged.is_empty() || !report.removed.is_empty() {
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
        out.say(Symbol::Done, nothing(report))?;
    }
    let evicted: Vec<&AddedFile> = report.files.iter().filter(|file| file.evicted).collect();
    if let [file] = evicted.as_slice() {
        let (path, bytes) = (&file.path, size(file.size));
        out.say(
            Symbol::Done,
            format!("Evicted {path} ({bytes}); fai checkout {path} brings it back"),
        )?;
    } else if !evicted.is_empty() {
        let (count, bytes) = (evicted.len(), size(evicted.iter().map(|file| file.size).sum()));
        out.say(
            Symbol::Done,
            format!("Evicted {count} files ({bytes}); fai checkout PATH brings one back"),
        )?;
    }
    let file = |file: &AddedFile| {
        json!({
            "path": file.path.as_str(), "id": file.file.to_string(), "size": file.size, "chunks": file.chunks,
            "new_chunks": file.new_chunks, "stored_bytes": file.stored_bytes, "staged": file.staged,
            "evicted": file.evicted,
        })
    };
    out.document(&json!({
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
        "removed": report.removed.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        "absent": report.absent.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        "skipped": report.symlinks.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        "refused": report.refused.iter().map(errors::document).collect::<Vec<_>>(),
        "size": total,
        "stored_bytes": stored,
    }))
}

/// Why there was nothing to stage.
fn nothing(report: &AddReport) -> String {
    match (report.files.as_slice(), report.absent.as_slice()) {
        ([], [path]) => format!("Nothing to add: {path} is not here on purpose (fai checkout {path} brings it)"),
        ([], [_, ..]) => {
            "Nothing to add: these files are not here on purpose (fai checkout PATH brings one)".to_owned()
        }
        _ => "Nothing to add: everything there is committed already".to_owned(),
    }
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
