//! Configuration of a DDS participant, with and without the `dds` feature.

use std::net::IpAddr;

/// A DDS implementation. Both are built into a gateway with the feature `cyclone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DdsEngine {
    /// RustDDS.
    #[default]
    RustDds,
    /// Eclipse CycloneDDS.
    Cyclone,
}

impl DdsEngine {
    /// Whether this build has it.
    pub fn is_built(self) -> bool {
        match self {
            DdsEngine::RustDds => cfg!(feature = "dds"),
            DdsEngine::Cyclone => cfg!(feature = "cyclone"),
        }
    }

    /// Its name in the configuration and the logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DdsEngine::RustDds => "rustdds",
            DdsEngine::Cyclone => "cyclone",
        }
    }
}

/// Configuration of a DDS participant.
#[derive(Clone, Debug)]
pub struct DdsOptions {
    /// The implementation.
    pub engine: DdsEngine,
    /// `ROS_DOMAIN_ID`, 0 to 232.
    pub domain_id: u16,
    /// The gateway's node name in the ROS graph; if empty, no node is announced.
    pub node_name: String,
    /// The namespace of that node; empty means `/`.
    pub namespace: String,
    /// `ROS_DISTRO`, empty if unset. It determines the format of our entry in the ROS graph; if empty,
    /// the format of the first entry received from another participant is used.
    pub ros_distro: String,
    /// Restricts traffic to this computer (`ROS_LOCALHOST_ONLY`).
    pub localhost_only: bool,
    /// Whether to find others by multicast; off: only those in `peers`.
    pub multicast: bool,
    /// Addresses or names of computers that multicast does not reach.
    pub peers: Vec<String>,
    /// Uses only the interfaces with these addresses; empty means all.
    pub networks: Vec<IpAddr>,
    /// The emergency stop's topic, which may always be published regardless of the writer limits.
    pub reserved_topic: String,
}

impl Default for DdsOptions {
    fn default() -> Self {
        DdsOptions {
            engine: DdsEngine::default(),
            domain_id: 0,
            node_name: String::new(),
            namespace: String::new(),
            ros_distro: String::new(),
            localhost_only: false,
            multicast: true,
            peers: Vec::new(),
            networks: Vec::new(),
            reserved_topic: String::new(),
        }
    }
}
