//! The queue of TLS handshakes: few are computed at a time, and few wait for that. Addresses take turns, so that a
//! flood from one of them does not delay the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::connection::client_address::ClientAddress;
use crate::server::tls::OpenError;

/// Handshakes computed at a time, each on a thread of its own.
const HANDSHAKES_AT_A_TIME: usize = 2;
/// Handshakes that wait for that.
const HANDSHAKES_WAITING: usize = 64;

/// The handshakes of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct HandshakeQueue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    computed: usize,
    waiting: usize,
    by_address: HashMap<ClientAddress, VecDeque<oneshot::Sender<HandshakePermit>>>,
    /// The addresses of those who wait, in the order of their turns.
    turns: VecDeque<ClientAddress>,
}

impl State {
    /// Adds one that waits. If too many do, the youngest of the address that has most of them is refused: this
    /// one, or another one if this address has fewer.
    fn enter(&mut self, address: ClientAddress) -> Result<oneshot::Receiver<HandshakePermit>, OpenError> {
        if self.waiting >= HANDSHAKES_WAITING {
            let own = self.by_address.get(&address).map_or(0, VecDeque::len);
            let most = self.by_address.values_mut().max_by_key(|waiting| waiting.len());
            let most = most.filter(|waiting| waiting.len() > own + 1).ok_or(OpenError::Busy)?;
            most.pop_back();
            self.waiting -= 1;
        }
        let (turn, permit) = oneshot::channel();
        let own = self.by_address.entry(address).or_default();
        if own.is_empty() {
            self.turns.push_back(address);
        }
        own.push_back(turn);
        self.waiting += 1;
        Ok(permit)
    }

    /// The oldest one of the address whose turn it is, if its client has not left.
    fn next(&mut self) -> Option<oneshot::Sender<HandshakePermit>> {
        while let Some(address) = self.turns.pop_front() {
            let own = self.by_address.get_mut(&address)?;
            let oldest = own.pop_front()?;
            self.waiting -= 1;
            if own.is_empty() {
                self.by_address.remove(&address);
            } else {
                self.turns.push_back(address);
            }
            if !oldest.is_closed() {
                return Some(oldest);
            }
        }
        None
    }
}

impl HandshakeQueue {
    /// Waits for the computation, unless too many wait already.
    pub(super) async fn acquire(&self, address: ClientAddress) -> Result<HandshakePermit, OpenError> {
        let permit = {
            let mut state = self.0.lock();
            if state.computed < HANDSHAKES_AT_A_TIME {
                state.computed += 1;
                return Ok(HandshakePermit(self.clone()));
            }
            state.enter(address)?
        };
        permit.await.map_err(|_| OpenError::Busy)
    }
}

/// A handshake that may be computed, until it is dropped: then the next one may.
#[derive(Debug)]
pub(super) struct HandshakePermit(HandshakeQueue);

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.0.lock();
            let next = state.next();
            state.computed -= usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // If its client leaves at this moment, the permit comes back and goes to the one after it.
            let _ = next.send(HandshakePermit(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    fn address(n: u8) -> ClientAddress {
        ClientAddress::of([10, 0, 0, n].into())
    }

    /// A queue whose permits are all given, and these permits.
    async fn busy() -> (HandshakeQueue, Vec<HandshakePermit>) {
        let queue = HandshakeQueue::default();
        let mut permits = Vec::new();
        for _ in 0..HANDSHAKES_AT_A_TIME {
            permits.push(queue.acquire(address(1)).await.unwrap());
        }
        (queue, permits)
    }

    #[tokio::test]
    async fn addresses_take_turns() {
        let (queue, mut permits) = busy().await;
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(queue.acquire(address(1)))).collect();
        for waits in &mut flood {
            assert!(poll!(waits).is_pending());
        }
        let mut other = Box::pin(queue.acquire(address(2)));
        assert!(poll!(&mut other).is_pending(), "{HANDSHAKES_AT_A_TIME} at a time");
        drop(permits.pop());
        let first = poll!(&mut flood[0]);
        assert!(first.is_ready());
        drop(first);
        assert!(poll!(&mut other).is_ready(), "after one of the flood, not after ten");
    }

    #[tokio::test]
    async fn the_address_that_has_most_makes_room() {
        let (queue, permits) = busy().await;
        let mut flood: Vec<_> =
            (0..HANDSHAKES_WAITING).map(|_| Box::pin(queue.acquire(address(1)))).collect();
        for waits in &mut flood {
            assert!(poll!(waits).is_pending());
        }
        assert!(matches!(queue.acquire(address(1)).await, Err(OpenError::Busy)));
        let mut other = Box::pin(queue.acquire(address(2)));
        assert!(poll!(&mut other).is_pending());
        let mut youngest = flood.pop().unwrap();
        assert!(matches!(poll!(&mut youngest), Poll::Ready(Err(OpenError::Busy))));
        assert_eq!(queue.0.lock().waiting, HANDSHAKES_WAITING);
        drop((flood, permits));
        other.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_keeps_no_permit() {
        let (queue, permits) = busy().await;
        let mut leaves: Vec<_> = (0..5).map(|_| Box::pin(queue.acquire(address(3)))).collect();
        for waits in &mut leaves {
            assert!(poll!(waits).is_pending());
        }
        drop(leaves.pop());
        // Two of them are given a permit, and leave before they look.
        drop(permits);
        drop(leaves);
        let state = queue.0.lock();
        assert_eq!((state.computed, state.waiting, state.by_address.len(), state.turns.len()), (0, 0, 0, 0));
    }
}
