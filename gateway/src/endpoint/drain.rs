//! Leaving in order: an endpoint that ends soon asks its clients to go, and another process accepts
//! at the same address already.

use std::time::Duration;

use roverline_protocol::status::EventKind;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Facts};

/// Clients are to be gone by a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    deadline: Instant,
}

impl Drain {
    /// How long they still have.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Endpoint {
    /// Turns into the time left when the endpoint drains; has changed from the first when it already
    /// does.
    pub fn draining(&self) -> watch::Receiver<Option<Drain>> {
        let mut drain = self.drain.subscribe();
        if drain.borrow().is_some() {
            drain.mark_changed();
        }
        drain
    }

    /// Whether clients have been asked to leave.
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Asks every client to leave within `window`. No connection is accepted any more.
    pub fn drain(&self, window: Duration) {
        if self.is_draining() {
            return;
        }
        self.drain.send_replace(Some(Drain { deadline: Instant::now() + window }));
        let cause = format!("a new process takes over; {} clients have {window:?}", self.clients());
        self.events.note(EventKind::Drain, &cause, Facts::default());
        self.directory.send_if_modified(|directory| {
            let mut entries = directory.as_ref().clone();
            let own = entries.iter_mut().find(|entry| entry.tier == self.tier && !entry.draining);
            let Some(own) = own else { return false };
            own.draining = true;
            *directory = entries.into();
            true
        });
    }

    /// Resolves when a session has to go: at `slot` of the window, 0 its start and 1 its end. Clients
    /// that cannot be asked get slots at random, so that they do not all come back at once.
    pub async fn time_to_leave(&self, slot: f64) {
        let mut draining = self.draining();
        let Ok(left) = draining.wait_for(Option::is_some).await.map(|drain| drain.map(|drain| drain.left()))
        else {
            return std::future::pending().await;
        };
        tokio::time::sleep(left.unwrap_or_default().mul_f64(slot.clamp(0.0, 1.0))).await;
    }

    /// Waits until the clients are gone, or should have been for `grace`.
    pub(crate) async fn clients_gone(&self, pending: &crate::server::listener::Pending, grace: Duration) {
        let left = (*self.drain.borrow()).map(|drain| drain.left()).unwrap_or_default();
        let gone = async {
            pending.settled().await;
            while self.clients() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(left + grace, gone).await;
    }
}
