//! Accepted connections that are not sessions yet. A newcomer never waits for a slot among them: the
//! connection that has been slowest, of the address that has most of them, is closed instead. A request that
//! has arrived is answered all the same.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_source::clock::monotonic;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::client_address::ClientAddress;
use crate::limits;

/// Connections of one address, other than loopback, that are not sessions yet.
const PENDING_PER_ADDRESS: usize = limits::PENDING_CONNECTIONS / 2;
/// How long a connection may be idle before it counts as slow: a request follows its connection a little later,
/// and on a busy computer much later.
const SLOW_AFTER: Duration = Duration::from_millis(250);
/// Connections beyond which even the youngest may have to go, as a multiple of the others' limit.
const BURST_MULTIPLE: usize = 4;

struct Entry {
    address: ClientAddress,
    /// When the current request, or the wait for it, began (monotonic).
    since: Duration,
    /// Whether a request is being answered: then the endpoint is slow and not the client.
    is_busy: Arc<AtomicBool>,
    closed: CancellationToken,
}

impl Entry {
    /// Whether the endpoint waits for its client.
    fn is_idle(&self) -> bool {
        !self.is_busy.load(Ordering::Relaxed) && !self.closed.is_cancelled()
    }
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    next: u64,
}

impl Table {
    /// Idle connections of each address: their number, and the oldest with its beginning.
    fn idle(&self) -> HashMap<ClientAddress, (usize, Duration, u64)> {
        let mut idle: HashMap<ClientAddress, (usize, Duration, u64)> = HashMap::new();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.is_idle()) {
            let found = idle.entry(entry.address).or_insert((0, entry.since, *id));
            found.0 += 1;
            if (entry.since, *id) < (found.1, found.2) {
                (found.1, found.2) = (entry.since, *id);
            }
        }
        idle
    }

    /// The connection that a newcomer of this address replaces, if there are too many.
    fn victim(&self, address: ClientAddress, now: Duration) -> Option<u64> {
        if self.entries.len() < PENDING_PER_ADDRESS {
            return None;
        }
        let idle = self.idle();
        let all: usize = idle.values().map(|(count, ..)| count).sum();
        let is_burst = all >= limits::PENDING_CONNECTIONS * BURST_MULTIPLE;
        let is_slow = |since: Duration| is_burst || now.saturating_sub(since) >= SLOW_AFTER;
        if let Some((own, since, oldest)) = idle.get(&address)
            && *own >= PENDING_PER_ADDRESS
            && !address.is_loopback()
            && is_slow(*since)
        {
            return Some(*oldest);
        }
        if all < limits::PENDING_CONNECTIONS {
            return None;
        }
        let slow = idle.values().filter(|(_, since, _)| is_slow(*since));
        slow.max_by_key(|(count, since, id)| (*count, std::cmp::Reverse((*since, *id)))).map(|(.., id)| *id)
    }
}

/// The connections that are not sessions yet.
#[derive(Default)]
pub struct PendingConnections {
    table: Mutex<Table>,
    left: Notify,
}

impl PendingConnections {
    /// Adds a connection at `now` (monotonic); closes another one if there are too many, and counts it.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        now: Duration,
        evicted: &AtomicU64,
    ) -> PendingConnection {
        let address = ClientAddress::of(peer);
        let mut table = self.table.lock();
        if let Some(slowest) = table.victim(address, now)
            && let Some(entry) = table.entries.get(&slowest)
        {
            entry.closed.cancel();
            evicted.fetch_add(1, Ordering::Relaxed);
        }
        let id = table.next;
        table.next += 1;
        let (closed, is_busy) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let entry = Entry { address, since: now, is_busy: is_busy.clone(), closed: closed.clone() };
        table.entries.insert(id, entry);
        PendingConnection { all: self.clone(), id, is_busy, closed }
    }

    /// Waits until each of them has become a session or closed.
    pub(crate) async fn wait_idle(&self) {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            // Registered before the table is read, so that no departure is missed.
            left.as_mut().enable();
            if self.table.lock().entries.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// A connection's entry, removed on drop.
pub(super) struct PendingConnection {
    all: Arc<PendingConnections>,
    id: u64,
    is_busy: Arc<AtomicBool>,
    closed: CancellationToken,
}

impl PendingConnection {
    /// Returns when a newcomer needs its slot, but not while a request is being answered. True if there was
    /// one: its response may still be on the way. For the task that answers.
    pub(super) async fn evicted(&self) -> bool {
        self.closed.cancelled().await;
        let mut was_busy = false;
        std::future::poll_fn(|_| {
            let is_busy = self.is_busy.load(Ordering::Relaxed);
            was_busy |= is_busy;
            // The end of the answer polls this task again.
            if is_busy { Poll::Pending } else { Poll::Ready(was_busy) }
        })
        .await
    }

    /// Marks it as busy until the guard is dropped.
    pub(super) fn answering(&self) -> Answering<'_> {
        self.set_busy(true);
        Answering(self)
    }

    /// Counts it for the client that a proxy connected it for.
    pub(super) fn belongs_to(&self, client: IpAddr) {
        if let Some(entry) = self.all.table.lock().entries.get_mut(&self.id) {
            entry.address = ClientAddress::of(client);
        }
    }

    fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
        if let Some(entry) = self.all.table.lock().entries.get_mut(&self.id) {
            entry.since = monotonic();
        }
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.all.table.lock().entries.remove(&self.id);
        self.all.left.notify_waiters();
    }
}

