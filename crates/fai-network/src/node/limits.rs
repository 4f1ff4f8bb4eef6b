//! What strangers can cost before anyone knows who they are: connections from one machine, and neighbours that only
//! announce themselves. Limits on streams and on what is read for a peer are the answering side's.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionEstablished, FromSwarm, ListenFailure};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::Neighbour;

/// Connections that one host has open here, a quarter of all. An office behind one address is one host, hence not fewer.
const ESTABLISHED: usize = 64;

/// Connections of one host that are being set up, a quarter of all.
const PENDING: usize = 16;

/// Peers on the local network that are kept, and addresses of each. Anyone there can announce as many as they like.
const MAX_NEIGHBOURS: usize = 1024;
const MAX_ADDRESSES: usize = 16;

/// Refuses connections of a host that has enough of them.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    pending: HashMap<ConnectionId, IpAddr>,
    established: HashMap<ConnectionId, IpAddr>,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0} has too many connections here")]
struct TooMany(IpAddr);

impl Hosts {
    fn check(all: &HashMap<ConnectionId, IpAddr>, host: IpAddr, most: usize) -> Result<(), ConnectionDenied> {
        match all.values().filter(|other| **other == host).count() < most {
            true => Ok(()),
            false => Err(ConnectionDenied::new(TooMany(host))),
        }
    }
}

impl NetworkBehaviour for Hosts {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if let Some(host) = host(from) {
            Self::check(&self.pending, host, PENDING)?;
            self.pending.insert(connection, host);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        if let Some(host) = host(from) {
            Self::check(&self.established, host, ESTABLISHED)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                connection_id,
                endpoint,
                ..
            }) if endpoint.is_listener() => {
                if let Some(host) = host(endpoint.get_remote_address()) {
                    self.established.insert(connection_id, host);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.established.remove(&connection_id);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Whom connections from an address are counted for. Nobody for this machine itself, whose processes are trusted with
/// all there is, and nobody for what comes by way of a relay, where the address is that of the relay.
fn host(from: &Multiaddr) -> Option<IpAddr> {
    if from.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    let address = match from.iter().next()? {
        Protocol::Ip4(address) => IpAddr::V4(address),
        Protocol::Ip6(address) => IpAddr::V6(address).to_canonical(),
        _ => return None,
    };
    match address {
        address if address.is_loopback() => None,
        // Whoever has one address of a network of 64 bits has as many of them as they like.
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
        address => Some(address),
    }
}

/// Takes note of an address that was announced, if there is room.
pub(super) fn meet(all: &mut BTreeMap<PeerId, Neighbour>, peer: PeerId, address: Multiaddr) {
    if all.len() >= MAX_NEIGHBOURS && !all.contains_key(&peer) {
        return;
    }
    let addresses = &mut all.entry(peer).or_default().addresses;
    if addresses.len() < MAX_ADDRESSES {
        addresses.insert(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    /// How many of `count` connections from these addresses by turns get as far as the handshake.
    fn pending(hosts: &mut Hosts, from: &[&str], count: usize) -> usize {
        let here = address("/ip4/10.0.0.1/tcp/4001");
        (0..count)
            .filter(|index| {
                let from = address(from[index % from.len()]);
                let connection = ConnectionId::new_unchecked(*index);
                hosts
                    .handle_pending_inbound_connection(connection, &here, &from)
                    .is_ok()
            })
            .count()
    }

    #[test]
    fn one_host_cannot_take_all_places_of_connections_being_set_up() {
        let pending = |from: &[&str], count| pending(&mut Hosts::default(), from, count);
        assert_eq!(pending(&["/ip4/10.0.0.2/tcp/5000"], 60), PENDING);
        assert_eq!(
            pending(&["/ip4/10.0.0.2/tcp/5000", "/ip4/10.0.0.2/udp/5001/quic-v1"], 60),
            PENDING
        );
        assert_eq!(
            pending(&["/ip4/10.0.0.2/tcp/5000", "/ip4/10.0.0.3/tcp/5000"], 60),
            2 * PENDING
        );
        assert_eq!(pending(&["/ip6/fd00::1/tcp/1", "/ip6/fd00::2/tcp/1"], 60), PENDING);
        assert_eq!(
            pending(&["/ip6/fd00::1/tcp/1", "/ip6/fd00:0:0:1::1/tcp/1"], 60),
            2 * PENDING
        );
        for trusted in ["/ip4/127.0.0.1/tcp/5000", "/ip6/::1/tcp/5000"] {
            assert_eq!(pending(&[trusted], 60), 60, "{trusted}");
        }
        let relay = "/ip4/10.0.0.2/tcp/4001/p2p/12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV/p2p-circuit";
        assert_eq!(pending(&[relay], 60), 60);
    }

    #[test]
    fn places_are_given_back() {
        let mut hosts = Hosts::default();
        let (here, from) = (address("/ip4/10.0.0.1/tcp/4001"), address("/ip4/10.0.0.2/tcp/5000"));
        let peer = PeerId::random();
        for index in 0..10 * ESTABLISHED {
            let connection = ConnectionId::new_unchecked(index);
            hosts
                .handle_pending_inbound_connection(connection, &here, &from)
                .unwrap();
            let up = hosts.handle_established_inbound_connection(connection, peer, &here, &from);
            assert_eq!(up.is_ok(), index < ESTABLISHED, "{index}");
            assert!(hosts.pending.is_empty());
            if index < ESTABLISHED {
                let endpoint = libp2p::core::ConnectedPoint::Listener {
                    local_addr: here.clone(),
                    send_back_addr: from.clone(),
                };
                hosts.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    peer_id: peer,
                    connection_id: connection,
                    endpoint: &endpoint,
                    failed_addresses: &[],
                    other_established: index,
                }));
            }
        }
        let endpoint = libp2p::core::ConnectedPoint::Listener {
            local_addr: here.clone(),
            send_back_addr: from.clone(),
        };
        hosts.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(3),
            endpoint: &endpoint,
            cause: None,
            remaining_established: ESTABLISHED - 1,
        }));
        let next = ConnectionId::new_unchecked(100_000);
        assert!(
            hosts
                .handle_established_inbound_connection(next, peer, &here, &from)
                .is_ok()
        );
    }

    #[test]
    fn neighbours_are_bounded() {
        let mut all = BTreeMap::new();
        let first = PeerId::random();
        for port in 0..100u16 {
            meet(&mut all, first, address(&format!("/ip4/10.0.0.2/tcp/{port}")));
        }
        assert_eq!(all[&first].addresses.len(), MAX_ADDRESSES);
        for _ in 0..2 * MAX_NEIGHBOURS {
            meet(&mut all, PeerId::random(), address("/ip4/10.0.0.3/tcp/4001"));
        }
        assert_eq!(all.len(), MAX_NEIGHBOURS);
        let known = all.values().map(|neighbour| neighbour.addresses.len()).max();
        assert_eq!(known, Some(MAX_ADDRESSES));
    }
}
