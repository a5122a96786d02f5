//! The topics that a client advertises.

use std::collections::HashMap;

/// The topics that a session publishes, by name.
#[derive(Debug, Default)]
pub(super) struct Publications(pub(super) HashMap<String, Advertised>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Advertised {
    pub(super) type_name: String,
    pub(super) latch: bool,
}
