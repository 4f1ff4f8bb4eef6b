//! Whether a TCP port is free. libp2p lets several sockets listen on one port, so that what it dials comes from there, too;
//! without asking, a second peer would get every other connection of the first.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// True when another process listens on the TCP port of `address`. Two that ask at the same moment may both be told that
/// it is free: then UDP decides, where a port has one owner, if they listen there as well.
pub(super) fn is_taken(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let (host, port) = match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(host)), Some(Protocol::Tcp(port))) => (IpAddr::V4(host), port),
        (Some(Protocol::Ip6(host)), Some(Protocol::Tcp(port))) => (IpAddr::V6(host), port),
        _ => return false,
    };
    // Bound to all addresses of IPv6, a socket of the standard library would ask for those of IPv4, too.
    let host = match host {
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    // Whatever else is wrong shows when it is listened on.
    let taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
    port != 0 && TcpListener::bind(SocketAddr::new(host, port)).err().is_some_and(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_owner() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let at = |host: &str| -> Multiaddr { format!("{host}/tcp/{port}").parse().unwrap() };
        for host in ["/ip4/127.0.0.1", "/ip4/0.0.0.0"] {
            assert!(is_taken(&at(host)), "{host}");
        }
        let quic: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
        assert!(!is_taken(&quic));
        drop(taken);
        for host in ["/ip4/127.0.0.1", "/ip4/0.0.0.0", "/ip6/::"] {
            assert!(!is_taken(&at(host)), "{host}");
        }
    }
}
