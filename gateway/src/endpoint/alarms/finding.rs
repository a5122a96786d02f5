//! One evaluated condition, and how values are written for people.

use roverline_protocol::alarms::ALARM_TEXT_CHARS;
use roverline_protocol::alarms::debounce::Delays;
use roverline_protocol::alarms::limit::{Assessment, Limit, Limits, Side};
use roverline_protocol::alarms::record::{AlarmSubject, Observation};
use roverline_protocol::api::alarms::{AlarmQuality, AlarmSeverity, AlarmSource};
use roverline_protocol::printable::printable;

/// What a source finds of one alarm.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    pub(super) id: String,
    /// Present severity, before delays; the outer `None`: unknown.
    pub(super) severity: Option<Option<AlarmSeverity>>,
    pub(super) delays: Delays,
    pub(super) quality: AlarmQuality,
    pub(super) value: Option<f64>,
    pub(super) limit: Option<f64>,
    pub(super) text: String,
    pub(super) subject: AlarmSubject,
    /// Whether a better living endpoint evaluates it as well, so that its transitions count.
    pub(super) is_followed: bool,
}

impl Finding {
    /// A finding about a value with limits.
    pub(super) fn of_value(
        id: String,
        limits: &Limits,
        value: f64,
        current: Option<AlarmSeverity>,
    ) -> Finding {
        let assessment = limits.assess(value, current);
        let limit = match assessment {
            Assessment::Beyond(limit) => Some(limit.at),
            Assessment::Within | Assessment::Invalid => None,
        };
        let quality = if value.is_finite() { AlarmQuality::Good } else { AlarmQuality::Invalid };
        Finding {
            id,
            severity: assessment.severity(),
            quality,
            value: Some(value),
            limit,
            ..Finding::default()
        }
    }

    /// The observation, with the severity after delays.
    pub(super) fn observation(&self, severity: Option<AlarmSeverity>) -> Observation {
        Observation {
            severity,
            value: self.value,
            limit: self.limit,
            text: self.text.clone(),
            subject: self.subject.clone(),
            ..Observation::default()
        }
    }
}

/// A subject that is latching, as most are.
pub(super) fn subject(source: AlarmSource, name: &str) -> AlarmSubject {
    AlarmSubject { name: clip(name), source, latching: true, ..AlarmSubject::default() }
}

/// One limit above which a value is bad.
pub(super) fn above(at: f64, severity: AlarmSeverity) -> Limit {
    Limit { side: Side::Above, at, severity }
}

/// A text of the rover, as it is shown: no control characters, not too long.
pub(super) fn clip(text: &str) -> String {
    printable(&text.chars().take(ALARM_TEXT_CHARS).collect::<String>())
}

/// A number with at most one decimal, or as many as its size needs.
pub(super) fn number(value: f64) -> String {
    let text = if value.abs() >= 10.0 { format!("{value:.1}") } else { format!("{value:.2}") };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// `111 °C > 85 °C`.
pub(super) fn comparison(value: f64, limit: Option<Limit>, unit: &str) -> String {
    let space = if unit.is_empty() || unit == "°" || unit == "%" { "" } else { " " };
    let shown = |value: f64| format!("{}{space}{unit}", number(value));
    match limit {
        _ if !value.is_finite() => "the value is no number".to_owned(),
        None => shown(value),
        Some(Limit { side: Side::Above, at, .. }) => format!("{} > {}", shown(value), shown(at)),
        Some(Limit { side: Side::Below, at, .. }) => format!("{} < {}", shown(value), shown(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        let hot = above(85.0, AlarmSeverity::Critical);
        assert_eq!(comparison(111.04, Some(hot), "°C"), "111 °C > 85 °C");
        let low = Limit { side: Side::Below, ..hot };
        assert_eq!(comparison(14.96, Some(low), "%"), "15% < 85%");
        assert_eq!(comparison(0.5, None, ""), "0.5");
        assert_eq!(comparison(-100.0, None, "m"), "-100 m");
        assert_eq!(comparison(f64::NAN, Some(hot), "°C"), "the value is no number");
        assert_eq!(clip("a\u{1b}[2Jb"), "a·[2Jb");
        assert_eq!(clip(&"x".repeat(10_000)).len(), ALARM_TEXT_CHARS);
    }
}
