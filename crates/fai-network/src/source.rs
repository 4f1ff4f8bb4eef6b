//! How people name a peer and its repository: a ticket, a peer's id, an address.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE32_NOPAD;
use fai_core::repo::RepositoryId;
use libp2p::identity::PublicKey;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::Error;
use crate::wire::message::{Selector, WireHash};

/// What every ticket begins with.
const TICKET: &str = "fai1";

/// What stands in an address between the relay and the peer behind it.
const CIRCUIT: &str = "/p2p-circuit";

/// The longest ticket, in characters.
const MAX_TICKET: usize = 4096;

/// Most addresses in a ticket.
pub const MAX_ADDRESSES: usize = 32;

/// A peer, where it may be found, and which of its repositories is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The peer; `None` for whoever answers at the addresses.
    pub peer: Option<PeerId>,
    /// Where to look; empty for wherever it is found.
    pub addresses: Vec<Multiaddr>,
    /// The repository.
    pub repository: Selector,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Ticket {
    #[n(0)]
    peer: ByteVec,
    #[n(1)]
    addresses: Vec<ByteVec>,
    #[n(2)]
    repository: Option<WireHash>,
}

impl Source {
    /// Reads `PEER`, `PEER/NAME`, a multiaddress with or without `/p2p/PEER` and `/NAME`, `HOST:PORT`, or a ticket.
    /// `None` when it is none of these and may be a path or a remembered name.
    ///
    /// # Errors
    /// When it begins like one of these and is none.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        if let Some(ticket) = after_prefix(text).filter(|rest| rest.len() > 20) {
            return Self::from_ticket(ticket).map(Some).map_err(|reason| bad(text, &reason));
        }
        if text.starts_with("12D3KooW") {
            let (peer, name) = split_name(text);
            let peer = parse_peer(peer).ok_or_else(|| bad(text, "its id is not whole"))?;
            return Ok(Some(Self {
                peer: Some(peer),
                addresses: Vec::new(),
                repository: selector(name),
            }));
        }
        if text.starts_with('/') {
            return Self::from_multiaddr(text);
        }
        Ok(Self::from_host(text))
    }

    fn from_multiaddr(text: &str) -> Result<Option<Self>, Error> {
        // The relay that it leads through is named by an id, too: the peer is named behind it.
        let (way, rest) = match text.split_once(CIRCUIT) {
            Some((way, rest)) => (format!("{way}{CIRCUIT}"), rest),
            None => (String::new(), text),
        };
        let (address, name) = match rest.split_once("/p2p/") {
            Some((before, after)) => {
                let (peer, name) = split_name(after);
                (format!("{way}{before}/p2p/{peer}"), name)
            }
            None if !way.is_empty() => return Ok(None),
            None => match (text.parse::<Multiaddr>(), text.rsplit_once('/')) {
                // What is no address as a whole may be one with a name behind it.
                (Err(_), Some((before, name))) => (before.to_owned(), Some(name)),
                _ => (text.to_owned(), None),
            },
        };
        let parsed = address.parse().ok().filter(|address: &Multiaddr| !address.is_empty());
        let Some(mut address) = parsed else { return Ok(None) };
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) if !holds_key(&peer) => return Err(bad(text, "its id is not whole")),
            Some(Protocol::P2p(peer)) => {
                address.pop();
                Some(peer)
            }
            _ => None,
        };
        Ok(Some(Self {
            peer,
            // An id alone says nothing of where its peer is.
            addresses: if address.is_empty() { Vec::new() } else { vec![address] },
            repository: selector(name),
        }))
    }

    /// `HOST:PORT`, with `/NAME`.
    fn from_host(text: &str) -> Option<Self> {
        let (place, name) = split_name(text);
        let (host, port) = place.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let address = match place.parse::<SocketAddr>() {
            Ok(socket) => Multiaddr::from(socket.ip()),
            Err(_) if host.parse::<IpAddr>().is_err() && is_host(host) => {
                Multiaddr::empty().with(Protocol::Dns(host.to_owned().into()))
            }
            Err(_) => return None,
        };
        Some(Self {
            peer: None,
            addresses: vec![address.with(Protocol::Tcp(port))],
            repository: selector(name),
        })
    }

    fn from_ticket(encoded: &str) -> Result<Self, String> {
        let (encoded, name) = split_name(encoded);
        if encoded.len() > MAX_TICKET {
            return Err("it is too long for a ticket".into());
        }
        let bytes = BASE32_NOPAD
            .decode(encoded.to_ascii_uppercase().as_bytes())
            .map_err(|_| "it is not a whole ticket".to_owned())?;
        let ticket: Ticket = minicbor::decode(&bytes).map_err(|_| "it is not a whole ticket".to_owned())?;
        if ticket.addresses.len() > MAX_ADDRESSES {
            return Err("it names too many addresses".into());
        }
        let peer = PeerId::from_bytes(&ticket.peer).ok().filter(holds_key);
        let peer = peer.ok_or_else(|| "its peer has no valid id".to_owned())?;
        let addresses: Result<Vec<Multiaddr>, _> = ticket
            .addresses
            .iter()
            .map(|bytes| Multiaddr::try_from(bytes.to_vec()))
            .collect();
        Ok(Self {
            peer: Some(peer),
            addresses: addresses.map_err(|_| "one of its addresses is none".to_owned())?,
            repository: match (name, ticket.repository) {
                (Some(name), _) => Selector::Name(name.to_owned()),
                (None, Some(id)) => Selector::Id(id),
                (None, None) => Selector::Only,
            },
        })
    }

    /// The same as a ticket: one word that can be pasted. `None` when the peer is not known, or the addresses are longer than
    /// a ticket may be.
    pub fn to_ticket(&self) -> Option<String> {
        let ticket = Ticket {
            peer: self.peer?.to_bytes().into(),
            addresses: self
                .addresses
                .iter()
                .take(MAX_ADDRESSES)
                .map(|address| address.to_vec().into())
                .collect(),
            repository: match &self.repository {
                Selector::Id(id) => Some(*id),
                _ => None,
            },
        };
        let bytes = minicbor::to_vec(&ticket).ok()?;
        let encoded = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        (encoded.len() <= MAX_TICKET).then(|| format!("{TICKET}{encoded}"))
    }
}

