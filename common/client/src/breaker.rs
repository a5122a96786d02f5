//! Circuit breaker per endpoint: whether a link that answers can be trusted.
//!
//! Two signals open it independently: repeated failures to connect, and repeated losses of
//! established links. An open breaker does not exclude an endpoint but makes it the last choice.
//! Pure: the caller supplies time and randomness.

use std::collections::VecDeque;
use std::time::Duration;

/// Consecutive failed connections that open an endpoint's circuit breaker.
const BREAKER_FAILED_CONNECTIONS: u32 = 5;
/// Links lost within [`BREAKER_WINDOW_MS`] that open it.
const BREAKER_LOST_CONNECTIONS: usize = 3;
/// The time within which lost links are counted.
const BREAKER_WINDOW_MS: u64 = 30_000;
/// First and longest time a breaker stays open.
const BREAKER_OPEN_MS: (u64, u64) = (1_000, 30_000);
/// A half open breaker closes after this much healthy time.
const BREAKER_HEALTHY_MS: u64 = 5_000;

/// State of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// The endpoint is trusted.
    #[default]
    Closed,
    /// It failed too often and is left alone for a while.
    Open,
    /// One trial connection is allowed.
    HalfOpen,
}

impl BreakerState {
    /// The word shown to people.
    pub const fn word(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// The breaker of one endpoint. Times are monotonic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    state: BreakerState,
    failed: u32,
    losses: VecDeque<Duration>,
    /// Number of times it opened since it was last closed.
    opened: u32,
    open_until: Duration,
    up_since: Option<Duration>,
}

impl Breaker {
    /// The state at `now`: an open breaker becomes half open when its time is over, and a half open
    /// one closes when its link has been healthy for long enough.
    pub(crate) fn state(&mut self, now: Duration) -> BreakerState {
        let healthy = Duration::from_millis(BREAKER_HEALTHY_MS);
        if self.state == BreakerState::Open && now >= self.open_until {
            self.state = BreakerState::HalfOpen;
        }
        let proven = self.up_since.is_some_and(|since| now.saturating_sub(since) >= healthy);
        if self.state == BreakerState::HalfOpen && proven {
            *self = Breaker { up_since: self.up_since, ..Breaker::default() };
        }
        self.state
    }

    /// Whether connecting is allowed. While half open there is one trial at a time, since the
    /// caller has one connection per endpoint.
    pub(crate) fn admits(&mut self, now: Duration) -> bool {
        self.state(now) != BreakerState::Open
    }

    /// Records that a link is up and the endpoint has sent its `hello`.
    pub(crate) fn up(&mut self, now: Duration) {
        self.failed = 0;
        self.up_since = Some(now);
    }

    /// Records a failure to connect. `random` is uniform in [0, 1) and spreads the pause over
    /// [whole, 1.25 ×].
    pub(crate) fn connect_failed(&mut self, now: Duration, random: f64) {
        self.failed = self.failed.saturating_add(1);
        self.up_since = None;
        let trial = self.state(now) == BreakerState::HalfOpen;
        if trial || self.failed >= BREAKER_FAILED_CONNECTIONS {
            self.open(now, random);
        }
    }

    /// Records the unintended loss of an established link.
    pub(crate) fn lost(&mut self, now: Duration, random: f64) {
        let trial = self.state(now) == BreakerState::HalfOpen;
        self.up_since = None;
        let window = Duration::from_millis(BREAKER_WINDOW_MS);
        self.losses.retain(|&at| now.saturating_sub(at) < window);
        self.losses.push_back(now);
        let flaps = self.losses.len() >= BREAKER_LOST_CONNECTIONS;
        if flaps {
            self.losses.clear();
        }
        if trial || flaps {
            self.open(now, random);
        }
    }

    /// Records the intended end of a link, which says nothing about the endpoint.
    pub(crate) fn ended(&mut self) {
        self.up_since = None;
    }

    fn open(&mut self, now: Duration, random: f64) {
        // Failures while it is open do not prolong the pause.
        if self.state == BreakerState::Open {
            return;
        }
        let (first, last) = BREAKER_OPEN_MS;
        let whole = first.saturating_mul(1 << self.opened.min(20)).min(last);
        self.opened = self.opened.saturating_add(1);
        self.state = BreakerState::Open;
        self.open_until = now + Duration::from_millis(whole).mul_f64(1.0 + 0.25 * random.clamp(0.0, 1.0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn failed_connections_open_it_and_health_closes_it() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|i| breaker.connect_failed(at(i), 0.0));
        assert_eq!(breaker.state(at(4)), BreakerState::Closed);
        breaker.connect_failed(at(5), 0.0);
        assert!(!breaker.admits(at(1_004)));
        assert_eq!(breaker.state(at(1_005)), BreakerState::HalfOpen);
        breaker.up(at(1_010));
        assert_eq!(breaker.state(at(6_009)), BreakerState::HalfOpen);
        assert_eq!(breaker.state(at(6_010)), BreakerState::Closed);
        (0..4).for_each(|i| breaker.connect_failed(at(7_000 + i), 0.0));
        assert_eq!(breaker.state(at(8_000)), BreakerState::Closed, "it began anew");
    }

    #[test]
    fn flapping_opens_it_though_every_connection_succeeds() {
        let mut breaker = Breaker::default();
        for i in 0..3 {
            assert_eq!(breaker.state(at(4_000 * i)), BreakerState::Closed);
            breaker.up(at(4_000 * i));
            breaker.lost(at(4_000 * i + 2_000), 0.0);
        }
        assert_eq!(breaker.state(at(10_000)), BreakerState::Open);
        breaker.up(at(11_500));
        breaker.lost(at(13_500), 0.0);
        assert!(!breaker.admits(at(15_499)), "the second time it is open for two seconds");
        assert!(breaker.admits(at(15_500)));
    }

    #[test]
    fn distant_losses_and_intended_ends_do_not_open_it() {
        let mut breaker = Breaker::default();
        for i in 0..20 {
            breaker.up(at(16_000 * i));
            breaker.lost(at(16_000 * i + 8_000), 0.0);
            breaker.up(at(16_000 * i + 8_001));
            breaker.ended();
            assert_eq!(breaker.state(at(16_000 * i + 8_002)), BreakerState::Closed);
        }
    }

    proptest! {
        /// After any sequence of events, it admits a trial again within its longest pause.
        #[test]
        fn is_never_open_for_longer_than_its_bound(steps in prop::collection::vec((0u8..4, 0u64..4_000, 0.0..1.0), 1..200)) {
            let mut breaker = Breaker::default();
            let mut now = 0;
            for (what, wait, random) in steps {
                now += wait;
                match what {
                    0 => breaker.up(at(now)),
                    1 => breaker.lost(at(now), random),
                    2 => breaker.connect_failed(at(now), random),
                    _ => breaker.ended(),
                }
                let mut later = breaker.clone();
                prop_assert!(later.admits(at(now + super::BREAKER_OPEN_MS.1 * 5 / 4)));
            }
        }
    }
}
