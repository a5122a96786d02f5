//! Graceful shutdown: a draining endpoint asks its clients to leave within a time window, while another
//! process already accepts at the same address.

use std::time::Duration;

use roverline_protocol::status::EventKind;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::endpoint::events::EventDetails;

/// The deadline by which clients must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    deadline: Instant,
}

impl Drain {
    /// The time left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Endpoint {
    /// A receiver of the drain state, marked as changed from the start if the endpoint is already draining.
    pub fn draining(&self) -> watch::Receiver<Option<Drain>> {
        let mut drain = self.drain.subscribe();
        if drain.borrow().is_some() {
            drain.mark_changed();
        }
        drain
    }

    /// Whether the endpoint is draining.
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Asks every client to leave within `window` and stops accepting connections.
    pub fn drain(&self, window: Duration) {
        if self.is_draining() {
            return;
        }
        self.drain.send_replace(Some(Drain { deadline: Instant::now() + window }));
        let clients = self.capacity.clients();
        let cause = format!("a new process takes over; {clients} clients have {window:?}");
        self.events.record(EventKind::Drain, &cause, EventDetails::default());
        self.directory.send_if_modified(|directory| {
            let mut entries = directory.as_ref().clone();
            let own = entries.iter_mut().find(|entry| entry.tier == self.tier && !entry.draining);
            let Some(own) = own else { return false };
            own.draining = true;
            *directory = entries.into();
            true
        });
    }

    /// Resolves when a session has to close: at the fraction `slot` of the window, from 0 (start) to 1 (end).
    /// Clients without a drain message get random slots so that they do not all reconnect at once.
    pub async fn drain_deadline(&self, slot: f64) {
        let mut draining = self.draining();
        let Ok(left) = draining.wait_for(Option::is_some).await.map(|drain| drain.map(|drain| drain.left()))
        else {
            return std::future::pending().await;
        };
        tokio::time::sleep(left.unwrap_or_default().mul_f64(slot.clamp(0.0, 1.0))).await;
    }

    /// Waits until pending connections are `settled` and the clients are gone, at most until `grace` after
    /// the deadline.
    pub async fn wait_drained(&self, settled: impl Future<Output = ()>, grace: Duration) {
        let left = (*self.drain.borrow()).map(|drain| drain.left()).unwrap_or_default();
        let gone = async {
            settled.await;
            self.capacity.wait_without_clients().await;
        };
        let _ = tokio::time::timeout(left + grace, gone).await;
    }
}
