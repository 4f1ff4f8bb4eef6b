//! What the swarm is made of: transports, and one behaviour for each thing that a peer does. What is not asked for is
//! switched off.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, autonat, connection_limits, dcutr, identify, mdns, noise, ping, relay, tcp, yamux};

use super::address::split_peer;
use super::{NodeOptions, directory, guard, limits, streams, tls};
use crate::{Error, Identity};

/// How often peers on the local network are asked for.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// A connection without streams is closed after this.
const IDLE: Duration = Duration::from_secs(60);

/// Connections in all, and with one peer.
const MAX_CONNECTIONS: u32 = 256;
const MAX_PER_PEER: u32 = 8;

/// Streams of one connection over TCP, either way. Each may hold 256 KiB that nobody has read yet, so this bounds what a
/// connection can cost to 24 MiB; with QUIC it is 15. All circuits of a relay can lead to one peer, and that has streams of
/// its own.
const MAX_STREAMS: usize = MAX_CIRCUITS + 32;

/// Connections that are being set up, either way.
const MAX_PENDING: u32 = 64;

/// What a relay gives: places, connections through it in all and of one peer, and how long and how much one may be.
/// Whole models go through it, so that a connection is not cut after minutes; one that is cut is made again and goes on.
const MAX_PLACES: usize = 128;
const MAX_PLACES_PER_PEER: usize = 4;
const MAX_CIRCUITS: usize = 64;
const MAX_CIRCUITS_PER_PEER: usize = 8;
const CIRCUIT_TIME: Duration = Duration::from_secs(6 * 60 * 60);
const CIRCUIT_BYTES: u64 = 64 << 30;
const PLACE_TIME: Duration = Duration::from_secs(60 * 60);

/// Places and connections that are given in quick succession, to a peer and to an IP address; each comes back after the
/// time beside it.
const PER_PEER: (u32, Duration) = (60, Duration::from_secs(15));
const PER_IP: (u32, Duration) = (240, Duration::from_secs(5));

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First, so that a refused connection is refused before anything knows of it.
    limits: connection_limits::Behaviour,
    hosts: limits::Hosts,
    pub guard: guard::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    // One for each version of IP: the option of the behaviour means instead, not too.
    mdns_v4: Toggle<mdns::tokio::Behaviour>,
    mdns_v6: Toggle<mdns::tokio::Behaviour>,
    /// Carries others' connections.
    relay: Toggle<relay::Behaviour>,
    /// Is reached, and reaches others, through relays.
    through: Toggle<relay::client::Behaviour>,
    /// Makes relayed connections direct.
    upgrade: Toggle<dcutr::Behaviour>,
    /// Learns whether this peer can be reached.
    reachable: Toggle<autonat::v2::client::Behaviour>,
    /// Tells others whether they can be reached.
    dial_back: Toggle<autonat::v2::server::Behaviour>,
    pub directory: Toggle<directory::Behaviour>,
    sync: streams::Behaviour,
    records: streams::Behaviour,
}

