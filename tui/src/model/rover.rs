//! The overview's values, each with the topic it came from and when.

use std::collections::BTreeMap;
use std::time::Duration;

use roverline_protocol::quality::Quality;

use crate::model::{Now, Topics};

/// Temperatures shown at most.
pub const MAX_TEMPERATURES: usize = 32;
/// Diagnostic sources kept at most.
pub const MAX_DIAGNOSTICS: usize = 256;

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<T> {
    /// The last one that could be used.
    pub value: T,
    /// Its topic.
    pub topic: String,
    /// The mapping's rule: earlier is better.
    pub rank: usize,
    /// When it was made, on our clock.
    pub at: Duration,
    /// Why what came after it cannot be used.
    pub fault: Option<&'static str>,
}

impl<T> Reading<T> {
    /// How far it can be trusted.
    pub fn quality(&self, topics: &Topics, now: Now) -> Quality {
        match (self.fault, topics.rows.get(&self.topic)) {
            (Some(_), _) => Quality::Invalid,
            (None, Some(row)) => row.quality_of(Some(self.at), now),
            (None, None) => Quality::Stale,
        }
    }
}

/// Position on the globe.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fix {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres above the ellipsoid.
    pub altitude: f64,
}

/// Position and motion by odometry.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odometry {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Compass degrees, if the orientation is one.
    pub heading: Option<f64>,
    /// Metres per second.
    pub speed: f64,
    /// Degrees per second, counter-clockwise positive.
    pub turn: f64,
}

/// What is left in the battery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Battery {
    /// 0 to 100; not a number where unknown.
    pub percent: f64,
    /// Volts.
    pub voltage: f64,
    /// Amperes, negative while discharging.
    pub current: f64,
}

/// The indicator.
#[derive(Clone, Debug, PartialEq)]
pub enum Led {
    /// Red, green, blue.
    Color(u8, u8, u8),
    /// As the rover calls it.
    Name(String),
}

impl Led {
    /// A word for it.
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
    /// Its own publisher calls it stale.
    Stale,
    /// Watch it.
    Warn,
    /// Broken.
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

/// One line of diagnostics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How bad.
    pub severity: Severity,
    /// In words.
    pub message: String,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Rover {
    /// Position on the globe.
    pub fix: Option<Reading<Fix>>,
    /// Position and motion by odometry.
    pub odometry: Option<Reading<Odometry>>,
    /// Compass degrees by the inertial unit.
    pub imu_heading: Option<Reading<f64>>,
    /// Energy.
    pub battery: Option<Reading<Battery>>,
    /// The mission's name.
    pub mission_name: Option<Reading<String>>,
    /// What it is at.
    pub mission_status: Option<Reading<String>>,
    /// Samples collected.
    pub samples: Option<Reading<f64>>,
    /// Autonomy mode.
    pub mode: Option<Reading<String>>,
    /// Whether it drives itself.
    pub autonomous: Option<Reading<bool>>,
    /// The indicator.
    pub led: Option<Reading<Led>>,
    /// Whether the emergency stop is engaged.
    pub emergency_stop: Option<Reading<bool>>,
    /// Since when the stop has been as it is, as far as seen.
    pub stop_since: Option<Duration>,
    /// Whether it left its field.
    pub boundary: Option<Reading<bool>>,
    /// Degrees Celsius by part.
    pub temperatures: BTreeMap<String, Reading<f64>>,
    /// Diagnostics by name.
    pub diagnostics: BTreeMap<String, Reading<Status>>,
}

impl Rover {
    /// Whether the stop is known to be engaged.
    pub fn stopped(&self) -> bool {
        self.emergency_stop.as_ref().is_some_and(|reading| reading.value)
    }
}
