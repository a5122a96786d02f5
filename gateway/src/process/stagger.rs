//! Stagger: endpoints that ended at the same moment do not come back at the same moment. What ended them,
//! such as one damaged packet that all of them received, could end them all again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roverline_protocol::Tier;

/// Between the returns of two endpoints. The last of four is back within a second.
const STAGGER_MS: u64 = 200;
/// Ends within this time count as simultaneous.
const SIMULTANEOUS: Duration = Duration::from_secs(1);

/// How long a tier waits before it comes back: a step for each better tier of which the process ended at
/// the same moment. The best of them comes back at once. `ages` are the times since the tiers' processes
/// ended.
pub(crate) fn restart_delay(tier: Tier, ages: [Option<Duration>; Tier::ALL.len()]) -> Duration {
    let better = Tier::ALL.into_iter().zip(ages).take_while(|(other, _)| *other != tier);
    let simultaneous = better.filter(|(_, age)| age.is_some_and(|age| age <= SIMULTANEOUS)).count();
    Duration::from_millis(STAGGER_MS * simultaneous as u64)
}

/// How long a tier waits before it opens a failed source again, beyond what a single one would wait.
pub(crate) fn reopen_delay(tier: Tier) -> Duration {
    Duration::from_millis(STAGGER_MS * u64::from(tier.port_offset()))
}

/// When the processes of the tiers ended.
#[derive(Debug, Default)]
pub(crate) struct RecentEnds(Mutex<[Option<Instant>; Tier::ALL.len()]>);

impl RecentEnds {
    /// The process of a tier has ended.
    pub(crate) fn record(&self, tier: Tier, now: Instant) {
        if let Some(end) = self.0.lock().get_mut(usize::from(tier.port_offset())) {
            *end = Some(now);
        }
    }

    /// How long a tier waits now.
    pub(crate) fn delay(&self, tier: Tier, now: Instant) -> Duration {
        restart_delay(tier, self.0.lock().map(|end| end.map(|end| now.saturating_duration_since(end))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
    const LONG_AGO: Option<Duration> = Some(Duration::from_secs(5));

    #[test]
    fn a_single_endpoint_comes_back_at_once() {
        for (at, tier) in Tier::ALL.into_iter().enumerate() {
            let mut ages = [None, LONG_AGO, None, LONG_AGO];
            ages[at] = AT_ONCE;
            assert_eq!(restart_delay(tier, ages), Duration::ZERO, "{tier}");
        }
    }

    #[test]
    fn four_come_back_one_after_another_the_primary_first_within_a_second() {
        let delays = Tier::ALL.map(|tier| restart_delay(tier, [AT_ONCE; 4]).as_millis());
        assert_eq!(delays, [0, 200, 400, 600]);
        assert_eq!(restart_delay(Tier::Emergency, [LONG_AGO, AT_ONCE, None, AT_ONCE]).as_millis(), 200);
        assert_eq!(Tier::ALL.map(|tier| reopen_delay(tier).as_millis()), [0, 200, 400, 600]);
    }

    #[test]
    fn ends_are_remembered_for_a_while() {
        let (ends, now) = (RecentEnds::default(), Instant::now());
        ends.record(Tier::Primary, now);
        ends.record(Tier::Tertiary, now);
        assert_eq!(ends.delay(Tier::Primary, now), Duration::ZERO);
        assert_eq!(ends.delay(Tier::Tertiary, now).as_millis(), 200);
        assert_eq!(ends.delay(Tier::Tertiary, now + Duration::from_secs(2)), Duration::ZERO);
    }
}
