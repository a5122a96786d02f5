//! What a client lost, got twice, or had to wait for: counted from the samples' own numbers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};
use serde::{Deserialize, Serialize};

/// Missing numbers that are remembered per writer, in case they come late.
const HOLES: usize = 100_000;
/// A number this far back is a writer that began anew.
const BACK: u64 = 100_000;

/// One writer's numbers as they came.
#[derive(Debug)]
struct Writer {
    first: u64,
    newest: u64,
    holes: BTreeSet<u64>,
}

/// Counts since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples that came.
    pub(crate) samples: u64,
    /// Samples that came twice.
    pub(crate) duplicated: u64,
    /// Samples that came after a newer one.
    pub(crate) late: u64,
    /// Holes of writers that began anew, and holes too many to remember.
    forgotten: u64,
}

/// All writers of all topics that one client hears.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    writers: HashMap<Guid, Writer>,
    counts: Counts,
}

impl Numbers {
    /// Takes account of a sample.
    pub(crate) fn see(&mut self, id: SampleId) {
        let Counts { samples, duplicated, late, forgotten } = &mut self.counts;
        *samples += 1;
        let fresh = || Writer { first: id.seq, newest: id.seq, holes: BTreeSet::new() };
        let Some(writer) = self.writers.get_mut(&id.source) else {
            self.writers.insert(id.source, fresh());
            return;
        };
        if id.seq + BACK < writer.newest {
            *forgotten += writer.holes.len() as u64;
            *writer = fresh();
        } else if id.seq > writer.newest {
            let holes = id.seq - writer.newest - 1;
            let room = HOLES.saturating_sub(writer.holes.len()) as u64;
            *forgotten += holes.saturating_sub(room);
            writer.holes.extend((writer.newest + 1..id.seq).take(room as usize));
            writer.newest = id.seq;
        } else if id.seq < writer.first {
            *late += 1;
            writer.holes.extend((id.seq + 1..writer.first).take(HOLES));
            writer.first = id.seq;
        } else if writer.holes.remove(&id.seq) {
            *late += 1;
        } else {
            *duplicated += 1;
        }
    }

    /// Samples that are missing now, and the counts since this was last asked. What is missing is
    /// told once.
    pub(crate) fn take(&mut self) -> (u64, Counts) {
        let mut lost = 0;
        for writer in self.writers.values_mut() {
            lost += writer.holes.len() as u64;
            // What comes after it was counted as lost would count as twice: better than not at all.
            writer.holes.clear();
        }
        let counts = std::mem::take(&mut self.counts);
        (lost + counts.forgotten, counts)
    }
}

/// The longest wait for the next sample of a topic, beyond its period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    period: Duration,
    newest: Option<Duration>,
    longest: Duration,
}

impl Wait {
    /// For a topic of this rate.
    pub(crate) fn of_rate(hz: f64) -> Wait {
        Wait { period: Duration::from_secs_f64(1.0 / hz), newest: None, longest: Duration::ZERO }
    }

    /// A sample came at `now` (monotonic).
    pub(crate) fn heard(&mut self, now: Duration) {
        self.longest = self.longest.max(self.until(now));
        self.newest = Some(now);
    }

    /// Whether one came within so long, or within what its rate makes usual.
    pub(crate) fn is_served(&self, now: Duration, within: Duration) -> bool {
        let usual = within.max(self.period * 2);
        self.newest.is_some_and(|newest| now.saturating_sub(newest) <= usual)
    }

    /// The longest wait since this was last asked; one that goes on counts.
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
    /// How many figures.
    pub(crate) count: usize,
    /// Half are below.
    pub(crate) p50: f64,
    /// 99 of 100 are below.
    pub(crate) p99: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Quantiles {
    /// By nearest rank.
    pub(crate) fn of(figures: &[f64]) -> Quantiles {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let place = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(place.max(1) - 1).copied().unwrap_or(0.0)
        };
        Quantiles { count: sorted.len(), p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
    }
}

/// The slope of the line through points by least squares; 0 for fewer than two.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mean_x, mean_y) = (
        points.iter().map(|point| point.0).sum::<f64>() / n.max(1.0),
        points.iter().map(|point| point.1).sum::<f64>() / n.max(1.0),
    );
    let over: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seqs: &[u64]) -> (u64, Counts) {
        let mut numbers = Numbers::default();
        for &seq in seqs {
            numbers.see(SampleId { source: Guid::from_name("/a"), seq });
        }
        numbers.take()
    }

    #[test]
    fn lost_twice_and_late_are_told_apart() {
        assert_eq!(after(&[5, 6, 7]).0, 0);
        assert_eq!(after(&[5, 9]).0, 3);
        let (lost, counts) = after(&[5, 8, 6, 8, 7]);
        assert_eq!((lost, counts.late, counts.duplicated, counts.samples), (0, 2, 1, 5));
        let (lost, counts) = after(&[5, 3]);
        assert_eq!((lost, counts.late, counts.duplicated), (1, 1, 0), "4 is missing");
        assert_eq!(after(&[500_000, 500_002, 1, 2]).0, 1, "began anew; what was missing stays missing");
    }

    #[test]
    fn a_loss_is_told_once() {
        let mut numbers = Numbers::default();
        for seq in [1, 3] {
            numbers.see(SampleId { source: Guid::from_name("/a"), seq });
        }
        assert_eq!(numbers.take().0, 1);
        assert_eq!(numbers.take(), (0, Counts::default()));
    }

    #[test]
    fn a_wait_counts_beyond_the_period_and_while_it_goes_on() {
        let ms = Duration::from_millis;
        let mut wait = Wait::of_rate(50.0);
        wait.heard(ms(100));
        wait.heard(ms(150));
        assert_eq!(wait.take(ms(160)), ms(30));
        assert_eq!(wait.take(ms(1_170)), ms(1_000));
        assert!(!wait.is_served(ms(1_170), ms(300)) && wait.is_served(ms(400), ms(300)));
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
