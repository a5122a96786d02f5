//! Alarms of topics that are missing or slower than the routing table expects.

use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::debounce::Delays;
use roverline_protocol::alarms::id::alarm_id;
use roverline_protocol::api::alarms::{AlarmSeverity, AlarmSource};
use roverline_protocol::routing::Rule;

use crate::endpoint::alarms::finding::{Finding, number, subject};
use crate::endpoint::alarms::settings::Settings;
use crate::hub::Hub;

/// How long a source has to find its topics before they are missed.
const GRACE: Duration = Duration::from_secs(10);
/// Shortest silence that counts as missing.
const SILENCE: Duration = Duration::from_secs(3);
/// Periods of silence that count as missing.
const MISSED_PERIODS: f64 = 5.0;
/// How much faster than the limit a slow topic has to be again, as a share of the expected rate.
const HYSTERESIS: f64 = 0.1;
const DELAYS: Delays = Delays { on: Duration::from_secs(3), off: Duration::from_secs(3) };

/// Follows the topics whose rates are expected.
pub(super) struct RateWatch {
    /// Topics that the configuration names without a pattern, with their rates: they are missed even if they never came.
    named: Vec<(String, ScopeSet, f64)>,
    /// The least share of the expected rate.
    least: f64,
    started: Duration,
}

/// What is known of a topic.
struct Measured {
    name: String,
    scopes: ScopeSet,
    expected_hz: f64,
    rate_hz: f64,
    /// Since the newest sample; `None` before the first.
    age: Option<Duration>,
}

impl RateWatch {
    pub(super) fn new(routes: &[Rule], least: f64, started: Duration) -> RateWatch {
        let named = routes.iter().filter_map(|rule| {
            let topic = rule.topic.as_ref()?;
            let is_name = topic.starts_with('/') && !topic.contains(['*', '?', '[', '{', '\\']);
            is_name.then_some((topic.clone(), rule.scopes, rule.expected_rate_hz?))
        });
        RateWatch { named: named.take(MAX_ALARMS).collect(), least, started }
    }

    /// The present findings; see `LimitWatch::find`.
    pub(super) fn find(
        &self,
        hub: &Hub,
        settings: &Settings,
        now: Duration,
        current: impl Fn(&str) -> Option<AlarmSeverity>,
        is_followed: impl Fn(ScopeSet) -> bool,
    ) -> Vec<Finding> {
        if now.saturating_sub(self.started) < GRACE {
            return Vec::new();
        }
        let (scopes, mut measured) = (hub.scopes(), Vec::new());
        hub.with_topics(|topics| {
            for topic in topics {
                let configured = topic.route.expected_rate_hz;
                let Some(expected_hz) = settings.rate(&topic.info.name, configured) else { continue };
                let age = topic.meter.newest().map(|at| now.saturating_sub(at));
                let (name, scopes) = (topic.info.name.clone(), topic.info.scopes);
                let rate_hz = topic.meter.rates(now).0;
                measured.push(Measured { name, scopes, expected_hz, rate_hz, age });
            }
        });
        // Of a topic that an operator has named and that never came, no scopes are known: who has all would have it.
        let set = settings.rates.iter().filter(|_| scopes == ScopeSet::ALL);
        let set = set.filter_map(|(name, rate)| Some((name, ScopeSet::ALL, (*rate)?)));
        let configured = self.named.iter().filter(|(name, ..)| !settings.rates.contains_key(name));
        let configured = configured.map(|(name, scopes, rate)| (name, *scopes, *rate));
        for (name, topic_scopes, expected_hz) in configured.chain(set) {
            if topic_scopes.intersects(scopes) && !measured.iter().any(|known| known.name == *name) {
                let (name, scopes) = (name.clone(), topic_scopes);
                measured.push(Measured { name, scopes, expected_hz, rate_hz: 0.0, age: None });
            }
        }
        measured.truncate(MAX_ALARMS);
        let find = |topic: Measured| {
            let id = alarm_id(&["topic", &topic.name]);
            let severity = topic.severity(self.least, current(&id));
            let mut subject = subject(AlarmSource::Topic, "topic rate");
            (subject.topic, subject.unit) = (Some(topic.name.clone()), "Hz".to_owned());
            Finding {
                id,
                severity: Some(severity),
                delays: DELAYS,
                value: Some(topic.rate_hz),
                limit: Some(topic.expected_hz * self.least),
                text: topic.text(),
                subject,
                is_followed: is_followed(topic.scopes),
                ..Finding::default()
            }
        };
        measured.into_iter().map(find).collect()
    }
}

impl Measured {
    fn severity(&self, least: f64, current: Option<AlarmSeverity>) -> Option<AlarmSeverity> {
        let margin = if current.is_some() { HYSTERESIS } else { 0.0 };
        if self.is_missing() {
            Some(AlarmSeverity::Distress)
        } else if self.rate_hz < self.expected_hz * (least + margin).min(1.0) {
            Some(AlarmSeverity::Warning)
        } else {
            None
        }
    }

    fn is_missing(&self) -> bool {
        let silence = SILENCE.as_secs_f64().max(MISSED_PERIODS / self.expected_hz);
        self.age.is_none_or(|age| age.as_secs_f64() > silence)
    }

    fn text(&self) -> String {
        let expected = number(self.expected_hz);
        match self.age {
            None => format!("no sample yet, expected {expected} Hz"),
            // To ten seconds, so that the text does not change all the time.
            Some(age) if self.is_missing() => {
                let silence = age.as_secs();
                let silence = if silence > 10 { silence / 10 * 10 } else { silence };
                format!("no sample for {silence} s, expected {expected} Hz")
            }
            Some(_) => format!("{} Hz, expected {expected} Hz", number(self.rate_hz)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate_hz: f64, age: Option<u64>) -> Measured {
        let age = age.map(Duration::from_secs);
        Measured { name: "/odom".to_owned(), scopes: ScopeSet::ALL, expected_hz: 50.0, rate_hz, age }
    }

    #[test]
    fn slow_is_a_warning_and_missing_is_worse() {
        let severity = |rate, age, current| measured(rate, age).severity(0.7, current);
        assert_eq!(severity(36.0, Some(0), None), None);
        assert_eq!(severity(34.0, Some(0), None), Some(AlarmSeverity::Warning));
        assert_eq!(severity(39.0, Some(0), Some(AlarmSeverity::Warning)), Some(AlarmSeverity::Warning));
        assert_eq!(severity(41.0, Some(0), Some(AlarmSeverity::Warning)), None);
        assert_eq!(severity(50.0, Some(4), None), Some(AlarmSeverity::Distress));
        assert_eq!(severity(0.0, None, None), Some(AlarmSeverity::Distress));
        assert_eq!(measured(0.0, Some(47)).text(), "no sample for 40 s, expected 50 Hz");
        let slow = Measured { expected_hz: 0.1, ..measured(0.1, Some(20)) };
        assert!(!slow.is_missing(), "one in ten seconds");
    }
}
