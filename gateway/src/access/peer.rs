//! The client at the other end of a request, as far as its address and its browser show it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::access::Page;
use crate::access::forwarded::Via;

/// A client's address, how its request came, and which page made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    via: Via,
    page: Page,
}

impl Peer {
    /// A client at this address.
    pub fn new(address: SocketAddr, via: Via, page: Page) -> Peer {
        Peer { address, via, page }
    }

    /// A client that is connected from this address, without a browser.
    pub fn direct(address: SocketAddr) -> Peer {
        Peer::new(address, Via::Direct, Page::Own)
    }

    /// Its address, which every bound per address counts.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// How its request came here.
    pub fn via(&self) -> Via {
        self.via
    }

    /// The page that made the request.
    pub fn page(&self) -> Page {
        self.page
    }

    /// Whether it runs on this computer. A client behind a proxy never counts as local: a tunnel
    /// in front of the proxy would look the same.
    pub fn is_local(&self) -> bool {
        self.via == Via::Direct && self.ip().to_canonical().is_loopback()
    }

    /// Whether the certificate of its connection is its own. A browser shows its user's on behalf of every page,
    /// and a proxy its own on behalf of every client.
    pub fn shows_own_certificate(&self) -> bool {
        self.via == Via::Direct && self.page == Page::Own
    }
}

impl fmt::Display for Peer {
    /// The address; without a port if a proxy did not say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.port() {
            0 => self.ip().fmt(f),
            _ => self.address.fmt(f),
        }
    }
}
