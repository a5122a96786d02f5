//! What a session gets when its link cannot carry all: a ladder of service levels, and the rule by
//! which a session climbs down and up again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Priority, Scope, ScopeSet, limits};

/// A step of the ladder, best first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceLevel {
    /// Everything that was subscribed, as it comes.
    #[default]
    Full,
    /// Everything, at lower rates.
    Reduced,
    /// State and mission, and what is more urgent.
    Mission,
    /// What keeps people and rover safe.
    Safety,
    /// Find it and stop it.
    Critical,
}

/// What a level lets through of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Every sample.
    All,
    /// At most one sample in this time; the newest is kept.
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

    /// What this level lets through of a topic. The emergency stop is never held back.
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

    /// Of how many periodic summaries (the plain dialect's telemetry) one is sent.
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

/// A step that a session takes on the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The level that it had.
    pub from: ServiceLevel,
    /// The level it has now.
    pub to: ServiceLevel,
    /// What was measured, in words.
    pub reason: String,
}

/// The rule by which one session climbs down and up again. What counts is a standing queue: frames
/// that have to wait for all of a while (as CoDel, RFC 8289, looks at the minimum of a window), not
/// a burst that drains. A step up that fails doubles the time until the next is tried.
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
            hold: ms(limits::LADDER_HOLD_MS.0),
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Ladder {
    /// Where the session is.
    pub fn level(&self) -> ServiceLevel {
        self.level
    }

    /// How long the link must be clean before the next step up.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Forgets what was measured, not the level: the client was away, and its link says nothing.
    pub fn forget(&mut self) {
        (self.bad_since, self.clean_since, self.lost_at) = (None, None, None);
    }

    /// Takes in a measurement at `now` (monotonic): how long the frame has waited that waits longest,
    /// and how many samples were lost to waiting since the last measurement. Perhaps a step follows.
    pub fn observe(&mut self, now: Duration, waited: Duration, lost: u64) -> Option<Step> {
        if lost > 0 {
            self.lost_at = Some(now);
        }
        let losing = self.lost_at.is_some_and(|at| now.saturating_sub(at) < ms(limits::LADDER_DOWN_MS / 2));
        if waited > ms(limits::LADDER_WAIT_MS) || losing {
            self.clean_since = None;
            let since = *self.bad_since.get_or_insert(now);
            let stands = now.saturating_sub(since) >= ms(limits::LADDER_DOWN_MS);
            return self.level.worse().filter(|_| stands).map(|worse| self.down(worse, now, waited));
        }
        self.bad_since = None;
        let clean = now.saturating_sub(*self.clean_since.get_or_insert(now));
        if clean >= ms(limits::LADDER_HOLD_MS.1) {
            self.hold = ms(limits::LADDER_HOLD_MS.0);
        }
        let better = self.level.better().filter(|_| clean >= self.hold)?;
        self.raised_at = Some(now);
        self.clean_since = Some(now);
        let reason = format!("nothing has waited for {} s", clean.as_secs());
        Some(self.go(better, reason))
    }

    fn down(&mut self, worse: ServiceLevel, now: Duration, waited: Duration) -> Step {
        // It stands anew: the next step needs its own second.
        self.bad_since = Some(now);
        let failed = self.raised_at.take().is_some_and(|at| now.saturating_sub(at) < 2 * self.hold);
        if failed {
            self.hold = (self.hold * 2).min(ms(limits::LADDER_HOLD_MS.1));
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
    fn down_with_a_standing_queue_and_up_when_it_is_clean() {
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
                // Safety is rarer while the mission goes on, so that all fits, and whole again after.
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
        fn never_up_in_haste_never_two_steps_and_full_in_the_end(
            measured in prop::collection::vec((10u64..2_000, 0u64..600, 0u64..8), 0..300)
        ) {
            let mut ladder = Ladder::default();
            let (mut now, mut last_bad) = (ms(0), None);
            let mut changed_at = ms(0);
            for (later, waited, lost) in measured {
                now += ms(later);
                let lost = lost / 7;
                if waited > limits::LADDER_WAIT_MS || lost > 0 {
                    last_bad = Some(now);
                }
                if let Some(step) = ladder.observe(now, ms(waited), lost) {
                    prop_assert_eq!((step.from as i8 - step.to as i8).abs(), 1);
                    prop_assert_eq!(step.to, ladder.level());
                    if step.to < step.from {
                        let quiet = last_bad.map_or(now, |bad| now - bad);
                        prop_assert!(quiet >= ms(limits::LADDER_HOLD_MS.0));
                        prop_assert!(now - changed_at >= ms(limits::LADDER_HOLD_MS.0));
                    }
                    changed_at = now;
                }
            }
            run(&mut ladder, now, 3_100, 0);
            prop_assert_eq!(ladder.level(), ServiceLevel::Full);
        }
    }
}
