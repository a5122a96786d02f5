//! A lock-free histogram of durations, as Prometheus defines it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds for what happens inside a computer, seconds.
pub const LATENCY_BOUNDS_S: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Bounds for what crosses a network, seconds.
pub const NETWORK_BOUNDS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts of durations by upper bound, with their sum. Adding takes some ten nanoseconds and never waits.
#[derive(Debug)]
pub struct Histogram {
    bounds_s: &'static [f64],
    /// One count per bound, and one for what is above all of them.
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

/// What a histogram has counted: each count includes those of the bounds below it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds, with the durations up to them.
    pub buckets: Vec<(f64, u64)>,
    /// All durations.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// An empty histogram with these rising upper bounds, in seconds.
    pub fn new(bounds_s: &'static [f64]) -> Histogram {
        let buckets = (0..=bounds_s.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds_s, buckets, sum_ns: AtomicU64::new(0) }
    }

    /// Adds a duration.
    pub fn add(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.bounds_s.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut counts = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds_s.iter().copied().zip(&mut counts).collect();
        let count = counts.next().unwrap_or_default();
        HistogramSnapshot { buckets, count, sum_s: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rise_with_the_bounds_and_a_bound_includes_itself() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        for us in [0, 1_000, 1_001, 10_000, 10_001, 3_600_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let HistogramSnapshot { buckets, count, sum_s } = histogram.snapshot();
        assert_eq!((buckets, count), (vec![(0.001, 2), (0.01, 4)], 6));
        assert!((sum_s - 3_600.022_002).abs() < 1e-6, "{sum_s}");
    }

    #[test]
    fn bounds_rise() {
        assert!(LATENCY_BOUNDS_S.is_sorted() && NETWORK_BOUNDS_S.is_sorted());
    }
}
