//! `fai undo` and `fai redo`

use anyhow::Result;
use fai_core::repo::{Direction, Reverted, UndoOptions};
use serde_json::json;

use crate::context::Context;
use crate::ui::format;
use crate::ui::{Bar, Symbol};

/// Take back the last command that changed branches, what is staged or files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai undo\n  fai undo 3\n  fai op log\n\n\
    Refs, HEAD, what is staged and files go back to how they were. What was changed since is never lost: fai undo names it\n\
    and does nothing. fai redo does the command again.")]
pub struct UndoArgs {
    #[command(flatten)]
    args: Args,
}

/// Do the command again that fai undo took back
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai redo\n  fai redo 3")]
pub struct RedoArgs {
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, clap::Args)]
struct Args {
    /// How many commands
    #[arg(default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Also where something was changed since; what is overwritten is stored, and gc keeps it for a while
    #[arg(short, long)]
    force: bool,
}

impl UndoArgs {
    pub fn run(self, context: &Context) -> Result<()> {
        self.args.run(context, Direction::Undo)
    }
}

impl RedoArgs {
    pub fn run(self, context: &Context) -> Result<()> {
        self.args.run(context, Direction::Redo)
    }
}

impl Args {
    fn run(self, context: &Context, direction: Direction) -> Result<()> {
        let repository = context.repository()?;
        let options = UndoOptions {
            direction,
            time: context.now()?,
            force: self.force,
        };
        let mut done = Vec::new();
        for number in 0..self.count {
            let bar = Bar::new(context.out, "Writing");
            let reverted = match repository.undo(options, &bar) {
                // There were fewer than that.
                Err(fai_core::repo::Error::NothingToUndo(_)) if number > 0 => break,
                other => other?,
            };
            drop(bar);
            say(context, direction, &reverted)?;
            done.push(document(&reverted));
        }
        context.out.document(&json!({ direction.verb(): done }))
    }
}

fn say(context: &Context, direction: Direction, reverted: &Reverted) -> Result<()> {
    let verb = match direction {
        Direction::Undo => "Undid",
        Direction::Redo => "Did again",
    };
    let mut parts = Vec::new();
    let mut count = |number: u64, one: &str, many: &str| match number {
        0 => {}
        1 => parts.push(format!("1 {one}")),
        number => parts.push(format!("{number} {many}")),
    };
    count(reverted.refs.len() as u64, "ref moved", "refs moved");
    count(reverted.staged, "path staged or unstaged", "paths staged or unstaged");
    count(reverted.written, "file written", "files written");
    count(reverted.removed, "file removed", "files removed");
    let parts = match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    };
    let command = format::safe(&reverted.command);
    context.out.say(Symbol::Done, format!("{verb}: {command}{parts}"))
}

fn document(reverted: &Reverted) -> serde_json::Value {
    json!({
        "id": reverted.id, "command": reverted.command, "refs": reverted.refs, "staged": reverted.staged,
        "written": reverted.written, "removed": reverted.removed,
    })
}
