//! Configuration of a DDS participant, with and without the `dds` feature.

use std::net::IpAddr;

/// Configuration of a DDS participant.
#[derive(Clone, Debug, Default)]
pub struct DdsOptions {
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
    /// Uses only the interfaces with these addresses; empty means all.
    pub networks: Vec<IpAddr>,
    /// The emergency stop's topic, which may always be published regardless of the writer limits.
    pub reserved_topic: String,
}
