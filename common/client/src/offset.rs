//! Clock offset estimation from time exchanges (RFC 5905, sections 8 and 10).

use std::collections::VecDeque;
use std::time::Duration;

/// Exchanges kept: as many as in the clock filter of RFC 5905.
const EXCHANGES: usize = 8;

/// Of the last exchanges, the one with the shortest round trip is the most accurate. Two
/// consecutive exchanges that contradict it by more than their error bound prove a clock step; the
/// older ones are then discarded.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockOffset {
    /// Round trip and offset, seconds.
    exchanges: VecDeque<(f64, f64)>,
    contradicted: u32,
}

impl ClockOffset {
    /// Records an exchange: client clock at departure, server clock at arrival and at departure of
    /// the answer, nanoseconds; round trip by a monotonic clock.
    pub(crate) fn record(&mut self, t0_ns: i64, t1_ns: i64, t2_ns: i64, rtt: Duration) {
        let t3_ns = t0_ns.saturating_add(i64::try_from(rtt.as_nanos()).unwrap_or(i64::MAX));
        let out_s = t1_ns.saturating_sub(t0_ns) as f64 / 1e9;
        let back_s = t2_ns.saturating_sub(t3_ns) as f64 / 1e9;
        let (rtt_s, offset_s) = (rtt.as_secs_f64(), f64::midpoint(out_s, back_s));
        if let Some((best_rtt, best)) = self.best() {
            // The error of an exchange is at most half its round trip; some margin for drift.
            let bound = f64::midpoint(best_rtt, rtt_s) + 0.005;
            self.contradicted = if (offset_s - best).abs() > bound { self.contradicted + 1 } else { 0 };
            if self.contradicted >= 2 {
                self.exchanges.clear();
                self.contradicted = 0;
            } else if self.contradicted == 1 {
                return;
            }
        }
        if self.exchanges.len() == EXCHANGES {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back((rtt_s, offset_s));
    }

    /// Server clock minus ours, seconds.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.best().map(|(_, offset)| offset)
    }

    /// How far [`ClockOffset::seconds`] may be off, seconds: half the round trip.
    pub(crate) fn error_seconds(&self) -> Option<f64> {
        self.best().map(|(rtt, _)| rtt / 2.0)
    }

    fn best(&self) -> Option<(f64, f64)> {
        self.exchanges.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// An exchange over `rtt_ms`, of which `out_ms` on the way out, with a clock that is
    /// `offset_ms` ahead.
    fn exchange(clock: &mut ClockOffset, offset_ms: i64, out_ms: i64, rtt_ms: i64) {
        let arrived = (out_ms + offset_ms) * MS;
        clock.record(0, arrived, arrived, Duration::from_millis(rtt_ms.unsigned_abs()));
    }

    #[test]
    fn the_shortest_round_trip_wins_until_it_is_old() {
        let mut clock = ClockOffset::default();
        exchange(&mut clock, 50, 1, 2);
        exchange(&mut clock, 50, 90, 100);
        assert!((clock.seconds().unwrap() - 0.050).abs() < 1e-6);
        (0..8).for_each(|_| exchange(&mut clock, 52, 10, 20));
        assert!((clock.seconds().unwrap() - 0.052).abs() < 1e-6, "clocks drift: what is old goes");
    }

    #[test]
    fn a_step_of_either_clock_is_followed_within_two_exchanges() {
        let mut clock = ClockOffset::default();
        (0..20).for_each(|_| exchange(&mut clock, 5, 1, 2));
        exchange(&mut clock, 3_600_000, 40, 80);
        assert!((clock.seconds().unwrap() - 0.005).abs() < 1e-6, "once proves nothing");
        exchange(&mut clock, 3_600_000, 40, 80);
        assert!((clock.seconds().unwrap() - 3_600.0).abs() < 1e-6);
    }
}
