//! The swarm: one task that dials, listens, finds peers on the local network and hands streams over. It moves no data
//! and touches no disk.

mod causes;
mod limits;
mod ports;
pub mod streams;
mod tls;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, connection_limits, identify, mdns, noise, ping, tcp, yamux};
use tokio::sync::{mpsc, oneshot, watch};

use crate::wire::{RECORDS, SYNC};
use crate::{Error, Identity};
use streams::{Incoming, Opener};

/// How often peers on the local network are asked for.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// A connection without streams is closed after this.
const IDLE: Duration = Duration::from_secs(60);

/// Connections in all, and with one peer.
const MAX_CONNECTIONS: u32 = 256;
const MAX_PER_PEER: u32 = 8;

/// How to take part in the network.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Addresses to listen on; none for a peer that only asks.
    pub listen: Vec<Multiaddr>,
    /// Find peers on the local network, and be found by them.
    pub local_discovery: bool,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    // First, so that a refused connection is refused before anything knows of it.
    limits: connection_limits::Behaviour,
    hosts: limits::Hosts,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    // One for each version of IP: the option of the behaviour means instead, not too.
    mdns_v4: Toggle<mdns::tokio::Behaviour>,
    mdns_v6: Toggle<mdns::tokio::Behaviour>,
    sync: streams::Behaviour,
    records: streams::Behaviour,
}

/// A connection to a peer.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The peer at the other end, whose key was checked.
    pub peer: PeerId,
    /// Names the connection here.
    pub id: ConnectionId,
    /// Where it leads.
    pub address: Multiaddr,
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
    commands: mpsc::Sender<Command>,
    sync: Opener,
    records: Opener,
    addresses: watch::Receiver<BTreeSet<Multiaddr>>,
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

#[derive(Debug)]
enum Command {
    Dial(DialOpts, oneshot::Sender<Result<Connection, Error>>),
}

