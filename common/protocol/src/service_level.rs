//! Service levels for sessions whose link cannot carry everything: a ladder of levels, and the rule
//! by which a session steps down and up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Priority, Scope, ScopeSet};

/// Frames that wait longer than this, throughout [`LADDER_DOWN_MS`], lower a session's service
/// level.
const LADDER_WAIT_MS: u64 = 150;
/// How long a queue must persist before a session's service level is lowered.
const LADDER_DOWN_MS: u64 = 1_000;
/// How long a link must be clean before the service level is raised, first and after failures.
const LADDER_HOLD_MS: (u64, u64) = (5_000, 60_000);

/// A service level, best first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceLevel {
    /// Everything that was subscribed, unthrottled.
    #[default]
    Full,
    /// Everything, at lower rates.
    Reduced,
    /// State and mission, and everything more urgent.
    Mission,
    /// Topics that keep people and rover safe.
    Safety,
    /// Topics that are needed to find the rover and stop it.
    Critical,
}

/// The share of one topic's samples that a level admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Every sample.
    All,
    /// At most one sample per interval; the newest is kept.
    Every(Duration),
    /// Nothing.
    Nothing,
}

const EMERGENCY: ScopeSet = ScopeSet::of(&[Scope::Emergency]);
const PROTECTED: ScopeSet = ScopeSet::of(&[Scope::Emergency, Scope::Safety]);
const TASK: ScopeSet = ScopeSet::of(&[Scope::State, Scope::Mission, Scope::Commands]);
const WHEREABOUTS: ScopeSet = ScopeSet::of(&[Scope::Location, Scope::Health, Scope::Battery]);
const FINDING: ScopeSet = ScopeSet::of(&[Scope::Location, Scope::Battery]);

impl ServiceLevel {
    /// Every level, best first.
    pub const ALL: [ServiceLevel; 5] = [
        ServiceLevel::Full,
        ServiceLevel::Reduced,
        ServiceLevel::Mission,
        ServiceLevel::Safety,
        ServiceLevel::Critical,
    ];

    /// The word used on the wire and on screen.
    pub const fn word(self) -> &'static str {
        match self {
            ServiceLevel::Full => "full",
            ServiceLevel::Reduced => "reduced",
            ServiceLevel::Mission => "mission",
            ServiceLevel::Safety => "safety",
            ServiceLevel::Critical => "critical",
        }
    }

    /// The share of a topic's samples that this level admits. The emergency stop is always admitted.
    pub fn allowance(self, scopes: ScopeSet, priority: Priority) -> Allowance {
        let hz = |rate: f64| Allowance::Every(Duration::from_secs_f64(1.0 / rate));
        let about = |set: ScopeSet| scopes.intersects(set);
        let safe = about(PROTECTED) || priority <= Priority::Safety;
        match self {
            ServiceLevel::Full => Allowance::All,
            _ if about(EMERGENCY) || priority == Priority::Emergency => Allowance::All,
            ServiceLevel::Reduced if safe => Allowance::All,
            ServiceLevel::Reduced if priority == Priority::Sensors => hz(5.0),
            ServiceLevel::Reduced => hz(10.0),
            ServiceLevel::Mission if safe || about(TASK) => hz(5.0),
            ServiceLevel::Safety if safe => Allowance::All,
            ServiceLevel::Mission | ServiceLevel::Safety if about(WHEREABOUTS) => hz(1.0),
            ServiceLevel::Critical if about(FINDING) => hz(0.5),
            _ => Allowance::Nothing,
        }
    }

    /// One in how many periodic summaries (plain telemetry) is sent.
    pub const fn one_summary_in(self) -> u32 {
        match self {
            ServiceLevel::Full | ServiceLevel::Reduced => 1,
            ServiceLevel::Mission => 2,
            ServiceLevel::Safety => 5,
            ServiceLevel::Critical => 10,
        }
    }

    fn worse(self) -> Option<ServiceLevel> {
        ServiceLevel::ALL.get(self as usize + 1).copied()
    }

    fn better(self) -> Option<ServiceLevel> {
        ServiceLevel::ALL.get((self as usize).checked_sub(1)?).copied()
    }
}

