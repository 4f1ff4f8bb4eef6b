//! `fai repack`

use std::time::Duration;

use anyhow::Result;
use fai_core::repo::{RepackOptions, RepackReport};
use serde_json::json;

use crate::context::Context;
use crate::ui::format::{size, size_change};
use crate::ui::{Bar, Symbol};

/// How long repack waits for others who write to the repository, for every batch of packs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Merge small packs and encode better what can be
///
/// Among all files with tensors of the same names and shapes the one that serves the others best is found, and they are
/// encoded against it, in whatever order they were added. Chains of differences become shorter where that costs little.
/// What was committed stays as it is, byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai repack --dry-run\n  fai repack\n  fai repack --max")]
pub struct Args {
    /// Go through everything, and compress it as hard as possible
    #[arg(long)]
    max: bool,
    /// Only say what would be done, and how much room it needs
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let options = RepackOptions {
            max: self.max,
            dry_run: self.dry_run,
            patience: PATIENCE,
        };
        let plan = repository.plan_repack(&options)?;
        let mut report = plan.report().clone();
        if report.chosen > 0 {
            let (packs, bytes, room) = (report.chosen, size(report.chosen_bytes), size(report.needed_bytes));
            context.out.say(
                Symbol::Package,
                format!("{packs} packs ({bytes}) to repack; this needs up to {room} of room at a time"),
            )?;
        }
        if !self.dry_run {
            let bar = Bar::new(context.out, "Repacking");
            report = repository.repack_as_planned(plan, &options, &bar)?;
            bar.finish();
        }
        print(context, &report, self.dry_run)?;
        let kept = |pack: &fai_core::repo::KeptPack| json!({ "pack": pack.name, "reason": pack.reason });
        context.out.document(&json!({
            "dry_run": self.dry_run,
            "chosen": report.chosen,
            "chosen_bytes": report.chosen_bytes,
            "needed_bytes": report.needed_bytes,
            "packs_removed": report.packs_removed,
            "removed_bytes": report.removed_bytes,
            "packs_written": report.packs_written,
            "written_bytes": report.written_bytes,
            "shortened": report.shortened,
            "rebased": report.rebased,
            "recompressed": report.recompressed,
            "kept": report.kept.iter().map(kept).collect::<Vec<_>>(),
            "shortage": report.shortage.map(|short| json!({ "needed": short.needed, "free": short.free })),
        }))
    }
}

fn print(context: &Context, report: &RepackReport, dry_run: bool) -> Result<()> {
    let out = &context.out;
    super::gc::complain(context, &report.kept, report.shortage);
    if report.chosen == 0 {
        return out.say(Symbol::Done, "Nothing to repack");
    }
    if dry_run {
        return Ok(());
    }
    let (removed, written) = (report.packs_removed, report.packs_written);
    if (removed, written) == (0, 0) {
        return out.say(Symbol::Done, "Nothing became smaller: all packs stay as they are");
    }
    out.say(Symbol::Done, format!("{removed} packs became {written}"))?;
    if report.shortened > 0 {
        out.say(
            Symbol::Item,
            format!("  {} chunks stand on shorter chains", report.shortened),
        )?;
    }
    if report.rebased > 0 {
        out.say(
            Symbol::Item,
            format!("  {} chunks stand on better bases", report.rebased),
        )?;
    }
    if report.recompressed > 0 {
        out.say(
            Symbol::Item,
            format!("  {} chunks are compressed harder", report.recompressed),
        )?;
    }
    let change = i128::from(report.written_bytes) - i128::from(report.removed_bytes);
    out.say(Symbol::Summary, format!("Size: {}", size_change(change)))
}
