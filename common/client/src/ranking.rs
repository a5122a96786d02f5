//! Endpoint ranking: by class, then scope coverage, then link quality, with enough hysteresis that a
//! client never oscillates between two equal links.

use std::collections::VecDeque;
use std::time::Duration;

use roverline_protocol::ScopeSet;

/// How long an endpoint's failure counts as recent.
const FAILBACK_MEMORY_MS: u64 = 60_000;

/// Smoothed round-trip time and jitter as in RFC 6298 (gains 1/8 and 1/4), and loss over the last
/// 32 probes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkEstimate {
    srtt_s: Option<f64>,
    rttvar_s: f64,
    outcomes: u32,
    probes: u32,
}

impl LinkEstimate {
    /// Records a probe that was answered after `rtt`.
    pub(crate) fn answered(&mut self, rtt: Duration) {
        let rtt = rtt.as_secs_f64();
        match &mut self.srtt_s {
            None => {
                self.srtt_s = Some(rtt);
                self.rttvar_s = rtt / 2.0;
            }
            Some(srtt) => {
                self.rttvar_s += ((*srtt - rtt).abs() - self.rttvar_s) / 4.0;
                *srtt += (rtt - *srtt) / 8.0;
            }
        }
        self.outcome(true);
    }

    /// Records a probe that was not answered in time.
    pub(crate) fn lost(&mut self) {
        self.outcome(false);
    }

    fn outcome(&mut self, answered: bool) {
        self.outcomes = (self.outcomes << 1) | u32::from(!answered);
        self.probes = (self.probes + 1).min(32);
    }

    /// Smoothed round-trip time.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.srtt_s.map(Duration::from_secs_f64)
    }

    /// Smoothed mean deviation of the round-trip time.
    pub(crate) fn jitter(&self) -> Option<Duration> {
        self.srtt_s.map(|_| Duration::from_secs_f64(self.rttvar_s))
    }

    /// Share of the last probes that were lost, 0 to 1.
    pub(crate) fn loss(&self) -> f64 {
        match self.probes {
            0 => 0.0,
            n => f64::from((self.outcomes & mask(n)).count_ones()) / f64::from(n),
        }
    }
}

const fn mask(n: u32) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// Class of a usable endpoint, worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EndpointClass {
    /// It reports that it cannot serve: used only when nothing else is left.
    Unhealthy,
    /// Its circuit breaker is not closed: used only when nothing better is left.
    Untrusted,
    /// It shuts down soon.
    Draining,
    /// No objections.
    #[default]
    Good,
}

/// Ranking input for one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Whether a session with it is up and not suspect.
    pub(crate) usable: bool,
    /// Its class.
    pub(crate) class: EndpointClass,
    /// Whether it lacks writers that other endpoints hear.
    pub(crate) warming_up: bool,
    /// How long it must have been usable before the client returns to it for its coverage.
    pub(crate) failback: Duration,
    /// Scopes it serves.
    pub(crate) scopes: ScopeSet,
    /// Number of those that the topics followed by the program are in.
    pub(crate) carries: u32,
    /// Smoothed round-trip time; unknown counts as slow.
    pub(crate) rtt: Option<Duration>,
    /// Smoothed mean deviation of the round-trip time.
    pub(crate) jitter: Option<Duration>,
    /// Lost probes, 0 to 1.
    pub(crate) loss: f64,
    /// Clients over capacity, 0 to 1.
    pub(crate) load: f64,
}

/// Cost of a link in milliseconds: RTT + 4 × jitter, plus 5 ms per percent lost, plus up to 5 ms
/// for a full endpoint. Lower is better. Links below 5 ms are equal: on one computer the
/// differences are noise.
pub(crate) fn cost_ms(candidate: &Candidate) -> f64 {
    let rtt = candidate.rtt.map_or(1_000.0, |rtt| rtt.as_secs_f64() * 1e3);
    let jitter = candidate.jitter.map_or(0.0, |jitter| jitter.as_secs_f64() * 1e3);
    (rtt + 4.0 * jitter).max(5.0) + 500.0 * candidate.loss + 5.0 * candidate.load
}

