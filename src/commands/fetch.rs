//! `fai fetch`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fai_core::Repository;
use fai_core::object::{FileId, RepoPath};
use fai_core::repo::{Error, InitOptions, SaveOptions};
use fai_network::fetch::{FetchReport, Located, Remote, locate_id, locate_path};
use serde_json::json;

use super::news;
use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, transferred};
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Bring what is new at a remembered peer without merging it, or take one file from any peer
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai fetch\n  fai fetch nas\n  fai fetch 12D3KooWM9ek9... abc12345\n  fai fetch fai1... HEAD:model.safetensors -o base.safetensors\n  \
    fai fetch nas:4001/llama v1~2:config.json"
)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Where to write it; by default the path's last name, or fetched_ID.dat
    #[arg(short, long, value_name = "FILE", requires = "file")]
    output: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(short, long, requires = "file")]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct What {
    /// A remembered name; with a file also a ticket, a peer id, an address, or a folder
    source: Option<String>,
    /// A file's id, or REV:PATH as the peer knows it; HEAD stands in for a missing REV
    #[arg(value_name = "ID|REV:PATH")]
    file: Option<String>,
}

/// One file, and from where.
struct Single {
    source: String,
    file: String,
    output: Option<PathBuf>,
    force: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let What { source, file } = self.what;
        match (source, file) {
            (Some(source), Some(file)) => {
                let (output, force) = (self.output, self.force);
                let single = Single {
                    source,
                    file,
                    output,
                    force,
                };
                single.run(context)
            }
            (source, _) => {
                let repository = context.repository()?;
                let name = source.as_deref().unwrap_or(DEFAULT_REMOTE);
                let document = news::update(context, &repository, name)?;
                context.out.document(&document)
            }
        }
    }
}

impl Single {
    fn run(self, context: &Context) -> Result<()> {
        let own = match context.repository() {
            Ok(repository) => Some(repository),
            Err(error) if matches!(error.downcast_ref(), Some(Error::NotARepository(_))) => None,
            Err(error) => return Err(error),
        };
        match place(context, own.as_ref(), &self.source)? {
            Place::Peer(source) => {
                let peers = Peers::asking(context)?;
                let mut remote = peers.remote(&source)?;
                let located = self.locate(&peers, own.as_ref(), &mut remote)?;
                let output = self.output(context, &located)?;
                self.announce(context, located.file)?;
                match &own {
                    Some(repository) => self.fetch(context, &peers, repository, remote, &located, &output),
                    None => self.fetch_outside(context, &peers, remote, &located, &output),
                }
            }
            Place::Folder(folder) => self.take(context, &Repository::open(&folder)?, &folder),
        }
    }

    /// True for digits of an id, and not a path.
    fn is_id(&self) -> bool {
        self.file.bytes().all(|byte| byte.is_ascii_hexdigit()) && (4..=64).contains(&self.file.len())
    }

    /// What was asked for, at the peer.
    fn locate(&self, peers: &Peers, own: Option<&Repository>, remote: &mut Remote) -> Result<Located> {
        let (runtime, node) = (&peers.runtime, &peers.node);
        if let Some((revision, path)) = self.file.split_once(':') {
            let path = RepoPath::parse(path)?;
            return Ok(runtime.block_on(locate_path(node, remote, revision, &path))?);
        }
        if !self.is_id() {
            let path = RepoPath::parse(&self.file)?;
            return Ok(runtime.block_on(locate_path(node, remote, "HEAD", &path))?);
        }
        // What is known here need not be asked for: a short id, or the hash of a file's content.
        let known = own
            .and_then(|own| own.file_with_id(&self.file).transpose())
            .transpose()?;
        let text = known.map_or_else(|| self.file.clone(), |file| file.to_string());
        Ok(runtime.block_on(locate_id(node, remote, &text))?)
    }

    /// Where to write it, which must be free before anything is fetched.
    fn output(&self, context: &Context, located: &Located) -> Result<PathBuf> {
        let path = located.path.as_ref().filter(|_| !self.is_id());
        let name = path.and_then(|path| Some(path.split_last()?.1.to_owned()));
        let name = name.unwrap_or_else(|| format!("fetched_{}.dat", located.file.short()));
        let output = context.folder.join(self.output.clone().unwrap_or_else(|| name.into()));
        if !self.force && output.symlink_metadata().is_ok() {
            return Err(Error::Exists(output).into());
        }
        Ok(output)
    }

