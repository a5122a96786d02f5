//! When an endpoint covers a tier that stays down, and when it gives it back. Pure: what is seen goes
//! in with its time, what to do comes out. Nobody is asked: every endpoint decides by what it sees
//! itself, and two that cover the same tier do no harm.

use std::time::Duration;

use roverline_protocol::Tier;

/// What an endpoint sees of a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// Nobody is known to serve it, or it is too early to say.
    #[default]
    Unknown,
    /// An endpoint of it serves.
    Living,
    /// None of its endpoints does.
    Missing,
}

/// How patient an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// A tier that is missing for longer is covered.
    pub(crate) grace: Duration,
    /// A tier that lives again for longer is given back.
    pub(crate) give_back: Duration,
}

/// What an endpoint does about a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Serve what it served.
    Cover(Tier, Duration),
    /// Serve it no longer: it lives again.
    GiveBack(Tier),
    /// Serve it no longer: a better endpoint does.
    HandOver(Tier, Tier),
}

/// The memory of one endpoint's decisions.
#[derive(Clone, Debug)]
pub(crate) struct Promotion {
    tier: Tier,
    patience: Patience,
    seen: [(View, Duration); 4],
    covers: Vec<Tier>,
}

impl Promotion {
    /// An endpoint of this tier that has seen nothing until `now`.
    pub(crate) fn new(tier: Tier, patience: Patience, now: Duration) -> Promotion {
        Promotion { tier, patience, seen: [(View::Unknown, now); 4], covers: Vec::new() }
    }

    /// The tiers that are covered, best first.
    pub(crate) fn covers(&self) -> &[Tier] {
        &self.covers
    }

    /// Takes in what is seen now, by tier, and says what to do. `fit`: whether this endpoint itself
    /// serves and is not about to end.
    pub(crate) fn observe(&mut self, now: Duration, fit: bool, views: [View; 4]) -> Vec<Step> {
        for (seen, view) in self.seen.iter_mut().zip(views) {
            if seen.0 != view {
                *seen = (view, now);
            }
        }
        Tier::ALL.into_iter().filter_map(|tier| self.step(tier, now, fit)).collect()
    }

    /// Whether no better endpoint has been seen serving for the time of grace: what only one endpoint
    /// is to do is then for this one.
    pub(crate) fn leads(&self, now: Duration) -> bool {
        self.better().all(|tier| {
            let (view, since) = self.seen[tier as usize];
            view != View::Living && now.saturating_sub(since) >= self.patience.grace
        })
    }

    fn step(&mut self, tier: Tier, now: Duration, fit: bool) -> Option<Step> {
        if tier == self.tier {
            return None;
        }
        let (view, since) = self.seen[tier as usize];
        let age = now.saturating_sub(since);
        if self.covers.contains(&tier) {
            let step = if view == View::Living && age >= self.patience.give_back {
                Step::GiveBack(tier)
            } else {
                Step::HandOver(tier, self.settled_better(now)?)
            };
            self.covers.retain(|covered| *covered != tier);
            return Some(step);
        }
        let stays_down = view == View::Missing && age >= self.patience.grace;
        if !(fit && stays_down && self.leads(now)) {
            return None;
        }
        self.covers.push(tier);
        self.covers.sort();
        Some(Step::Cover(tier, age))
    }