/// Indices of `candidates`, best first: usable ones, then by class, coverage of the topics that are followed, coverage of
/// the wanted scopes, cost, and order of listing.
pub(crate) fn rank(candidates: &[Candidate], wanted: ScopeSet) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (candidates[i].usable, merit(&candidates[i], wanted));
        key(b)
            .cmp(&key(a))
            .then_with(|| cost_ms(&candidates[a]).total_cmp(&cost_ms(&candidates[b])))
            .then_with(|| a.cmp(&b))
    });
    order
}

fn merit(candidate: &Candidate, wanted: ScopeSet) -> (EndpointClass, u32, u32) {
    (candidate.class, candidate.carries, candidate.scopes.intersection(wanted).len())
}

/// Failback delay: how long an endpoint must be healthy before a client returns to it. A planned
/// switch costs nothing, so the delay may be short; only an endpoint that flaps must be slowed
/// down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failback {
    losses: VecDeque<(Duration, f64)>,
}

impl Failback {
    /// Records the loss of the endpoint at `now` (monotonic). `random`, uniform in [0, 1), is this
    /// client's share of the spread: clients that left together do not return together.
    pub(crate) fn lost(&mut self, now: Duration, random: f64) {
        if self.losses.len() >= 16 {
            self.losses.pop_front();
        }
        self.losses.push_back((now, random.clamp(0.0, 1.0)));
    }

    /// The delay, between `first` and 1.25 × `last`.
    pub(crate) fn hold(&self, now: Duration, first: Duration, last: Duration) -> Duration {
        let memory = Duration::from_millis(FAILBACK_MEMORY_MS);
        let recent = self.losses.iter().filter(|(at, _)| now.saturating_sub(*at) < memory).count();
        let spread = self.losses.back().map_or(0.0, |(_, random)| 0.25 * random);
        let doubled = 1 << recent.saturating_sub(1).min(20);
        first.saturating_mul(doubled).min(last).mul_f64(1.0 + spread)
    }
}

/// How much better a challenger must be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stickiness {
    /// A challenger must cost less than this share of the incumbent's cost.
    pub(crate) share: f64,
    /// Without interruption for this long.
    pub(crate) hold: Duration,
}

impl Default for Stickiness {
    fn default() -> Self {
        Stickiness { share: 0.8, hold: Duration::from_secs(5) }
    }
}

/// Chooses the endpoint to use; the caller supplies the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    stickiness: Stickiness,
    challenger: Option<(usize, Duration)>,
}

impl Selector {
    /// A selector with the given hysteresis.
    pub(crate) fn new(stickiness: Stickiness) -> Selector {
        Selector { stickiness, challenger: None }
    }

    /// The endpoint to use at `now` (monotonic), given the current one. An unusable endpoint is
    /// left at once; a usable one only for a challenger that has been clearly better for the hold
    /// time: the challenger's failback time if it has better coverage or class, the selector's if
    /// it is only cheaper. One that warms up is no challenger. `None` when no endpoint is usable.
    pub(crate) fn select(
        &mut self,
        candidates: &[Candidate],
        wanted: ScopeSet,
        current: Option<usize>,
        now: Duration,
    ) -> Option<usize> {
        let usable: Vec<usize> =
            rank(candidates, wanted).into_iter().filter(|&i| candidates[i].usable).collect();
        let best = *usable.first()?;
        let Some(current) = current.filter(|&i| candidates.get(i).is_some_and(|c| c.usable)) else {
            self.challenger = None;
            return Some(best);
        };
        // A client does not return to an endpoint that has not discovered all writers yet.
        let settled = |i: &usize| *i == current || !candidates[*i].warming_up;
        let best = usable.into_iter().find(settled).unwrap_or(current);
        if best == current || !self.clearly_better(&candidates[best], &candidates[current], wanted) {
            self.challenger = None;
            return Some(current);
        }
        let covers_more = merit(&candidates[best], wanted) > merit(&candidates[current], wanted);
        let hold = if covers_more { candidates[best].failback } else { self.stickiness.hold };
        match self.challenger {
            Some((challenger, since)) if challenger == best => {
                if now.saturating_sub(since) >= hold {
                    self.challenger = None;
                    return Some(best);
                }
            }
            _ if hold.is_zero() => return Some(best),
            _ => self.challenger = Some((best, now)),
        }
        Some(current)
    }

    /// Forgets the challenger: the indices of the candidates have changed.
    pub(crate) fn reset(&mut self) {
        self.challenger = None;
    }

