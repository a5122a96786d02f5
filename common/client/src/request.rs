//! Requests from the handle to the manager.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use roverline_protocol::native::ClientMessage;
use roverline_protocol::trace::SampleTimes;

use crate::publications::Publications;
use crate::stop::StopRequests;
use crate::subscriptions::Subscriptions;

/// A request from a [`Link`](crate::Link) to its manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Schema {
        type_name: String,
    },
    Submit {
        id: u64,
        message: ClientMessage,
    },
    Unwatch {
        id: u64,
    },
    /// Sends the newest messages that are published.
    Publish,
    SampleTimes {
        connection: u64,
        times: SampleTimes,
    },
    /// Closes the connections that have sent spans, and ends the link.
    Close,
}

/// Requests that the handles share with the manager instead of sending them.
pub(crate) struct SharedRequests {
    pub(crate) stops: StopRequests,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) publications: Publications,
    /// Requests that the full queue did not take.
    pub(crate) lost: Arc<AtomicUsize>,
}