    fn announce(&self, context: &Context, file: FileId) -> Result<()> {
        let what = format!("Fetching model {}...", file.short());
        context.out.say(Symbol::Inbox, what)
    }

    fn fetch(
        &self,
        context: &Context,
        peers: &Peers,
        repository: &Repository,
        remote: Remote,
        located: &Located,
        output: &Path,
    ) -> Result<()> {
        let remotes = peers.with_companions(remote);
        let bar = Bar::new(context.out, "Receiving");
        let transfer = peers.transfer(repository, remotes, &bar);
        let (quarantine, report) = transfer.file(located.file, located.size)?;
        drop(bar);
        let options = SaveOptions {
            force: self.force,
            executable: located.executable,
        };
        let bar = Bar::new(context.out, "Writing");
        let content = match quarantine.store().save(located.file, output, options, &bar) {
            Ok(content) => content,
            Err(error @ Error::FalseFile(_)) => {
                // It would be as false the next time.
                quarantine.remove()?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        drop(bar);
        quarantine.remove()?;
        self.done(context, located, &report, content.to_string(), output)
    }

    /// Without a repository here, one beside the output holds what came until all of it is there.
    fn fetch_outside(
        &self,
        context: &Context,
        peers: &Peers,
        remote: Remote,
        located: &Located,
        output: &Path,
    ) -> Result<()> {
        let folder = output.parent().unwrap_or(&context.folder);
        let scratch = folder.join(format!(".fai-fetch-{}", located.file.short()));
        let options = InitOptions {
            bare: true,
            id: Some(remote.id),
        };
        let (repository, fresh) = Repository::init(&scratch, options)?;
        let fetched = self.fetch(context, peers, &repository, remote, located, output);
        drop(repository);
        if fetched.is_err() && fresh && !holds_something(&scratch, located.file) {
            // Nothing came, so there is nothing to go on with.
            let _ = fs::remove_dir_all(&scratch);
        }
        fetched?;
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
    }

    /// From a repository in a folder of this machine: nothing travels.
    fn take(&self, context: &Context, repository: &Repository, folder: &Path) -> Result<()> {
        let named = repository.resolve_file(&self.file, folder)?;
        let located = Located {
            file: named.file,
            size: None,
            executable: false,
            path: named.path,
            commit: named.commit,
        };
        let output = self.output(context, &located)?;
        self.announce(context, located.file)?;
        let started = std::time::Instant::now();
        let options = SaveOptions {
            force: self.force,
            executable: false,
        };
        let bar = Bar::new(context.out, "Writing");
        let content = repository.store().save(located.file, &output, options, &bar)?;
        drop(bar);
        let report = FetchReport {
            files: 1,
            bytes: repository.open_file(located.file)?.manifest().size,
            time: started.elapsed(),
            ..FetchReport::default()
        };
        self.done(context, &located, &report, content.to_string(), &output)
    }

    fn done(
        &self,
        context: &Context,
        located: &Located,
        report: &FetchReport,
        content: String,
        output: &Path,
    ) -> Result<()> {
        let seconds = report.time.as_secs_f64();
        let time = match seconds {
            seconds if seconds < 9.95 => format!("{seconds:.1}"),
            seconds => format!("{seconds:.0}"),
        };
        let downloaded = format!("Downloaded {} in {time} seconds", size(report.bytes));
        context.out.say(Symbol::Done, downloaded)?;
        context
            .out
            .say(Symbol::Saved, format!("Saved to: {}", context.shown(output)))?;
        let own = [
            ("path", json!(output)),
            ("id", located.file.to_string().into()),
            ("content", content.into()),
            ("commit", json!(located.commit.map(|commit| commit.to_string()))),
        ];
        context.out.document(&transferred(own, report))
    }
}

/// True when an interrupted fetch left something in `scratch`.
fn holds_something(scratch: &Path, file: FileId) -> bool {
    let quarantine = scratch.join("quarantine").join(format!("file-{file}"));
    let holds = |part: &str| fs::read_dir(quarantine.join(part)).is_ok_and(|mut listing| listing.next().is_some());
    holds("objects") || holds("incoming")
}