    fn clearly_better(&self, challenger: &Candidate, current: &Candidate, wanted: ScopeSet) -> bool {
        let (theirs, ours) = (merit(challenger, wanted), merit(current, wanted));
        theirs > ours || (theirs == ours && cost_ms(challenger) < self.stickiness.share * cost_ms(current))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_protocol::Tier;

    use super::*;

    fn candidate(tier: Tier, rtt_ms: u64) -> Candidate {
        Candidate {
            warming_up: false,
            usable: true,
            class: EndpointClass::Good,
            failback: Duration::from_secs(1),
            scopes: tier.scopes(),
            carries: 0,
            rtt: Some(Duration::from_millis(rtt_ms)),
            jitter: Some(Duration::ZERO),
            loss: 0.0,
            load: 0.0,
        }
    }

    #[test]
    fn nobody_returns_to_an_endpoint_that_warms_up() {
        let mut selector = Selector::new(Stickiness { hold: Duration::ZERO, ..Stickiness::default() });
        let mut all = [candidate(Tier::Primary, 1), candidate(Tier::Secondary, 1)];
        all.iter_mut().for_each(|one| one.failback = Duration::ZERO);
        all[0].warming_up = true;
        let mut select = |all: &[Candidate], current| {
            selector.select(all, Tier::Primary.scopes(), current, Duration::ZERO)
        };
        assert_eq!(select(&all, Some(1)), Some(1), "not yet");
        assert_eq!(select(&all, None), Some(0), "better than none");
        assert_eq!(select(&all, Some(0)), Some(0), "and it is not left for that");
        all[0].warming_up = false;
        assert_eq!(select(&all, Some(1)), Some(0));
        all[0].warming_up = true;
        all[1].usable = false;
        assert_eq!(select(&all, Some(1)), Some(0), "the only one");
    }

    #[test]
    fn coverage_beats_speed_and_an_unusable_one_is_left_at_once() {
        let mut all = [candidate(Tier::Primary, 80), candidate(Tier::Secondary, 2)];
        let mut selector = Selector::default();
        assert_eq!(selector.select(&all, ScopeSet::ALL, None, Duration::ZERO), Some(0));
        all[0].usable = false;
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(0), Duration::ZERO), Some(1));
        all[1].usable = false;
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), Duration::ZERO), None);
    }

    #[test]
    fn what_carries_the_followed_topics_beats_what_covers_more() {
        let mut all = [Tier::Primary, Tier::Secondary, Tier::Tertiary].map(|tier| candidate(tier, 2));
        let mission = ScopeSet::of(&[roverline_protocol::Scope::Mission]);
        all.iter_mut().for_each(|one| one.carries = one.scopes.intersection(mission).len());
        assert_eq!(rank(&all, ScopeSet::ALL), [0, 1, 2], "the tertiary has more scopes, and not the mission");
        all.iter_mut().for_each(|one| one.carries = 0);
        assert_eq!(rank(&all, ScopeSet::ALL), [0, 2, 1]);
    }

    #[test]
    fn fails_back_only_after_an_uninterrupted_hold_time() {
        let mut all = [candidate(Tier::Primary, 2), candidate(Tier::Secondary, 2)];
        all[0].failback = Duration::from_secs(5);
        let mut selector = Selector::default();
        let at = Duration::from_secs;
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), at(0)), Some(1));
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), at(4)), Some(1));
        all[0].usable = false;
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), at(5)), Some(1));
        all[0].usable = true;
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), at(6)), Some(1));
        assert_eq!(selector.select(&all, ScopeSet::ALL, Some(1), at(12)), Some(0));
    }

    #[test]
    fn an_endpoint_of_a_worse_class_is_the_last_choice() {
        let mut all = [candidate(Tier::Primary, 2), candidate(Tier::Emergency, 90)];
        for class in [EndpointClass::Draining, EndpointClass::Untrusted, EndpointClass::Unhealthy] {
            all[0].class = class;
            assert_eq!(rank(&all, ScopeSet::ALL), [1, 0], "{class:?}");
        }
        all[1].usable = false;
        assert_eq!(Selector::default().select(&all, ScopeSet::ALL, None, Duration::ZERO), Some(0));
    }

    /// Drives a selector over a primary that is up or down by `up`, polling every 20 ms; counts the
    /// switches.
    fn switches(seconds: u64, jitter: f64, up: impl Fn(u64) -> bool) -> usize {
        let mut all = [candidate(Tier::Primary, 2), candidate(Tier::Secondary, 2)];
        let (mut selector, mut failback) = (Selector::default(), Failback::default());
        let (mut current, mut count) = (Some(0), 0);
        let ms = |(first, last)| (Duration::from_millis(first), Duration::from_millis(last));
        let (first, last) = ms(crate::limits::FAILBACK_MS);
        for at in (0..seconds * 1_000).step_by(20) {
            let now = Duration::from_millis(at);
            if all[0].usable && !up(at) {
                failback.lost(now, jitter);
            }
            all[0].usable = up(at);
            all[0].failback = failback.hold(now, first, last);
            let next = selector.select(&all, ScopeSet::ALL, current, now);
            count += usize::from(next != current);
            current = next;
        }
        count
    }

    #[test]
    fn estimates_follow_rfc_6298() {
        let mut link = LinkEstimate::default();
        assert_eq!((link.rtt(), link.loss()), (None, 0.0));
        link.answered(Duration::from_millis(100));
        assert_eq!(link.rtt(), Some(Duration::from_millis(100)));
        assert_eq!(link.jitter(), Some(Duration::from_millis(50)));
        link.lost();
        assert!((link.loss() - 0.5).abs() < 1e-9);
        (0..64).for_each(|_| link.answered(Duration::from_millis(10)));
        assert_eq!(link.loss(), 0.0);
        assert!(link.rtt().unwrap() < Duration::from_millis(11));
    }

    proptest! {
        /// Costs within the margin of each other never cause a switch.
        #[test]
        fn never_flaps_inside_its_margin(costs in prop::collection::vec((100u64..124, 100u64..124), 1..200)) {
            let mut selector = Selector::default();
            let mut current = Some(0);
            for (i, (a, b)) in costs.into_iter().enumerate() {
                let all = [candidate(Tier::Primary, a), candidate(Tier::Primary, b)];
                current = selector.select(&all, ScopeSet::ALL, current, Duration::from_secs(i as u64));
                prop_assert_eq!(current, Some(0));
            }
        }

        /// The same for realistic links: estimates of jittered round trips, and loads that move.
        #[test]
        fn never_flaps_between_jittered_equals(
            probes in prop::collection::vec((900u32..1_100, 900u32..1_100, 0.0..1.0, 0.0..1.0), 1..300),
        ) {
            let mut selector = Selector::default();
            let mut links = [LinkEstimate::default(), LinkEstimate::default()];
            // Ten even probes first: one is not enough to know a link's cost.
            let even = std::iter::repeat_n((1_000, 1_000, 0.0, 0.0), 10);
            for (i, (a, b, load_a, load_b)) in even.chain(probes).enumerate() {
                links[0].answered(Duration::from_micros(100 * u64::from(a)));
                links[1].answered(Duration::from_micros(100 * u64::from(b)));
                let of = |i: usize, load| {
                    let (rtt, jitter) = (links[i].rtt(), Some(Duration::ZERO));
                    Candidate { rtt, jitter, load, ..candidate(Tier::Primary, 0) }
                };
                let all = [of(0, load_a), of(1, load_b)];
                let now = Duration::from_millis(500 * i as u64);
                prop_assert_eq!(selector.select(&all, ScopeSet::ALL, Some(0), now), Some(0));
            }
        }

        /// An endpoint that flaps every two seconds is returned to once, not each time.
        #[test]
        fn a_flapping_endpoint_is_soon_left_alone(phase in 0u64..4_000, jitter in 0.0..1.0) {
            let count = switches(60, jitter, |at| (at + phase) % 4_000 < 2_000);
            prop_assert!((1..=4).contains(&count), "{} switches", count);
        }

        /// One failure causes one switch away and, a second or slightly later, one back.
        #[test]
        fn one_failure_is_two_switches(from in 1_000u64..5_000, lasts in 40u64..5_000, jitter in 0.0..1.0) {
            let up = |at: u64| at < from || at >= from + lasts;
            prop_assert_eq!(switches(12, jitter, up), 2);
        }
    }
}
