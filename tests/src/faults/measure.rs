//! Counts lost, duplicated and late samples from their sequence numbers, and measures gaps.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};
use serde::{Deserialize, Serialize};

/// Maximum number of missing sequence numbers kept per writer, in case they arrive late.
const MAX_MISSING: usize = 100_000;
/// A sequence number this far back means that the writer has restarted.
const RESTART_DISTANCE: u64 = 100_000;

/// The sequence numbers received from one writer.
#[derive(Debug)]
struct Writer {
    first: u64,
    newest: u64,
    missing: BTreeSet<u64>,
}

/// Counts since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples received.
    pub(crate) samples: u64,
    /// Samples received twice.
    pub(crate) duplicated: u64,
    /// Samples received after a newer one.
    pub(crate) late: u64,
    /// Missing numbers that are no longer tracked: of restarted writers, and beyond [`MAX_MISSING`].
    untracked: u64,
}

/// All writers of all topics that one client receives.
#[derive(Debug, Default)]
pub(crate) struct SequenceTracker {
    writers: HashMap<Guid, Writer>,
    counts: Counts,
}

impl SequenceTracker {
    /// Counts a sample.
    pub(crate) fn record(&mut self, id: SampleId) {
        let Counts { samples, duplicated, late, untracked } = &mut self.counts;
        *samples += 1;
        let fresh = || Writer { first: id.seq, newest: id.seq, missing: BTreeSet::new() };
        let Some(writer) = self.writers.get_mut(&id.source) else {
            self.writers.insert(id.source, fresh());
            return;
        };
        if id.seq + RESTART_DISTANCE < writer.newest {
            *untracked += writer.missing.len() as u64;
            *writer = fresh();
        } else if id.seq > writer.newest {
            let missing = id.seq - writer.newest - 1;
            let room = MAX_MISSING.saturating_sub(writer.missing.len()) as u64;
            *untracked += missing.saturating_sub(room);
            writer.missing.extend((writer.newest + 1..id.seq).take(room as usize));
            writer.newest = id.seq;
        } else if id.seq < writer.first {
            *late += 1;
            writer.missing.extend((id.seq + 1..writer.first).take(MAX_MISSING));
            writer.first = id.seq;
        } else if writer.missing.remove(&id.seq) {
            *late += 1;
        } else {
            *duplicated += 1;
        }
    }

    /// The number of lost samples and the counts since the previous call. A lost sample is reported once.
    pub(crate) fn take(&mut self) -> (u64, Counts) {
        let mut lost = 0;
        for writer in self.writers.values_mut() {
            lost += writer.missing.len() as u64;
            // A sample that arrives after it was reported as lost counts as a duplicate: better than not at
            // all.
            writer.missing.clear();
        }
        let counts = std::mem::take(&mut self.counts);
        (lost + counts.untracked, counts)
    }
}

/// The longest gap between samples of a topic, beyond its period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GapTracker {
    period: Duration,
    newest: Option<Duration>,
    longest: Duration,
}

impl GapTracker {
    /// For a topic of this rate.
    pub(crate) fn of_rate(hz: f64) -> GapTracker {
        GapTracker { period: Duration::from_secs_f64(1.0 / hz), newest: None, longest: Duration::ZERO }
    }

    /// A sample arrived at `now` (monotonic).
    pub(crate) fn on_sample(&mut self, now: Duration) {
        self.longest = self.longest.max(self.until(now));
        self.newest = Some(now);
    }

    /// Whether a sample arrived within this time, or within two periods.
    pub(crate) fn is_served(&self, now: Duration, within: Duration) -> bool {
        let usual = within.max(self.period * 2);
        self.newest.is_some_and(|newest| now.saturating_sub(newest) <= usual)
    }

    /// The longest gap since the previous call, including the current one.
    pub(crate) fn take(&mut self, now: Duration) -> Duration {
        let longest = self.longest.max(self.until(now));
        self.longest = Duration::ZERO;
        longest
    }

    fn until(&self, now: Duration) -> Duration {
        self.newest.map_or(Duration::ZERO, |newest| now.saturating_sub(newest).saturating_sub(self.period))
    }
}

/// Quantiles of a set of figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// The number of figures.
    pub(crate) count: usize,
    /// The median.
    pub(crate) p50: f64,
    /// The 99th percentile.
    pub(crate) p99: f64,
    /// The maximum.
    pub(crate) max: f64,
}

impl Quantiles {
    /// Quantiles by the nearest-rank method.
    pub(crate) fn of(figures: &[f64]) -> Quantiles {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let index = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(index.max(1) - 1).copied().unwrap_or(0.0)
        };
        Quantiles { count: sorted.len(), p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
    }
}

/// The slope of the least-squares line through points; 0 for fewer than two.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mean_x, mean_y) = (
        points.iter().map(|point| point.0).sum::<f64>() / n.max(1.0),
        points.iter().map(|point| point.1).sum::<f64>() / n.max(1.0),
    );
    let numerator: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let denominator: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if denominator > 0.0 { numerator / denominator } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seqs: &[u64]) -> (u64, Counts) {
        let mut sequences = SequenceTracker::default();
        for &seq in seqs {
            sequences.record(SampleId { source: Guid::from_name("/a"), seq });
        }
        sequences.take()
    }

    #[test]
    fn lost_duplicated_and_late_samples_are_distinguished() {
        assert_eq!(after(&[5, 6, 7]).0, 0);
        assert_eq!(after(&[5, 9]).0, 3);
        let (lost, counts) = after(&[5, 8, 6, 8, 7]);
        assert_eq!((lost, counts.late, counts.duplicated, counts.samples), (0, 2, 1, 5));
        let (lost, counts) = after(&[5, 3]);
        assert_eq!((lost, counts.late, counts.duplicated), (1, 1, 0), "4 is missing");
        assert_eq!(after(&[500_000, 500_002, 1, 2]).0, 1, "began anew; what was missing stays missing");
    }

    #[test]
    fn a_loss_is_reported_once() {
        let mut sequences = SequenceTracker::default();
        for seq in [1, 3] {
            sequences.record(SampleId { source: Guid::from_name("/a"), seq });
        }
        assert_eq!(sequences.take().0, 1);
        assert_eq!(sequences.take(), (0, Counts::default()));
    }

    #[test]
    fn a_gap_counts_beyond_the_period_and_while_it_lasts() {
        let ms = Duration::from_millis;
        let mut gap = GapTracker::of_rate(50.0);
        gap.on_sample(ms(100));
        gap.on_sample(ms(150));
        assert_eq!(gap.take(ms(160)), ms(30));
        assert_eq!(gap.take(ms(1_170)), ms(1_000));
        assert!(!gap.is_served(ms(1_170), ms(300)) && gap.is_served(ms(400), ms(300)));
    }

    #[test]
    fn quantiles_and_slopes() {
        let figures: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let quantiles = Quantiles::of(&figures);
        assert_eq!((quantiles.p50, quantiles.p99, quantiles.max), (100.0, 198.0, 200.0));
        assert_eq!(Quantiles::of(&[]), Quantiles::default());
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }
}
