//! `fai clone`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fai_core::Repository;
use fai_core::object::CommitId;
use fai_core::repo::{Config, InitOptions, RefMove, Selection};
use fai_network::fetch::{Depth, FetchReport, Remote, fetch, fetch_depth};
use serde_json::json;

use crate::context::Context;
use crate::peers::{Peers, Place, place, transferred};
use crate::ui::format::size;
use crate::ui::{Bar, Symbol};

/// Copy a repository from a peer, with its whole history
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai clone 12D3KooWM9ek9...\n  fai clone /ip4/192.168.1.9/tcp/4001/llama models\n  \
    fai clone fai1...            (a ticket that `fai serve` prints)"
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
        let Place::Peer(source) = place(context, None, &self.source)? else {
            bail!("cloning from a folder does not work yet: serve it with `fai serve`");
        };
        let selection = match (self.include.as_slice(), self.exclude.as_slice()) {
            ([], []) => None,
            (include, exclude) => Some(Selection::new(include.to_vec(), exclude.to_vec())?),
        };
        let peers = Peers::asking(context)?;
        let remote = peers.remote(&source)?;
        let (id, peer) = (remote.id, remote.peer());
        let folder = context
            .folder
            .join(self.folder.clone().unwrap_or_else(|| folder_name(&remote.name)));
        let fresh = claim(&folder)?;
        context.out.say(Symbol::Inbox, "Cloning repository...")?;
        let (repository, _) = Repository::init(
            &folder,
            InitOptions {
                bare: self.bare,
                id: Some(remote.id),
            },
        )?;
        let repository = match context.threads() {
            Some(threads) => repository.with_threads(threads),
            None => repository,
        };
        if !fresh && repository.id()? != remote.id {
            bail!("{} is another repository already", folder.display());
        }
        // Also when there is none: an interrupted clone may have had one.
        repository.select(selection.as_ref())?;
        let origin = fai_network::Source {
            peer: Some(remote.peer()),
            addresses: vec![remote.connection().address.clone()],
            repository: fai_network::source::by_id(&remote.id),
        };
        let report = self.fetch(context, &peers, &repository, remote, &origin)?;
        context
            .out
            .say(Symbol::Done, format!("Downloaded {} commits", report.commits))?;
        let files = format!("Downloaded {} files ({})", report.files, size(report.bytes));
        context.out.say(Symbol::Done, files)?;
        let absent = repository.absent_paths()?.len();
        if absent > 0 {
            let line = format!("{absent} files are not here (fai checkout PATH brings them)");
            context.out.say(Symbol::Item, line)?;
        }
        context.out.say(Symbol::Done, "Clone complete!")?;
        let own = [
            ("directory", json!(repository.directory())),
            ("repository", id.to_string().into()),
            ("peer_id", peer.to_string().into()),
            ("absent", absent.into()),
            ("shallow", repository.is_shallow()?.into()),
        ];
        context.out.document(&transferred(own, &report))
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
        let runtime = peers.runtime.handle();
        let (quarantine, report) = match self.depth {
            None => fetch(runtime, &peers.node, repository, remotes, &wants, &bar)?,
            Some(commits) => {
                let depth = Depth {
                    commits,
                    connect: false,
                };
                fetch_depth(runtime, &peers.node, repository, remotes, (&wants, depth), &bar)?
            }
        };
        drop(bar);
        let known = repository.refs()?;
        let before = |name: &str| known.iter().find(|(known, _)| known == name).map(|(_, commit)| *commit);
        let moves: Vec<RefMove> = refs
            .into_iter()
            .map(|(name, commit)| RefMove {
                before: before(&name),
                name,
                after: Some(commit),
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
        if let Some(ticket) = origin.to_ticket() {
            Config::change(&repository.config_path(), "remote.origin.source", Some(&ticket))?;
        }
        Ok(report)
    }
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
