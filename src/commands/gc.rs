//! `fai gc`

use std::time::Duration;

use anyhow::Result;
use fai_core::object::Time;
use fai_core::repo::{GcOptions, GcReport, KeptPack, Shortage};
use serde_json::json;

use crate::context::Context;
use crate::ui::format::{age, size, time};
use crate::ui::{Bar, Symbol};

/// How long gc waits for others who write to the repository.
const PATIENCE: Duration = Duration::from_secs(30);

/// Remove what no branch, tag, HEAD or staged file needs any more
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai gc\n  fai gc --prune=3d\n  fai gc --prune=now --dry-run")]
pub struct Args {
    /// Remove what has not been needed for so long (2w, 3d, 12h), or everything that is not needed now
    #[arg(long, value_name = "AGE|now", default_value = "2w", value_parser = age)]
    prune: Age,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

type Age = Option<Duration>;

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let bar = Bar::new(context.out, "Rewriting");
        let now = context.now()?;
        let options = GcOptions {
            now: now.seconds,
            age: self.prune,
            dry_run: self.dry_run,
            patience: PATIENCE,
        };
        let report = context.repository()?.gc(&options, &bar)?;
        bar.finish();
        print(context, &report, self.dry_run, now)?;
        let kept = |pack: &KeptPack| json!({ "pack": pack.name, "reason": pack.reason });
        context.out.document(&json!({
            "dry_run": self.dry_run,
            "live": report.live,
            "removed": report.removed,
            "removed_bytes": report.removed_bytes,
            "freed_bytes": report.freed_bytes,
            "condemned": report.condemned,
            "waiting": report.waiting,
            "waiting_bytes": report.waiting_bytes,
            "next": report.next,
            "packs_removed": report.packs_removed,
            "packs_rewritten": report.packs_rewritten,
            "packs_written": report.packs_written,
            "temporary_files": report.temporary_files,
            "kept": report.kept.iter().map(kept).collect::<Vec<_>>(),
            "shortage": report.shortage.map(|short| json!({ "needed": short.needed, "free": short.free })),
        }))
    }
}

fn print(context: &Context, report: &GcReport, dry_run: bool, now: Time) -> Result<()> {
    let out = &context.out;
    let records = |count: u64| match count {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    complain(context, &report.kept, report.shortage);
    if report.removed > 0 {
        let (count, bytes) = (records(report.removed), size(report.removed_bytes));
        match dry_run {
            true => out.say(Symbol::Item, format!("Would remove {count} ({bytes})"))?,
            false => out.say(Symbol::Done, format!("Removed {count} ({bytes})"))?,
        }
    }
    if report.packs_removed > 0 {
        let (removed, written) = (report.packs_removed, report.packs_written);
        out.say(Symbol::Item, format!("  {removed} packs are gone, {written} are new"))?;
    }
    if report.waiting > 0 {
        let (count, bytes) = (records(report.waiting), size(report.waiting_bytes));
        let until = match report.next {
            Some(seconds) => format!(
                "stay until {} or later: `fai gc --prune=now` does not wait",
                time(Time { seconds, ..now })
            ),
            None => "stay for a transfer that was interrupted".to_owned(),
        };
        out.say(Symbol::Item, format!("{count} ({bytes}) are not needed, and {until}"))?;
    }
    let nothing = report.removed + report.waiting + report.packs_removed + report.temporary_files == 0;
    match (nothing, dry_run) {
        (true, _) => out.say(
            Symbol::Done,
            format!(
                "Nothing to remove: {} are stored, and all are needed",
                records(report.live)
            ),
        ),
        (false, true) => Ok(()),
        (false, false) => out.say(Symbol::Summary, format!("Freed {}", size(report.freed_bytes))),
    }
}

/// Says which packs could not be rewritten.
pub fn complain(context: &Context, kept: &[KeptPack], shortage: Option<Shortage>) {
    let out = &context.out;
    for pack in kept {
        out.warn(format!("{} stays as it is: {}", pack.name, pack.reason));
    }
    if !kept.is_empty() {
        out.hint("`fai fsck --full` tells what is damaged, `fai fsck --rebuild` saves what is not");
    }
    if let Some(short) = shortage {
        let (needed, free) = (size(short.needed), size(short.free));
        out.warn(format!(
            "not all packs were rewritten: the next one needs {needed}, and {free} are free"
        ));
        out.hint("free some space, and run it again: what was done is not done twice");
    }
}
