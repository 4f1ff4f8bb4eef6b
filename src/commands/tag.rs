//! `fai tag`

use anyhow::Result;
use fai_core::repo::{Error, TagMessage};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::format;

/// List tags, make one or delete it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai tag\n  fai tag v1\n  fai tag v0.9 HEAD~3 -m \"Last one before the new tokenizer\"\n  \
    fai tag -d v0.9\n\nA message stays in this repository; the tag itself is pushed with fai push --tags."
)]
pub struct Args {
    /// The new tag; without it all are listed
    name: Option<String>,
    /// What it names: the current commit without it
    rev: Option<String>,
    /// Delete it
    #[arg(short, long, conflicts_with_all = ["rev", "message", "list"])]
    delete: bool,
    /// Why
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Move a tag that exists
    #[arg(short, long)]
    force: bool,
    /// Only list
    #[arg(short, long)]
    list: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let Some(name) = self.name.as_deref().filter(|_| !self.list) else {
            if self.delete {
                return Err(Error::Usage("name the tag to delete".into()).into());
            }
            return self.show(context, &repository);
        };
        if self.delete {
            let commit = repository.delete_tag(name, context.now()?)?;
            let said = format!("Deleted tag {name} (it stood on {})", commit.short());
            context.out.say(Symbol::Done, said)?;
            return context
                .out
                .document(&json!({ "deleted": name, "commit": commit.to_string() }));
        }
        let commit = repository.resolve(self.rev.as_deref().unwrap_or("HEAD"))?;
        let time = context.now()?;
        let message = match &self.message {
            None => None,
            Some(message) => Some(TagMessage {
                message: message.clone(),
                author: context.author(&repository, None)?,
                time,
            }),
        };
        repository.create_tag(name, commit, message.as_ref(), self.force, time)?;
        let said = format!("Tag {name} stands on {}", commit.short());
        context.out.say(Symbol::Done, said)?;
        context
            .out
            .document(&json!({ "tag": name, "commit": commit.to_string(), "message": self.message }))
    }

    fn show(&self, context: &Context, repository: &fai_core::Repository) -> Result<()> {
        let mut tags = repository.tags()?;
        if let Some(name) = &self.name {
            tags.retain(|tag| tag.name == *name);
        }
        for tag in &tags {
            let said = tag.message.as_ref().and_then(|said| said.message.lines().next());
            let said = said.map(|said| format!("  {}", format::safe(said))).unwrap_or_default();
            context.out.line(format!("{}{said}", tag.name))?;
        }
        let tags = tags.iter().map(|tag| {
            json!({
                "name": tag.name, "commit": tag.commit.to_string(),
                "message": tag.message.as_ref().map(|said| said.message.clone()),
                "author": tag.message.as_ref().map(|said| json!({
                    "name": said.author.name, "email": said.author.email,
                })),
                "time": tag.message.as_ref().map(|said| format::time_rfc3339(said.time)),
            })
        });
        context.out.document(&json!({ "tags": tags.collect::<Vec<_>>() }))
    }
}