/// A change of a session's level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The previous level.
    pub from: ServiceLevel,
    /// The new level.
    pub to: ServiceLevel,
    /// The measurement that caused it, in words.
    pub reason: String,
}

/// The rule by which a session steps down and up. It reacts to a standing queue: frames that wait
/// throughout an interval (like CoDel, RFC 8289, which uses the minimum of a window), not a burst
/// that drains. A step up that fails doubles the time until the next attempt.
#[derive(Clone, Debug)]
pub struct Ladder {
    level: ServiceLevel,
    bad_since: Option<Duration>,
    clean_since: Option<Duration>,
    lost_at: Option<Duration>,
    raised_at: Option<Duration>,
    hold: Duration,
}

impl Default for Ladder {
    fn default() -> Self {
        Ladder {
            level: ServiceLevel::Full,
            bad_since: None,
            clean_since: None,
            lost_at: None,
            raised_at: None,
            hold: ms(LADDER_HOLD_MS.0),
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Ladder {
    /// The current level.
    pub fn level(&self) -> ServiceLevel {
        self.level
    }

    /// How long the link must be clean before the next step up.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Discards the measurements but keeps the level: the client was away, and its link says
    /// nothing.
    pub fn forget(&mut self) {
        (self.bad_since, self.clean_since, self.lost_at) = (None, None, None);
    }

    /// Records a measurement at `now` (monotonic): the age of the oldest waiting frame, and the
    /// samples lost to waiting since the last measurement. Returns the step that follows, if any.
    pub fn observe(&mut self, now: Duration, waited: Duration, lost: u64) -> Option<Step> {
        if lost > 0 {
            self.lost_at = Some(now);
        }
        let losing = self.lost_at.is_some_and(|at| now.saturating_sub(at) < ms(LADDER_DOWN_MS / 2));
        if waited > ms(LADDER_WAIT_MS) || losing {
            self.clean_since = None;
            let since = *self.bad_since.get_or_insert(now);
            let stands = now.saturating_sub(since) >= ms(LADDER_DOWN_MS);
            return self.level.worse().filter(|_| stands).map(|worse| self.down(worse, now, waited));
        }
        self.bad_since = None;
        let clean = now.saturating_sub(*self.clean_since.get_or_insert(now));
        if clean >= ms(LADDER_HOLD_MS.1) {
            self.hold = ms(LADDER_HOLD_MS.0);
        }
        let better = self.level.better().filter(|_| clean >= self.hold)?;
        self.raised_at = Some(now);
        self.clean_since = Some(now);
        let reason = format!("nothing has waited for {} s", clean.as_secs());
        Some(self.go(better, reason))
    }

    fn down(&mut self, worse: ServiceLevel, now: Duration, waited: Duration) -> Step {
        // Restart the interval: the next step needs a full second of its own.
        self.bad_since = Some(now);
        let failed = self.raised_at.take().is_some_and(|at| now.saturating_sub(at) < 2 * self.hold);
        if failed {
            self.hold = (self.hold * 2).min(ms(LADDER_HOLD_MS.1));
        }
        let reason = match waited.as_millis() {
            0..=150 => "samples were lost to waiting".to_owned(),
            waited => format!("frames wait {waited} ms for the link"),
        };
        self.go(worse, reason)
    }

    fn go(&mut self, to: ServiceLevel, reason: String) -> Step {
        let from = std::mem::replace(&mut self.level, to);
        Step { from, to, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = ms(100);

    fn run(ladder: &mut Ladder, from: Duration, ticks: u32, waited: u64) -> (Duration, Vec<Step>) {
        let steps = (1..=ticks).filter_map(|n| ladder.observe(from + n * TICK, ms(waited), 0)).collect();
        (from + ticks * TICK, steps)
    }

    #[test]
    fn a_standing_queue_lowers_the_level_and_a_clean_link_raises_it() {
        let mut ladder = Ladder::default();
        let (now, steps) = run(&mut ladder, ms(0), 12, 400);
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert_eq!(
            (ladder.level(), steps[0].reason.as_str()),
            (ServiceLevel::Reduced, "frames wait 400 ms for the link")
        );
        let (now, steps) = run(&mut ladder, now, 40, 0);
        assert!(steps.is_empty());
        let (now, steps) = run(&mut ladder, now, 15, 0);
        assert_eq!((steps.len(), ladder.level()), (1, ServiceLevel::Full));
        // It fails at once: the next attempt comes after twice the time.
        let (now, _) = run(&mut ladder, now, 15, 400);
        assert_eq!((ladder.level(), ladder.hold()), (ServiceLevel::Reduced, ms(10_000)));
        let (now, steps) = run(&mut ladder, now, 95, 0);
        assert!(steps.is_empty());
        assert_eq!(run(&mut ladder, now, 10, 0).1.len(), 1);
    }

    #[test]
    fn a_burst_that_drains_costs_nothing() {
        let mut ladder = Ladder::default();
        for n in 0..100 {
            assert_eq!(ladder.observe(n * TICK, ms(if n % 8 == 7 { 0 } else { 400 }), 0), None);
        }
    }

    #[test]
    fn levels_get_narrower_and_never_lose_the_emergency_stop() {
        let weight = |level: ServiceLevel, scopes: &[Scope]| {
            let scopes = ScopeSet::of(scopes);
            match level.allowance(scopes, Priority::of(scopes)) {
                Allowance::All => 0,
                Allowance::Every(interval) => interval.as_millis(),
                Allowance::Nothing => u128::MAX,
            }
        };
        for scope in Scope::ALL {
            for pair in ServiceLevel::ALL.windows(2) {
                // Safety is throttled at the mission level, so that everything fits, and
                // unthrottled below it.
                if (scope, pair[1]) != (Scope::Safety, ServiceLevel::Safety) {
                    assert!(weight(pair[0], &[scope]) <= weight(pair[1], &[scope]), "{scope} {pair:?}");
                }
                assert_eq!(weight(pair[1], &[scope, Scope::Emergency]), 0);
            }
        }
        assert_eq!(weight(ServiceLevel::Reduced, &[Scope::Sensors]), 200);
        assert_eq!(weight(ServiceLevel::Mission, &[Scope::Sensors]), u128::MAX);
        assert_eq!(weight(ServiceLevel::Safety, &[Scope::State, Scope::Location]), 1_000);
        assert_eq!(weight(ServiceLevel::Critical, &[Scope::Battery]), 2_000);
        assert_eq!(weight(ServiceLevel::Critical, &[Scope::Safety]), u128::MAX);
    }

    proptest! {
        #[test]
        fn steps_up_are_slow_and_single_and_reach_full(
            measured in prop::collection::vec((10u64..2_000, 0u64..600, 0u64..8), 0..300)
        ) {
            let mut ladder = Ladder::default();
            let (mut now, mut last_bad) = (ms(0), None);
            let mut changed_at = ms(0);
            for (later, waited, lost) in measured {
                now += ms(later);
                let lost = lost / 7;
                if waited > super::LADDER_WAIT_MS || lost > 0 {
                    last_bad = Some(now);
                }
                if let Some(step) = ladder.observe(now, ms(waited), lost) {
                    prop_assert_eq!((step.from as i8 - step.to as i8).abs(), 1);
                    prop_assert_eq!(step.to, ladder.level());
                    if step.to < step.from {
                        let quiet = last_bad.map_or(now, |bad| now - bad);
                        prop_assert!(quiet >= ms(super::LADDER_HOLD_MS.0));
                        prop_assert!(now - changed_at >= ms(super::LADDER_HOLD_MS.0));
                    }
                    changed_at = now;
                }
            }
            run(&mut ladder, now, 3_100, 0);
            prop_assert_eq!(ladder.level(), ServiceLevel::Full);
        }
    }
}
