//! Reaching peers for the length of one command: identity, runtime, swarm, and finding whom the user means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fai_core::Repository;
use fai_core::repo::{Config, Progress};
use fai_network::fetch::{FetchReport, Remote, Transfer, companions};
use fai_network::serve::{Permission, Permit};
use fai_network::{
    Connection, Error, Identity, IncomingStreams, Multiaddr, Node, NodeOptions, PeerId, Protocol, Source,
};
use futures::future::{Either, select, select_ok};
use serde_json::Value;

use crate::context::{Context, now};
use crate::known::{self, Met, Served};
use crate::ui::Output;

/// The name under which a clone remembers where it came from.
pub const DEFAULT_REMOTE: &str = "origin";

/// How long the local network is searched for a peer.
const SEARCH: Duration = Duration::from_secs(10);

/// The same for one that is not where it should be.
const SHORT_SEARCH: Duration = Duration::from_secs(3);

/// Addresses of a peer that was met before which are tried at the same time.
const KNOWN_ADDRESSES: usize = 4;

/// How long a neighbour may take to be met before what the directory says is used.
const NEAR: Duration = Duration::from_secs(2);

/// A peer that runs as long as one command.
pub struct Peers {
    /// Where the network runs.
    pub runtime: tokio::runtime::Runtime,
    /// This peer.
    pub node: Node,
    out: Output,
    /// The user's own folder, where peers are remembered.
    home: PathBuf,
}

/// What the user names: a peer, or a repository on this machine.
#[derive(Debug)]
pub enum Place {
    /// A peer somewhere.
    Peer(Source),
    /// A folder here.
    Folder(PathBuf),
}

impl Peers {
    /// Starts a peer that asks and does not listen.
    pub fn asking(context: &Context) -> Result<Self> {
        Ok(Self::answering(context)?.0)
    }

    /// The same, with the streams that a peer opens over a connection from here.
    pub fn answering(context: &Context) -> Result<(Self, IncomingStreams)> {
        let home = context.home()?;
        let identity = Identity::load_or_create(&home)?;
        let runtime = runtime()?;
        let options = NodeOptions {
            local_discovery: true,
            bootstrap: context.bootstrap()?,
            ..NodeOptions::default()
        };
        let (node, incoming) = {
            let _entered = runtime.enter();
            Node::start(&identity, options)?
        };
        let out = context.out;
        Ok((
            Self {
                runtime,
                node,
                out,
                home,
            },
            incoming,
        ))
    }

    /// Connects to whoever `source` names, and begins to talk about the repository it names.
    pub fn remote(&self, source: &Source) -> Result<Remote> {
        let remote = self.runtime.block_on(async {
            let connection = self.connect(source).await?;
            Remote::open(&self.node, connection, source.repository.clone()).await
        })?;
        self.remember(&remote);
        if let Some(relay) = remote.connection().relay() {
            // Standard output may be a file's bytes.
            self.out.aside(format!("Relayed through {relay}"));
        }
        Ok(remote)
    }

    /// A transfer into `repository`.
    pub fn transfer<'a>(
        &'a self,
        repository: &'a Repository,
        remotes: Vec<Remote>,
        progress: &'a dyn Progress,
    ) -> Transfer<'a> {
        Transfer {
            runtime: self.runtime.handle(),
            node: &self.node,
            repository,
            remotes,
            worktree: None,
            progress,
        }
    }

    /// `remote`, and whoever else nearby serves a copy of its repository.
    pub fn with_companions(&self, remote: Remote) -> Vec<Remote> {
        let more = self.runtime.block_on(companions(&self.node, &remote));
        std::iter::once(remote).chain(more).collect()
    }

    async fn connect(&self, source: &Source) -> Result<Connection, Error> {
        let Some(peer) = source.peer else {
            return self.node.dial(None, source.addresses.clone()).await;
        };
        if source.addresses.is_empty() {
            return self.find(peer, SEARCH).await;
        }
        match self.node.dial(Some(peer), source.addresses.clone()).await {
            // Addresses change: it may be elsewhere by now.
            Err(error @ Error::Unreachable { .. }) => self.find(peer, SHORT_SEARCH).await.map_err(|_| error),
            other => other,
        }
    }

    /// Connects to a peer where it was met before, or where it is found on the local network: whichever answers first.
    async fn find(&self, peer: PeerId, patience: Duration) -> Result<Connection, Error> {
        let nearby = async {
            let addresses = self.search(peer, patience).await?;
            self.node.dial(Some(peer), addresses).await
        };
        let before = known::addresses(&self.home, &peer);
        let dials = before.into_iter().take(KNOWN_ADDRESSES);
        let dials: Vec<_> = dials
            .map(|address| Box::pin(self.node.dial(Some(peer), vec![address])))
            .collect();
        if dials.is_empty() {
            return nearby.await;
        }
        let nowhere = |_| Error::Unreachable {
            peer: peer.to_string(),
            reason: "it is neither found, on this network or beyond, nor where it was met before".into(),
        };
        let (before, nearby) = (std::pin::pin!(select_ok(dials)), std::pin::pin!(nearby));
        match select(before, nearby).await {
            Either::Left((Ok((connection, _)), _)) | Either::Right((Ok(connection), _)) => Ok(connection),
            Either::Left((Err(_), nearby)) => nearby.await.map_err(nowhere),
            Either::Right((Err(_), before)) => before.await.map(|(connection, _)| connection).map_err(nowhere),
        }
    }

    /// Takes note of a peer that was met, and of the repository that it serves.
    fn remember(&self, remote: &Remote) {
        let (peer, mut address) = (remote.peer(), remote.connection().address.clone());
        if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            address.pop();
        }
        let round_trip_ms = self
            .node
            .neighbours()
            .borrow()
            .get(&peer)
            .and_then(|known| known.round_trip);
        let met = Met {
            peer_id: peer.to_string(),
            addresses: vec![address.to_string()],
            repositories: vec![Served {
                name: remote.name.clone(),
                id: remote.id.to_string(),
            }],
            round_trip_ms,
            last_seen: now().map(|time| time.seconds).unwrap_or_default(),
        };
        known::remember(&self.home, vec![met]);
    }

    /// Looks for the peer on the local network, and in the directory if there is one. Neighbours come first: the way to
    /// them is the shortest.
    async fn search(&self, peer: PeerId, patience: Duration) -> Result<Vec<Multiaddr>, Error> {
        let near = async {
            let mut neighbours = self.node.neighbours();
            let met = neighbours.wait_for(|all| all.contains_key(&peer));
            match tokio::time::timeout(patience, met).await {
                Ok(Ok(all)) => all
                    .get(&peer)
                    .map(|neighbour| neighbour.addresses.iter().cloned().collect())
                    .unwrap_or_default(),
                _ => Vec::new(),
            }
        };
        let mut near = std::pin::pin!(near);
        // Who has just begun to serve may not have announced it yet, so that no answer is asked for again.
        let far = async {
            loop {
                let (found, ()) = tokio::join!(self.node.find(peer), tokio::time::sleep(NEAR));
                if !matches!(&found, Ok(found) if found.is_empty()) {
                    return found;
                }
            }
        };
        let (near, far) = tokio::select! {
            near = &mut near => (near, Ok(Vec::new())),
            far = far => match far {
                Ok(far) if !far.is_empty() => (Vec::new(), Ok(far)),
                other => (near.await, other),
            },
        };
        match (near.is_empty(), far) {
            (false, _) => Ok(near),
            (true, Ok(far)) if !far.is_empty() => Ok(far),
            (true, Ok(_)) => Err(Error::NotFound(peer)),
            (true, Err(error)) => Err(error),
        }
    }
}

