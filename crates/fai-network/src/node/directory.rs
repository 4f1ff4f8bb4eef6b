//! The directory: Kademlia under a name of its own. Who serves a copy of a repository, and where a peer is.
//!
//! Keys are hashes of what they stand for, so that only those who know a repository's id, or a peer's, can look it up.
//! What strangers say is cut to size here, before anything dials it or keeps it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fai_core::repo::RepositoryId;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{self, ProviderRecord, RecordKey};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::address::{bare, through, worth_dialling};

/// The protocol.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/fai/kad/1");

/// How long an announcement holds.
const HOLDS: Duration = Duration::from_secs(2 * 60 * 60);

/// How often a peer announces again what it still serves.
const AGAIN: Duration = Duration::from_secs(30 * 60);

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(10);

/// Addresses that are kept of one peer.
pub const MAX_ADDRESSES: usize = 8;

/// Peers that are taken from one answer.
pub const MAX_PEERS: usize = 16;

/// Announcements of others that are kept, the keys of these, and those of one peer.
const MAX_KEPT: usize = 16_384;
const MAX_KEYS: usize = 4096;
const MAX_KEYS_A_PEER: usize = 257;

/// How often it is looked for announcements that have ended.
const SWEEP: Duration = Duration::from_secs(60);

/// Keys that a peer announces: its repositories and itself.
pub const MAX_ANNOUNCED: usize = MAX_KEYS_A_PEER - 1;

/// Under which key the copies of a repository are found.
pub fn repository_key(id: &RepositoryId) -> RecordKey {
    RecordKey::from(blake3::derive_key("fai 1 directory repository", id.as_bytes()).to_vec())
}

/// Under which key a peer is found.
pub fn peer_key(peer: &PeerId) -> RecordKey {
    RecordKey::from(blake3::derive_key("fai 1 directory peer", &peer.to_bytes()).to_vec())
}

/// The part of the swarm that speaks with the directory.
pub struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    /// When what others announced here ends.
    kept: HashMap<PeerId, HashMap<RecordKey, Instant>>,
    swept: Option<Instant>,
    /// Relays that this peer is configured to use: names of theirs are as good as their addresses.
    trusted: HashSet<PeerId>,
}

impl Behaviour {
    /// A member of the directory that only asks, until [`Self::answer`] is called.
    pub fn new(own: PeerId, trusted: HashSet<PeerId>) -> Self {
        let store = MemoryStoreConfig {
            max_records: 0,
            max_value_bytes: 0,
            max_providers_per_key: MAX_PEERS,
            max_provided_keys: MAX_KEYS,
        };
        let mut config = kad::Config::new(PROTOCOL);
        config
            .set_query_timeout(QUESTION)
            .set_provider_record_ttl(Some(HOLDS))
            .set_provider_publication_interval(Some(AGAIN))
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_replication_interval(None)
            .set_publication_interval(None);
        let mut kad = kad::Behaviour::with_config(own, MemoryStore::with_config(own, store), config);
        kad.set_mode(Some(kad::Mode::Client));
        Self {
            kad,
            kept: HashMap::new(),
            swept: None,
            trusted,
        }
    }

    /// Answers others from now on, and keeps what they announce.
    pub fn answer(&mut self) {
        self.kad.set_mode(Some(kad::Mode::Server));
    }

    /// A member of the directory, and where it listens.
    pub fn add(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        let known = self.kad.kbucket(peer).and_then(|bucket| {
            let mut members = bucket.iter().filter(|member| *member.node.key.preimage() == peer);
            members.next().map(|member| member.node.value.len())
        });
        let room = MAX_ADDRESSES.saturating_sub(known.unwrap_or_default());
        for address in addresses.into_iter().take(room) {
            self.kad.add_address(&peer, bare(address));
        }
    }

    /// Announces `keys`, again if they were announced before, and nothing else.
    pub fn announce(&mut self, keys: &HashSet<RecordKey>) {
        let provided = self.kad.store_mut().provided();
        let gone: Vec<RecordKey> = provided
            .map(|record| record.key.clone())
            .filter(|key| !keys.contains(key))
            .collect();
        gone.iter().for_each(|key| self.kad.stop_providing(key));
        for key in keys {
            if let Err(error) = self.kad.start_providing(key.clone()) {
                tracing::warn!(%error, "not announced");
            }
        }
    }

    /// Asks who announced `key`.
    pub fn ask(&mut self, key: RecordKey) -> kad::QueryId {
        self.kad.get_providers(key)
    }

    /// Ends a question whose answer is known.
    pub fn enough(&mut self, question: &kad::QueryId) {
        if let Some(mut query) = self.kad.query_mut(question) {
            query.finish();
        }
    }

