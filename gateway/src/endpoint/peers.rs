//! Peer monitoring: probes the gateway's other endpoints and covers a tier that stays down.

pub mod key;
pub mod mdns;
pub mod monitor;
pub mod networks;
pub mod probe;
pub(crate) mod promotion;
pub mod proof;
mod silent_writers;
pub(crate) mod state;
pub mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use roverline_protocol::Tier;

use crate::endpoint::peers::networks::PeerNetworks;
use crate::endpoint::peers::proof::Prover;

/// How an endpoint treats its peers.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// How long a tier may be missing before it is covered; `None` disables covering.
    pub promotion: Option<Duration>,
    /// The address of this endpoint in the directory.
    pub address: Option<String>,
    /// The rover's name.
    pub rover: String,
    /// The host to announce by mDNS while also browsing for others; `None` disables mDNS.
    pub mdns: Option<String>,
}

/// By what an endpoint recognizes peers, and proves itself to them.
#[derive(Debug)]
pub struct PeerTrust {
    /// Its own proof, with the rover's key.
    pub prover: Prover,
    /// Where peers may be that were announced or registered.
    pub networks: PeerNetworks,
}

/// The address of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's tier.
    pub tier: Tier,
    /// `host:port`.
    pub address: String,
    /// Whether it counts as missing even if it never answered, as a configured peer may. An address derived from
    /// defaults may not exist, and one that others named proves nothing.
    pub expected: bool,
}
