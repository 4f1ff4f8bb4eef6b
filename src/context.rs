//! What a command needs to know of its surroundings: folder, clock, user, settings. The only place that reads the
//! environment, but for what terminals (`ui`) and other programs (`code`) are asked by.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use etcetera::BaseStrategy;
use fai_core::Repository;
use fai_core::object::{Author, RepoPath, Time};
use fai_core::repo::{Config, Error};
use fai_network::Multiaddr;
use fai_network::source::parse_bootstrap;

use crate::cli::Global;
use crate::ui::Output;
use crate::ui::errors::Hinted;

/// The surroundings of one run.
pub struct Context {
    /// The folder that relative paths are relative to.
    pub folder: PathBuf,
    /// Where output goes.
    pub out: Output,
    /// More is wanted than usual.
    pub verbose: bool,
}

impl Context {
    /// Looks around.
    pub fn new(global: &Global) -> Result<Self> {
        let current = std::env::current_dir().context("the current folder cannot be read")?;
        let folder = match &global.directory {
            Some(directory) => current.join(directory),
            None => current,
        };
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot enter {}", folder.display()))?;
        Ok(Self {
            folder,
            out: Output::new(global.json, global.quiet),
            verbose: global.verbose > 0,
        })
    }

    /// The repository that the folder lies in.
    pub fn repository(&self) -> Result<Repository> {
        let repository = Repository::discover(&self.folder)?;
        // Whatever this run changes there can be undone as one.
        repository.begin(self.now()?, &command_line())?;
        if let Some(killed) = repository.interrupted()? {
            self.out
                .warn(format!("{:?} was interrupted while it changed files", killed.command));
            self.out
                .hint("`fai undo` takes back what it did; running the same command again completes it");
        }
        Ok(match self.threads() {
            Some(threads) => repository.with_threads(threads),
            None => repository,
        })
    }

    /// The number of threads that `FAI_THREADS` asks for; without it there is one a core.
    pub fn threads(&self) -> Option<usize> {
        std::env::var("FAI_THREADS").ok()?.parse().ok()
    }

    /// True when `FAI_OFFLINE` is set: nothing is fetched that a command did not ask for.
    pub fn offline(&self) -> bool {
        std::env::var_os("FAI_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0")
    }

    /// Paths as people type them, seen from the folder.
    pub fn paths(&self, repository: &Repository, paths: &[PathBuf]) -> Result<Vec<RepoPath>> {
        paths
            .iter()
            .map(|path| Ok(repository.repo_path(&self.folder, path)?))
            .collect()
    }

    /// Now, with the zone of this machine. `FAI_DATE` (RFC 3339) stands in for the clock, so that commits can be
    /// reproduced.
    pub fn now(&self) -> Result<Time> {
        now()
    }

    /// The folder of the user's own settings and keys: `$FAI_HOME`, or the platform's place for configuration.
    pub fn home(&self) -> Result<PathBuf> {
        match std::env::var_os("FAI_HOME") {
            Some(home) => Ok(PathBuf::from(home)),
            None => Ok(etcetera::choose_base_strategy()
                .context("there is no home folder")?
                .config_dir()
                .join("fai")),
        }
    }

    /// A setting: of the repository, else of the user.
    pub fn setting(&self, repository: &Repository, key: &str) -> Result<Option<String>> {
        let own = Config::read(&repository.config_path())?.get(key);
        match own {
            Some(value) => Ok(Some(value)),
            None => Ok(Config::read(&self.home()?.join("config.toml"))?.get(key)),
        }
    }

    /// The peers through which others are found beyond the local network: `network.bootstrap` of the repository here, if
    /// there is one, else of the user.
    pub fn bootstrap(&self) -> Result<Vec<Multiaddr>> {
        let key = "network.bootstrap";
        let found = match Repository::discover(&self.folder) {
            Ok(repository) => self.setting(&repository, key)?,
            Err(_) => Config::read(&self.home()?.join("config.toml"))?.get(key),
        };
        Ok(parse_bootstrap(&found.unwrap_or_default())?)
    }

    /// Who commits: as typed, else from the environment, else from the settings, else the login on this machine.
    pub fn author(&self, repository: &Repository, typed: Option<&str>) -> Result<Author> {
        if let Some(typed) = typed {
            return parse_author(typed);
        }
        let from = |variable: &str, key: &str| -> Result<Option<String>> {
            match std::env::var(variable) {
                Ok(value) if !value.trim().is_empty() => Ok(Some(value)),
                _ => self.setting(repository, key),
            }
        };
        let name = from("FAI_AUTHOR_NAME", "user.name")?;
        let email = from("FAI_AUTHOR_EMAIL", "user.email")?;
        if name.is_none() {
            tracing::info!("no user.name is set; the login name stands in");
        }
        let login = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
                .filter(|name| !name.is_empty())
        };
        Ok(Author {
            name: name.or_else(login).unwrap_or_else(|| "unknown".into()),
            email: email.unwrap_or_default(),
        })
    }

    /// `path` as it is best shown to someone who stands in the folder.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }
}

/// Now, or what `FAI_DATE` says: see [`Context::now`].
pub fn now() -> Result<Time> {
    let zoned = match std::env::var("FAI_DATE") {
        Ok(text) => {
            let bad = || format!("FAI_DATE is {text:?}, which is no date like 2024-01-15T14:30:22+01:00");
            let timestamp: jiff::Timestamp = text.parse().with_context(bad)?;
            let offset = jiff::fmt::temporal::Pieces::parse(&text)
                .ok()
                .and_then(|pieces| pieces.to_numeric_offset());
            timestamp.to_zoned_datetime(jiff::tz::TimeZone::fixed(offset.unwrap_or(jiff::tz::Offset::UTC)))
        }
        Err(_) => jiff::ZonedDateTime::now(),
    };
    let offset_minutes = i16::try_from(zoned.offset().seconds() / 60).unwrap_or(0);
    Ok(Time {
        seconds: zoned.timestamp().as_second(),
        offset_minutes,
    })
}

/// The command as it was typed, for the log of operations.
fn command_line() -> String {
    let quoted = |word: String| match word.is_empty() || word.contains(char::is_whitespace) {
        true => format!("{word:?}"),
        false => word,
    };
    let words = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let words = words.filter(|word| word != "--json").map(quoted);
    std::iter::once("fai".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// `Name <email>`, or just a name.
fn parse_author(text: &str) -> Result<Author> {
    let (name, email) = match text.split_once('<') {
        Some((name, rest)) => match rest.strip_suffix('>') {
            Some(email) => (name.trim(), email.trim()),
            None => ("", ""),
        },
        None => (text.trim(), ""),
    };
    if name.is_empty() {
        let error = Error::Usage(format!("{text:?} is not an author"));
        return Err(Hinted::new(error, "write it like \"Ada Lovelace <ada@example.org>\"").into());
    }
    Ok(Author {
        name: name.to_owned(),
        email: email.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_read_as_people_write_them() {
        let author = parse_author("Ada Lovelace <ada@example.org>").expect("valid");
        assert_eq!(
            (author.name.as_str(), author.email.as_str()),
            ("Ada Lovelace", "ada@example.org")
        );
        assert_eq!(parse_author("Ada").expect("valid").email, "");
        assert!(parse_author("<a@b>").is_err() && parse_author("Ada <a").is_err() && parse_author(" ").is_err());
    }
}
