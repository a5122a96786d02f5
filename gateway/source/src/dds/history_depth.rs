//! How much history a topic's readers keep.

use std::time::Instant;

/// How many samples the cache keeps: two seconds' worth, so that a pause of the draining thread
/// costs nothing, within a budget of bytes. The cache never shrinks, so it grows as it learns.
pub(super) struct Depth {
    pub(super) depth: i32,
    largest: usize,
    seen: u64,
    since: Instant,
}

impl Default for Depth {
    fn default() -> Self {
        Depth { depth: Depth::FIRST, largest: 1, seen: 0, since: Instant::now() }
    }
}

impl Depth {
    const FIRST: i32 = 16;
    const BUDGET: usize = 1024 * 1024;
    const RANGE: (usize, usize) = (4, 1024);
    const SMALLEST_RATE: f64 = 32.0;

    /// Learns from a sample; returns the new depth when it should grow.
    pub(super) fn observe(&mut self, bytes: usize) -> Option<i32> {
        if self.seen == 0 {
            self.since = Instant::now();
        }
        self.seen += 1;
        self.largest = self.largest.max(bytes);
        if !self.seen.is_power_of_two() {
            return None;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let rate = if self.seen == 1 { 0.0 } else { self.seen as f64 / seconds.max(1e-6) };
        let affordable = (Self::BUDGET / self.largest).clamp(Self::RANGE.0, Self::RANGE.1);
        let wanted = (2.0 * rate.clamp(Self::SMALLEST_RATE, 1024.0)) as usize;
        let depth = wanted.min(affordable) as i32;
        (depth > self.depth).then(|| {
            self.depth = depth;
            depth
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_by_bytes_and_by_need() {
        let mut small = Depth::default();
        assert_eq!(small.observe(300), Some(64));
        assert_eq!(small.observe(300), Some(1024), "a burst");
        let mut large = Depth::default();
        for _ in 0..1000 {
            assert_eq!(large.observe(6_000_000), None);
        }
        let mut slow = Depth::default();
        slow.observe(100);
        slow.since -= std::time::Duration::from_secs(100);
        for _ in 0..1000 {
            assert_eq!(slow.observe(100), None);
        }
    }
}
