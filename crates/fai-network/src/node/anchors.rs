//! The bootstrap peers of this one: when each is dialled again, and when a place at it is asked for. No I/O.

use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::address::split_peer;

/// The longest wait before the second attempt; each one after it may take twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait there is.
const LONGEST: Duration = Duration::from_secs(60);

/// Most bootstrap peers that are used.
const MOST: usize = 16;

/// All bootstrap peers.
#[derive(Debug, Default)]
pub struct Anchors {
    all: Vec<Anchor>,
    /// Stay connected, rather than connect when something is looked up.
    stay: bool,
    /// Ask each for a place where others find this peer.
    reserve: bool,
}

#[derive(Debug)]
struct Anchor {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    link: Link,
    seat: Seat,
    failures: u32,
    refusals: u32,
}

/// The connection to a bootstrap peer.
#[derive(Debug, PartialEq, Eq)]
enum Link {
    /// Nothing is done.
    Idle,
    /// Dialled at this time.
    Due(Instant),
    Dialling(ConnectionId),
    /// Through this address.
    Up(ConnectionId, Multiaddr),
}

/// The place at a relay.
#[derive(Debug, PartialEq, Eq)]
enum Seat {
    None,
    /// Asked for at this time.
    Due(Instant),
    Asked(ListenerId),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect.
    Dial(PeerId, Vec<Multiaddr>),
    /// Ask for a place at a peer that is connected through this address.
    Reserve(PeerId, Multiaddr),
}