pub(super) fn swarm(
    identity: &Identity,
    options: &NodeOptions,
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
        Ok(options
            .local_discovery
            .then(|| mdns::tokio::Behaviour::new(config, peer))
            .transpose()?
            .into())
    };
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_PER_PEER));
    let builder = libp2p::SwarmBuilder::with_existing_identity(identity.keypair())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            (tls::Upgrade::new, noise::Config::new),
            multiplexer,
        )
        .map_err(|error| setup(&error))?
        .with_quic()
        .with_dns()
        .map_err(|error| setup(&error))?
        .with_relay_client(noise::Config::new, multiplexer)
        .map_err(|error| setup(&error))?;
    let (mdns_v4, mdns_v6) = (
        mdns(false).map_err(|error| setup(&error))?,
        // A machine without IPv6 is no reason to fail.
        mdns(true).unwrap_or_else(|_| None.into()),
    );
    let beyond = !options.bootstrap.is_empty();
    // Who asks may be given an address that leads through a relay, whatever is configured.
    let client = beyond || options.asks();
    let known = options.bootstrap.iter().filter_map(split_peer);
    let mut directory =
        (beyond || options.relay).then(|| directory::Behaviour::new(peer, known.map(|(peer, _)| peer).collect()));
    if let Some(directory) = directory.as_mut().filter(|_| options.relay) {
        directory.answer();
    }
    let built = builder.with_behaviour(|key, through| Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        hosts: limits::Hosts::default(),
        guard: guard::Behaviour::default(),
        identify: identify::Behaviour::new(
            identify::Config::new("/fai/1".into(), key.public())
                .with_agent_version(concat!("fai/", env!("CARGO_PKG_VERSION")).into())
                // What a peer says of itself is not dialled.
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::default(),
        mdns_v4,
        mdns_v6,
        relay: options.relay.then(|| relayer(peer)).into(),
        through: client.then_some(through).into(),
        upgrade: client.then(|| dcutr::Behaviour::new(peer)).into(),
        reachable: (beyond && !options.asks())
            .then(autonat::v2::client::Behaviour::default)
            .into(),
        dial_back: options.relay.then(autonat::v2::server::Behaviour::default).into(),
        directory: directory.into(),
        sync,
        records,
    });
    Ok(built
        .map_err(|error| setup(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build())
}

/// Whoever opens more streams than are allowed loses the connection.
fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config
}

fn relayer(peer: libp2p::PeerId) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: MAX_PLACES,
        // The relay counts what is there already.
        max_reservations_per_peer: MAX_PLACES_PER_PEER - 1,
        reservation_duration: PLACE_TIME,
        reservation_rate_limiters: Vec::new(),
        max_circuits: MAX_CIRCUITS,
        max_circuits_per_peer: MAX_CIRCUITS_PER_PEER - 1,
        max_circuit_duration: CIRCUIT_TIME,
        max_circuit_bytes: CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    let times = |(count, time): (u32, Duration)| (NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN), time);
    let ((peers, peers_time), (ips, ips_time)) = (times(PER_PEER), times(PER_IP));
    let config = config
        .reservation_rate_per_peer(peers, peers_time)
        .reservation_rate_per_ip(ips, ips_time)
        .circuit_src_per_peer(peers, peers_time)
        .circuit_src_per_ip(ips, ips_time);
    let mut behaviour = relay::Behaviour::new(peer, config);
    behaviour.set_status(Some(relay::Status::Enable));
    behaviour
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{RECORDS, SYNC};

    fn parts(listen: &[&str], bootstrap: bool, relay: bool) -> [bool; 6] {
        let bootstrap = format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", Identity::passing().peer())
            .parse()
            .into_iter()
            .filter(|_| bootstrap);
        let options = NodeOptions {
            listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
            local_discovery: false,
            bootstrap: bootstrap.collect(),
            relay,
        };
        let (sync, ..) = streams::Behaviour::new(SYNC);
        let (records, ..) = streams::Behaviour::new(RECORDS);
        let swarm = swarm(&Identity::passing(), &options, sync, records).unwrap();
        let parts = swarm.behaviour();
        [
            parts.relay.is_enabled(),
            parts.through.is_enabled(),
            parts.upgrade.is_enabled(),
            parts.reachable.is_enabled(),
            parts.dial_back.is_enabled(),
            parts.directory.is_enabled(),
        ]
    }

    #[tokio::test]
    async fn what_nobody_asked_for_is_off() {
        let here = ["/ip4/127.0.0.1/tcp/0"];
        assert_eq!(parts(&here, false, false), [false; 6]);
        // A relayed address may come in any ticket.
        assert_eq!(parts(&[], false, false), [false, true, true, false, false, false]);
        assert_eq!(parts(&[], true, false), [false, true, true, false, false, true]);
        assert_eq!(parts(&here, true, false), [false, true, true, true, false, true]);
        assert_eq!(parts(&here, false, true), [true, false, false, false, true, true]);
    }
}
