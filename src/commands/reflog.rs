//! `fai reflog`

use anyhow::Result;
use fai_core::repo::{Error, Head};
use serde_json::json;

use crate::context::Context;
use crate::ui::format;

/// Show where HEAD or a branch was, newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai reflog\n  fai reflog main -n 5\n  fai switch -c rescued HEAD@{3}\n\n\
    The places can be named: HEAD@{2}, main@{1}."
)]
pub struct Args {
    /// A branch or tag; HEAD without it
    name: Option<String>,
    /// At most so many
    #[arg(short = 'n', long = "max-count", value_name = "N")]
    limit: Option<usize>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let typed = self.name.as_deref().unwrap_or("HEAD");
        let full = match typed {
            "HEAD" | "@" => "HEAD".to_owned(),
            name => match repository.full_name(name)? {
                Some(full) => full,
                // A branch that was deleted has a past, too.
                None => format!("refs/heads/{name}"),
            },
        };
        let places = repository.reflog(&full, self.limit.unwrap_or(usize::MAX))?;
        if places.is_empty() && full != "HEAD" && repository.head()? != Head::Branch(full) {
            return Err(Error::UnknownRevision(typed.to_owned()).into());
        }
        let mut documents = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let id = place
                .commit
                .map_or_else(|| "--------".to_owned(), |commit| commit.short());
            let id = context.out.paint("33", &id);
            let message = format::safe(&place.message);
            context.out.line(format!("{id} {typed}@{{{number}}}: {message}"))?;
            documents.push(json!({
                "name": format!("{typed}@{{{number}}}"),
                "commit": place.commit.map(|commit| commit.to_string()),
                "before": place.before.map(|commit| commit.to_string()),
                "time": format::time_rfc3339(place.time), "message": place.message,
            }));
        }
        context.out.document(&json!({ "entries": documents }))
    }
}
