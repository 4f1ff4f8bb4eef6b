//! The task that owns the swarm: what the handles ask for, and what happens on the network.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::kad::RecordKey;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, mdns, ping, relay};
use tokio::sync::{mpsc, oneshot, watch};

use super::address::{bare, is_relayed, through, worth_dialling};
use super::anchors::{Anchors, Step};
use super::lookups::{Lookups, Peers};
use super::swarm::{Behaviour, BehaviourEvent};
use super::{Connection, Neighbour, NodeOptions, causes, directory, limits};
use crate::Error;

/// Attempts to make a relayed connection direct, after which it stays as it is.
const UPGRADES: u8 = 3;

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    /// Make a connection.
    Dial(Box<DialOpts>, oneshot::Sender<Result<Connection, Error>>),
    /// End one.
    Close(ConnectionId),
    /// Listen somewhere unless that is done already; says whether that was new.
    Listen(oneshot::Sender<bool>),
    /// Say when that peer is connected and has introduced itself.
    Meet(PeerId, oneshot::Sender<()>),
    /// Say when there is a direct connection to that peer; nothing is said when there will be none.
    Direct(PeerId, oneshot::Sender<Connection>),
    /// Ask the directory, until that peer is found if one is given.
    LookUp(RecordKey, Option<PeerId>, oneshot::Sender<Result<Peers, Error>>),
    /// Announce this in the directory, and nothing else.
    Announce(HashSet<RecordKey>),
}

/// What the handles are told as it changes.
pub(super) struct Told {
    pub addresses: watch::Sender<BTreeSet<Multiaddr>>,
    pub confirmed: watch::Sender<BTreeSet<Multiaddr>>,
    pub neighbours: watch::Sender<BTreeMap<PeerId, Neighbour>>,
}

/// The task that owns the swarm.
pub(super) struct Task {
    pub swarm: Swarm<Behaviour>,
    pub anchors: Anchors,
    pub lookups: Lookups,
    commands: mpsc::Receiver<Command>,
    dials: HashMap<ConnectionId, oneshot::Sender<Result<Connection, Error>>>,
    told: Told,
    /// Connections that no relay carries.
    direct: HashMap<PeerId, Vec<Connection>>,
    introduced: HashSet<PeerId>,
    to_meet: Vec<(PeerId, oneshot::Sender<()>)>,
    upgrades: HashMap<PeerId, (u8, Vec<oneshot::Sender<Connection>>)>,
    /// This peer is there for others, and these may be told where it listens, though that be this machine alone.
    relay: Option<bool>,
}

