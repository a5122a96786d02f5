//! Settings of DDS.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Settings of DDS, beyond those of ROS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdsSettings {
    /// The addresses of this computer whose networks DDS uses; empty: all of them.
    pub interfaces: Vec<Ipv4Addr>,
}