/// A request that is being answered.
pub(super) struct Answering<'a>(&'a PendingConnection);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.set_busy(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn admit_at(
        all: &Arc<PendingConnections>,
        now: Duration,
        address: &str,
        evicted: &AtomicU64,
    ) -> PendingConnection {
        all.admit(address.parse().unwrap(), now, evicted)
    }

    /// All others are slow by the time that a newcomer comes.
    fn admit(all: &Arc<PendingConnections>, address: &str, evicted: &AtomicU64) -> PendingConnection {
        let count = all.table.lock().next as u32;
        admit_at(all, START + SLOW_AFTER * count, address, evicted)
    }

    #[tokio::test]
    async fn the_slowest_of_the_greediest_address_makes_room() {
        let (all, evicted) = (Arc::new(PendingConnections::default()), AtomicU64::new(0));
        let early = admit(&all, "10.0.0.1", &evicted);
        let half = limits::PENDING_CONNECTIONS / 2;
        let greedy: Vec<_> = (0..half + 20).map(|_| admit(&all, "127.0.0.1", &evicted)).collect();
        let rest = limits::PENDING_CONNECTIONS - greedy.len() - 1;
        let others: Vec<_> = (0..rest).map(|_| admit(&all, "10.0.0.2", &evicted)).collect();
        assert_eq!(evicted.load(Ordering::Relaxed), 0);
        let answering = greedy[0].answering();
        let _newcomer = admit(&all, "10.0.0.3", &evicted);
        let _newcomer = admit(&all, "10.0.0.3", &evicted);
        assert_eq!(evicted.load(Ordering::Relaxed), 1, "a busy connection does not count");
        assert!(!greedy[0].closed.is_cancelled() && greedy[1].closed.is_cancelled());
        assert!(!early.closed.is_cancelled() && others.iter().all(|other| !other.closed.is_cancelled()));
        drop(answering);
    }

    #[test]
    fn what_has_just_come_is_not_slow() {
        let (all, evicted) = (Arc::new(PendingConnections::default()), AtomicU64::new(0));
        let burst: Vec<_> = (0..limits::PENDING_CONNECTIONS * BURST_MULTIPLE)
            .map(|_| admit_at(&all, START, "127.0.0.1", &evicted))
            .collect();
        assert_eq!(evicted.load(Ordering::Relaxed), 0, "their requests are on the way");
        let _newcomer = admit_at(&all, START, "127.0.0.1", &evicted);
        assert_eq!(evicted.load(Ordering::Relaxed), 1, "a burst is bounded");
        let _newcomer = admit_at(&all, START + SLOW_AFTER, "127.0.0.1", &evicted);
        assert_eq!(evicted.load(Ordering::Relaxed), 2, "all of them are slow now");
        assert_eq!(burst.iter().filter(|entry| entry.closed.is_cancelled()).count(), 2);
    }

    #[tokio::test]
    async fn a_request_that_has_arrived_is_answered_first() {
        let (all, evicted) = (Arc::new(PendingConnections::default()), AtomicU64::new(0));
        let own: Vec<_> = (0..=PENDING_PER_ADDRESS).map(|_| admit(&all, "10.0.0.1", &evicted)).collect();
        let answering = own[0].answering();
        let mut leaves = Box::pin(own[0].evicted());
        assert!(futures_util::poll!(&mut leaves).is_pending());
        drop(answering);
        assert!(leaves.await, "its response may still be on the way");
    }

    #[tokio::test]
    async fn an_address_replaces_its_own() {
        let (all, evicted) = (Arc::new(PendingConnections::default()), AtomicU64::new(0));
        let own: Vec<_> = (0..=PENDING_PER_ADDRESS).map(|_| admit(&all, "10.0.0.1", &evicted)).collect();
        assert!(!own[0].evicted().await);
        assert_eq!(evicted.load(Ordering::Relaxed), 1);
        let mut idle = Box::pin(all.wait_idle());
        assert!(futures_util::poll!(&mut idle).is_pending());
        drop(own);
        idle.await;
    }
}
