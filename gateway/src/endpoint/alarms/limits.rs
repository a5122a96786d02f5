//! Limit alarms: values of topics' fields against their limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::SampleId;
use roverline_protocol::ScopeSet;
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::id::alarm_id;
use roverline_protocol::alarms::limit::Assessment;
use roverline_protocol::alarms::rule::{Derived, LimitRule};
use roverline_protocol::api::alarms::{AlarmQuality, AlarmSeverity, AlarmSource};
use roverline_schema::Value;

use crate::endpoint::alarms::finding::{Finding, comparison, subject};
use crate::hub::{Decoder, Hub, StampedSample, Topic};

/// Messages with more bytes are not decoded for an alarm.
const MESSAGE_BYTES: usize = 64 << 10;
/// A value of a topic that is not latched is stale after this time.
const STALE: Duration = Duration::from_secs(10);

/// Follows the topics that rules apply to.
pub(super) struct LimitWatch {
    rules: Vec<LimitRule>,
    /// The state of the topics when they were matched.
    version: Option<u64>,
    matched: HashMap<u32, Matched>,
}

/// A topic with the rules that apply to it.
struct Matched {
    name: String,
    scopes: ScopeSet,
    is_latched: bool,
    /// The rules, by index, and the ids of their alarms.
    rules: Vec<(usize, String)>,
    decoder: Option<Decoder>,
    newest: Option<StampedSample>,
    decoded: Option<SampleId>,
    values: Vec<FieldValue>,
}

/// The value of a rule's field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FieldValue {
    Number(f64),
    Flag(bool),
    /// There is none in the message.
    Absent,
}

impl LimitWatch {
    pub(super) fn new(rules: Vec<LimitRule>) -> LimitWatch {
        LimitWatch { rules, version: None, matched: HashMap::new() }
    }

    /// The present findings. `current` is the severity of an alarm's condition, `is_followed` whether a better endpoint
    /// has a topic of these scopes as well. Time is monotonic.
    pub(super) fn find(
        &mut self,
        hub: &Hub,
        now: Duration,
        current: impl Fn(&str) -> Option<AlarmSeverity>,
        is_followed: impl Fn(ScopeSet) -> bool,
    ) -> Vec<Finding> {
        self.read(hub);
        let mut findings = Vec::new();
        for topic in self.matched.values_mut() {
            topic.decode(&self.rules);
            let Some(newest) = &topic.newest else { continue };
            let is_stale = !topic.is_latched && now.saturating_sub(newest.at) > STALE;
            for ((index, id), value) in topic.rules.iter().zip(&topic.values) {
                let rule = &self.rules[*index];
                let mut finding = finding(rule, id, *value, current(id));
                finding.subject.topic = Some(topic.name.clone());
                finding.is_followed = is_followed(topic.scopes);
                if is_stale {
                    finding.severity = None;
                    finding.quality = AlarmQuality::Stale;
                }
                findings.push(finding);
            }
        }
        findings
    }

    /// Takes the newest samples from the hub; matches topics anew when they have changed.
    fn read(&mut self, hub: &Hub) {
        let version = *hub.topic_changes().borrow();
        let is_new = self.version.replace(version) != Some(version);
        let LimitWatch { rules, matched, .. } = self;
        if is_new {
            matched.clear();
        }
        hub.with_topics(|topics| {
            for topic in topics {
                if is_new {
                    let count: usize = matched.values().map(|topic| topic.rules.len()).sum();
                    matched.extend(match_topic(rules, topic, count).map(|found| (topic.info.id, found)));
                }
                if let Some(known) = matched.get_mut(&topic.info.id) {
                    known.newest = topic.latest.clone();
                }
            }
        });
    }
}

fn match_topic(rules: &[LimitRule], topic: &Topic, count: usize) -> Option<Matched> {
    let applies = |(index, rule): (usize, &LimitRule)| {
        let is_match = rule.matches(&topic.info.name, &topic.info.type_name);
        is_match.then(|| (index, alarm_id(&[&rule.name, &topic.info.name])))
    };
    let rules: Vec<_> = rules.iter().enumerate().filter_map(applies).collect();
    (!rules.is_empty() && count + rules.len() <= MAX_ALARMS).then(|| Matched {
        name: topic.info.name.clone(),
        scopes: topic.info.scopes,
        is_latched: topic.info.latched,
        values: vec![FieldValue::Absent; rules.len()],
        rules,
        decoder: topic.decoder.clone(),
        newest: None,
        decoded: None,
    })
}

impl Matched {
    /// Decodes the newest sample, once.
    fn decode(&mut self, rules: &[LimitRule]) {
        let Some(newest) = &self.newest else { return };
        if self.decoded.replace(newest.sample.id) == Some(newest.sample.id) {
            return;
        }
        let plan = self.decoder.as_ref().and_then(Decoder::plan).map(Arc::as_ref);
        let payload = &newest.sample.payload;
        let message =
            plan.filter(|_| payload.len() <= MESSAGE_BYTES).and_then(|plan| plan.decode(payload).ok());
        for ((index, _), value) in self.rules.iter().zip(&mut self.values) {
            let field = message.as_ref().map(|message| field_value(&rules[*index], message));
            *value = field.unwrap_or(FieldValue::Absent);
        }
    }
}

