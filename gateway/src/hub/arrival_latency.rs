//! How long samples take on their first stages: from their publisher to the gateway, and in the ingress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{Histogram, HistogramSnapshot, LATENCY_BOUNDS_S};

/// A longer way from the publisher, or one into the past by more than this, is a difference of clocks.
const CREDIBLE_S: i64 = 60;
/// Two clocks that are kept in step differ by less; such a sample took no time.
const IN_STEP_MS: i64 = 1;

/// Durations of all samples of one endpoint.
#[derive(Debug)]
pub struct ArrivalLatency {
    source: Histogram,
    ingress: Histogram,
    clock_skewed: AtomicU64,
}

impl Default for ArrivalLatency {
    fn default() -> ArrivalLatency {
        let empty = || Histogram::new(LATENCY_BOUNDS_S);
        ArrivalLatency { source: empty(), ingress: empty(), clock_skewed: AtomicU64::new(0) }
    }
}

impl ArrivalLatency {
    /// A sample that was stamped by its publisher (0: it was not) was received. The clocks are those of two computers, or
    /// one that was set in between: what they cannot say is counted apart.
    pub(super) fn record_source(&self, source_time_ns: i64, receive_time_ns: i64) {
        if source_time_ns == 0 {
            return;
        }
        let took_ns = receive_time_ns.saturating_sub(source_time_ns);
        if (-IN_STEP_MS * 1_000_000..=CREDIBLE_S * 1_000_000_000).contains(&took_ns) {
            self.source.add(Duration::from_nanos(took_ns.max(0).unsigned_abs()));
        } else {
            self.clock_skewed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The hub took a sample that had waited so long.
    pub(super) fn record_ingress(&self, waited: Duration) {
        self.ingress.add(waited);
    }

    /// From the publisher's stamp to the receipt by this computer.
    pub fn source(&self) -> HistogramSnapshot {
        self.source.snapshot()
    }

    /// From the receipt to the hub.
    pub fn ingress(&self) -> HistogramSnapshot {
        self.ingress.snapshot()
    }

    /// Samples whose stamps do not fit this computer's clock.
    pub fn clock_skewed(&self) -> u64 {
        self.clock_skewed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_another_clock_are_counted_apart() {
        let latency = ArrivalLatency::default();
        let (ms, s) = (1_000_000, 1_000_000_000);
        let now = 1_700_000_000 * s;
        for stamp in [0, now - 3 * ms, now + ms / 2, now + 3_600 * s, now - 3_600 * s, i64::MIN, i64::MAX] {
            latency.record_source(stamp, now);
        }
        let HistogramSnapshot { count, sum_s, .. } = latency.source();
        assert_eq!((count, sum_s, latency.clock_skewed()), (2, 0.003, 4));
    }
}