/// How a transfer went, as scripts are told: directly, or through a relay.
pub fn route(remote: &Remote) -> (&'static str, Value) {
    let way = match remote.connection().relay() {
        Some(_) => "relayed",
        None => "direct",
    };
    ("route", way.into())
}

/// What scripts are told of a transfer: the command's `own` fields, and what it came to.
pub fn transferred(own: impl IntoIterator<Item = (&'static str, Value)>, report: &FetchReport) -> Value {
    let numbers = [
        ("commits", report.commits),
        ("files", report.files),
        ("bytes", report.bytes),
        ("wire_bytes", report.wire_bytes),
        ("chunks", report.chunks),
        ("chunks_reused", report.chunks_reused),
    ];
    let numbers = numbers.into_iter().map(|(name, number)| (name, number.into()));
    let all = numbers
        .chain([("seconds", report.time.as_secs_f64().into())])
        .chain(own);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A runtime for the network: as many threads as there are cores.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the network cannot be started")
}

/// What `text` names: a peer in any of its forms, a name that `repository` remembers, or a folder.
pub fn place(context: &Context, repository: Option<&Repository>, text: &str) -> Result<Place> {
    if let Some(source) = Source::parse(text)? {
        return Ok(Place::Peer(source));
    }
    if let Some(repository) = repository
        && let Some(known) = Config::read(&repository.config_path())?.get(&format!("remote.{text}.source"))
    {
        return match Source::parse(&known)? {
            Some(source) => Ok(Place::Peer(source)),
            None => Ok(Place::Folder(context.folder.join(known))),
        };
    }
    let folder = context.folder.join(text);
    if folder.is_dir() {
        return Ok(Place::Folder(folder));
    }
    Err(Error::BadSource {
        text: text.to_owned(),
        reason: "it is no ticket, no peer id, no address, no remembered name and no folder".into(),
    }
    .into())
}

/// Who may do what, as `.fai/config.toml` says at the moment: `access.read` and `access.write` for everybody,
/// `access.peers.ID` for single peers. `read` and `write` stand in for the first two.
pub fn permit(repository: &Repository, read: Option<String>, write: Option<String>) -> Permit {
    let path = repository.config_path();
    Arc::new(move |peer| {
        let Ok(config) = Config::read(&path) else {
            return Permission::None;
        };
        let read = read.clone().or_else(|| config.get("access.read"));
        let write = write.clone().or_else(|| config.get("access.write"));
        let own = config.get(&format!("access.peers.{peer}"));
        let listed = match own.as_deref() {
            Some("write") => Permission::Write,
            Some("read") => Permission::Read,
            _ => Permission::None,
        };
        let everybody = match (write.as_deref(), read.as_deref()) {
            (Some("all"), _) => Permission::Write,
            (_, None | Some("all")) => Permission::Read,
            _ => Permission::None,
        };
        match (write.as_deref(), listed.max(everybody)) {
            (Some("none"), Permission::Write) => Permission::Read,
            (_, permission) => permission,
        }
    })
}
