//! Rate limiting of one session's samples of one topic.

use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_source::RawSample;

use crate::connection::outbox::Outbox;

/// A rate limiter that passes at most one sample per interval and sends the newest held sample when the
/// interval ends.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pub(super) interval: Option<Duration>,
    next: Duration,
    /// The additional interval imposed by the session's service level.
    slowed: Option<Duration>,
    pub(super) held: Option<RawSample>,
}

impl Throttle {
    /// A throttle with the client's interval, if any.
    pub(super) fn new(interval: Option<Duration>) -> Throttle {
        Throttle { interval, ..Throttle::default() }
    }

    /// Like [`Throttle::pass`], but also applies the session's service level.
    pub(super) fn serve(
        &mut self,
        topic: &TopicInfo,
        outbox: &Outbox,
        sample: &RawSample,
        now: Duration,
    ) -> bool {
        let level = outbox.level();
        if level == ServiceLevel::Full && self.slowed.is_none() {
            return self.pass(sample, now);
        }
        // The new sample supersedes the held one, whether or not it is sent.
        let superseded = self.held.take().is_some() && self.slowed.is_some();
        let allowance = level.allowance(topic.scopes, topic.priority);
        self.slowed = match allowance {
            Allowance::Every(interval) => Some(interval),
            Allowance::All | Allowance::Nothing => None,
        };
        if superseded || allowance == Allowance::Nothing {
            outbox.count_shed();
        }
        allowance != Allowance::Nothing && self.pass(sample, now)
    }

    /// The longer of the client's interval and the service level's.
    fn interval(&self) -> Option<Duration> {
        self.interval.max(self.slowed)
    }

    /// Returns whether `sample` is to be sent now; otherwise holds it.
    pub(super) fn pass(&mut self, sample: &RawSample, now: Duration) -> bool {
        let Some(interval) = self.interval() else { return true };
        if now < self.next {
            self.held = Some(sample.clone());
            return false;
        }
        self.next = (self.next + interval).max(now);
        self.held = None;
        true
    }

    /// Returns the held sample if its time has come.
    pub(super) fn due(&mut self, now: Duration) -> Option<RawSample> {
        let interval = self.interval()?;
        if self.held.is_none() || now < self.next {
            return None;
        }
        self.next = now + interval;
        self.held.take()
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::ScopeSet;

    use super::*;
    use crate::hub::encoding::test_encoding::sample;

    #[test]
    fn a_throttle_keeps_the_trailing_value() {
        let sample = |seq| sample(seq, 0);
        let at = Duration::from_millis;
        let mut throttle = Throttle::new(Some(at(100)));
        assert!(throttle.pass(&sample(1), at(0)));
        assert!(!throttle.pass(&sample(2), at(10)));
        assert!(!throttle.pass(&sample(3), at(50)));
        assert!(throttle.due(at(99)).is_none());
        assert_eq!(throttle.due(at(100)).unwrap().id.seq, 3);
        assert!(throttle.due(at(300)).is_none());
        assert!(throttle.pass(&sample(4), at(300)));
    }

    #[test]
    fn a_service_level_slows_what_it_may_and_keeps_the_newest() {
        let outbox = Outbox::new();
        let info = |scope| TopicInfo {
            id: 1,
            name: "/a".into(),
            type_name: "b".into(),
            scopes: ScopeSet::of(&[scope]),
            priority: roverline_protocol::Priority::of(ScopeSet::of(&[scope])),
            delivery: roverline_protocol::Delivery::Every,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        };
        let sample = |seq| sample(seq, 0);
        let at = Duration::from_millis;
        let mut throttle = Throttle::default();
        let sensors = info(roverline_protocol::Scope::Sensors);
        assert!(throttle.serve(&sensors, &outbox, &sample(1), at(0)));
        outbox.set_level(ServiceLevel::Reduced);
        assert!(throttle.serve(&sensors, &outbox, &sample(2), at(0)));
        assert!(!throttle.serve(&sensors, &outbox, &sample(3), at(10)));
        assert!(!throttle.serve(&sensors, &outbox, &sample(4), at(20)));
        assert_eq!(outbox.stats().shed, 1);
        assert_eq!(throttle.due(at(200)).unwrap().id.seq, 4);
        outbox.set_level(ServiceLevel::Mission);
        assert!(!throttle.serve(&sensors, &outbox, &sample(5), at(900)));
        assert!(throttle.due(at(9_000)).is_none());
        assert_eq!((outbox.stats().shed, outbox.stats().dropped), (2, 0));
        outbox.set_level(ServiceLevel::Full);
        assert!(throttle.serve(&sensors, &outbox, &sample(6), at(901)));
        assert!(throttle.serve(&sensors, &outbox, &sample(7), at(902)));
    }
}
