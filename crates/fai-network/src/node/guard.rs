//! Keeps others from making this peer dial: what nobody here asked for is counted, and its addresses are looked at.
//!
//! Dials that this peer wants for itself are named beforehand and pass. All others come from what strangers said: from
//! the directory, from a peer that wants to know whether it is reachable, or from one that tries for a direct connection.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address::worth_dialling;

/// Dials for others in one [`SPAN`].
const MOST: usize = 120;

/// See [`MOST`].
const SPAN: Duration = Duration::from_secs(60);

/// Most addresses of one dial for others.
const MAX_ADDRESSES: usize = 24;

/// The part of the swarm that says no.
#[derive(Default)]
pub struct Behaviour {
    own: HashSet<ConnectionId>,
    recent: VecDeque<Instant>,
}

/// Why a dial was not made.
#[derive(Debug, thiserror::Error)]
#[error("strangers named these addresses, and they are not dialled")]
struct Refused;

impl Behaviour {
    /// Lets a dial pass that is about to be made.
    pub fn pass(&mut self, connection: ConnectionId) {
        self.own.insert(connection);
    }

    fn allows(&mut self, addresses: &[Multiaddr], now: Instant) -> bool {
        while self.recent.front().is_some_and(|then| now.duration_since(*then) > SPAN) {
            self.recent.pop_front();
        }
        if self.recent.len() >= MOST || addresses.len() > MAX_ADDRESSES || !addresses.iter().all(worth_dialling) {
            return false;
        }
        self.recent.push_back(now);
        true
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.own.remove(&connection) || self.allows(addresses, Instant::now()) {
            return Ok(Vec::new());
        }
        tracing::debug!(?addresses, "not dialled for others");
        Err(ConnectionDenied::new(Refused))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // A dial that was never made is not waited for.
        if let FromSwarm::DialFailure(failure) = event {
            self.own.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_for_others_are_few_and_lead_elsewhere() {
        let (mut guard, now) = (Behaviour::default(), Instant::now());
        let (good, bad): (Multiaddr, Multiaddr) = (
            "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
            "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
        );
        assert!(!guard.allows(&[good.clone(), bad], now));
        assert!(!guard.allows(&vec![good.clone(); MAX_ADDRESSES + 1], now));
        for _ in 0..MOST {
            assert!(guard.allows(std::slice::from_ref(&good), now));
        }
        assert!(!guard.allows(std::slice::from_ref(&good), now));
        assert!(guard.allows(&[good], now + SPAN + Duration::from_secs(1)));
    }

    #[test]
    fn what_this_peer_wants_passes_once() {
        let mut guard = Behaviour::default();
        let (id, here) = (
            ConnectionId::new_unchecked(1),
            ["/ip4/127.0.0.1/tcp/1".parse().unwrap()],
        );
        guard.pass(id);
        let mut dial = || guard.handle_pending_outbound_connection(id, None, &here, Endpoint::Dialer);
        assert!(dial().is_ok());
        assert!(dial().is_err());
    }
}