/// The peer with that id, which must hold a whole Ed25519 key.
pub fn parse_peer(text: &str) -> Option<PeerId> {
    text.parse().ok().filter(holds_key)
}

/// True when the id is a key itself (multihash code 0), as those of Ed25519 keys are.
fn holds_key(peer: &PeerId) -> bool {
    let hash: &libp2p::multihash::Multihash<64> = peer.as_ref();
    hash.code() == 0 && PublicKey::try_decode_protobuf(hash.digest()).is_ok()
}

/// Addresses of bootstrap peers, each with the peer's id at its end, as people write several: with spaces or commas between
/// them, or as a list in TOML.
///
/// # Errors
/// When one of them is no such address.
pub fn parse_bootstrap(text: &str) -> Result<Vec<Multiaddr>, Error> {
    let between = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '"' | '\'');
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts.map(bootstrap_address).collect()
}

/// The address of one bootstrap peer.
///
/// # Errors
/// When it is none.
pub fn bootstrap_address(text: &str) -> Result<Multiaddr, Error> {
    let address: Multiaddr = text.parse().map_err(|_| bad(text, "it is no address"))?;
    match address.iter().last() {
        _ if text.contains(CIRCUIT) => Err(bad(text, "it leads through a relay")),
        Some(Protocol::P2p(peer)) if holds_key(&peer) => Ok(address),
        _ => Err(bad(text, "it must end with /p2p/ and the peer's id")),
    }
}

/// A selector for a repository's id.
pub fn by_id(id: &RepositoryId) -> Selector {
    Selector::Id(WireHash::from(*id.as_bytes()))
}

/// What follows the prefix of a ticket, which is in capitals only when all of the ticket is, as in QR codes.
fn after_prefix(text: &str) -> Option<&str> {
    let lower = text.strip_prefix(TICKET);
    lower.or_else(|| {
        let (ticket, _) = split_name(text);
        let capitals = !ticket.chars().any(|c| c.is_ascii_lowercase());
        text.strip_prefix(&TICKET.to_ascii_uppercase()).filter(|_| capitals)
    })
}

fn split_name(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((before, name)) => (before, Some(name)),
        None => (text, None),
    }
}

