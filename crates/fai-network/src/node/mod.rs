//! A running peer: handles to the one task that dials, listens, finds peers on the local network and beyond, and hands
//! streams over. It moves no data and touches no disk.

mod address;
mod anchors;
mod causes;
mod directory;
mod guard;
mod limits;
mod lookups;
mod ports;
mod reach;
pub mod streams;
mod swarm;
mod task;
mod tls;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fai_core::repo::RepositoryId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, watch};

use crate::wire::{RECORDS, SYNC};
use crate::{Error, Identity};
use streams::{Incoming, Opener};
use task::{Command, Task, Told};

/// How to take part in the network.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Addresses to listen on; none for a peer that only asks.
    pub listen: Vec<Multiaddr>,
    /// Find peers on the local network, and be found by them.
    pub local_discovery: bool,
    /// Peers through which others are found, and reached, beyond the local network: addresses that end with their ids.
    /// Without them, and without `relay`, a peer takes no part in what is beyond.
    pub bootstrap: Vec<Multiaddr>,
    /// Be such a peer for others: carry their connections, keep the directory, tell them whether they can be reached.
    pub relay: bool,
}

impl NodeOptions {
    /// True for a peer that only asks.
    fn asks(&self) -> bool {
        self.listen.is_empty()
    }
}

/// A connection to a peer.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The peer at the other end, whose key was checked.
    pub peer: PeerId,
    /// Names the connection here.
    pub id: ConnectionId,
    /// Where it leads, without the peer's id at the end.
    pub address: Multiaddr,
}

impl Connection {
    /// The relay that carries it; `None` when it is direct.
    pub fn relay(&self) -> Option<PeerId> {
        address::through(&self.address).map(|through| through.relay)
    }

    /// Where it leads, and then the `others` that are known.
    pub fn and_others(&self, others: &[Multiaddr]) -> Vec<Multiaddr> {
        let others = others.iter().filter(|other| **other != self.address);
        std::iter::once(&self.address).chain(others).cloned().collect()
    }
}

/// What is known of a peer on the local network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it listens.
    pub addresses: BTreeSet<Multiaddr>,
    /// How long an answer took, in milliseconds, when it was asked last.
    pub round_trip: Option<u64>,
}

/// A running peer. Ends with its last handle.
#[derive(Debug, Clone)]
pub struct Node {
    peer: PeerId,
    beyond: bool,
    commands: mpsc::Sender<Command>,
    sync: Opener,
    records: Opener,
    addresses: watch::Receiver<BTreeSet<Multiaddr>>,
    confirmed: watch::Receiver<BTreeSet<Multiaddr>>,
    neighbours: watch::Receiver<BTreeMap<PeerId, Neighbour>>,
}

/// The streams that other peers open.
#[derive(Debug)]
pub struct IncomingStreams {
    /// Of [`SYNC`].
    pub sync: Incoming,
    /// Of [`RECORDS`].
    pub records: Incoming,
}

impl Node {
    /// Starts a peer on the current tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on, or there is no network at all.
    pub fn start(identity: &Identity, mut options: NodeOptions) -> Result<(Self, IncomingStreams), Error> {
        let peer = identity.peer();
        // Where settings are shared, one of the bootstrap peers reads that it is one.
        options
            .bootstrap
            .retain(|address| address::split_peer(address).is_some_and(|(named, _)| named != peer));
        let (sync, sync_opener, sync_incoming) = streams::Behaviour::new(SYNC);
        let (records, records_opener, records_incoming) = streams::Behaviour::new(RECORDS);
        if let Some(taken) = options.listen.iter().find(|address| ports::is_taken(address)) {
            return Err(Error::Listen {
                address: taken.to_string(),
                reason: "another process listens there".into(),
            });
        }
        let mut swarm = swarm::swarm(identity, &options, sync, records)?;
        for address in &options.listen {
            let listened = swarm.listen_on(address.clone());
            listened.map_err(|error| Error::Listen {
                address: address.to_string(),
                reason: causes::of_transport(&error),
            })?;
        }
        let (commands, received) = mpsc::channel(16);
        let (addresses_sender, addresses) = watch::channel(BTreeSet::new());
        let (confirmed_sender, confirmed) = watch::channel(BTreeSet::new());
        let (neighbours_sender, neighbours) = watch::channel(BTreeMap::new());
        let beyond = !options.bootstrap.is_empty() || options.relay;
        let told = Told {
            addresses: addresses_sender,
            confirmed: confirmed_sender,
            neighbours: neighbours_sender,
        };
        tokio::spawn(Task::new(swarm, &options, received, told).run());
        let node = Self {
            peer,
            beyond,
            commands,
            sync: sync_opener,
            records: records_opener,
            addresses,
            confirmed,
            neighbours,
        };
        let incoming = IncomingStreams {
            sync: sync_incoming,
            records: records_incoming,
        };
        Ok((node, incoming))
    }

    /// This peer's id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where this peer listens, as it changes. Addresses that lead through a relay are among them.
    pub fn addresses(&self) -> watch::Receiver<BTreeSet<Multiaddr>> {
        self.addresses.clone()
    }

    /// Where a bootstrap peer has found that others reach this peer without a relay, as it changes.
    pub fn confirmed(&self) -> watch::Receiver<BTreeSet<Multiaddr>> {
        self.confirmed.clone()
    }

    /// The peers on the local network, as they come and go.
    pub fn neighbours(&self) -> watch::Receiver<BTreeMap<PeerId, Neighbour>> {
        self.neighbours.clone()
    }

    /// Announces in the directory, from now on, that this peer serves `repositories`, and where it is. What was announced
    /// before and is not among them is not announced again. Without a directory nothing is announced.
    pub async fn announce(&self, repositories: &[RepositoryId]) {
        if self.beyond {
            let keys = repositories.iter().take(directory::MAX_ANNOUNCED);
            let mut keys: HashSet<_> = keys.map(directory::repository_key).collect();
            keys.insert(directory::peer_key(&self.peer));
            // A task that has ended announces nothing.
            let _ = self.commands.send(Command::Announce(keys)).await;
        }
    }

    /// Opens a stream of the sync protocol.
    ///
    /// # Errors
    /// When the connection is gone or the peer does not speak it.
    pub async fn open_sync(&self, connection: &Connection) -> std::io::Result<libp2p::Stream> {
        self.sync.open(connection.peer, connection.id).await
    }

    /// Opens a stream of the records protocol.
    ///
    /// # Errors
    /// When the connection is gone or the peer does not speak it.
    pub async fn open_records(&self, peer: PeerId, connection: ConnectionId) -> std::io::Result<libp2p::Stream> {
        self.records.open(peer, connection).await
    }
}
