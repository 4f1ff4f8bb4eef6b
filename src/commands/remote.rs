//! `fai remote`

use std::path::Path;

use anyhow::{Context as _, Result};
use fai_core::repo::{Config, Error};
use fai_network::Source;
use serde_json::json;

use super::news;
use crate::context::Context;
use crate::ui::Symbol;

/// Remember peers by name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai remote add nas 192.168.1.9:4001/llama\n  fai remote list")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remember a source under a name
    Add {
        /// The name
        name: String,
        /// A ticket, a peer id, an address or a folder
        source: String,
    },
    /// Show what is remembered
    List,
    /// Forget a name
    Remove {
        /// The name
        name: String,
    },
    /// Bring what is new at a remembered peer, or at all of them, without merging it
    Update {
        /// The name
        name: Option<String>,
    },
    /// Give a source another name
    Rename {
        /// The name it has
        name: String,
        /// The name it gets
        to: String,
    },
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let path = repository.config_path();
        let key = |name: &str| format!("remote.{name}.source");
        let config = Config::read(&path)?;
        let known = |name: &str| config.get(&key(name)).ok_or_else(|| unknown(name));
        let free = |name: &str| match config.get(&key(name)) {
            Some(_) => Err(Error::Usage(format!("{name:?} is remembered already"))),
            None => Ok(()),
        };
        match self.action {
            Action::Add { name, source } => {
                free(&name)?;
                let source = match Source::parse(&source)? {
                    Some(_) => source,
                    None => absolute(&context.folder.join(&source))?,
                };
                Config::change(&path, &key(&name), Some(&source))?;
                context.out.say(Symbol::Done, format!("Remembered {name}"))?;
            }
            Action::Remove { name } => {
                known(&name)?;
                Config::change(&path, &key(&name), None)?;
                repository.rename_remote(&name, None)?;
                context.out.say(Symbol::Done, format!("Forgot {name}"))?;
            }
            Action::Rename { name, to } => {
                let source = known(&name)?;
                free(&to)?;
                Config::change(&path, &key(&to), Some(&source))?;
                Config::change(&path, &key(&name), None)?;
                repository.rename_remote(&name, Some(&to))?;
                context.out.say(Symbol::Done, format!("{name} is {to} now"))?;
            }
            Action::Update { name } => return update(context, &repository, name),
            Action::List => {}
        }
        let all = remembered(&Config::read(&path)?);
        if all.is_empty() {
            context.out.line("No peers are remembered")?;
        }
        for (name, source) in &all {
            context.out.say(Symbol::Item, format!("{name}  {source}"))?;
        }
        let remotes: Vec<_> = all
            .iter()
            .map(|(name, source)| json!({ "name": name, "source": source }))
            .collect();
        context.out.document(&json!({ "remotes": remotes }))
    }
}

fn update(context: &Context, repository: &fai_core::Repository, name: Option<String>) -> Result<()> {
    let names = match name {
        Some(name) => vec![name],
        None => remembered(&Config::read(&repository.config_path())?)
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
    };
    let updates = names.iter().map(|name| news::update(context, repository, name));
    let updates = updates.collect::<Result<Vec<_>>>()?;
    context.out.document(&json!({ "updated": updates }))
}

/// Names and sources.
fn remembered(config: &Config) -> Vec<(String, String)> {
    let named = |(key, source): (String, String)| {
        let name = key.strip_prefix("remote.")?.strip_suffix(".source")?.to_owned();
        Some((name, source))
    };
    config.entries().into_iter().filter_map(named).collect()
}

/// A folder's whole path: it must mean the same wherever a command is started.
fn absolute(folder: &Path) -> Result<String> {
    let path = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    let text = path.to_str().context("the folder's name is no UTF-8")?;
    Ok(text.to_owned())
}

fn unknown(name: &str) -> Error {
    Error::Usage(format!("no peer is remembered as {name:?}"))
}
