//! The age of samples by the gateway's stamps. A recording has the stamps of the day it was made, so there the age
//! is the distance from the newest live stamp.

use std::time::Duration;

/// Live samples whose stamps differ this much from the gateway's clock are a recording's.
const RECORDED: Duration = Duration::from_secs(3_600);

/// The stamps of live samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamps {
    /// The newest live stamp of a recording, and when it came.
    played: Option<(i64, Duration)>,
}

impl Stamps {
    /// Takes the stamp of a live sample that came at `now`. Returns whether it shows for the first time that a
    /// recording is played.
    pub fn observe(&mut self, stamp_ns: i64, gateway_now_ns: i64, now: Duration) -> bool {
        let was_played = self.played.is_some();
        let lag = Duration::from_nanos(gateway_now_ns.abs_diff(stamp_ns));
        self.played = (stamp_ns > 0 && lag > RECORDED).then_some((stamp_ns, now));
        self.played.is_some() && !was_played
    }

    /// How old a stored or replayed sample is at `now`.
    pub fn age(&self, stamp_ns: i64, gateway_now_ns: i64, now: Duration) -> Duration {
        let (since, then_ns) = match self.played {
            Some((newest_ns, at)) => (now.saturating_sub(at), newest_ns),
            None => (Duration::ZERO, gateway_now_ns),
        };
        let age_ns = then_ns.saturating_sub(stamp_ns).max(0);
        since + Duration::from_nanos(age_ns.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const YEAR: i64 = 365 * 86_400 * S;

    #[test]
    fn a_living_rovers_stamps_are_of_the_gateways_clock() {
        let mut stamps = Stamps::default();
        assert!(!stamps.observe(2 * YEAR - S, 2 * YEAR, Duration::from_secs(5)));
        assert_eq!(stamps.age(2 * YEAR - 60 * S, 2 * YEAR, Duration::from_secs(9)), Duration::from_secs(60));
    }

    #[test]
    fn a_recordings_stamps_count_from_its_newest_one() {
        let mut stamps = Stamps::default();
        let begun = Duration::from_secs(5);
        assert!(stamps.observe(YEAR, 2 * YEAR, begun), "it shows that this is a recording");
        assert!(!stamps.observe(YEAR + S, 2 * YEAR + S, begun + Duration::from_secs(1)));
        let now = begun + Duration::from_secs(3);
        assert_eq!(stamps.age(YEAR - 9 * S, 2 * YEAR + 3 * S, now), Duration::from_secs(12));
        // It began again from its start.
        assert_eq!(stamps.age(YEAR + 60 * S, 2 * YEAR + 3 * S, now), Duration::from_secs(2));
        // The rover lives again.
        assert!(!stamps.observe(2 * YEAR, 2 * YEAR, now));
        assert_eq!(stamps.age(2 * YEAR - S, 2 * YEAR, now), Duration::from_secs(1));
    }
}
