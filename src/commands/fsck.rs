//! `fai fsck`

use std::time::Duration;

use anyhow::{Result, bail};
use fai_core::Repository;
use fai_core::repo::{FsckOptions, FsckReport, Problem};
use serde_json::json;

use crate::context::Context;
use crate::ui::errors::Negative;
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// How long a rebuild waits for others who are at work in the repository.
const PATIENCE: Duration = Duration::from_secs(30);

/// Check that everything is there and is what it was
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai fsck --full\n  fai fsck --rebuild")]
pub struct Args {
    /// Read and verify every stored byte
    #[arg(long)]
    full: bool,
    /// Make the index and what is known about files anew, from the packs
    #[arg(long)]
    rebuild: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let bar = Bar::new(context.out, "Verifying");
        let report = if self.rebuild {
            Repository::fsck_rebuild_at(&context.folder, context.threads(), PATIENCE, &bar)?.1
        } else {
            context.repository()?.fsck(
                &FsckOptions {
                    full: self.full,
                    rebuild: false,
                    patience: PATIENCE,
                },
                &bar,
            )?
        };
        bar.finish();
        print(context, &report)?;
        let problem = |problem: &Problem| {
            json!({
                "kind": problem.kind, "subject": problem.subject, "detail": problem.detail,
                "affected": problem.affected,
            })
        };
        context.out.document(&json!({
            "ok": report.ok(),
            "checked": report.checked,
            "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
            "rebuilt": report.rebuilt,
            "recovered": report.recovered,
        }))?;
        if report.ok() { Ok(()) } else { bail!(Negative) }
    }
}

fn print(context: &Context, report: &FsckReport) -> Result<()> {
    let out = &context.out;
    if report.rebuilt {
        out.say(Symbol::Done, "Rebuilt the index from the packs")?;
    }
    for name in &report.recovered {
        out.say(Symbol::Done, format!("Recovered {name}"))?;
    }
    let count = |(name, count): (&&str, &u64)| match *name {
        "bytes" => size(*count),
        name => format!("{count} {}", name.replace('_', " ")),
    };
    let checked = report
        .checked
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(count)
        .collect::<Vec<_>>()
        .join(", ");
    for problem in &report.problems {
        let Problem {
            kind,
            subject,
            detail,
            affected,
        } = problem;
        out.say(
            Symbol::Warning,
            format!("{}: {subject}: {detail}", kind.replace('_', " ")),
        )?;
        affected
            .iter()
            .try_for_each(|path| out.say(Symbol::Item, format!("    needed by {path}")))?;
    }
    match report.problems.len() {
        0 => out.say(Symbol::Done, format!("No problems found ({checked})")),
        count => out.say(Symbol::Warning, format!("{count} problems found ({checked})")),
    }
}