impl Anchors {
    /// Bootstrap peers by their addresses, which end with their ids.
    pub fn new(addresses: &[Multiaddr], stay: bool, reserve: bool, now: Instant) -> Self {
        let mut all: Vec<Anchor> = Vec::new();
        for (peer, address) in addresses.iter().filter_map(split_peer) {
            let full = all.len() >= MOST;
            match all.iter_mut().find(|anchor| anchor.peer == peer) {
                Some(anchor) => anchor.addresses.push(address),
                None if !full => all.push(Anchor {
                    peer,
                    addresses: vec![address],
                    link: if stay { Link::Due(now) } else { Link::Idle },
                    seat: Seat::None,
                    failures: 0,
                    refusals: 0,
                }),
                None => {}
            }
        }
        Self { all, stay, reserve }
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Instant> {
        let links = self.all.iter().filter_map(|anchor| match anchor.link {
            Link::Due(when) => Some(when),
            _ => None,
        });
        let seats = self.all.iter().filter_map(|anchor| match anchor.seat {
            Seat::Due(when) => Some(when),
            _ => None,
        });
        links.chain(seats).min()
    }

    /// What is to be done now. It is asked for until it is reported as done.
    pub fn steps(&self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for anchor in &self.all {
            match (&anchor.link, &anchor.seat) {
                (Link::Due(when), _) if *when <= now => {
                    steps.push(Step::Dial(anchor.peer, anchor.addresses.clone()));
                }
                (Link::Up(_, address), Seat::Due(when)) if *when <= now => {
                    steps.push(Step::Reserve(anchor.peer, address.clone()));
                }
                _ => {}
            }
        }
        steps
    }

    /// Somebody looks something up: whoever is idle is to be connected.
    pub fn wake(&mut self, now: Instant) {
        for anchor in self.all.iter_mut().filter(|anchor| anchor.link == Link::Idle) {
            anchor.link = Link::Due(now);
        }
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// True when one of them is connected.
    pub fn any_up(&self) -> bool {
        self.all.iter().any(|anchor| matches!(anchor.link, Link::Up(..)))
    }

    /// True while one of them may still answer.
    pub fn any_hope(&self) -> bool {
        let hopeless = |anchor: &Anchor| match anchor.link {
            Link::Idle => true,
            // It has failed before: whoever looks something up now does not wait for it.
            Link::Due(_) => anchor.failures > 0,
            Link::Dialling(_) | Link::Up(..) => false,
        };
        !self.all.iter().all(hopeless)
    }

    /// A bootstrap peer is being dialled.
    pub fn dialling(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(anchor) = self.find(&peer) {
            anchor.link = Link::Dialling(connection);
        }
    }

    /// A dial failed. True when it was one of a bootstrap peer.
    pub fn failed(&mut self, connection: ConnectionId, now: Instant) -> bool {
        let stay = self.stay;
        let dialled = |anchor: &&mut Anchor| anchor.link == Link::Dialling(connection);
        let Some(anchor) = self.all.iter_mut().find(dialled) else {
            return false;
        };
        anchor.failures += 1;
        anchor.link = match stay {
            true => Link::Due(now + wait(anchor.failures)),
            false => Link::Idle,
        };
        true
    }

    /// A direct connection to `peer` is there. True when that is a bootstrap peer that was not connected.
    pub fn up(&mut self, peer: PeerId, connection: ConnectionId, address: Option<Multiaddr>, now: Instant) -> bool {
        let reserve = self.reserve;
        let Some(anchor) = self.find(&peer) else { return false };
        // Where others can ask for it is known only of connections that were made from here.
        let Some(address) = address else { return false };
        if matches!(anchor.link, Link::Up(..)) {
            return false;
        }
        anchor.link = Link::Up(connection, address);
        if reserve {
            anchor.seat = Seat::Due(now + wait(anchor.refusals));
        }
        true
    }

    /// A connection ended. True when it was the one to a bootstrap peer.
    pub fn down(&mut self, connection: ConnectionId, now: Instant) -> bool {
        let stay = self.stay;
        let held = |anchor: &&mut Anchor| matches!(anchor.link, Link::Up(id, _) if id == connection);
        let Some(anchor) = self.all.iter_mut().find(held) else {
            return false;
        };
        anchor.failures += 1;
        anchor.seat = Seat::None;
        anchor.link = match stay {
            true => Link::Due(now + wait(anchor.failures)),
            false => Link::Idle,
        };
        true
    }

    /// The connection to a bootstrap peer, if it is up.
    pub fn connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        let anchor = self.all.iter().find(|anchor| anchor.peer == *peer)?;
        match anchor.link {
            Link::Up(connection, _) => Some(connection),
            _ => None,
        }
    }

    /// A place was asked for.
    pub fn asked(&mut self, peer: PeerId, listener: ListenerId) {
        if let Some(anchor) = self.find(&peer) {
            anchor.seat = Seat::Asked(listener);
        }
    }

    /// A place could not even be asked for.
    pub fn refused(&mut self, peer: PeerId, now: Instant) {
        if let Some(anchor) = self.find(&peer) {
            anchor.refusals += 1;
            anchor.seat = Seat::Due(now + wait(anchor.refusals));
        }
    }

    /// A place was given.
    pub fn seated(&mut self, peer: &PeerId) {
        if let Some(anchor) = self.find(peer) {
            (anchor.failures, anchor.refusals) = (0, 0);
        }
    }

    /// A place was refused or taken away. The peer that it was at, if this is about a place.
    pub fn unseated(&mut self, listener: ListenerId, now: Instant) -> Option<PeerId> {
        let asked = |anchor: &&mut Anchor| anchor.seat == Seat::Asked(listener);
        let anchor = self.all.iter_mut().find(asked)?;
        anchor.refusals += 1;
        anchor.seat = Seat::Due(now + wait(anchor.refusals));
        Some(anchor.peer)
    }

    /// The bootstrap peer at which the place was asked for.
    pub fn seat_of(&self, listener: ListenerId) -> Option<PeerId> {
        let asked = |anchor: &&Anchor| anchor.seat == Seat::Asked(listener);
        self.all.iter().find(asked).map(|anchor| anchor.peer)
    }

    fn find(&mut self, peer: &PeerId) -> Option<&mut Anchor> {
        self.all.iter_mut().find(|anchor| anchor.peer == *peer)
    }
}

/// Exponential back-off with full jitter: anything up to twice the time of the failure before.
fn wait(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let longest = FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST);
    Duration::from_millis(rand::random_range(0..=u64::try_from(longest.as_millis()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn later(now: Instant) -> Instant {
        now + LONGEST
    }

    #[test]
    fn a_bootstrap_peer_that_went_away_is_dialled_again_and_asked_again() {
        let (peer, now) = (Identity::passing().peer(), Instant::now());
        let place: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let whole = place.clone().with_p2p(peer).unwrap();
        let mut anchors = Anchors::new(&[whole], true, true, now);
        let dial = [Step::Dial(peer, vec![place.clone()])];
        assert_eq!(anchors.steps(now), dial);
        let first = ConnectionId::new_unchecked(1);
        anchors.dialling(peer, first);
        assert_eq!((anchors.steps(later(now)), anchors.next()), (vec![], None));
        assert!(anchors.failed(first, now));
        assert_eq!(anchors.steps(later(now)), dial);
        let second = ConnectionId::new_unchecked(2);
        anchors.dialling(peer, second);
        assert!(anchors.up(peer, second, Some(place.clone()), now));
        assert_eq!(anchors.steps(later(now)), [Step::Reserve(peer, place.clone())]);
        let listener = ListenerId::next();
        anchors.asked(peer, listener);
        anchors.seated(&peer);
        assert_eq!(anchors.steps(later(now)), []);
        assert_eq!(anchors.unseated(listener, now), Some(peer));
        assert_eq!(anchors.steps(later(now)), [Step::Reserve(peer, place)]);
        assert!(anchors.down(second, now));
        assert_eq!(anchors.steps(later(now)), dial);
        assert!(!anchors.down(second, now));
    }

    #[test]
    fn who_only_asks_connects_when_something_is_looked_up() {
        let (peer, now) = (Identity::passing().peer(), Instant::now());
        let whole: Multiaddr = format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}").parse().unwrap();
        let mut anchors = Anchors::new(&[whole], false, false, now);
        assert_eq!((anchors.steps(later(now)), anchors.any_hope()), (vec![], false));
        anchors.wake(now);
        assert!(anchors.any_hope());
        assert_eq!(anchors.steps(now).len(), 1);
        let id = ConnectionId::new_unchecked(1);
        anchors.dialling(peer, id);
        anchors.failed(id, now);
        assert_eq!((anchors.steps(later(now)), anchors.any_hope()), (vec![], false));
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        assert_eq!(wait(0), Duration::ZERO);
        assert!((0..100).all(|_| wait(1) <= FIRST));
        assert!((0..100).all(|_| wait(1000) <= LONGEST));
        assert!((0..100).any(|_| wait(1000) > FIRST));
    }
}
