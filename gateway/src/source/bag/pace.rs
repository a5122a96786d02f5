//! When a recorded message is due. Pure: time comes in as nanoseconds.
//!
//! Every deadline is computed from the same origin, so waits that end late do not add up.

use std::time::Duration;

/// Recorded time that passes between the last message of a round and the first of the next. It
/// is a constant so that every process that plays the file computes the same length of a round.
pub(super) const LOOP_GAP_NS: i64 = 100_000_000;

/// Maps log times to the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// When a message with log time `base` is due, nanoseconds of the monotonic clock.
    pub(super) origin: i64,
    /// The log time that the round starts with.
    pub(super) base: i64,
    /// Recorded seconds per second.
    pub(super) rate: f64,
}

impl Pace {
    /// How long to wait at `now` for a message; zero when it is due or late.
    pub(super) fn wait(&self, log_time: i64, now: i64) -> Duration {
        let into = log_time.saturating_sub(self.base);
        let due = self.origin.saturating_add(scale(into, self.rate));
        Duration::from_nanos(u64::try_from(due.saturating_sub(now)).unwrap_or(0))
    }

    /// The pace of the next round, when a round lasts `cycle` nanoseconds of recorded time.
    pub(super) fn next_round(self, cycle: i64) -> Pace {
        Pace { origin: self.origin.saturating_add(scale(cycle, self.rate)), ..self }
    }
}

/// Recorded nanoseconds to real ones. Casts from floating point saturate.
fn scale(recorded: i64, rate: f64) -> i64 {
    (recorded as f64 / rate) as i64
}

/// Where in the recording to join a playback that began at a known wall-clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Join {
    /// Whole rounds that are over.
    pub(super) rounds: u64,
    /// Recorded nanoseconds into the current round.
    pub(super) position: i64,
    /// Real nanoseconds since the current round began; negative when it has yet to begin.
    pub(super) since_round: i64,
}

impl Join {
    /// `elapsed` real nanoseconds after the epoch; `cycle` is a round's length if it is repeated.
    pub(super) fn at(elapsed: i64, rate: f64, cycle: Option<i64>) -> Join {
        let recorded = (elapsed as f64 * rate) as i64;
        let rounds = match cycle {
            Some(cycle) if recorded > 0 => recorded / cycle.max(1),
            _ => 0,
        };
        let before = cycle.unwrap_or(0).saturating_mul(rounds);
        Join {
            rounds: rounds.unsigned_abs(),
            position: recorded.saturating_sub(before).max(0),
            since_round: elapsed.saturating_sub(scale(before, rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn deadlines_come_from_the_origin() {
        let pace = Pace { origin: 5 * S, base: 100 * S, rate: 2.0 };
        assert_eq!(pace.wait(100 * S, 5 * S), Duration::ZERO);
        assert_eq!(pace.wait(104 * S, 5 * S), Duration::from_secs(2));
        // A late wait shortens the next one: no drift.
        assert_eq!(pace.wait(104 * S, 6 * S), Duration::from_secs(1));
        assert_eq!(pace.wait(104 * S, 9 * S), Duration::ZERO, "late is at once");
        assert_eq!(pace.wait(90 * S, 5 * S), Duration::ZERO, "out of order is at once");
    }

    #[test]
    fn rounds_follow_each_other() {
        let pace = Pace { origin: 0, base: 7 * S, rate: 0.5 }.next_round(10 * S);
        assert_eq!(pace.wait(7 * S, 0), Duration::from_secs(20));
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        for rate in [1e-300, 1.0, 1e300] {
            let pace = Pace { origin: i64::MAX, base: i64::MIN, rate };
            let _ = pace.wait(i64::MAX, i64::MIN);
            let _ = pace.wait(i64::MIN, i64::MAX);
            let _ = pace.next_round(i64::MAX);
            for cycle in [None, Some(0), Some(i64::MAX)] {
                let _ = Join::at(i64::MAX, rate, cycle);
                let _ = Join::at(i64::MIN, rate, cycle);
            }
        }
    }

    #[test]
    fn joining_in_the_middle() {
        assert_eq!(Join::at(3 * S, 2.0, None), Join { rounds: 0, position: 6 * S, since_round: 3 * S });
        assert_eq!(
            Join::at(12 * S, 2.0, Some(10 * S)),
            Join { rounds: 2, position: 4 * S, since_round: 2 * S }
        );
        assert_eq!(Join::at(-S, 1.0, Some(10 * S)), Join { rounds: 0, position: 0, since_round: -S });
    }
}
