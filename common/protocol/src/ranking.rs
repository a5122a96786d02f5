//! Which endpoint to use: scope coverage first, then link quality, with enough hysteresis that two
//! equal links never make a client swing between them.

use std::time::Duration;

use crate::ScopeSet;

/// Smoothed round-trip time and jitter as in RFC 6298 (gains 1/8 and 1/4), and loss over the last
/// 32 probes.
#[derive(Clone, Debug, Default)]
pub struct LinkEstimate {
    srtt_s: Option<f64>,
    rttvar_s: f64,
    outcomes: u32,
    probes: u32,
}

impl LinkEstimate {
    /// A probe came back after `rtt`.
    pub fn answered(&mut self, rtt: Duration) {
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

    /// A probe did not come back in time.
    pub fn lost(&mut self) {
        self.outcome(false);
    }

    fn outcome(&mut self, answered: bool) {
        self.outcomes = (self.outcomes << 1) | u32::from(!answered);
        self.probes = (self.probes + 1).min(32);
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.srtt_s.map(Duration::from_secs_f64)
    }

    /// Smoothed mean deviation of the round-trip time.
    pub fn jitter(&self) -> Option<Duration> {
        self.srtt_s.map(|_| Duration::from_secs_f64(self.rttvar_s))
    }

    /// Share of the last probes that were lost, 0 to 1.
    pub fn loss(&self) -> f64 {
        match self.probes {
            0 => 0.0,
            n => f64::from((self.outcomes & mask(n)).count_ones()) / f64::from(n),
        }
    }
}

const fn mask(n: u32) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// What the ranking knows of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Whether a session with it is up and not suspect.
    pub usable: bool,
    /// What it serves.
    pub scopes: ScopeSet,
    /// Smoothed round-trip time; unknown counts as slow.
    pub rtt: Option<Duration>,
    /// Smoothed deviation.
    pub jitter: Option<Duration>,
    /// Lost probes, 0 to 1.
    pub loss: f64,
    /// Clients over capacity, 0 to 1.
    pub load: f64,
}

/// What a link costs, in milliseconds: RTT + 4 × jitter, plus 5 ms per percent lost, plus up to 5 ms
/// for a full endpoint. Lower is better. Links below 5 ms are alike: on one computer the differences
/// are noise.
pub fn cost_ms(candidate: &Candidate) -> f64 {
    let rtt = candidate.rtt.map_or(1_000.0, |rtt| rtt.as_secs_f64() * 1e3);
    let jitter = candidate.jitter.map_or(0.0, |jitter| jitter.as_secs_f64() * 1e3);
    (rtt + 4.0 * jitter).max(5.0) + 500.0 * candidate.loss + 5.0 * candidate.load
}

/// Indices of `candidates`, best first: usable before not, more of the wanted scopes before fewer,
/// cheaper before dearer, then as listed.
pub fn rank(candidates: &[Candidate], wanted: ScopeSet) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (candidates[i].usable, candidates[i].scopes.intersection(wanted).len());
        key(b)
            .cmp(&key(a))
            .then_with(|| cost_ms(&candidates[a]).total_cmp(&cost_ms(&candidates[b])))
            .then_with(|| a.cmp(&b))
    });
    order
}

/// How much better a challenger must be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stickiness {
    /// A challenger must cost less than this share of the incumbent's cost.
    pub share: f64,
    /// For this long without a break.
    pub hold: Duration,
}

impl Default for Stickiness {
    fn default() -> Self {
        Stickiness { share: 0.8, hold: Duration::from_secs(5) }
    }
}

/// Decides which endpoint to use, one question at a time, told the time by its caller.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    stickiness: Stickiness,
    challenger: Option<(usize, Duration)>,
}

impl Selector {
    /// A selector with the given reluctance to switch.
    pub fn new(stickiness: Stickiness) -> Selector {
        Selector { stickiness, challenger: None }
    }

    /// The endpoint to use at `now` (monotonic), given the one in use. Leaves an unusable one at
    /// once; leaves a usable one only for a challenger that has been clearly better for the hold
    /// time. `None` when no endpoint is usable.
    pub fn select(
        &mut self,
        candidates: &[Candidate],
        wanted: ScopeSet,
        current: Option<usize>,
        now: Duration,
    ) -> Option<usize> {
        let best = rank(candidates, wanted).into_iter().find(|&i| candidates[i].usable)?;
        let Some(current) = current.filter(|&i| candidates.get(i).is_some_and(|c| c.usable)) else {
            self.challenger = None;
            return Some(best);
        };
        if best == current || !self.clearly_better(&candidates[best], &candidates[current], wanted) {
            self.challenger = None;
            return Some(current);
        }
        match self.challenger {
            Some((challenger, since)) if challenger == best => {
                if now.saturating_sub(since) >= self.stickiness.hold {
                    self.challenger = None;
                    return Some(best);
                }
            }
            _ => self.challenger = Some((best, now)),
        }
        Some(current)
    }

    fn clearly_better(&self, challenger: &Candidate, current: &Candidate, wanted: ScopeSet) -> bool {
        let covers = |c: &Candidate| c.scopes.intersection(wanted).len();
        covers(challenger) > covers(current)
            || (covers(challenger) == covers(current)
                && cost_ms(challenger) < self.stickiness.share * cost_ms(current))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Tier;

    fn candidate(tier: Tier, rtt_ms: u64) -> Candidate {
        Candidate {
            usable: true,
            scopes: tier.scopes(),
            rtt: Some(Duration::from_millis(rtt_ms)),
            jitter: Some(Duration::ZERO),
            loss: 0.0,
            load: 0.0,
        }
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
    fn fails_back_only_after_the_hold_time_without_a_break() {
        let mut all = [candidate(Tier::Primary, 2), candidate(Tier::Secondary, 2)];
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
        /// Costs that stay within the margin of each other never cause a switch.
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
    }
}
