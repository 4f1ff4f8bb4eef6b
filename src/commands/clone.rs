//! `fai clone`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fai_core::Repository;
use fai_core::object::CommitId;
use fai_core::repo::{Config, Error, InitOptions, Quarantine, RefMove, RepositoryId, Selection, Upstream};
use fai_network::Folder;
use fai_network::fetch::{Depth, FetchReport, Remote, fetch_from};
use serde_json::json;

use crate::context::Context;
use crate::peers::{DEFAULT_REMOTE, Peers, Place, place, route, transferred};
use crate::present::not_here;
use crate::ui::errors::Hinted;
use crate::ui::format::{FROM_A_FOLDER, OVER_THE_WIRE, size, traffic};
use crate::ui::{Bar, Symbol};

/// Copy a repository from a peer or a folder, with its whole history
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai clone 12D3KooWM9ek9...\n  fai clone /ip4/192.168.1.9/tcp/4001/llama models\n  \
    fai clone fai1...            (a ticket that `fai serve` prints)\n  fai clone /mnt/usb/models"
)]
pub struct Args {
    /// A ticket, a peer id, an address, or a folder; with /NAME where a peer serves several repositories
    source: String,
    /// Where to; by default a folder with the repository's name
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Only the contents of files that match, such as *.safetensors or models/; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Not the contents of files that match; they are fetched when they are first needed
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Only the newest N commits of every branch and tag
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    /// Without files of its own
    #[arg(long)]
    bare: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let source = match place(context, None, &self.source)? {
            Place::Peer(source) => source,
            Place::Folder(folder) => return self.copy(context, &folder),
        };
        let selection = match (self.include.as_slice(), self.exclude.as_slice()) {
            ([], []) => None,
            (include, exclude) => Some(Selection::new(include.to_vec(), exclude.to_vec())?),
        };
        let peers = Peers::asking(context)?;
        let remote = peers.remote(&source)?;
        let (id, peer, route) = (remote.id, remote.peer(), route(&remote));
        let repository = self.begin(context, &remote.name, remote.id)?;
        // Also when there is none: an interrupted clone may have had one.
        repository.select(selection.as_ref())?;
        let origin = fai_network::Source {
            peer: Some(remote.peer()),
            addresses: remote.connection().and_others(&source.addresses),
            repository: fai_network::source::by_id(&remote.id),
        };
        let report = self.fetch(context, &peers, &repository, remote, &origin)?;
        done(context, &report, "Downloaded", OVER_THE_WIRE)?;
        let absent = repository.absent_paths()?.len();
        if absent > 0 {
            context.out.say(Symbol::Item, not_here(absent))?;
        }
        let own = [
            ("directory", json!(repository.directory())),
            ("repository", id.to_string().into()),
            ("peer_id", peer.to_string().into()),
            route,
            ("absent", absent.into()),
            ("shallow", repository.is_shallow()?.into()),
        ];
        context.out.document(&transferred(own, &report))
    }

    /// Clones from a folder on this machine.
    fn copy(&self, context: &Context, path: &Path) -> Result<()> {
        if self.depth.is_some() || !self.include.is_empty() || !self.exclude.is_empty() {
            let error = Error::Usage("a clone of a folder has everything that is there".into());
            return Err(Hinted::new(error, "`fai serve` in that folder lets a part be cloned").into());
        }
        let source = Folder::open(path)?;
        let id = source.repository.id()?;
        let repository = self.begin(context, &source.name(), id)?;
        let refs = source.refs()?;
        let wants: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
        let (head, bar) = (source.head()?, Bar::new(context.out, "Copying"));
        let current = current(&refs, head.as_deref());
        let (quarantine, report) = fetch_from(&source.repository, &repository, &wants, current, &bar)?;
        drop(bar);
        self.take_over(context, &repository, quarantine, &refs, head)?;
        match source.path.to_str() {
            Some(origin) => {
                Config::change(&repository.config_path(), "remote.origin.source", Some(origin))?;
                self.follow(context, &repository, &refs)?;
            }
            None => context
                .out
                .warn("the folder's name is no UTF-8: it is not remembered as origin"),
        }
        done(context, &report, "Copied", FROM_A_FOLDER)?;
        let own = [
            ("directory", json!(repository.directory())),
            ("repository", id.to_string().into()),
            ("folder", json!(source.path)),
        ];
        context.out.document(&transferred(own, &report))
    }

    /// Makes the repository to clone into, or opens the one that an interrupted clone left.
    fn begin(&self, context: &Context, name: &str, id: RepositoryId) -> Result<Repository> {
        let folder = context
            .folder
            .join(self.folder.clone().unwrap_or_else(|| folder_name(name)));
        let fresh = claim(&folder)?;
        context.out.say(Symbol::Inbox, "Cloning repository...")?;
        let options = InitOptions {
            bare: self.bare,
            id: Some(id),
        };
        let (repository, _) = Repository::init(&folder, options)?;
        let repository = match context.threads() {
            Some(threads) => repository.with_threads(threads),
            None => repository,
        };
        if !fresh && repository.id()? != id {
            bail!("{} is another repository already", folder.display());
        }
        Ok(repository)
    }

    fn fetch(
        &self,
        context: &Context,
        peers: &Peers,
        repository: &Repository,
        mut remote: Remote,
        origin: &fai_network::Source,
    ) -> Result<FetchReport> {
        let refs = peers.runtime.block_on(remote.refs())?;
        let wants: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
        let head = remote.head.clone();
        let bar = Bar::new(context.out, "Receiving");
        let remotes = peers.with_companions(remote);
        let mut transfer = peers.transfer(repository, remotes, &bar);
        transfer.worktree = current(&refs, head.as_deref());
        let depth = self.depth.map(|commits| Depth {
            commits,
            connect: false,
        });
        let (quarantine, report) = match depth {
            None => transfer.commits(&wants)?,
            Some(depth) => transfer.depth(&wants, depth)?,
        };
        drop(bar);
        self.take_over(context, repository, quarantine, &refs, head)?;
        if let Some(ticket) = origin.to_ticket() {
            Config::change(&repository.config_path(), "remote.origin.source", Some(&ticket))?;
            self.follow(context, repository, &refs)?;
        }
        Ok(report)
    }

    /// Makes what was received part of the repository, with the refs and the current branch of the other one.
    fn take_over(
        &self,
        context: &Context,
        repository: &Repository,
        quarantine: Quarantine,
        refs: &[(String, CommitId)],
        head: Option<String>,
    ) -> Result<()> {
        let known = repository.refs()?;
        let before = |name: &str| known.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit);
        let moves: Vec<RefMove> = refs
            .iter()
            .map(|(name, commit)| RefMove {
                before: before(name),
                name: name.clone(),
                after: Some(*commit),
            })
            .collect();
        let command = format!("clone: {}", self.source);
        let branch = head.filter(|head| moves.iter().any(|moved| moved.name == *head));
        if let Some(branch) = branch {
            repository.point_head_at(&branch)?;
        }
        repository.accept(
            quarantine,
            &moves,
            context.now()?,
            &command,
            &Bar::new(context.out, "Writing"),
        )?;
        Ok(())
    }
}

