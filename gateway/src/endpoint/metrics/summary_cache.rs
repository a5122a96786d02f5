//! The newest body of `GET /api/v2/metrics`: many sessions may watch it, and it is made once a second for all of them.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

/// A younger body is sent again.
const FRESH_MS: u64 = 900;

/// The body, and when it was made (monotonic).
#[derive(Default)]
pub(crate) struct SummaryCache(Mutex<Option<(Duration, Bytes)>>);

impl SummaryCache {
    /// The body if it is fresh.
    pub(crate) fn fresh(&self, now: Duration) -> Option<Bytes> {
        let (at, body) = self.0.lock().clone()?;
        (now.saturating_sub(at) < Duration::from_millis(FRESH_MS)).then_some(body)
    }

    /// Keeps a body that was made at `now`.
    pub(crate) fn store(&self, body: Bytes, now: Duration) {
        *self.0.lock() = Some((now, body));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_sent_again_for_almost_a_second() {
        let (cache, ms) = (SummaryCache::default(), Duration::from_millis);
        assert_eq!(cache.fresh(ms(5)), None);
        cache.store(Bytes::from_static(b"{}"), ms(100));
        assert!(cache.fresh(ms(100 + FRESH_MS - 1)).is_some() && cache.fresh(ms(100 + FRESH_MS)).is_none());
    }
}
