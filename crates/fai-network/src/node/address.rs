//! What an address says: whether it leads through a relay, and whether one that a stranger named is worth dialling.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The longest address that is taken from others, in bytes.
const MAX_ADDRESS: usize = 256;

/// The relay that an address leads through, and where that relay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    /// The relay.
    pub relay: PeerId,
    /// Its address, without its id.
    pub address: Multiaddr,
}

/// The relay that `address` leads through; `None` when it leads to its peer directly.
pub fn through(address: &Multiaddr) -> Option<Through> {
    let mut place = Multiaddr::empty();
    let mut relay = None;
    for part in address.iter() {
        match part {
            Protocol::P2pCircuit => return relay.map(|relay| Through { relay, address: place }),
            Protocol::P2p(peer) => relay = Some(peer),
            part => place.push(part),
        }
    }
    None
}

/// True for addresses that lead through a relay, also for those that do not say through which.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// `address` without the id of its peer at the end, as tickets and people name it.
pub fn bare(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// The peer that an address ends with, and the address without it.
pub fn split_peer(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) if !is_relayed(address) => Some((peer, bare(address.clone()))),
        _ => None,
    }
}

/// True for what may be dialled although a stranger named it. Addresses that mean another machine to everybody who reads
/// them are not, and neither are names, which may stand for any of those.
pub fn worth_dialling(address: &Multiaddr) -> bool {
    let foreign = match address.iter().next() {
        Some(Protocol::Ip4(ip)) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast())
        }
        Some(Protocol::Ip6(ip)) => {
            let mapped = ip.to_ipv4_mapped().is_some();
            !(mapped || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
        _ => false,
    };
    let transport = matches!(address.iter().nth(1), Some(Protocol::Tcp(port) | Protocol::Udp(port)) if port != 0);
    foreign && transport && address.len() <= MAX_ADDRESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn relayed_addresses_are_taken_apart() {
        let (relay, peer) = (Identity::passing().peer(), Identity::passing().peer());
        let place: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let circuit: Multiaddr = format!("{place}/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let expected = Through {
            relay,
            address: place.clone(),
        };
        assert_eq!(through(&circuit), Some(expected.clone()));
        assert_eq!(through(&bare(circuit.clone())), Some(expected));
        assert_eq!(through(&place), None);
        assert_eq!(split_peer(&circuit), None);
        let whole: Multiaddr = format!("{place}/p2p/{peer}").parse().unwrap();
        assert_eq!(split_peer(&whole), Some((peer, place.clone())));
        assert_eq!(split_peer(&place), None);
        let nameless: Multiaddr = format!("{place}/p2p-circuit/p2p/{peer}").parse().unwrap();
        assert!(is_relayed(&nameless) && through(&nameless).is_none());
    }

    #[test]
    fn strangers_cannot_make_this_machine_dial_itself() {
        for good in [
            "/ip4/192.0.2.1/tcp/4001",
            "/ip4/10.0.0.1/udp/4001/quic-v1",
            "/ip6/2001:db8::1/tcp/1",
        ] {
            assert!(worth_dialling(&good.parse().unwrap()), "{good}");
        }
        for bad in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/169.254.1.1/tcp/4001",
            "/ip4/224.0.0.1/udp/4001/quic-v1",
            "/ip4/192.0.2.1/tcp/0",
            "/ip4/192.0.2.1",
            "/ip6/::1/tcp/4001",
            "/ip6/::ffff:127.0.0.1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/dns/localhost/tcp/4001",
            "/memory/1",
        ] {
            assert!(!worth_dialling(&bad.parse().unwrap()), "{bad}");
        }
    }
}