fn selector(name: Option<&str>) -> Selector {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => match name.parse::<RepositoryId>() {
            Ok(id) => by_id(&id),
            Err(_) => Selector::Name(name.to_owned()),
        },
        None => Selector::Only,
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

fn bad(text: &str, reason: &str) -> Error {
    Error::BadSource {
        text: text.chars().take(80).collect(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn peer() -> PeerId {
        Identity::passing().peer()
    }

    #[test]
    fn people_may_write_it_in_many_ways() {
        let peer = peer();
        let tcp: Multiaddr = "/ip4/192.168.1.9/tcp/4001".parse().unwrap();
        let source = |peer, addresses: &[&Multiaddr], repository| {
            let addresses = addresses.iter().map(|address| (*address).clone()).collect();
            Some(Source {
                peer,
                addresses,
                repository,
            })
        };
        let named = Selector::Name("llama".into());
        let dns: Multiaddr = "/dns/nas.local/tcp/4001".parse().unwrap();
        let relay = self::peer();
        let circuit: Multiaddr = format!("{tcp}/p2p/{relay}/p2p-circuit").parse().unwrap();
        let cases = [
            (format!("{peer}"), source(Some(peer), &[], Selector::Only)),
            (format!("{peer}/llama"), source(Some(peer), &[], named.clone())),
            (format!("{tcp}"), source(None, &[&tcp], Selector::Only)),
            (format!("{tcp}/llama"), source(None, &[&tcp], named.clone())),
            (format!("{tcp}/p2p/{peer}"), source(Some(peer), &[&tcp], Selector::Only)),
            (
                format!("{tcp}/p2p/{peer}/llama"),
                source(Some(peer), &[&tcp], named.clone()),
            ),
            (
                format!("{circuit}/p2p/{peer}/llama"),
                source(Some(peer), &[&circuit], named.clone()),
            ),
            (format!("{circuit}"), None),
            ("192.168.1.9:4001".into(), source(None, &[&tcp], Selector::Only)),
            ("nas.local:4001/llama".into(), source(None, &[&dns], named)),
            ("/srv/models".into(), None),
            ("origin".into(), None),
            ("../other".into(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(Source::parse(&text).unwrap(), expected, "{text}");
        }
        let alone = Source::parse(&format!("/p2p/{peer}")).unwrap();
        assert_eq!(alone, Source::parse(&peer.to_string()).unwrap());
        let wrong = [
            "12D3KooWnope",
            "fai1thisisnotaticketatallreally",
            // An id that is the hash of a key, and not a key: no ticket could name that peer.
            "/ip4/192.168.1.9/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        ];
        for wrong in wrong {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bootstrap_peers_are_named_in_several_ways() {
        let (one, two) = (
            format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", peer()),
            format!("/dns/relay.test/udp/4001/quic-v1/p2p/{}", peer()),
        );
        let expected: Vec<Multiaddr> = [&one, &two].iter().map(|text| text.parse().unwrap()).collect();
        for text in [
            format!("{one} {two}"),
            format!("{one},{two}"),
            format!("[\"{one}\", \"{two}\"]"),
        ] {
            assert_eq!(parse_bootstrap(&text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse_bootstrap(" ").unwrap(), []);
        let circuit = format!("{one}/p2p-circuit/p2p/{}", peer());
        for wrong in ["/ip4/192.0.2.1/tcp/4001", "192.0.2.1:4001", &circuit] {
            assert!(parse_bootstrap(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tickets_round_trip() {
        let source = Source {
            peer: Some(peer()),
            addresses: vec![
                "/ip4/10.0.0.1/tcp/4001".parse().unwrap(),
                "/ip6/fd00::1/udp/4001/quic-v1".parse().unwrap(),
            ],
            repository: by_id(&RepositoryId::from_bytes([7; 32])),
        };
        let ticket = source.to_ticket().unwrap();
        assert!(ticket.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert_eq!(Source::parse(&ticket).unwrap().as_ref(), Some(&source));
        let capitals = ticket.to_ascii_uppercase();
        assert_eq!(Source::parse(&capitals).unwrap().as_ref(), Some(&source));
        let named = Source::parse(&format!("{capitals}/llama")).unwrap().unwrap();
        assert_eq!(named.repository, Selector::Name("llama".into()));
        // Mixed, it is no ticket but may be a folder's name.
        assert_eq!(Source::parse(&ticket.replacen("fai1", "FAI1", 1)).unwrap(), None);
        let long: Multiaddr = format!("/dns/{}/tcp/1", "x".repeat(3000)).parse().unwrap();
        let far = Source {
            addresses: vec![long],
            ..source
        };
        assert_eq!(far.to_ticket(), None, "nobody could read it");
        for len in 25..ticket.len() {
            let cut = Source::parse(&ticket[..len]);
            assert!(cut.is_err(), "{cut:?}");
        }
    }
}
