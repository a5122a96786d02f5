//! The failover gaps that clients reported.

use std::time::Duration;

use crate::histogram::{Histogram, HistogramSnapshot};

/// Upper bounds of the buckets, seconds.
const BOUNDS_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long clients received nothing when switching endpoints.
#[derive(Debug)]
pub struct FailoverHistogram(Histogram);

impl Default for FailoverHistogram {
    fn default() -> FailoverHistogram {
        FailoverHistogram(Histogram::new(BOUNDS_S))
    }
}

impl FailoverHistogram {
    /// Adds a duration in milliseconds; invalid values are ignored.
    pub fn add(&self, milliseconds: f64) {
        // More than a day is a client's error and would distort the sum for good.
        if (0.0..86_400_000.0).contains(&milliseconds) {
            self.0.add(Duration::from_secs_f64(milliseconds / 1e3));
        }
    }

    /// What was counted so far.
    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        self.0.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::metrics::exposition::Exposition;

    #[test]
    fn buckets_add_up_and_invalid_values_are_ignored() {
        let blackouts = FailoverHistogram::default();
        for ms in [0.0, 5.0, 5.1, 60.0, 20_000.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            blackouts.add(ms);
        }
        let mut page = Exposition::default();
        page.family("histogram", "b", "B.");
        page.histogram("b", &[("x", "y")], &blackouts.snapshot());
        let text = page.finish();
        for line in [
            "b_bucket{x=\"y\",le=\"0.005\"} 2",
            "b_bucket{x=\"y\",le=\"0.01\"} 3",
            "b_bucket{x=\"y\",le=\"10\"} 4",
            "b_bucket{x=\"y\",le=\"+Inf\"} 5",
            "b_count{x=\"y\"} 5",
            "b_sum{x=\"y\"} 20.0701",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}
