//! The endpoint's session capacity: slots for clients, and slots for standbys. A standby belongs to a
//! client of another endpoint, costs little, and becomes a client when that endpoint is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Standby sessions per endpoint, as a multiple of its clients: each client of the three other
/// endpoints may hold one here.
const STANDBYS_PER_CLIENT: usize = 4;
/// Overload factor for standbys that take over: rejecting clients that lost their endpoint would be
/// worse than exceeding the configured number of clients.
const FAILOVER_RESERVE_MULTIPLE: usize = 2;
/// Interval at which an endpoint records that it rejects clients.
const FULL_EVENT_MS: u64 = 5_000;

/// The slots of an endpoint and how many of them are in use.
pub struct Capacity {
    max_clients: usize,
    clients: AtomicUsize,
    standbys: AtomicUsize,
    released: Notify,
    /// When the endpoint was last reported as full, in milliseconds (monotonic) plus one.
    reported_full_ms: AtomicU64,
}

/// Takes one of `most` slots; returns false if all are taken.
fn acquire(slots: &AtomicUsize, most: usize) -> bool {
    slots.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).is_ok()
}

impl Capacity {
    /// Slots for this many clients.
    pub fn new(max_clients: usize) -> Arc<Capacity> {
        Arc::new(Capacity {
            max_clients,
            clients: AtomicUsize::new(0),
            standbys: AtomicUsize::new(0),
            released: Notify::new(),
            reported_full_ms: AtomicU64::new(0),
        })
    }

    /// Maximum number of clients.
    pub fn max_clients(&self) -> usize {
        self.max_clients
    }

    /// The current number of clients, including connections in their handshake, without standbys.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// The current number of standbys.
    pub fn standbys(&self) -> usize {
        self.standbys.load(Ordering::Relaxed)
    }

    /// Reserves a client slot, which is released on drop; `None` if all are taken.
    pub fn reserve(self: &Arc<Self>) -> Option<SessionSlot> {
        acquire(&self.clients, self.max_clients).then(|| self.slot(false))
    }

    /// Reserves a standby slot.
    pub fn reserve_standby(self: &Arc<Self>) -> Option<SessionSlot> {
        acquire(&self.standbys, self.max_standbys()).then(|| self.slot(true))
    }

    fn slot(self: &Arc<Self>, standby: bool) -> SessionSlot {
        SessionSlot {
            capacity: self.clone(),
            may_stand_by: standby,
            standby: AtomicBool::new(standby),
            resumed: AtomicBool::new(false),
        }
    }

    fn max_standbys(&self) -> usize {
        self.max_clients.saturating_mul(STANDBYS_PER_CLIENT)
    }

    /// Whether a rejection at `now_ms` (monotonic) is to be reported; true at a limited rate.
    pub(super) fn reports_full(&self, now_ms: u64) -> bool {
        let reported = self.reported_full_ms.load(Ordering::Relaxed);
        let is_due = reported == 0 || now_ms + 1 - reported >= FULL_EVENT_MS;
        if is_due {
            self.reported_full_ms.store(now_ms + 1, Ordering::Relaxed);
        }
        is_due
    }

    /// Waits until there are no clients.
    pub async fn wait_without_clients(&self) {
        self.wait_until(|| self.clients() == 0).await;
    }

    /// Waits until there are neither clients nor standbys.
    pub async fn wait_empty(&self) {
        self.wait_until(|| self.clients() + self.standbys() == 0).await;
    }

    async fn wait_until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Registered before the condition is checked, so that no release is missed.
            released.as_mut().enable();
            if condition() {
                return;
            }
            released.await;
        }
    }
}

/// A session's slot among the clients or the standbys, released on drop.
pub struct SessionSlot {
    capacity: Arc<Capacity>,
    may_stand_by: bool,
    standby: AtomicBool,
    resumed: AtomicBool,
}

impl SessionSlot {
    /// Whether the session is a standby.
    pub fn is_standby(&self) -> bool {
        self.standby.load(Ordering::Relaxed)
    }

    /// Records that the client resumed here after losing its endpoint.
    pub fn mark_resumed(&self) {
        self.resumed.store(true, Ordering::Relaxed);
    }

    /// Turns a standby into a client; returns false if the endpoint is full. Resuming clients may use a
    /// reserve.
    pub fn become_client(&self) -> bool {
        if !self.is_standby() {
            return true;
        }
        let reserve = if self.resumed.load(Ordering::Relaxed) { FAILOVER_RESERVE_MULTIPLE } else { 1 };
        let capacity = &self.capacity;
        if !acquire(&capacity.clients, capacity.max_clients.saturating_mul(reserve)) {
            return false;
        }
        self.standby.store(false, Ordering::Relaxed);
        capacity.standbys.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Turns a client that started as a standby back into one.
    pub fn become_standby(&self) {
        if !self.may_stand_by || self.is_standby() {
            return;
        }
        let capacity = &self.capacity;
        if acquire(&capacity.standbys, capacity.max_standbys()) {
            self.standby.store(true, Ordering::Relaxed);
            capacity.clients.fetch_sub(1, Ordering::Relaxed);
            capacity.released.notify_waiters();
        }
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        let capacity = &self.capacity;
        let slots = if self.is_standby() { &capacity.standbys } else { &capacity.clients };
        slots.fetch_sub(1, Ordering::Relaxed);
        capacity.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resuming_standby_may_use_the_reserve() {
        let capacity = Capacity::new(1);
        let client = capacity.reserve().unwrap();
        assert!(capacity.reserve().is_none());
        let standby = capacity.reserve_standby().unwrap();
        assert!(!standby.become_client());
        standby.mark_resumed();
        assert!(standby.become_client());
        assert_eq!((capacity.clients(), capacity.standbys()), (2, 0));
        standby.become_standby();
        client.become_standby();
        assert_eq!((capacity.clients(), capacity.standbys()), (1, 1));
    }

    #[tokio::test]
    async fn the_last_release_is_noticed() {
        let capacity = Capacity::new(2);
        let (client, standby) = (capacity.reserve().unwrap(), capacity.reserve_standby().unwrap());
        let mut empty = Box::pin(capacity.wait_empty());
        drop(client);
        capacity.wait_without_clients().await;
        assert!(futures_util::poll!(&mut empty).is_pending());
        drop(standby);
        empty.await;
    }
}
