//! A circuit breaker per endpoint: whether a link that answers may be trusted.
//!
//! Two signals open it, and each does so alone: connecting fails again and again, or links that
//! were up are lost again and again. An open breaker does not forbid an endpoint, it makes it the
//! last choice. Pure: the caller brings time and chance.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// The endpoint is trusted.
    #[default]
    Closed,
    /// It failed too often: it is left alone for a while.
    Open,
    /// One attempt is on trial.
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

/// One endpoint's breaker. Times are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    state: BreakerState,
    failed: u32,
    losses: VecDeque<Duration>,
    /// How often it opened without having closed since.
    opened: u32,
    open_until: Duration,
    up_since: Option<Duration>,
}

impl Breaker {
    /// Where it stands at `now`: an open one whose time is over is half open, and a half open one
    /// whose link has been healthy for long enough is closed.
    pub fn state(&mut self, now: Duration) -> BreakerState {
        let healthy = Duration::from_millis(limits::BREAKER_HEALTHY_MS);
        if self.state == BreakerState::Open && now >= self.open_until {
            self.state = BreakerState::HalfOpen;
        }
        let proven = self.up_since.is_some_and(|since| now.saturating_sub(since) >= healthy);
        if self.state == BreakerState::HalfOpen && proven {
            *self = Breaker { up_since: self.up_since, ..Breaker::default() };
        }
        self.state
    }

    /// Whether connecting may be tried. While half open, one trial at a time: the caller has one
    /// connection per endpoint.
    pub fn admits(&mut self, now: Duration) -> bool {
        self.state(now) != BreakerState::Open
    }

    /// A link is up and the endpoint has greeted.
    pub fn up(&mut self, now: Duration) {
        self.failed = 0;
        self.up_since = Some(now);
    }

    /// Connecting failed. `random` is uniform in [0, 1) and spreads the pause over [whole, 1.25 ×].
    pub fn connect_failed(&mut self, now: Duration, random: f64) {
        self.failed = self.failed.saturating_add(1);
        self.up_since = None;
        let trial = self.state(now) == BreakerState::HalfOpen;
        if trial || self.failed >= limits::BREAKER_FAILED_CONNECTIONS {
            self.open(now, random);
        }
    }

    /// A link that was up is lost, and not because anybody meant it to end.
    pub fn lost(&mut self, now: Duration, random: f64) {
        let trial = self.state(now) == BreakerState::HalfOpen;
        self.up_since = None;
        let window = Duration::from_millis(limits::BREAKER_WINDOW_MS);
        self.losses.retain(|&at| now.saturating_sub(at) < window);
        self.losses.push_back(now);
        let flaps = self.losses.len() >= limits::BREAKER_LOST_CONNECTIONS;
        if flaps {
            self.losses.clear();
        }
        if trial || flaps {
            self.open(now, random);
        }
    }

    /// A link ended because it was meant to; says nothing about the endpoint.
    pub fn ended(&mut self) {
        self.up_since = None;
    }

    fn open(&mut self, now: Duration, random: f64) {
        // Failures while it is open anyway do not make it open for longer.
        if self.state == BreakerState::Open {
            return;
        }
        let (first, last) = limits::BREAKER_OPEN_MS;
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
    fn losses_that_are_far_apart_and_ends_that_are_meant_do_not_open_it() {
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
        /// Whatever happens, it admits a trial again within its longest pause.
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
                prop_assert!(later.admits(at(now + limits::BREAKER_OPEN_MS.1 * 5 / 4)));
            }
        }
    }
}
