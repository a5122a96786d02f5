//! Exponential backoff with jitter, as pure state: the caller does the waiting.

use std::time::Duration;

/// Doubles from `first` to `last`; the caller's random number spreads each delay over [half,
/// whole], so that clients that failed together do not return together.
///
/// ```
/// use roverline_protocol::backoff::Backoff;
/// use std::time::Duration;
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// assert_eq!(backoff.fail(0.0), Duration::from_millis(50));
/// assert_eq!(backoff.fail(0.0), Duration::from_millis(100));
/// backoff.reset();
/// assert_eq!(backoff.failures(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff whose first delay is `first` and whose longest is `last`.
    pub const fn new(first: Duration, last: Duration) -> Backoff {
        Backoff { first, last, failures: 0 }
    }

    /// Consecutive failures so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts one failure and returns how long to wait; `random` is uniform in [0, 1).
    pub fn fail(&mut self, random: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(20)).min(self.last);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// Records a success: the next failure waits `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A small generator (SplitMix64) for jitter; not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Seeded, so that tests are reproducible.
    pub const fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_between_its_bounds() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let delays: Vec<_> = (0..8).map(|_| backoff.fail(1.0).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.fail(0.0), Duration::from_millis(25));
    }

    #[test]
    fn jitter_stays_in_the_unit_interval() {
        let mut jitter = Jitter::new(7);
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&jitter.unit())));
    }
}