    /// What is known of a peer that came in an answer, while its question goes on.
    pub fn addresses_of(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let id = ConnectionId::new_unchecked(0);
        let known = self.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer);
        known.unwrap_or_default()
    }

    /// Keeps what a peer announces, as far as the limits allow.
    pub fn keep(&mut self, mut record: ProviderRecord, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            self.forget(now);
        }
        record.addresses = self.cut(record.addresses);
        if record.key.as_ref().len() != blake3::OUT_LEN || record.addresses.is_empty() {
            return;
        }
        let all: usize = self.kept.values().map(HashMap::len).sum();
        let own = self.kept.get(&record.provider);
        let again = own.is_some_and(|keys| keys.contains_key(&record.key));
        let full = all >= MAX_KEPT || own.is_some_and(|keys| keys.len() >= MAX_KEYS_A_PEER);
        if (again || !full) && self.kad.store_mut().add_provider(record.clone()).is_ok() {
            let keys = self.kept.entry(record.provider).or_default();
            keys.insert(record.key, now + HOLDS);
        }
    }

    /// Removes what has not been announced again: the store does so only when it is asked for it.
    fn forget(&mut self, now: Instant) {
        self.swept = Some(now);
        let store = self.kad.store_mut();
        for (peer, keys) in &mut self.kept {
            keys.retain(|key, until| {
                if *until <= now {
                    store.remove_provider(key, peer);
                }
                *until > now
            });
        }
        self.kept.retain(|_, keys| !keys.is_empty());
    }

    /// What of others' addresses is worth keeping.
    pub fn cut(&self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let trusted = |address: &Multiaddr| through(address).is_some_and(|way| self.trusted.contains(&way.relay));
        let mut good: Vec<Multiaddr> = Vec::new();
        for address in addresses.into_iter().map(bare) {
            if good.len() < MAX_ADDRESSES && (worth_dialling(&address) || trusted(&address)) && !good.contains(&address)
            {
                good.push(address);
            }
        }
        good
    }
}

/// A question that is under way, and what has been found so far.
#[derive(Debug, Default)]
pub struct Found {
    /// Peers, and where they say that they are.
    pub peers: BTreeMap<PeerId, Vec<Multiaddr>>,
}

impl Found {
    /// Takes what one answer said, as far as there is room.
    pub fn take(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() || (self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer)) {
            return;
        }
        let known = self.peers.entry(peer).or_default();
        for address in addresses {
            if known.len() < MAX_ADDRESSES && !known.contains(&address) {
                known.push(address);
            }
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<kad::Behaviour<MemoryStore>>;
    type ToSwarm = kad::Event;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let known = self
            .kad
            .handle_pending_outbound_connection(connection, peer, addresses, role)?;
        // Where a bootstrap peer is was said by the user, not by strangers.
        match peer.is_some_and(|peer| self.trusted.contains(&peer)) {
            true => Ok(known),
            false => Ok(self.cut(known)),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad
            .handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.kad.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.kad.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.kad.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn announcement(provider: PeerId, key: u16, addresses: &[&str]) -> ProviderRecord {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&key.to_le_bytes());
        ProviderRecord {
            key: RecordKey::from(bytes.to_vec()),
            provider,
            expires: None,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn what_others_announce_is_bounded_and_ends() {
        let (own, peer, now) = (Identity::passing().peer(), Identity::passing().peer(), Instant::now());
        let mut directory = Behaviour::new(own, HashSet::new());
        let place = "/ip4/192.0.2.1/tcp/4001";
        for key in 0..300 {
            directory.keep(announcement(peer, key, &[place]), now);
        }
        assert_eq!(directory.kept[&peer].len(), MAX_KEYS_A_PEER);
        let first = announcement(peer, 0, &[place]);
        assert_eq!(directory.kad.store_mut().providers(&first.key).len(), 1);
        directory.keep(first.clone(), now + HOLDS - Duration::from_secs(1));
        directory.forget(now + HOLDS);
        assert_eq!(directory.kept[&peer].len(), 1, "what is announced again stays");
        directory.forget(now + 2 * HOLDS);
        assert!(directory.kept.is_empty() && directory.kad.store_mut().providers(&first.key).is_empty());
    }

    #[test]
    fn strangers_addresses_are_cut_to_size() {
        let (own, peer, relay) = (
            Identity::passing().peer(),
            Identity::passing().peer(),
            Identity::passing().peer(),
        );
        let mut directory = Behaviour::new(own, HashSet::from([relay]));
        directory.keep(announcement(peer, 1, &["/ip4/127.0.0.1/tcp/1"]), Instant::now());
        assert!(directory.kept.is_empty());
        let many: Vec<String> = (1..100).map(|port| format!("/ip4/192.0.2.1/tcp/{port}")).collect();
        let many = directory.cut(many.iter().map(|address| address.parse().unwrap()).collect());
        assert_eq!(many.len(), MAX_ADDRESSES);
        // The user named this relay by its name.
        let named: Multiaddr = format!("/dns/relay.test/tcp/4001/p2p/{relay}/p2p-circuit")
            .parse()
            .unwrap();
        let other: Multiaddr = format!("/dns/relay.test/tcp/4001/p2p/{peer}/p2p-circuit")
            .parse()
            .unwrap();
        assert_eq!(directory.cut(vec![other, named.clone()]), [named]);
    }

    #[test]
    fn keys_tell_apart_what_they_stand_for() {
        let peer: PeerId = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV".parse().unwrap();
        let id = RepositoryId::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        // The norm names both.
        let norm = include_str!("../../../../docs/protocol.md");
        for key in [repository_key(&id), peer_key(&peer)] {
            let hexadecimal = data_encoding::HEXLOWER.encode(key.as_ref());
            assert!(norm.contains(&hexadecimal), "{hexadecimal}");
        }
    }
}
