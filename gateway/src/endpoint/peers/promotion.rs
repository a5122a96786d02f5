//! Decides when an endpoint covers a tier that stays down and when it gives it back. Pure: observations and
//! their time go in, steps come out. There is no consensus: every endpoint decides by its own observations,
//! and two endpoints covering the same tier are harmless.

use std::time::Duration;

use roverline_protocol::Tier;

/// The observed state of a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TierView {
    /// No endpoint of the tier is known, or it is too early to tell.
    #[default]
    Unknown,
    /// At least one endpoint of the tier serves.
    Living,
    /// None of its endpoints serves.
    Missing,
}

/// The time limits of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PromotionTimeouts {
    /// A tier that is missing for longer is covered.
    pub(crate) grace: Duration,
    /// A tier that is up again for longer is given back.
    pub(crate) give_back: Duration,
}

/// A change in what the endpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Cover the tier, which has been missing for this long.
    Cover(Tier, Duration),
    /// Stop covering the tier: it is up again.
    GiveBack(Tier),
    /// Stop covering the first tier: the second, better one covers it.
    HandOver(Tier, Tier),
}

/// The decision state of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Promotion {
    tier: Tier,
    timeouts: PromotionTimeouts,
    seen: [(TierView, Duration); 4],
    covers: Vec<Tier>,
}

impl Promotion {
    /// Creates the state of an endpoint of this tier, without observations until `now`.
    pub(crate) fn new(tier: Tier, timeouts: PromotionTimeouts, now: Duration) -> Promotion {
        Promotion { tier, timeouts, seen: [(TierView::Unknown, now); 4], covers: Vec::new() }
    }

    /// The covered tiers, best first.
    pub(crate) fn covers(&self) -> &[Tier] {
        &self.covers
    }

    /// Processes the current observation of every tier and returns the steps to take. `fit` is true if this
    /// endpoint itself serves and is not about to stop.
    pub(crate) fn observe(&mut self, now: Duration, fit: bool, views: [TierView; 4]) -> Vec<Step> {
        for (seen, view) in self.seen.iter_mut().zip(views) {
            if seen.0 != view {
                *seen = (view, now);
            }
        }
        Tier::ALL.into_iter().filter_map(|tier| self.step(tier, now, fit)).collect()
    }

    /// Whether no better endpoint has been seen serving during the grace period, so that singleton tasks
    /// fall to this one.
    pub(crate) fn is_leader(&self, now: Duration) -> bool {
        self.better().all(|tier| {
            let (view, since) = self.seen[tier as usize];
            view != TierView::Living && now.saturating_sub(since) >= self.timeouts.grace
        })
    }

    fn step(&mut self, tier: Tier, now: Duration, fit: bool) -> Option<Step> {
        if tier == self.tier {
            return None;
        }
        let (view, since) = self.seen[tier as usize];
        let age = now.saturating_sub(since);
        if self.covers.contains(&tier) {
            let step = if view == TierView::Living && age >= self.timeouts.give_back {
                Step::GiveBack(tier)
            } else {
                Step::HandOver(tier, self.settled_better(now)?)
            };
            self.covers.retain(|covered| *covered != tier);
            return Some(step);
        }
        let stays_down = view == TierView::Missing && age >= self.timeouts.grace;
        if !(fit && stays_down && self.is_leader(now)) {
            return None;
        }
        self.covers.push(tier);
        self.covers.sort();
        Some(Step::Cover(tier, age))
    }

    fn better(&self) -> impl Iterator<Item = Tier> + '_ {
        Tier::ALL.into_iter().filter(|tier| *tier < self.tier)
    }

    /// A better endpoint that has been up long enough to cover what is missing.
    fn settled_better(&self, now: Duration) -> Option<Tier> {
        self.better().find(|tier| {
            let (view, since) = self.seen[*tier as usize];
            view == TierView::Living && now.saturating_sub(since) >= self.timeouts.give_back
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUTS: PromotionTimeouts =
        PromotionTimeouts { grace: Duration::from_secs(2), give_back: Duration::from_secs(10) };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn views(primary: TierView, secondary: TierView) -> [TierView; 4] {
        [primary, secondary, TierView::Living, TierView::Living]
    }

    use TierView::{Living, Missing, Unknown};

    #[test]
    fn a_tier_that_stays_down_is_covered_and_given_back() {
        let mut secondary = Promotion::new(Tier::Secondary, TIMEOUTS, at(0));
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
    fn only_the_best_living_tier_covers() {
        let mut tertiary = Promotion::new(Tier::Tertiary, TIMEOUTS, at(0));
        tertiary.observe(at(0), true, views(Missing, Living));
        assert_eq!(tertiary.observe(at(9_000), true, views(Missing, Living)), []);
        assert!(!tertiary.is_leader(at(9_000)));
        tertiary.observe(at(9_000), true, views(Missing, Missing));
        assert!(!tertiary.is_leader(at(10_999)) && tertiary.is_leader(at(11_000)));
        let steps = tertiary.observe(at(11_000), true, views(Missing, Missing));
        assert_eq!(steps.len(), 2, "{steps:?}");
        // The better endpoint is back; once it has settled, the missing tier is left to it as well.
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
        let mut primary = Promotion::new(Tier::Primary, TIMEOUTS, at(0));
        assert!(primary.is_leader(at(0)));
        primary.observe(at(0), false, all);
        assert_eq!(primary.observe(at(9_000), false, all), [], "it does not serve itself");
        primary.observe(at(9_001), true, all);
        assert_eq!(primary.covers(), [Tier::Secondary, Tier::Tertiary, Tier::Emergency]);
        let mut lonely = Promotion::new(Tier::Secondary, TIMEOUTS, at(0));
        assert_eq!(lonely.observe(at(9_000), true, [Unknown; 4]), [], "what was never there is not missed");
        assert!(lonely.is_leader(at(9_000)));
    }

    #[test]
    fn a_tier_that_comes_and_goes_is_covered_once() {
        let mut secondary = Promotion::new(Tier::Secondary, TIMEOUTS, at(0));
        let mut steps = Vec::new();
        for ms in (0..60_000).step_by(100) {
            let view = if (ms / 2_000) % 2 == 0 { Missing } else { Living };
            steps.extend(secondary.observe(at(ms), true, views(view, Unknown)));
        }
        assert!(steps.len() <= 1, "{steps:?}");
    }

    fn view() -> impl Strategy<Value = TierView> {
        prop_oneof![Just(Unknown), Just(Living), Just(Missing)]
    }

    proptest! {
        /// For every sequence of observations, a tier is covered only after the grace period and given back
        /// only after the give-back time, and covering strictly alternates with giving back.
        #[test]
        fn steps_keep_their_distance(
            seen in prop::collection::vec((0..3_000_u64, any::<bool>(), prop::array::uniform4(view())), 1..200),
            index in 0..4_usize,
        ) {
            let me = Tier::ALL[index];
            let mut promotion = Promotion::new(me, TIMEOUTS, at(0));
            let (mut now, mut covered) = (0, [None; 4]);
            for (pause, fit, views) in seen {
                now += pause;
                for step in promotion.observe(at(now), fit, views) {
                    let (tier, begins) = match step {
                        Step::Cover(tier, down) => {
                            prop_assert!(fit && down >= TIMEOUTS.grace);
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
