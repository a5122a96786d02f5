//! The topics that a client advertises.

use std::collections::HashMap;

use roverline_source::ros::Advertised as OpenWriter;

/// The topics that a session publishes, by name.
#[derive(Debug, Default)]
pub(super) struct Publications(pub(super) HashMap<String, Advertised>);

#[derive(Clone, Debug)]
pub(super) struct Advertised {
    pub(super) type_name: String,
    pub(super) latch: bool,
    /// Keeps the topic's writer open.
    pub(super) _writer: Option<OpenWriter>,
}