    fn better(&self) -> impl Iterator<Item = Tier> + '_ {
        Tier::ALL.into_iter().filter(|tier| *tier < self.tier)
    }

    /// A better endpoint that has lived for so long that it covers what is to be covered.
    fn settled_better(&self, now: Duration) -> Option<Tier> {
        self.better().find(|tier| {
            let (view, since) = self.seen[*tier as usize];
            view == View::Living && now.saturating_sub(since) >= self.patience.give_back
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience { grace: Duration::from_secs(2), give_back: Duration::from_secs(10) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn views(primary: View, secondary: View) -> [View; 4] {
        [primary, secondary, View::Living, View::Living]
    }

    use View::{Living, Missing, Unknown};

    #[test]
    fn a_tier_that_stays_down_is_covered_and_given_back() {
        let mut secondary = Promotion::new(Tier::Secondary, PATIENCE, at(0));
        assert_eq!(secondary.observe(at(0), true, views(Living, Unknown)), []);
        assert_eq!(secondary.observe(at(100), true, views(Missing, Unknown)), []);
        assert_eq!(secondary.observe(at(2_099), true, views(Missing, Unknown)), []);
        assert_eq!(
            secondary.observe(at(2_100), true, views(Missing, Unknown)),
            [Step::Cover(Tier::Primary, at(2_000))]
        );
        assert_eq!(secondary.observe(at(5_000), true, views(Missing, Unknown)), [], "once");
        assert_eq!(secondary.observe(at(6_000), true, views(Living, Unknown)), []);
        assert_eq!(secondary.observe(at(15_999), true, views(Living, Unknown)), []);
        assert_eq!(secondary.covers(), [Tier::Primary]);
        assert_eq!(
            secondary.observe(at(16_000), true, views(Living, Unknown)),
            [Step::GiveBack(Tier::Primary)]
        );
        assert_eq!(secondary.covers(), []);
    }

    #[test]
    fn only_the_best_that_lives_covers() {
        let mut tertiary = Promotion::new(Tier::Tertiary, PATIENCE, at(0));
        tertiary.observe(at(0), true, views(Missing, Living));
        assert_eq!(tertiary.observe(at(9_000), true, views(Missing, Living)), []);
        assert!(!tertiary.leads(at(9_000)));
        tertiary.observe(at(9_000), true, views(Missing, Missing));
        assert!(!tertiary.leads(at(10_999)) && tertiary.leads(at(11_000)));
        let steps = tertiary.observe(at(11_000), true, views(Missing, Missing));
        assert_eq!(steps.len(), 2, "{steps:?}");
        // The better one is back: it is left the tier that stays down as well, once it has settled.
        tertiary.observe(at(12_000), true, views(Missing, Living));
        assert_eq!(tertiary.observe(at(21_999), true, views(Missing, Living)), []);
        assert_eq!(
            tertiary.observe(at(22_000), true, views(Missing, Living)),
            [Step::HandOver(Tier::Primary, Tier::Secondary), Step::GiveBack(Tier::Secondary)]
        );
    }

    #[test]
    fn never_for_itself_never_unfit_and_the_best_covers_the_lesser() {
        let all = [Missing; 4];
        let mut primary = Promotion::new(Tier::Primary, PATIENCE, at(0));
        assert!(primary.leads(at(0)));
        primary.observe(at(0), false, all);
        assert_eq!(primary.observe(at(9_000), false, all), [], "it does not serve itself");
        primary.observe(at(9_001), true, all);
        assert_eq!(primary.covers(), [Tier::Secondary, Tier::Tertiary, Tier::Emergency]);
        let mut lonely = Promotion::new(Tier::Secondary, PATIENCE, at(0));
        assert_eq!(lonely.observe(at(9_000), true, [Unknown; 4]), [], "what was never there is not missed");
        assert!(lonely.leads(at(9_000)));
    }

    #[test]
    fn a_tier_that_comes_and_goes_is_covered_once() {
        let mut secondary = Promotion::new(Tier::Secondary, PATIENCE, at(0));
        let mut steps = Vec::new();
        for ms in (0..60_000).step_by(100) {
            let view = if (ms / 2_000) % 2 == 0 { Missing } else { Living };
            steps.extend(secondary.observe(at(ms), true, views(view, Unknown)));
        }
        assert!(steps.len() <= 1, "{steps:?}");
    }

    fn view() -> impl Strategy<Value = View> {
        prop_oneof![Just(Unknown), Just(Living), Just(Missing)]
    }

    proptest! {
        /// Whatever is seen: a tier is covered after grace only, given back after the give-back time
        /// only, and between two promotions of a tier lies at least that time.
        #[test]
        fn steps_keep_their_distance(
            seen in prop::collection::vec((0..3_000_u64, any::<bool>(), prop::array::uniform4(view())), 1..200),
            index in 0..4_usize,
        ) {
            let me = Tier::ALL[index];
            let mut promotion = Promotion::new(me, PATIENCE, at(0));
            let (mut now, mut covered) = (0, [None; 4]);
            for (pause, fit, views) in seen {
                now += pause;
                for step in promotion.observe(at(now), fit, views) {
                    let (tier, begins) = match step {
                        Step::Cover(tier, down) => {
                            prop_assert!(fit && down >= PATIENCE.grace);
                            (tier, true)
                        }
                        Step::GiveBack(tier) | Step::HandOver(tier, _) => (tier, false),
                    };
                    prop_assert!(tier != me);
                    let before: Option<u64> = covered[tier as usize];
                    prop_assert_eq!(before.is_none(), begins);
                    covered[tier as usize] = begins.then_some(now);
                }
                for tier in Tier::ALL {
                    prop_assert_eq!(promotion.covers().contains(&tier), covered[tier as usize].is_some());
                }
            }
        }
    }
}
