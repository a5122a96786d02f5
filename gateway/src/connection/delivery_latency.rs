//! How long samples take on their last stages: in the outbox, by priority, and on their way into the socket.

use std::time::Duration;

use roverline_protocol::Priority;

use crate::histogram::{Histogram, HistogramSnapshot, LATENCY_BOUNDS_S};

/// Durations of all sessions of one endpoint.
#[derive(Debug)]
pub struct DeliveryLatency {
    outbox: [Histogram; Priority::ALL.len()],
    socket: Histogram,
}

impl Default for DeliveryLatency {
    fn default() -> DeliveryLatency {
        let empty = || Histogram::new(LATENCY_BOUNDS_S);
        DeliveryLatency { outbox: std::array::from_fn(|_| empty()), socket: empty() }
    }
}

impl DeliveryLatency {
    /// A sample of this priority was taken from its outbox after it had waited so long.
    pub(super) fn record_outbox(&self, priority: Priority, waited: Duration) {
        self.outbox[priority as usize].add(waited);
    }

    /// The socket took a batch of frames in this time.
    pub(super) fn record_socket(&self, took: Duration) {
        self.socket.add(took);
    }

    /// The waits in outboxes by priority.
    pub fn outbox(&self) -> impl Iterator<Item = (Priority, HistogramSnapshot)> + '_ {
        Priority::ALL.into_iter().map(|priority| (priority, self.outbox[priority as usize].snapshot()))
    }

    /// The times of writes.
    pub fn socket(&self) -> HistogramSnapshot {
        self.socket.snapshot()
    }
}
