//! The queue of TLS handshakes: few are computed at a time, and few wait for that. One more is refused, and not one
//! that waits: if newcomers replaced those who wait, none of a flood would be computed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::client_address::ClientAddress;
use crate::server::tls::OpenError;

/// Handshakes computed at a time, each on a thread of its own.
const HANDSHAKES_AT_A_TIME: usize = 2;
/// Handshakes that wait for that, or are computed.
const HANDSHAKES: usize = 64;
/// Those of one address, other than loopback.
const HANDSHAKES_PER_ADDRESS: usize = 8;

/// The handshakes of one process.
#[derive(Debug)]
pub(super) struct HandshakeQueue {
    permits: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_address: HashMap<ClientAddress, usize>,
}

impl Default for HandshakeQueue {
    fn default() -> HandshakeQueue {
        HandshakeQueue { permits: Arc::new(Semaphore::new(HANDSHAKES_AT_A_TIME)), waiting: Mutex::default() }
    }
}

impl HandshakeQueue {
    /// Waits for the computation, unless too many wait already.
    pub(super) async fn acquire(&self, address: ClientAddress) -> Result<HandshakePermit<'_>, OpenError> {
        let entry = self.enter(address).ok_or(OpenError::Busy)?;
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| OpenError::Ended)?;
        Ok(HandshakePermit { _permit: permit, _entry: entry })
    }

    fn enter(&self, address: ClientAddress) -> Option<QueueEntry<'_>> {
        let mut waiting = self.waiting.lock();
        let own = waiting.by_address.get(&address).copied().unwrap_or_default();
        if waiting.all >= HANDSHAKES || (own >= HANDSHAKES_PER_ADDRESS && !address.is_loopback()) {
            return None;
        }
        waiting.all += 1;
        waiting.by_address.insert(address, own + 1);
        Some(QueueEntry { all: self, address })
    }
}

/// A handshake that may be computed, until it is dropped.
pub(super) struct HandshakePermit<'a> {
    _permit: OwnedSemaphorePermit,
    _entry: QueueEntry<'a>,
}

struct QueueEntry<'a> {
    all: &'a HandshakeQueue,
    address: ClientAddress,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        let mut waiting = self.all.waiting.lock();
        waiting.all -= 1;
        if let Some(own) = waiting.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_of_an_address_and_of_all_wait() {
        let queue = HandshakeQueue::default();
        let address = |n: u8| ClientAddress::of([10, 0, 0, n].into());
        let greedy: Vec<_> = (0..20).filter_map(|_| queue.enter(address(1))).collect();
        assert_eq!(greedy.len(), HANDSHAKES_PER_ADDRESS);
        let own = ClientAddress::of([127, 0, 0, 1].into());
        let local: Vec<_> = (0..100).filter_map(|_| queue.enter(own)).collect();
        assert_eq!(local.len(), HANDSHAKES - HANDSHAKES_PER_ADDRESS);
        assert!(matches!(queue.acquire(address(2)).await, Err(OpenError::Busy)));
        drop((greedy, local));
        let (first, _second) =
            (queue.acquire(address(2)).await.unwrap(), queue.acquire(address(2)).await.unwrap());
        let mut third = Box::pin(queue.acquire(address(2)));
        assert!(futures_util::poll!(&mut third).is_pending(), "two at a time");
        drop(first);
        third.await.unwrap();
        assert_eq!(queue.waiting.lock().by_address.len(), 1);
    }
}
