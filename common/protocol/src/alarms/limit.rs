//! Limits of a value, with hysteresis.

use crate::api::alarms::AlarmSeverity;

/// On which side of a limit a value is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The bad side.
    pub side: Side,
    /// The limit itself, finite; a value equal to it is good.
    pub at: f64,
    /// Severity of a value beyond it.
    pub severity: AlarmSeverity,
}

/// The limits of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The limits.
    pub limits: Vec<Limit>,
    /// Hysteresis: the distance on the good side of an exceeded limit at which the condition ends; finite, not negative.
    pub hysteresis: f64,
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assessment {
    /// It is beyond the limit.
    Beyond(Limit),
    /// It is within all limits.
    Within,
    /// It is no number, and means nothing.
    Invalid,
}

impl Assessment {
    /// The severity: `None` if within; the outer `None` if it means nothing.
    pub fn severity(self) -> Option<Option<AlarmSeverity>> {
        match self {
            Assessment::Beyond(limit) => Some(Some(limit.severity)),
            Assessment::Within => Some(None),
            Assessment::Invalid => None,
        }
    }
}

impl Limits {
    /// Assesses a value. `current` is the severity of the condition as it is: what it exceeds already, it exceeds until
    /// the hysteresis is overcome.
    pub fn assess(&self, value: f64, current: Option<AlarmSeverity>) -> Assessment {
        if !value.is_finite() {
            return Assessment::Invalid;
        }
        let exceeded = |limit: &&Limit| {
            let margin = if current >= Some(limit.severity) { self.hysteresis } else { 0.0 };
            match limit.side {
                Side::Above => value > limit.at - margin,
                Side::Below => value < limit.at + margin,
            }
        };
        // The first of equal severities: a value can be beyond two limits only on one side.
        let worst =
            self.limits.iter().filter(exceeded).reduce(|a, b| if b.severity > a.severity { b } else { a });
        worst.map_or(Assessment::Within, |limit| Assessment::Beyond(*limit))
    }
}
