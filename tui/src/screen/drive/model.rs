//! State of the Drive screen: trends of the last minute, and the track.

pub mod driving;
pub mod pad;
pub mod stick;

use std::collections::VecDeque;
use std::time::Duration;

use roverline_protocol::api::queues::PeekDocument;

use crate::model::api::Document;
use crate::screen::drive::model::driving::Driving;
use crate::screen::drive::model::pad::Pad;
use crate::screen::drive::model::stick::Stick;

/// Values of a trend, one a second.
const TREND: usize = 60;
/// Places of the track.
const TRACK: usize = 3_600;
/// The rover has moved if it is this far from the last place, metres.
const MOVED: f64 = 0.3;
/// Columns of a position in a way-point's message.
const FIELDS: [[&str; 2]; 2] = [["x", "y"], ["lat", "lon"]];

/// What has a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// Metres per second.
    Speed,
    /// Amperes.
    Current,
    /// The hottest component, degrees Celsius.
    Heat,
    /// Round trip to the endpoint in use, milliseconds.
    Delay,
}

impl Trend {
    /// All of them.
    pub const ALL: [Trend; 4] = [Trend::Speed, Trend::Current, Trend::Heat, Trend::Delay];
}

/// A way-point in a message of the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WayPoint {
    /// Metres east and north of the start.
    Local(f64, f64),
    /// Degrees north and east.
    Global(f64, f64),
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    trends: [VecDeque<Option<f64>>; Trend::ALL.len()],
    sampled: Option<Duration>,
    /// Places of the track, metres east and north, oldest first.
    pub track: Vec<(f64, f64)>,
    /// When the rover was there.
    times: Vec<Duration>,
    /// The next messages of the queue `waypoints`.
    pub waypoints: Document<PeekDocument>,
    /// The watch of that queue.
    pub watch: Option<u64>,
    /// The driving mode, while it is on.
    pub driving: Option<Driving>,
    /// The limits and gears of the last time.
    pub stick: Stick,
    /// The game controller, if there is one.
    pub pad: Option<Pad>,
}

impl State {
    /// Whether a second has passed since the last sample.
    pub fn is_due(&self, now: Duration) -> bool {
        self.sampled.is_none_or(|at| now.saturating_sub(at) >= Duration::from_secs(1))
    }

    /// Adds a value to each trend; `None` where there is no current one.
    pub fn sample(&mut self, now: Duration, values: [Option<f64>; Trend::ALL.len()]) {
        self.sampled = Some(now);
        for (trend, value) in self.trends.iter_mut().zip(values) {
            if trend.len() >= TREND {
                trend.pop_front();
            }
            trend.push_back(value);
        }
    }

    /// The rover is here now.
    pub fn visit(&mut self, now: Duration, (x, y): (f64, f64)) {
        let has_moved = self.track.last().is_none_or(|(a, b)| (x - a).hypot(y - b) >= MOVED);
        if has_moved && x.is_finite() && y.is_finite() {
            if self.track.len() >= TRACK {
                self.track.drain(..TRACK / 8);
                self.times.drain(..TRACK / 8);
            }
            self.track.push((x, y));
            self.times.push(now);
        }
    }

    /// The track until a moment.
    pub fn until(&self, at: Duration) -> State {
        let count = self.times.partition_point(|time| *time <= at);
        let track = self.track.iter().take(count).copied().collect();
        State { track, ..State::default() }
    }

    /// The values of a trend, oldest first.
    pub fn trend(&self, trend: Trend) -> Vec<Option<f64>> {
        self.trends.get(trend as usize).map(|values| values.iter().copied().collect()).unwrap_or_default()
    }

    /// The way-points that wait in the queue, the next one first.
    pub fn way_points(&self) -> Vec<WayPoint> {
        let messages = self.waypoints.value.iter().flat_map(|document| &document.messages);
        messages.filter_map(|message| way_point(&message.message)).collect()
    }
}

/// The position in a message: `x` and `y`, or `lat` and `lon`.
pub fn way_point(message: &serde_json::Value) -> Option<WayPoint> {
    let pair = |[a, b]: [&str; 2]| {
        let number = |name| message.get(name).and_then(serde_json::Value::as_f64).filter(|n| n.is_finite());
        Some((number(a)?, number(b)?))
    };
    let [local, global] = FIELDS;
    let found = pair(local).map(|(x, y)| WayPoint::Local(x, y));
    found.or_else(|| pair(global).map(|(lat, lon)| WayPoint::Global(lat, lon)))
}

/// Distance in metres and compass course in degrees from one place to another.
pub fn bearing((x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> (f64, f64) {
    let (east, north) = (to_x - x, to_y - y);
    (east.hypot(north), east.atan2(north).to_degrees().rem_euclid(360.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_way_point_is_local_or_global() {
        assert_eq!(way_point(&json!({"x": 3, "y": -4.5})), Some(WayPoint::Local(3.0, -4.5)));
        assert_eq!(way_point(&json!({"lat": 38.4, "lon": -110.7})), Some(WayPoint::Global(38.4, -110.7)));
        assert_eq!(way_point(&json!({"x": 3})), None);
        assert_eq!(way_point(&json!("north gate")), None);
    }

    #[test]
    fn a_course_is_clockwise_from_north() {
        assert_eq!(bearing((0.0, 0.0), (0.0, 5.0)), (5.0, 0.0));
        assert_eq!(bearing((1.0, 1.0), (4.0, 1.0)), (3.0, 90.0));
        assert_eq!(bearing((0.0, 0.0), (-2.0, 0.0)), (2.0, 270.0));
    }

    #[test]
    fn the_track_is_bounded_and_a_standing_rover_adds_nothing() {
        let mut state = State::default();
        for n in 0..10_000_u32 {
            state.visit(Duration::from_secs(u64::from(n)), (f64::from(n), 0.0));
            state.visit(Duration::from_secs(u64::from(n)), (f64::from(n), 0.1));
        }
        assert_eq!(state.until(Duration::from_secs(9_000)).track.last(), Some(&(9_000.0, 0.0)));
        assert!(state.track.len() <= TRACK);
        assert_eq!(state.track.last(), Some(&(9_999.0, 0.0)));
        state.visit(Duration::MAX, (f64::NAN, 0.0));
        assert_eq!(state.track.last(), Some(&(9_999.0, 0.0)));
    }

    #[test]
    fn a_trend_has_the_last_minute() {
        let mut state = State::default();
        for s in 0..100 {
            state.sample(Duration::from_secs(s), [Some(s as f64), None, None, None]);
        }
        let speeds = state.trend(Trend::Speed);
        assert_eq!((speeds.len(), speeds.last()), (TREND, Some(&Some(99.0))));
        assert!(state.trend(Trend::Delay).iter().all(Option::is_none));
        assert!(!state.is_due(Duration::from_millis(99_500)) && state.is_due(Duration::from_secs(100)));
    }
}
