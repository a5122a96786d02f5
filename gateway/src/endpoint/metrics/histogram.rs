//! A lock-free histogram of durations.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::metrics::exposition::Exposition;

/// Upper bounds of the buckets, seconds.
pub(crate) const BOUNDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The failover gaps that clients reported: how long they received nothing when switching endpoints.
#[derive(Debug, Default)]
pub struct FailoverHistogram {
    buckets: [AtomicU64; BOUNDS_S.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl FailoverHistogram {
    /// Adds a duration in milliseconds; invalid values are ignored.
    pub fn add(&self, milliseconds: f64) {
        // More than a day is a client's error and would distort the sum for good.
        if !(0.0..86_400_000.0).contains(&milliseconds) {
            return;
        }
        if let Some(at) = BOUNDS_S.iter().position(|bound| milliseconds <= bound * 1e3) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add((milliseconds * 1e3) as u64, Ordering::Relaxed);
    }

    pub(crate) fn render(&self, page: &mut Exposition, name: &str, help: &str) {
        page.family("histogram", name, help);
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (bound, count) in BOUNDS_S.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            page.sample(&bucket, &[("le", &bound.to_string())], below as f64);
        }
        // Read last so that it is never smaller than a bucket.
        let count = self.count.load(Ordering::Relaxed).max(below) as f64;
        page.sample(&bucket, &[("le", "+Inf")], count);
        page.sample(&format!("{name}_sum"), &[], self.sum_us.load(Ordering::Relaxed) as f64 / 1e6);
        page.sample(&format!("{name}_count"), &[], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_invalid_values_are_ignored() {
        let blackouts = FailoverHistogram::default();
        for ms in [0.0, 5.0, 5.1, 60.0, 20_000.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            blackouts.add(ms);
        }
        let mut page = Exposition::default();
        blackouts.render(&mut page, "b", "B.");
        let text = page.finish();
        for line in [
            "b_bucket{le=\"0.005\"} 2",
            "b_bucket{le=\"0.01\"} 3",
            "b_bucket{le=\"10\"} 4",
            "b_bucket{le=\"+Inf\"} 5",
            "b_count 5",
            "b_sum 20.0701",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}
