//! `fai op`

use anyhow::Result;
use fai_core::database::CommandKind;
use fai_core::repo::LoggedCommand;
use serde_json::json;

use crate::context::Context;
use crate::ui::format;

/// Show what commands changed here
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai op log -n 5")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the commands that changed something, newest first
    Log {
        /// At most so many
        #[arg(short = 'n', long = "max-count", value_name = "N")]
        limit: Option<usize>,
    },
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let Action::Log { limit } = self.action;
        let repository = context.repository()?;
        let log = repository.command_log(limit.unwrap_or(usize::MAX))?;
        log.iter()
            .try_for_each(|logged| context.out.line(line(context, logged)))?;
        let operations: Vec<_> = log.iter().map(document).collect();
        context.out.document(&json!({ "operations": operations }))
    }
}

fn line(context: &Context, logged: &LoggedCommand) -> String {
    let mut parts = Vec::new();
    for (number, one, many) in [
        (logged.refs, "ref", "refs"),
        (logged.staged, "staged", "staged"),
        (logged.files, "file", "files"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {}", if number == 1 { one } else { many }));
        }
    }
    let mut notes = Vec::new();
    if !parts.is_empty() {
        notes.push(parts.join(", "));
    } else if logged.row.kind == CommandKind::Plain {
        notes.push("too old to be undone".to_owned());
    }
    if logged.undone {
        notes.push("undone".to_owned());
    }
    if !logged.row.finished {
        notes.push("interrupted".to_owned());
    }
    let notes = match notes.is_empty() {
        true => String::new(),
        false => format!("  ({})", notes.join("; ")),
    };
    let id = context.out.paint("33", &logged.row.id.to_string());
    let (time, command) = (format::time(logged.row.time), format::safe(&logged.row.command));
    format!("{id}  {time}  {command}{notes}")
}

fn document(logged: &LoggedCommand) -> serde_json::Value {
    let row = &logged.row;
    let (kind, target) = match row.kind {
        CommandKind::Plain => ("command", None),
        CommandKind::Undo(id) => ("undo", Some(id)),
        CommandKind::Redo(id) => ("redo", Some(id)),
    };
    json!({
        "id": row.id, "time": format::time_rfc3339(row.time), "command": row.command, "kind": kind, "of": target,
        "refs": logged.refs, "staged": logged.staged, "files": logged.files,
        "undone": logged.undone, "finished": row.finished,
    })
}
