//! `fai config`

use anyhow::{Result, bail};
use fai_core::repo::Config;
use serde_json::json;

use crate::context::Context;
use crate::ui::errors::Negative;

/// Read and change settings
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai config user.name \"Ada Lovelace\"\n  fai config --global user.email ada@example.org\n  \
    fai config user.name\n  fai config --list"
)]
pub struct Args {
    /// The setting, like user.name; all of them when it is left out
    key: Option<String>,
    /// Its new value
    value: Option<String>,
    /// For all repositories of this user
    #[arg(long)]
    global: bool,
    /// Remove the setting
    #[arg(long, requires = "key", conflicts_with = "value")]
    unset: bool,
    /// List all settings
    #[arg(long, conflicts_with = "key")]
    list: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let user = context.home()?.join("config.toml");
        let path = if self.global {
            user.clone()
        } else {
            context.repository()?.config_path()
        };
        match (&self.key, &self.value) {
            (Some(key), value) if value.is_some() || self.unset => {
                Config::change(&path, key, value.as_deref())?;
                context.out.document(&json!({ "key": key, "value": value }))
            }
            (Some(key), _) => {
                let found = match self.global {
                    true => Config::read(&path)?.get(key),
                    false => context.setting(&context.repository()?, key)?,
                };
                let Some(value) = found else { bail!(Negative) };
                context.out.line(&value)?;
                context.out.document(&json!({ "key": key, "value": value }))
            }
            (None, _) => {
                let mut entries = Config::read(&user)?.entries();
                if !self.global {
                    entries.extend(Config::read(&path)?.entries());
                }
                entries
                    .iter()
                    .try_for_each(|(key, value)| context.out.line(format!("{key}={value}")))?;
                // The repository's settings come last and win.
                let settings = entries.into_iter().map(|(key, value)| (key, json!(value)));
                context
                    .out
                    .document(&json!({ "settings": settings.collect::<serde_json::Map<_, _>>() }))
            }
        }
    }
}