impl Args {
    /// Takes note of where the branches were, and lets those here follow them. Nobody works in a bare clone.
    fn follow(&self, context: &Context, repository: &Repository, refs: &[(String, CommitId)]) -> Result<()> {
        if self.bare {
            return Ok(());
        }
        repository.remember_remote(DEFAULT_REMOTE, refs, context.now()?)?;
        for (theirs, _) in refs {
            if let Some(branch) = theirs.strip_prefix("refs/heads/") {
                let upstream = Upstream {
                    remote: DEFAULT_REMOTE.to_owned(),
                    theirs: theirs.clone(),
                };
                repository.follow(branch, Some(&upstream))?;
            }
        }
        Ok(())
    }
}

/// The commit that the current branch stands on.
fn current(refs: &[(String, CommitId)], head: Option<&str>) -> Option<CommitId> {
    let (_, commit) = refs.iter().find(|(name, _)| Some(name.as_str()) == head)?;
    Some(*commit)
}

fn done(context: &Context, report: &FetchReport, verb: &str, how: &str) -> Result<()> {
    let out = &context.out;
    out.say(Symbol::Done, format!("{verb} {} commits", report.commits))?;
    let files = format!("{verb} {} files ({})", report.files, size(report.bytes));
    out.say(Symbol::Done, files)?;
    out.say(Symbol::Item, traffic(report, how))?;
    out.say(Symbol::Done, "Clone complete!")
}

/// Makes sure that `folder` is new or empty, or a clone that was interrupted. True when nothing is there.
fn claim(folder: &Path) -> Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut listing) => match listing.next() {
            None => Ok(true),
            Some(_)
                if Repository::open(folder)
                    .is_ok_and(|repository| repository.refs().is_ok_and(|refs| refs.is_empty())) =>
            {
                Ok(false)
            }
            Some(_) => bail!("{} is not empty", folder.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", folder.display())),
    }
}

/// The peer's name for the repository, if it can name a folder here.
fn folder_name(name: &str) -> PathBuf {
    match fai_core::object::check_name(name) {
        Ok(()) => PathBuf::from(name),
        Err(_) => PathBuf::from("repository"),
    }
}