impl Node {
    /// Starts a peer on the current tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on, or there is no network at all.
    pub fn start(identity: &Identity, options: NodeOptions) -> Result<(Self, IncomingStreams), Error> {
        let peer = identity.peer();
        let (sync, sync_opener, sync_incoming) = streams::Behaviour::new(SYNC);
        let (records, records_opener, records_incoming) = streams::Behaviour::new(RECORDS);
        let mut swarm = swarm(identity, options.local_discovery, sync, records)?;
        if let Some(taken) = options.listen.iter().find(|address| ports::is_taken(address)) {
            return Err(Error::Listen {
                address: taken.to_string(),
                reason: "another process listens there".into(),
            });
        }
        for address in options.listen {
            let listened = swarm.listen_on(address.clone());
            listened.map_err(|error| Error::Listen {
                address: address.to_string(),
                reason: causes::of_transport(&error),
            })?;
        }
        let (commands, received) = mpsc::channel(16);
        let (addresses_sender, addresses) = watch::channel(BTreeSet::new());
        let (neighbours_sender, neighbours) = watch::channel(BTreeMap::new());
        let task = Task {
            swarm,
            commands: received,
            dials: HashMap::new(),
            addresses: addresses_sender,
            neighbours: neighbours_sender,
        };
        tokio::spawn(task.run());
        let node = Self {
            peer,
            commands,
            sync: sync_opener,
            records: records_opener,
            addresses,
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

    /// Where this peer listens, as it changes.
    pub fn addresses(&self) -> watch::Receiver<BTreeSet<Multiaddr>> {
        self.addresses.clone()
    }

    /// The peers on the local network, as they come and go.
    pub fn neighbours(&self) -> watch::Receiver<BTreeMap<PeerId, Neighbour>> {
        self.neighbours.clone()
    }

    /// Opens a connection to whoever answers at one of `addresses`, which must be `peer` if one is given. Another
    /// connection to the same peer is a new one.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the real cause.
    pub async fn dial(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Result<Connection, Error> {
        let mut reasons = Vec::new();
        // One by one: libp2p races them and gives up when the first to connect is another peer.
        for address in addresses {
            let options = match peer {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Always)
                    .addresses(vec![address])
                    .allocate_new_port()
                    .build(),
                None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
            };
            match self.dial_one(options).await {
                Ok(connection) => return Ok(connection),
                Err(Error::Unreachable { reason, .. }) => reasons.push(reason),
                Err(error) => return Err(error),
            }
        }
        reasons.dedup();
        Err(Error::Unreachable {
            peer: peer.map_or_else(|| "the peer".to_owned(), |peer| peer.to_string()),
            reason: match reasons.is_empty() {
                true => "no address of it is known".to_owned(),
                false => reasons.join("; "),
            },
        })
    }

    async fn dial_one(&self, options: DialOpts) -> Result<Connection, Error> {
        let stopped = || Error::Setup("the network task has ended".into());
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Dial(options, reply))
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
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

fn swarm(
    identity: &Identity,
    discovery: bool,
    sync: streams::Behaviour,
    records: streams::Behaviour,
) -> Result<Swarm<Behaviour>, Error> {
    let setup = |error: &dyn std::fmt::Display| Error::Setup(error.to_string());
    let peer = identity.peer();
    let mdns = |enable_ipv6| -> Result<Toggle<mdns::tokio::Behaviour>, std::io::Error> {
        let config = mdns::Config {
            ttl: 3 * ASK_EVERY,
            query_interval: ASK_EVERY,
            enable_ipv6,
        };
        Ok(discovery
            .then(|| mdns::tokio::Behaviour::new(config, peer))
            .transpose()?
            .into())
    };
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_PER_PEER));
    let builder = libp2p::SwarmBuilder::with_existing_identity(identity.keypair())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            (tls::Upgrade::new, noise::Config::new),
            yamux::Config::default,
        )
        .map_err(|error| setup(&error))?
        .with_quic()
        .with_dns()
        .map_err(|error| setup(&error))?;
    let (mdns_v4, mdns_v6) = (
        mdns(false).map_err(|error| setup(&error))?,
        // A machine without IPv6 is no reason to fail.
        mdns(true).unwrap_or_else(|_| None.into()),
    );
    let built = builder.with_behaviour(|key| Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        hosts: limits::Hosts::default(),
        identify: identify::Behaviour::new(
            identify::Config::new("/fai/1".into(), key.public())
                .with_agent_version(concat!("fai/", env!("CARGO_PKG_VERSION")).into()),
        ),
        ping: ping::Behaviour::default(),
        mdns_v4,
        mdns_v6,
        sync,
        records,
    });
    Ok(built
        .map_err(|error| setup(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build())
}

/// The task that owns the swarm.
struct Task {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    dials: HashMap<ConnectionId, oneshot::Sender<Result<Connection, Error>>>,
    addresses: watch::Sender<BTreeSet<Multiaddr>>,
    neighbours: watch::Sender<BTreeMap<PeerId, Neighbour>>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                command = self.commands.recv() => match command {
                    Some(Command::Dial(options, reply)) => self.dial(options, reply),
                    None => return,
                },
            }
        }
    }

    fn dial(&mut self, options: DialOpts, reply: oneshot::Sender<Result<Connection, Error>>) {
        let id = options.connection_id();
        let peer = options.get_peer_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dials.insert(id, reply)),
            Err(error) => {
                let _ = reply.send(Err(unreachable(peer, &error)));
            }
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.addresses.send_if_modified(|all| all.insert(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.addresses.send_if_modified(|all| all.remove(&address));
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Ok(Connection {
                        peer: peer_id,
                        id: connection_id,
                        address: endpoint.get_remote_address().clone(),
                    }));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
                ..
            } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(unreachable(peer_id, &error)));
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::MdnsV4(event) | BehaviourEvent::MdnsV6(event)) => {
                self.discovery(event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                result: Ok(round_trip),
                ..
            })) => {
                let milliseconds = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
                self.neighbours.send_if_modified(|all| match all.get_mut(&peer) {
                    Some(neighbour) => {
                        neighbour.round_trip = Some(milliseconds);
                        true
                    }
                    None => false,
                });
            }
            _ => {}
        }
    }

    fn discovery(&mut self, event: mdns::Event) {
        self.neighbours.send_modify(|all| match event {
            mdns::Event::Discovered(found) => {
                for (peer, address) in found.into_iter().filter(|(_, address)| can_be_dialled(address)) {
                    limits::meet(all, peer, address);
                }
            }
            mdns::Event::Expired(gone) => {
                for (peer, address) in gone {
                    if let Some(neighbour) = all.get_mut(&peer) {
                        neighbour.addresses.remove(&address);
                    }
                }
                all.retain(|_, neighbour| !neighbour.addresses.is_empty());
            }
        });
    }
}

/// False for link-local addresses, which mean nothing without the interface they belong to.
fn can_be_dialled(address: &Multiaddr) -> bool {
    !address.iter().any(|part| match part {
        libp2p::multiaddr::Protocol::Ip6(ip) => ip.is_unicast_link_local(),
        _ => false,
    })
}

fn unreachable(peer: Option<PeerId>, error: &libp2p::swarm::DialError) -> Error {
    Error::Unreachable {
        peer: peer.map_or_else(|| "the peer".to_owned(), |peer| peer.to_string()),
        reason: causes::of_dial(error),
    }
}
