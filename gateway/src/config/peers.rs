//! Settings of the endpoints' relation to each other.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How the endpoints of one rover recognize each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersSettings {
    /// The file with the rover's key; absent: `peers.key` in the state directory, generated at first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The networks in which peers may be that announce themselves or are registered; empty: this
    /// computer's networks and loopback.
    pub networks: Vec<String>,
}

impl PeersSettings {
    /// The configured networks; an error is a key and a message.
    pub fn networks(&self) -> Result<Vec<IpNet>, (&'static str, String)> {
        let parse = |text: &String| {
            let one = text.parse::<IpAddr>().ok().map(IpNet::from);
            let why = || format!("'{text}': write networks such as 192.168.1.0/24 or fd00::/64");
            one.or_else(|| text.parse().ok()).ok_or_else(|| ("networks", why()))
        };
        self.networks.iter().map(parse).collect()
    }
}
