//! Peers: addresses that are contacted without multicast.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs};

use crate::error::Error;

/// The address of a peer, with the port if one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: Option<u16>,
}

/// Resolves a peer: an IPv4 address or a host name, with or without `:port`. So no text that was given gets into the
/// configuration.
pub(crate) fn resolve(peer: &str) -> Result<PeerAddress, Error> {
    let error = |reason: &str| Error::Peer { peer: peer.to_owned(), reason: reason.to_owned() };
    if let Ok(address) = peer.parse::<Ipv4Addr>() {
        return Ok(PeerAddress { address, port: None });
    }
    if let Ok(address) = peer.parse::<SocketAddrV4>() {
        return Ok(PeerAddress { address: *address.ip(), port: Some(address.port()) });
    }
    let (host, port) = match peer.split_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| error("its port is no number"))?)),
        None => (peer, None),
    };
    let found = (host, port.unwrap_or(0)).to_socket_addrs().map_err(|cause| error(&cause.to_string()))?;
    let address = found.map(|found: SocketAddr| found.ip()).find_map(|found| match found {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    address.map(|address| PeerAddress { address, port }).ok_or_else(|| error("it has no IPv4 address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_with_and_without_a_port() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        assert_eq!(resolve("192.0.2.7").unwrap(), PeerAddress { address, port: None });
        assert_eq!(resolve("192.0.2.7:7412").unwrap(), PeerAddress { address, port: Some(7412) });
        let local = PeerAddress { address: Ipv4Addr::LOCALHOST, port: Some(7410) };
        assert_eq!(resolve("localhost:7410").unwrap(), local);
    }

    #[test]
    fn what_is_no_peer_is_refused_by_name() {
        for peer in
            ["", "::1", "[::1]:7400", "10.0.0.1:x", "10.0.0.1:70000", "a b", "<x/>", "${HOME}", "'\"&"]
        {
            let error = resolve(peer).unwrap_err();
            assert!(matches!(&error, Error::Peer { peer: named, .. } if named == peer), "{peer}: {error}");
        }
    }
}
