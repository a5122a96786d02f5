//! Requests from the handle to the manager.

use roverline_protocol::native::ClientMessage;

/// A request from a [`Link`](crate::Link) to its manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Schema { type_name: String },
    Submit { id: u64, message: ClientMessage },
    Unwatch { id: u64 },
}