impl Task {
    pub fn new(swarm: Swarm<Behaviour>, options: &NodeOptions, commands: mpsc::Receiver<Command>, told: Told) -> Self {
        let serves = !options.asks();
        let everywhere = options.listen.iter().any(|address| match address.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.is_unspecified(),
            Some(Protocol::Ip6(ip)) => ip.is_unspecified(),
            _ => false,
        });
        Self {
            swarm,
            anchors: Anchors::new(&options.bootstrap, serves, serves && !options.relay, Instant::now()),
            lookups: Lookups::default(),
            commands,
            dials: HashMap::new(),
            told,
            direct: HashMap::new(),
            introduced: HashSet::new(),
            to_meet: Vec::new(),
            upgrades: HashMap::new(),
            relay: options.relay.then_some(!everywhere),
        }
    }

    pub async fn run(mut self) {
        loop {
            let next = [self.anchors.next(), self.lookups.next()].into_iter().flatten().min();
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = until(next) => self.do_what_is_due(),
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        self.announce_what_is_due(now);
        for step in self.anchors.steps(now) {
            match step {
                Step::Dial(peer, addresses) => {
                    let options = DialOpts::peer_id(peer)
                        .condition(PeerCondition::Always)
                        .addresses(addresses)
                        .build();
                    let id = options.connection_id();
                    self.anchors.dialling(peer, id);
                    self.swarm.behaviour_mut().guard.pass(id);
                    if let Err(error) = self.swarm.dial(options) {
                        self.not_dialled(id, Some(peer), &error);
                    }
                }
                Step::Reserve(peer, address) => {
                    let place = address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
                    match self.swarm.listen_on(place) {
                        Ok(listener) => self.anchors.asked(peer, listener),
                        Err(error) => {
                            tracing::debug!(%peer, reason = causes::of_transport(&error), "no place");
                            self.anchors.refused(peer, now);
                        }
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Dial(options, reply) => self.dial(*options, reply),
            Command::Close(id) => drop(self.swarm.close_connection(id)),
            Command::Listen(reply) => {
                let _ = reply.send(self.listen_for_upgrades());
            }
            Command::Meet(peer, reply) => match self.introduced.contains(&peer) {
                true => drop(reply.send(())),
                false => self.to_meet.push((peer, reply)),
            },
            Command::Direct(peer, reply) => match self.direct.get(&peer).and_then(|all| all.first()) {
                Some(connection) => drop(reply.send(connection.clone())),
                None => self.upgrades.entry(peer).or_default().1.push(reply),
            },
            Command::LookUp(key, wanted, reply) => self.look_up(key, wanted, reply),
            Command::Announce(keys) => self.announce(keys),
        }
    }

    fn dial(&mut self, options: DialOpts, reply: oneshot::Sender<Result<Connection, Error>>) {
        let (id, peer) = (options.connection_id(), options.get_peer_id());
        self.swarm.behaviour_mut().guard.pass(id);
        let Err(error) = self.swarm.dial(options) else {
            self.dials.insert(id, reply);
            return;
        };
        let known = peer.and_then(|peer| self.direct.get(&peer)?.first());
        let _ = reply.send(match (&error, known) {
            (DialError::DialPeerConditionFalse(_), Some(connection)) => Ok(connection.clone()),
            _ => Err(unreachable(peer, &error)),
        });
    }

    /// Listens on any port if nothing is listened on. True if that was new.
    fn listen_for_upgrades(&mut self) -> bool {
        if self.swarm.listeners().next().is_some() {
            return false;
        }
        let everywhere = [
            "/ip4/0.0.0.0/tcp/0",
            "/ip4/0.0.0.0/udp/0/quic-v1",
            "/ip6/::/tcp/0",
            "/ip6/::/udp/0/quic-v1",
        ];
        // Where this fails, connections stay relayed.
        let listened = everywhere.iter().filter_map(|address| address.parse().ok());
        listened
            .filter(|address: &Multiaddr| self.swarm.listen_on(address.clone()).is_ok())
            .count()
            > 0
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => self.listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.not_listening(address),
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                if let Some(relay) = self.anchors.unseated(listener_id, Instant::now()) {
                    tracing::info!(%relay, ?reason, "the place at the relay is gone");
                }
                addresses.into_iter().for_each(|address| self.not_listening(address));
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                if !is_relayed(&address) {
                    self.told.confirmed.send_if_modified(|all| all.insert(address.clone()));
                    if let Some(directory) = self.swarm.behaviour_mut().directory.as_mut() {
                        directory.answer();
                    }
                }
                self.told.addresses.send_if_modified(|all| all.insert(bare(address)));
                self.announce_soon();
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                self.told.confirmed.send_if_modified(|all| all.remove(&address));
                self.told.addresses.send_if_modified(|all| all.remove(&bare(address)));
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.connected(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                ..
            } => {
                if num_established == 0 {
                    self.introduced.remove(&peer_id);
                }
                if let Some(connections) = self.direct.get_mut(&peer_id) {
                    connections.retain(|connection| connection.id != connection_id);
                    if connections.is_empty() {
                        self.direct.remove(&peer_id);
                    }
                }
                self.anchors.down(connection_id, Instant::now());
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
                ..
            } => self.not_dialled(connection_id, peer_id, &error),
            SwarmEvent::Behaviour(event) => self.behaved(event),
            _ => {}
        }
    }

    fn listening(&mut self, listener: ListenerId, address: Multiaddr) {
        if is_relayed(&address) {
            // The relay says where it can be reached. It may speak only of itself, and not without end.
            let relay = self.anchors.seat_of(listener);
            let known = self
                .told
                .addresses
                .borrow()
                .iter()
                .filter(|known| is_relayed(known))
                .count();
            let is_its_own = relay.is_some() && through(&address).map(|way| way.relay) == relay;
            // A second way to the same place only makes tickets longer.
            let over_tcp = address.iter().any(|part| matches!(part, Protocol::Tcp(_)));
            if known >= 2 * directory::MAX_ADDRESSES || !is_its_own || !over_tcp {
                return;
            }
            self.swarm.add_external_address(address.clone());
            self.announce_soon();
        } else if let Some(anywhere) = self.relay
            && (anywhere || worth_dialling(&address))
        {
            self.swarm.add_external_address(address.clone());
        }
        self.told.addresses.send_if_modified(|all| all.insert(bare(address)));
    }

    fn not_listening(&mut self, address: Multiaddr) {
        self.swarm.remove_external_address(&address);
        self.told.addresses.send_if_modified(|all| all.remove(&bare(address)));
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let connection = Connection {
            peer,
            id,
            address: bare(endpoint.get_remote_address().clone()),
        };
        if !endpoint.is_relayed() {
            self.direct.entry(peer).or_default().push(connection.clone());
            if let Some((_, waiting)) = self.upgrades.remove(&peer) {
                waiting
                    .into_iter()
                    .for_each(|reply| drop(reply.send(connection.clone())));
            }
            let dialled = endpoint.is_dialer().then(|| connection.address.clone());
            if self.anchors.up(peer, id, dialled.clone(), Instant::now()) {
                if let Some(directory) = self.swarm.behaviour_mut().directory.as_mut() {
                    directory.add(peer, dialled);
                }
                self.ask_what_waits();
                self.announce_soon();
            }
        }
        if let Some(reply) = self.dials.remove(&id)
            && reply.send(Ok(connection)).is_err()
        {
            // Whoever wanted it has another one by now.
            self.swarm.close_connection(id);
        }
    }

    fn not_dialled(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        if let Some(reply) = self.dials.remove(&id) {
            let _ = reply.send(Err(unreachable(peer, error)));
            return;
        }
        if self.anchors.failed(id, Instant::now()) {
            let reason = causes::of_dial(error);
            tracing::info!(?peer, reason, "a bootstrap peer cannot be reached");
            if !self.anchors.any_hope() {
                self.give_up_what_waits(&reason);
            }
            return;
        }
        // Nobody else dials that peer: this was an attempt at a direct connection.
        if let Some(peer) = peer
            && let Some((failures, _)) = self.upgrades.get_mut(&peer)
        {
            *failures += 1;
            if *failures >= UPGRADES {
                self.upgrades.remove(&peer);
            }
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::MdnsV4(event) | BehaviourEvent::MdnsV6(event) => self.discovery(event),
            BehaviourEvent::Ping(ping::Event {
                peer,
                result: Ok(round_trip),
                ..
            }) => {
                let milliseconds = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
                self.told.neighbours.send_if_modified(|all| match all.get_mut(&peer) {
                    Some(neighbour) => {
                        neighbour.round_trip = Some(milliseconds);
                        true
                    }
                    None => false,
                });
            }
            // A bootstrap peer that vanished without a word would be believed to be there for hours.
            BehaviourEvent::Ping(ping::Event { peer, connection, .. })
                if self.anchors.connection(&peer) == Some(connection) =>
            {
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.introduced.insert(peer_id);
                self.to_meet.retain(|(_, reply)| !reply.is_closed());
                for (_, reply) in self.to_meet.extract_if(.., |(peer, _)| *peer == peer_id) {
                    let _ = reply.send(());
                }
                if let Some(directory) = self.swarm.behaviour_mut().directory.as_mut()
                    && info.protocols.contains(&directory::PROTOCOL)
                {
                    let addresses = directory.cut(info.listen_addrs);
                    directory.add(peer_id, addresses);
                }
            }
            BehaviourEvent::Through(relay::client::Event::ReservationReqAccepted {
                relay_peer_id, renewal, ..
            }) => {
                tracing::info!(relay = %relay_peer_id, renewal, "a place at the relay");
                self.anchors.seated(&relay_peer_id);
            }
            BehaviourEvent::Upgrade(event) => {
                tracing::debug!(peer = %event.remote_peer_id, result = ?event.result, "direct connection");
                if event.result.is_err() {
                    self.upgrades.remove(&event.remote_peer_id);
                }
            }
            BehaviourEvent::Directory(event) => self.directory_event(event),
            BehaviourEvent::Reachable(event) => {
                tracing::debug!(address = %event.tested_addr, result = ?event.result, "reachable");
            }
            BehaviourEvent::Relay(event) => tracing::debug!(?event, "relay"),
            _ => {}
        }
    }

    fn discovery(&mut self, event: mdns::Event) {
        self.told.neighbours.send_modify(|all| match event {
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

/// Ends at that time, or never.
async fn until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next.into()).await,
        None => std::future::pending().await,
    }
}

/// False for link-local addresses, which mean nothing without the interface they belong to.
fn can_be_dialled(address: &Multiaddr) -> bool {
    !address.iter().any(|part| match part {
        Protocol::Ip6(ip) => ip.is_unicast_link_local(),
        _ => false,
    })
}

fn unreachable(peer: Option<PeerId>, error: &DialError) -> Error {
    Error::Unreachable {
        peer: peer.map_or_else(|| "the peer".to_owned(), |peer| peer.to_string()),
        reason: causes::of_dial(error),
    }
}
