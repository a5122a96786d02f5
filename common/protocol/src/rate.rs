//! Rate meter: a running event rate and bandwidth.

use std::time::Duration;

/// Events and bytes per second over about the last two seconds: two buckets of one second, so the
/// result needs no history and never divides by a burst.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    bucket_start: Duration,
    current: (u64, u64),
    last: Option<(f64, f64)>,
    total: (u64, u64),
    newest: Option<Duration>,
}

const BUCKET: Duration = Duration::from_secs(1);

impl RateMeter {
    /// Counts one event of `bytes` at `now` (monotonic, since any fixed point).
    pub fn count(&mut self, now: Duration, bytes: usize) {
        self.roll(now);
        self.current.0 += 1;
        self.current.1 += bytes as u64;
        self.total.0 += 1;
        self.total.1 += bytes as u64;
        self.newest = Some(now);
    }

    /// Total events and bytes.
    pub fn totals(&self) -> (u64, u64) {
        self.total
    }

    /// When the newest event was counted.
    pub fn newest(&self) -> Option<Duration> {
        self.newest
    }

    /// Events per second and bytes per second as of `now`.
    pub fn rates(&mut self, now: Duration) -> (f64, f64) {
        self.roll(now);
        match self.last {
            Some(last) => last,
            None => {
                let seconds = now.saturating_sub(self.bucket_start).as_secs_f64().max(0.2);
                (self.current.0 as f64 / seconds, self.current.1 as f64 / seconds)
            }
        }
    }

    fn roll(&mut self, now: Duration) {
        if self.newest.is_none() && self.current.0 == 0 {
            self.bucket_start = now;
            return;
        }
        let elapsed = now.saturating_sub(self.bucket_start);
        if elapsed < BUCKET {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        self.last = Some((self.current.0 as f64 / seconds, self.current.1 as f64 / seconds));
        self.current = (0, 0);
        self.bucket_start = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_shows_its_rate_and_silence_shows_zero() {
        let mut meter = RateMeter::default();
        for i in 0..500 {
            meter.count(Duration::from_millis(i * 10), 100);
        }
        let (hz, bps) = meter.rates(Duration::from_millis(5_000));
        assert!((hz - 100.0).abs() < 2.0, "{hz}");
        assert!((bps - 10_000.0).abs() < 200.0, "{bps}");
        meter.rates(Duration::from_secs(7));
        assert_eq!(meter.rates(Duration::from_secs(9)).0, 0.0);
        assert_eq!(meter.totals(), (500, 50_000));
    }
}
