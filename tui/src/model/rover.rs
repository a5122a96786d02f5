//! Values of the overview, each with its topic and time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::quality::Quality;

use crate::model::{Now, Topics};

/// Most temperatures shown.
pub const MAX_TEMPERATURES: usize = 32;
/// Most diagnostic sources kept.
pub const MAX_DIAGNOSTICS: usize = 256;

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<T> {
    /// The last usable value.
    pub value: T,
    /// Its topic.
    pub topic: String,
    /// Index of the mapping rule: earlier is better.
    pub rank: usize,
    /// When it was created, on our clock.
    pub at: Duration,
    /// Why later samples cannot be used.
    pub fault: Option<&'static str>,
}

impl<T> Reading<T> {
    /// The value's quality.
    pub fn quality(&self, topics: &Topics, now: Now) -> Quality {
        match (self.fault, topics.rows.get(&self.topic)) {
            (Some(_), _) => Quality::Invalid,
            (None, Some(row)) => row.quality_of(Some(self.at), now),
            (None, None) => Quality::Stale,
        }
    }
}

/// Geographic position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fix {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres above the ellipsoid.
    pub altitude: f64,
}

/// Position and motion from odometry.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odometry {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Compass heading in degrees, if the orientation is valid.
    pub heading: Option<f64>,
    /// Metres per second.
    pub speed: f64,
    /// Degrees per second, counter-clockwise positive.
    pub turn: f64,
}

/// State of the battery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Battery {
    /// Charge, 0 to 100; NaN if unknown.
    pub percent: f64,
    /// Volts.
    pub voltage: f64,
    /// Amperes, negative while discharging.
    pub current: f64,
}

/// The indicator light.
#[derive(Clone, Debug, PartialEq)]
pub enum Led {
    /// Red, green, blue.
    Color(u8, u8, u8),
    /// Name given by the rover.
    Name(String),
}

impl Led {
    /// A word for the colour.
    pub fn word(&self) -> String {
        let Led::Color(r, g, b) = *self else {
            return if let Led::Name(name) = self { name.clone() } else { String::new() };
        };
        let word = match (r > 96, g > 96, b > 96) {
            (false, false, false) => "off",
            (true, false, false) => "red",
            (false, true, false) => "green",
            (false, false, true) => "blue",
            (true, true, false) => "yellow",
            (true, false, true) => "magenta",
            (false, true, true) => "cyan",
            (true, true, true) => "white",
        };
        format!("{word} #{r:02x}{g:02x}{b:02x}")
    }
}

/// Level of a diagnostic status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good.
    #[default]
    Ok,
    /// Reported as stale by its own publisher.
    Stale,
    /// Warning.
    Warn,
    /// Error.
    Error,
}

impl Severity {
    /// From the message's level.
    pub const fn from_level(level: u8) -> Severity {
        match level {
            0 => Severity::Ok,
            1 => Severity::Warn,
            3 => Severity::Stale,
            _ => Severity::Error,
        }
    }

    /// The word on screen.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Stale => "stale",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

/// One diagnostic status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its level.
    pub severity: Severity,
    /// Its message.
    pub message: String,
}

/// All values.
#[derive(Clone, Debug, Default)]
pub struct Rover {
    /// Geographic position.
    pub fix: Option<Reading<Fix>>,
    /// Position and motion from odometry.
    pub odometry: Option<Reading<Odometry>>,
    /// Compass heading in degrees from the IMU.
    pub imu_heading: Option<Reading<f64>>,
    /// Battery.
    pub battery: Option<Reading<Battery>>,
    /// The mission's name.
    pub mission_name: Option<Reading<String>>,
    /// Mission status.
    pub mission_status: Option<Reading<String>>,
    /// Samples collected.
    pub samples: Option<Reading<f64>>,
    /// Seconds since the mission began.
    pub mission_time: Option<Reading<f64>>,
    /// Autonomy mode.
    pub mode: Option<Reading<String>>,
    /// Whether the rover drives autonomously.
    pub autonomous: Option<Reading<bool>>,
    /// The indicator light.
    pub led: Option<Reading<Led>>,
    /// Whether the emergency stop is engaged.
    pub emergency_stop: Option<Reading<bool>>,
    /// Since when the stop has been in this state, as far as observed.
    pub stop_since: Option<Duration>,
    /// Whether the rover violated its boundary.
    pub boundary: Option<Reading<bool>>,
    /// The corners of that boundary, metres east and north.
    pub fence: Option<Reading<Vec<(f64, f64)>>>,
    /// Degrees Celsius by component.
    pub temperatures: BTreeMap<String, Reading<f64>>,
    /// Diagnostics by name.
    pub diagnostics: BTreeMap<String, Reading<Status>>,
}

impl Rover {
    /// Sets when the values of this topic were created.
    pub fn set_time(&mut self, topic: &str, at: Duration) {
        fn set<'a, T: 'a>(readings: impl IntoIterator<Item = &'a mut Reading<T>>, topic: &str, at: Duration) {
            let of_topic = readings.into_iter().filter(|reading| reading.topic == topic);
            of_topic.for_each(|reading| reading.at = at);
        }
        set(&mut self.fix, topic, at);
        set(&mut self.odometry, topic, at);
        set(&mut self.imu_heading, topic, at);
        set(&mut self.battery, topic, at);
        set(&mut self.mission_name, topic, at);
        set(&mut self.mission_status, topic, at);
        set(&mut self.samples, topic, at);
        set(&mut self.mission_time, topic, at);
        set(&mut self.mode, topic, at);
        set(&mut self.autonomous, topic, at);
        set(&mut self.led, topic, at);
        set(&mut self.emergency_stop, topic, at);
        set(&mut self.boundary, topic, at);
        set(&mut self.fence, topic, at);
        set(self.temperatures.values_mut(), topic, at);
        set(self.diagnostics.values_mut(), topic, at);
    }

    /// Whether the stop is known to be engaged.
    pub fn stopped(&self) -> bool {
        self.emergency_stop.as_ref().is_some_and(|reading| reading.value)
    }
}
