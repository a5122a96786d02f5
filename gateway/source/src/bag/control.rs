//! The way back into a recording: nothing can be published, but it can be steered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roverline_protocol::limits;

use crate::bag::clock::{Clock, SystemClock};
use crate::bag::control_log::{Orders, speeds};
use crate::bag::timeline::Order;
use crate::{PlaybackControl, Publication, PublishError, Publisher};

/// Nanoseconds between an order and when it is carried out.
const LEAD_NS: i64 = limits::PLAYBACK_LEAD_MS as i64 * 1_000_000;

/// Takes orders of clients.
pub(super) struct Wheel {
    /// `None`: it cannot be steered.
    pub(super) orders: Option<Arc<Orders>>,
    pub(super) clock: SystemClock,
    pub(super) recent: Mutex<Recent>,
}

/// The orders of the present second.
#[derive(Debug, Default)]
pub(super) struct Recent {
    since: Option<Instant>,
    count: usize,
}

impl Recent {
    /// Whether there may be one more at `now`.
    fn admit(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            *self = Recent { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count <= limits::PLAYBACK_MESSAGES_PER_S
    }
}

impl Publisher for Wheel {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::ReadOnly("bag"))
    }

    fn control(&self, control: PlaybackControl) -> Result<(), PublishError> {
        let refuse = |why: &str| Err(PublishError::Failed(why.to_owned()));
        let Some(orders) = &self.orders else {
            return refuse("this recording has no index of its times, and can only be played through");
        };
        if !control.speed.is_finite() || control.speed <= 0.0 {
            return refuse("the speed of a recording is a number greater than 0");
        }
        if control.request.len() > limits::PLAYBACK_REQUEST_BYTES {
            return refuse("the name of a request to a recording is too long");
        }
        if !self.recent.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now()) {
            let most = limits::PLAYBACK_MESSAGES_PER_S;
            return refuse(&format!("a recording takes {most} orders a second; say the last one again"));
        }
        let (least, most) = speeds();
        let order = |at| Order {
            at,
            play: control.play,
            speed: control.speed.clamp(least, most),
            seek: control.seek_ns,
            request: control.request,
        };
        let stamp = || order(self.clock.now().saturating_add(LEAD_NS));
        orders.put(stamp).map_err(PublishError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(speed: f64, request: &str) -> PlaybackControl {
        PlaybackControl { play: true, speed, seek_ns: None, request: request.to_owned() }
    }

    fn wheel(orders: Option<Arc<Orders>>) -> Wheel {
        Wheel { orders, clock: SystemClock::new(None), recent: Mutex::default() }
    }

    #[test]
    fn orders_are_bounded_in_speed_size_and_number() {
        use crate::bag::control_log::OrderReader;

        let orders = Orders::new(None);
        let wheel = wheel(Some(orders.clone()));
        for (given, taken) in [(1.0, 1.0), (1e-9, 0.01), (1e9, 100.0)] {
            wheel.control(control(given, "a")).unwrap();
            let order = OrderReader::new(orders.clone()).read().remove(0);
            assert_eq!((order.speed, order.request.as_str()), (taken, "a"));
        }
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(wheel.control(control(speed, "")).is_err(), "{speed}");
        }
        assert!(wheel.control(control(1.0, &"x".repeat(limits::PLAYBACK_REQUEST_BYTES + 1))).is_err());
        let taken = (0..200).filter(|_| wheel.control(control(1.0, "")).is_ok()).count();
        assert!(taken <= 2 * limits::PLAYBACK_MESSAGES_PER_S, "{taken}");
        assert!(wheel.control(control(1.0, "")).unwrap_err().to_string().contains("a second"));
    }

    #[test]
    fn the_second_after_is_another_second() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        assert!((0..limits::PLAYBACK_MESSAGES_PER_S).all(|_| recent.admit(now)));
        assert!(!recent.admit(now));
        assert!(recent.admit(now + Duration::from_secs(1)));
    }

    #[test]
    fn without_an_index_it_only_plays() {
        assert!(wheel(None).control(control(1.0, "")).unwrap_err().to_string().contains("no index"));
    }
}
