//! Limits used by several modules of the sources, together with those shared with other crates.

pub(crate) use roverline_protocol::limits::*;

/// How long a call waits for a service that no node is known to provide.
pub(crate) const SERVICE_GRACE_MS: u64 = 1_000;
/// Pending requests to services advertised by clients, per endpoint.
#[cfg(feature = "dds")]
pub(crate) const WAITING_REQUESTS: usize = 256;
/// Subscriptions of one endpoint that bypass its hub: for goals and parameters.
pub(crate) const LISTENERS: usize = 128;
/// Goals of a client's action, including recently finished ones.
pub(crate) const GOALS_PER_ACTION: usize = 64;
/// Pending requests for the result of one goal.
pub(crate) const REQUESTS_PER_GOAL: usize = 8;
/// Parameters read from one node.
pub(crate) const PARAMETERS_PER_NODE: usize = 4_096;
/// Unconfirmed emergency stops in one relay.
pub(crate) const STOPS_WAITING_ENTRIES: usize = 64;
/// Size of the command file of one run; when it is full, further commands are rejected.
pub(crate) const PLAYBACK_FILE_BYTES: u64 = 8 << 20;
/// Requests of one service that are sent and not answered. The reader of a ROS 2 server keeps ten by default, from all
/// clients together, and loses what comes on top (`rmw_qos_profile_services_default`).
#[cfg(any(feature = "dds", feature = "r2r"))]
pub(crate) const UNANSWERED_REQUESTS: usize = 8;
