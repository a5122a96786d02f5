//! Pending time exchanges with one endpoint. Over a slow link answers are late, which does not mean that they
//! are lost.

use std::collections::VecDeque;
use std::time::Duration;

/// A probe without an answer for this long is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Probes that may wait for their answers at a time; no more are sent until then.
const WAITING_PROBES: usize = 32;

/// The probes of one session. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// Our wall clock, by which an answer is recognised, and when it was sent; oldest first.
    waiting: VecDeque<(i64, Duration)>,
    sent_at: Option<Duration>,
    /// When the newest answered probe was sent.
    answered_to: Option<Duration>,
    /// Round-trip time of the last answer.
    last_delay: Duration,
}

impl Probes {
    /// Whether the next probe is due.
    pub(crate) fn is_due(&self, now: Duration, interval: Duration) -> bool {
        self.sent_at.is_none_or(|at| now.saturating_sub(at) >= interval)
    }

    /// Room for one more unanswered probe.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_PROBES
    }

    /// Records a probe that was sent.
    pub(crate) fn sent(&mut self, t0_ns: i64, now: Duration) {
        self.sent_at = Some(now);
        self.waiting.push_back((t0_ns, now));
    }

    /// Records an answer; returns its round-trip time.
    pub(crate) fn answered(&mut self, t0_ns: i64, now: Duration) -> Option<Duration> {
        let at = self.waiting.iter().position(|(asked_ns, _)| *asked_ns == t0_ns)?;
        let (_, sent) = self.waiting.remove(at)?;
        self.answered_to = self.answered_to.max(Some(sent));
        self.last_delay = now.saturating_sub(sent);
        Some(self.last_delay)
    }

    /// Forgets the probes that are lost; returns how many.
    pub(crate) fn forget_lost(&mut self, now: Duration) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|(_, sent)| now.saturating_sub(*sent) < LOST_AFTER);
        before - self.waiting.len()
    }

    /// How long the oldest answer is awaited. A link keeps the order: what was sent before an answered probe
    /// is not on its way any more.
    pub(crate) fn awaited(&self, now: Duration) -> Duration {
        let oldest = self.waiting.iter().find(|(_, sent)| Some(*sent) > self.answered_to);
        oldest.map_or(Duration::ZERO, |(_, sent)| now.saturating_sub(*sent))
    }

    /// The current response time, as far as it is known.
    pub(crate) fn delay(&self, now: Duration) -> Duration {
        self.last_delay.max(self.awaited(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_late_answer_is_late_and_not_lost() {
        let mut probes = Probes::default();
        assert!(probes.is_due(at(0), at(500)));
        for (n, ms) in [(0, 0), (1, 500), (2, 1_000), (3, 1_500)] {
            assert!(probes.is_due(at(ms), at(500)), "it waits for no answer");
            probes.sent(n, at(ms));
            assert!(!probes.is_due(at(ms + 499), at(500)));
        }
        assert_eq!(probes.delay(at(1_900)), at(1_900));
        assert_eq!(probes.answered(0, at(2_000)), Some(at(2_000)));
        assert_eq!(probes.answered(1, at(2_500)), Some(at(2_000)));
        assert_eq!((probes.forget_lost(at(9_900)), probes.delay(at(9_900))), (0, at(8_900)));
        assert_eq!(probes.forget_lost(at(11_000)), 1, "unanswered for ten seconds");
        assert_eq!(probes.answered(2, at(11_001)), None);
    }

    #[test]
    fn an_answered_probe_says_that_older_ones_are_not_on_their_way() {
        let mut probes = Probes::default();
        probes.sent(1, at(0));
        probes.sent(2, at(500));
        assert_eq!(probes.answered(2, at(510)), Some(at(10)));
        assert_eq!(probes.delay(at(5_000)), at(10));
        assert_eq!(probes.forget_lost(at(10_000)), 1);
    }

    #[test]
    fn probes_are_bounded() {
        let mut probes = Probes::default();
        for n in 0..WAITING_PROBES {
            assert!(probes.has_room());
            probes.sent(n as i64, at(0));
        }
        assert!(!probes.has_room());
        probes.forget_lost(at(10_000));
        assert!(probes.has_room());
    }
}
