//! A session's bandwidth budget: its own token bucket, and its share of the endpoint's.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::budget::{ByteRate, FairBucket, TokenBucket, Urgency, cost};

/// The endpoint's shared token bucket and its fill rate.
#[derive(Clone)]
pub struct SharedBudget {
    rate: ByteRate,
    bucket: Arc<Mutex<FairBucket>>,
}

impl SharedBudget {
    /// Creates a bucket for all sessions of an endpoint.
    pub fn new(rate: ByteRate) -> SharedBudget {
        let bucket = FairBucket::new(rate, roverline_source::clock::monotonic());
        SharedBudget { rate, bucket: Arc::new(Mutex::new(bucket)) }
    }
}

/// The budget of one session.
pub(crate) struct Budget {
    session: u64,
    own: Option<(ByteRate, TokenBucket)>,
    shared: Option<SharedBudget>,
}

impl Budget {
    /// Returns `None` if neither limit applies.
    pub(crate) fn new(
        session: u64,
        own: Option<ByteRate>,
        shared: Option<SharedBudget>,
        now: Duration,
    ) -> Option<Budget> {
        let own = own.map(|rate| (rate, TokenBucket::new(rate, now)));
        (own.is_some() || shared.is_some()).then_some(Budget { session, own, shared })
    }

    /// The largest frame that does not occupy the link for too long, bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        let rates = self.own.iter().map(|(rate, _)| *rate).chain(self.shared.iter().map(|s| s.rate));
        rates.map(ByteRate::frame_bytes).min().unwrap_or(usize::MAX)
    }

    /// Charges a frame of this length, or returns how long to wait before trying again.
    pub(crate) fn charge(&mut self, length: usize, urgency: Urgency, now: Duration) -> Option<Duration> {
        let cost = cost(length);
        let mut wait = self.own.as_mut().map_or(Duration::ZERO, |(_, own)| own.wait(cost, urgency, now));
        if let Some(shared) = &self.shared
            && wait.is_zero()
        {
            let mut bucket = shared.bucket.lock();
            wait = bucket.wait(self.session, cost, urgency, now);
            if wait.is_zero() {
                bucket.spend(self.session, cost);
            }
        }
        if !wait.is_zero() {
            return Some(wait);
        }
        if let Some((_, own)) = &mut self.own {
            own.spend(cost);
        }
        None
    }

    /// Reports that no frame is waiting.
    pub(crate) fn idle(&mut self) {
        if let Some(shared) = &self.shared {
            shared.bucket.lock().idle(self.session);
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.bucket.lock().leave(self.session);
        }
    }
}
