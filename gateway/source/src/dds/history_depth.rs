//! History depth of a topic's readers, adapted to the observed rate and sample size.

use std::time::Instant;

/// The number of samples that the cache keeps: two seconds' worth, within a byte budget, so that a
/// pause of the reader thread loses nothing. The cache never shrinks, so the depth grows with
/// experience.
pub(super) struct HistoryDepth {
    pub(super) depth: i32,
    largest: usize,
    seen: u64,
    since: Instant,
}

impl Default for HistoryDepth {
    fn default() -> Self {
        HistoryDepth { depth: HistoryDepth::FIRST, largest: 1, seen: 0, since: Instant::now() }
    }
}

impl HistoryDepth {
    const FIRST: i32 = 16;
    const BUDGET: usize = 1024 * 1024;
    const RANGE: (usize, usize) = (4, 1024);
    const SMALLEST_RATE: f64 = 32.0;

    /// Accounts for a sample; returns the new depth if it should grow. Reads the clock `now` only when it
    /// needs the time.
    pub(super) fn observe(&mut self, bytes: usize, now: impl Fn() -> Instant) -> Option<i32> {
        if self.seen == 0 {
            self.since = now();
        }
        self.seen += 1;
        self.largest = self.largest.max(bytes);
        if !self.seen.is_power_of_two() {
            return None;
        }
        let seconds = now().saturating_duration_since(self.since).as_secs_f64();
        let rate = if self.seen == 1 { 0.0 } else { self.seen as f64 / seconds.max(1e-6) };
        let affordable = (Self::BUDGET / self.largest).clamp(Self::RANGE.0, Self::RANGE.1);
        let needed = (2.0 * rate.clamp(Self::SMALLEST_RATE, 1024.0)) as usize;
        let depth = needed.min(affordable) as i32;
        (depth > self.depth).then(|| {
            self.depth = depth;
            depth
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn history_is_bounded_by_bytes_and_by_need() {
        let start = Instant::now();
        let (at_once, late) = (|| start, || start + Duration::from_secs(100));
        let mut small = HistoryDepth::default();
        assert_eq!(small.observe(300, at_once), Some(64));
        assert_eq!(small.observe(300, at_once), Some(1024), "a burst");
        let mut large = HistoryDepth::default();
        for _ in 0..1000 {
            assert_eq!(large.observe(6_000_000, at_once), None);
        }
        let mut slow = HistoryDepth::default();
        slow.observe(100, at_once);
        for _ in 0..1000 {
            assert_eq!(slow.observe(100, late), None);
        }
    }
}
