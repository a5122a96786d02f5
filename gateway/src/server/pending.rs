//! Accepted connections that are not sessions yet. A newcomer never waits for a place among them: the
//! connection that has been slowest, of the address that has most of them, is closed instead.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roverline_source::clock::monotonic;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::client_address::ClientAddress;
use crate::limits;

/// Connections of one address, other than loopback, that are not sessions yet.
const PENDING_PER_ADDRESS: usize = limits::PENDING_CONNECTIONS / 2;

struct Entry {
    address: ClientAddress,
    /// When the current request, or the wait for it, began (monotonic).
    since: Duration,
    /// Whether a request is being answered: then the endpoint is slow and not the client.
    is_busy: bool,
    closed: CancellationToken,
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
        for (id, entry) in self.entries.iter().filter(|(_, entry)| !entry.is_busy) {
            let found = idle.entry(entry.address).or_insert((0, entry.since, *id));
            found.0 += 1;
            if (entry.since, *id) < (found.1, found.2) {
                (found.1, found.2) = (entry.since, *id);
            }
        }
        idle
    }

    /// The connection that a newcomer of this address replaces, if there are too many.
    fn victim(&self, address: ClientAddress) -> Option<u64> {
        if self.entries.len() < PENDING_PER_ADDRESS {
            return None;
        }
        let idle = self.idle();
        if let Some((own, _, oldest)) = idle.get(&address)
            && *own >= PENDING_PER_ADDRESS
            && !address.is_loopback()
        {
            return Some(*oldest);
        }
        let all: usize = idle.values().map(|(count, ..)| count).sum();
        let fullest =
            idle.values().max_by_key(|(count, since, id)| (*count, std::cmp::Reverse((*since, *id))));
        fullest.filter(|_| all >= limits::PENDING_CONNECTIONS).map(|(.., oldest)| *oldest)
    }
}

/// The connections that are not sessions yet.
#[derive(Default)]
pub struct PendingConnections {
    table: Mutex<Table>,
    left: Notify,
}

impl PendingConnections {
    /// Adds a connection; closes another one if there are too many, and counts it.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, evicted: &AtomicU64) -> PendingConnection {
        let address = ClientAddress::of(peer);
        let mut table = self.table.lock();
        if let Some(slowest) = table.victim(address)
            && let Some(entry) = table.entries.remove(&slowest)
        {
            entry.closed.cancel();
            evicted.fetch_add(1, Ordering::Relaxed);
        }
        let id = table.next;
        table.next += 1;
        let closed = CancellationToken::new();
        let entry = Entry { address, since: monotonic(), is_busy: false, closed: closed.clone() };
        table.entries.insert(id, entry);
        PendingConnection { all: self.clone(), id, closed }
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
    closed: CancellationToken,
}

impl PendingConnection {
    /// Returns when a newcomer needs its place.
    pub(super) async fn evicted(&self) {
        self.closed.cancelled().await;
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
        if let Some(entry) = self.all.table.lock().entries.get_mut(&self.id) {
            (entry.is_busy, entry.since) = (is_busy, monotonic());
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

    fn admit(all: &Arc<PendingConnections>, address: &str, evicted: &AtomicU64) -> PendingConnection {
        all.admit(address.parse().unwrap(), evicted)
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

    #[tokio::test]
    async fn an_address_replaces_its_own() {
        let (all, evicted) = (Arc::new(PendingConnections::default()), AtomicU64::new(0));
        let own: Vec<_> = (0..=PENDING_PER_ADDRESS).map(|_| admit(&all, "10.0.0.1", &evicted)).collect();
        own[0].evicted().await;
        assert_eq!(evicted.load(Ordering::Relaxed), 1);
        let mut idle = Box::pin(all.wait_idle());
        assert!(futures_util::poll!(&mut idle).is_pending());
        drop(own);
        idle.await;
    }
}
