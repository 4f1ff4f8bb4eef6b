//! Why a peer could not be reached, in words: libp2p wraps the cause several times and repeats itself.

use std::error::Error as StdError;
use std::io;

use libp2p::relay::outbound::hop::ConnectError;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, TransportError};

use super::address::is_relayed;

/// The real cause of a failed dial.
pub fn of_dial(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "that is this peer itself".to_owned(),
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::WrongPeerId { obtained, .. } => format!("another peer answers there: {obtained}"),
        DialError::Denied { cause } => StdError::source(cause).map_or_else(|| cause.to_string(), ToString::to_string),
        DialError::Transport(attempts) => {
            let mut all: Vec<String> = attempts.iter().map(of_attempt).collect();
            all.sort();
            all.dedup();
            all.join("; ")
        }
        other => other.to_string(),
    }
}

fn of_attempt((address, error): &(Multiaddr, TransportError<io::Error>)) -> String {
    let place = address.to_string();
    let place = place.split("/p2p/").next().unwrap_or_default();
    match is_relayed(address) {
        true => format!("the relay at {place}: {}", of_transport(error)),
        false => format!("{place}: {}", of_transport(error)),
    }
}

/// The real cause of a failure to listen or to reach an address.
pub fn of_transport(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "this kind of address is not supported".to_owned(),
        TransportError::Other(error) => root(error),
    }
}

/// The innermost error: an `io::Error` hides what it wraps from `source`.
fn root(error: &(dyn StdError + 'static)) -> String {
    let inner = match error.downcast_ref::<io::Error>() {
        Some(io) => match io.get_ref() {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => return io.to_string(),
        },
        None => error.source(),
    };
    match error.downcast_ref() {
        Some(ConnectError::NoReservation) => return "that peer has no place here".to_owned(),
        Some(ConnectError::ResourceLimitExceeded) => return "carries too many connections already".to_owned(),
        Some(ConnectError::Unsupported) => return "carries no connections of others".to_owned(),
        _ => {}
    }
    inner.map_or_else(|| error.to_string(), root)
}