fn field_value(rule: &LimitRule, message: &Value) -> FieldValue {
    let Some(field) = message.get(&rule.field) else { return FieldValue::Absent };
    let number = |value: f64| FieldValue::Number(value * rule.scale);
    match (rule.derived, field) {
        (Some(Derived::Tilt), _) => tilt_degrees(field).map_or(FieldValue::Absent, number),
        (None, Value::Bool(flag)) => FieldValue::Flag(*flag),
        (None, field) => field.as_f64().map_or(FieldValue::Absent, number),
    }
}

/// The angle between the vertical and the `z` axis of an orientation, degrees. A driver without an orientation sends
/// zeros, which are no rotation.
fn tilt_degrees(orientation: &Value) -> Option<f64> {
    let part = |name| orientation.get(name).and_then(Value::as_f64);
    let (x, y, z, w) = (part("x")?, part("y")?, part("z")?, part("w")?);
    let norm = x * x + y * y + z * z + w * w;
    if norm < 0.5 {
        return None;
    }
    let cosine = 1.0 - 2.0 * (x * x + y * y) / norm;
    Some(cosine.clamp(-1.0, 1.0).acos().to_degrees())
}

fn finding(rule: &LimitRule, id: &str, value: FieldValue, current: Option<AlarmSeverity>) -> Finding {
    let number = match value {
        FieldValue::Number(number) => number,
        FieldValue::Flag(flag) => f64::from(u8::from(flag)),
        FieldValue::Absent => f64::NAN,
    };
    let mut finding = Finding::of_value(id.to_owned(), &rule.limits, number, current);
    let limit = match rule.limits.assess(number, current) {
        Assessment::Beyond(limit) => Some(limit),
        Assessment::Within | Assessment::Invalid => None,
    };
    finding.text = match value {
        FieldValue::Flag(flag) => format!("{} is {flag}", rule.field),
        FieldValue::Absent => "the message has no such value".to_owned(),
        FieldValue::Number(number) => comparison(number, limit, &rule.unit),
    };
    finding.delays = rule.delays;
    finding.subject = subject(AlarmSource::Limit, &rule.name);
    finding.subject.field = Some(rule.field.clone());
    finding.subject.unit = rule.unit.clone();
    finding.subject.latching = rule.latching;
    finding
}

#[cfg(test)]
mod tests {
    use roverline_protocol::alarms::rule::compile;
    use roverline_schema::Registry;
    use serde_json::json;

    use super::*;

    fn message(type_name: &str, json: &serde_json::Value) -> Value {
        let plan = Registry::bundled().plan(type_name).unwrap();
        plan.decode(&plan.encode_json(json).unwrap()).unwrap()
    }

    fn rule(name: &str) -> LimitRule {
        compile(&[]).unwrap().into_iter().find(|rule| rule.name == name).unwrap()
    }

    #[test]
    fn the_built_in_rules_read_their_fields() {
        let battery = message("sensor_msgs/msg/BatteryState", &json!({"percentage": 0.25}));
        assert_eq!(field_value(&rule("battery"), &battery), FieldValue::Number(25.0));
        let fix = message("sensor_msgs/msg/NavSatFix", &json!({"status": {"status": -1}}));
        assert_eq!(field_value(&rule("gps fix"), &fix), FieldValue::Number(-1.0));
        let outside = message("std_msgs/msg/Bool", &json!({"data": true}));
        assert_eq!(field_value(&rule("boundary"), &outside), FieldValue::Flag(true));
        assert_eq!(field_value(&rule("battery"), &outside), FieldValue::Absent);
        let found = finding(&rule("boundary"), "boundary", FieldValue::Flag(true), None);
        assert_eq!(
            (found.severity, found.text.as_str()),
            (Some(Some(AlarmSeverity::Critical)), "data is true")
        );
    }

    #[test]
    fn tilt_is_the_angle_to_the_vertical() {
        let tilt = |x: f64, z: f64, w: f64| {
            let imu =
                message("sensor_msgs/msg/Imu", &json!({"orientation": {"x": x, "y": 0.0, "z": z, "w": w}}));
            field_value(&rule("tilt"), &imu)
        };
        let FieldValue::Number(rolled) = tilt(20f64.to_radians().sin(), 0.0, 20f64.to_radians().cos()) else {
            panic!("no number")
        };
        assert!((rolled - 40.0).abs() < 1e-6, "{rolled}");
        let FieldValue::Number(turned) = tilt(0.0, 1.0, 1.0) else { panic!("no number") };
        assert!(turned.abs() < 1e-6, "a rotation about the vertical: {turned}");
        assert_eq!(tilt(0.0, 0.0, 0.0), FieldValue::Absent, "no orientation");
    }

    #[test]
    fn what_is_no_number_says_so() {
        let found =
            finding(&rule("battery"), "battery", FieldValue::Number(f64::NAN), Some(AlarmSeverity::Warning));
        assert_eq!((found.severity, found.quality), (None, AlarmQuality::Invalid));
        let found = finding(&rule("battery"), "battery", FieldValue::Absent, None);
        assert_eq!((found.severity, found.quality), (None, AlarmQuality::Invalid));
    }
}
