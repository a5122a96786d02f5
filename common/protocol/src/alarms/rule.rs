//! Rules of limit alarms: `[[alarm]]` in `roverline.toml`, and the built-in ones.

mod defaults;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarms::debounce::Delays;
use crate::alarms::limit::{Limit, Limits, Side};
pub use crate::alarms::rule::defaults::default_rules;
use crate::alarms::{ALARM_TEXT_CHARS, MAX_ALARMS};
use crate::api::alarms::AlarmSeverity;
use crate::topic_pattern::TopicPattern;

/// Longest delay, seconds.
const DELAY_MAX_S: f64 = 3_600.0;
/// Shortest delay before a condition ends, seconds: a value that jumps must not flood the event log.
const OFF_DELAY_MIN_S: f64 = 0.5;
/// Most rules.
const MAX_RULES: usize = MAX_ALARMS;
/// Most bytes of a field's path.
const FIELD_BYTES: usize = 200;

/// What is computed from a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Derived {
    /// The angle between the vertical and the `z` axis of an orientation (geometry_msgs/msg/Quaternion), degrees.
    Tilt,
}

/// One rule. It applies to every topic that its globs match; each is an alarm of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmRule {
    /// Name of the alarm for people. A rule with the name of a built-in one replaces it.
    pub name: String,
    /// Whether it applies; `false` switches a built-in one off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Topic glob: `/motor/*/temperature`. Absent: any topic of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Type glob: `sensor_msgs/msg/Temperature`. Absent: any type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Path of a number or a bool (0 or 1): `temperature`, `status.status`, `values[2]`.
    pub field: String,
    /// What is computed from the field, if it is not its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derived>,
    /// Factor of the value, for limits in another unit: 100 for percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Unit of the limits, for people.
    pub unit: String,
    /// Limits that the value must not exceed, by severity.
    pub above: BTreeMap<AlarmSeverity, f64>,
    /// Limits below which the value must not fall, by severity.
    pub below: BTreeMap<AlarmSeverity, f64>,
    /// How far back from a limit ends the condition.
    pub hysteresis: f64,
    /// On-delay: the time for which a value has to be bad, seconds. Absent: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_delay_s: Option<f64>,
    /// Off-delay: the time for which it has to be good, seconds, 0.5 or more. Absent: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_delay_s: Option<f64>,
    /// Whether the alarm stays until it is acknowledged. Absent: it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latch: Option<bool>,
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct AlarmRuleError {
    /// Its index in the list, from 0.
    pub index: usize,
    /// The field with the mistake.
    pub field: &'static str,
    /// What is wrong, and what to write.
    pub why: String,
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct LimitRule {
    /// Name of the alarm.
    pub name: String,
    /// Path of the field.
    pub field: String,
    /// What is computed from it.
    pub derived: Option<Derived>,
    /// Factor of the value.
    pub scale: f64,
    /// Unit of the limits.
    pub unit: String,
    /// The limits.
    pub limits: Limits,
    /// The delays.
    pub delays: Delays,
    /// Whether the alarm stays until it is acknowledged.
    pub latching: bool,
    topic: Option<TopicPattern>,
    type_name: Option<TopicPattern>,
}

impl LimitRule {
    /// Whether the rule applies to a topic.
    pub fn matches(&self, topic: &str, type_name: &str) -> bool {
        self.topic.as_ref().is_none_or(|glob| glob.is_match(topic))
            && self.type_name.as_ref().is_none_or(|glob| glob.is_match(type_name))
    }
}

/// Compiles the configured rules, and the built-in ones that they do not replace.
///
/// # Errors
///
/// The first rule with a mistake.
pub fn compile(own: &[AlarmRule]) -> Result<Vec<LimitRule>, AlarmRuleError> {
    if own.len() > MAX_RULES {
        let why = format!("write at most {MAX_RULES} rules");
        return Err(AlarmRuleError { index: MAX_RULES, field: "name", why });
    }
    let mut rules = Vec::new();
    for (index, rule) in own.iter().enumerate() {
        if own[..index].iter().any(|other| other.name == rule.name) {
            let why = format!("'{}' is the name of another alarm", rule.name);
            return Err(AlarmRuleError { index, field: "name", why });
        }
        let compiled = compile_rule(rule).map_err(|(field, why)| AlarmRuleError { index, field, why })?;
        rules.extend(compiled);
    }
    let defaults = default_rules();
    let built_in = defaults.iter().filter(|rule| own.iter().all(|own| own.name != rule.name));
    // A test proves that they compile.
    rules.extend(built_in.filter_map(|rule| compile_rule(rule).ok().flatten()));
    Ok(rules)
}

/// Compiles one rule by itself; `None` if it is switched off.
///
/// # Errors
///
/// The first mistake in it.
pub fn compile_one(rule: &AlarmRule) -> Result<Option<LimitRule>, AlarmRuleError> {
    compile_rule(rule).map_err(|(field, why)| AlarmRuleError { index: 0, field, why })
}

type Mistake = (&'static str, String);

/// The compiled rule; `None` if it is switched off.
fn compile_rule(rule: &AlarmRule) -> Result<Option<LimitRule>, Mistake> {
    let refuse = |field, why: &str| Err((field, why.to_owned()));
    if rule.name.trim().is_empty() || rule.name.chars().count() > ALARM_TEXT_CHARS {
        return refuse("name", "write a name of 1 to 200 characters");
    }
    if rule.enabled == Some(false) {
        return Ok(None);
    }
    if rule.topic.is_none() && rule.type_name.is_none() {
        return refuse("topic", "write a topic, a type or both");
    }
    let glob = |field, text: &Option<String>| {
        let parsed = text.as_deref().map(TopicPattern::parse).transpose();
        parsed.map_err(|error| (field, error.to_string()))
    };
    let (topic, type_name) = (glob("topic", &rule.topic)?, glob("type", &rule.type_name)?);
    if rule.field.is_empty() || rule.field.len() > FIELD_BYTES {
        return refuse("field", "write the path of a number, such as \"temperature\" or \"values[2]\"");
    }
    let scale = rule.scale.unwrap_or(1.0);
    if !(scale.is_finite() && scale != 0.0) {
        return refuse("scale", "write a number other than 0");
    }
    if !(rule.hysteresis.is_finite() && rule.hysteresis >= 0.0) {
        return refuse("hysteresis", "write a number, 0 or more");
    }
    Ok(Some(LimitRule {
        name: rule.name.clone(),
        field: rule.field.clone(),
        derived: rule.derived,
        scale,
        unit: rule.unit.chars().take(ALARM_TEXT_CHARS).collect(),
        limits: Limits { limits: limits(rule)?, hysteresis: rule.hysteresis },
        delays: Delays {
            on: delay("on_delay_s", rule.on_delay_s.unwrap_or(OFF_DELAY_MIN_S), 0.0)?,
            off: delay("off_delay_s", rule.off_delay_s.unwrap_or(2.0), OFF_DELAY_MIN_S)?,
        },
        latching: rule.latch.unwrap_or(true),
        topic,
        type_name,
    }))
}

fn delay(field: &'static str, seconds: f64, least: f64) -> Result<Duration, Mistake> {
    match (least..=DELAY_MAX_S).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err((field, format!("write seconds from {least} to {DELAY_MAX_S}"))),
    }
}

/// The limits of both sides. A worse severity is further out, and the two sides leave room for good values.
fn limits(rule: &AlarmRule) -> Result<Vec<Limit>, Mistake> {
    if rule.above.is_empty() && rule.below.is_empty() {
        return Err((
            "above",
            "write above, below or both, such as { warning = 70.0, critical = 85.0 }".to_owned(),
        ));
    }
    for (field, limits, sign) in [("above", &rule.above, 1.0), ("below", &rule.below, -1.0)] {
        let values: Vec<f64> = limits.values().map(|value| value * sign).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err((field, "write numbers that are not infinite".to_owned()));
        }
        if !values.is_sorted_by(|milder, worse| milder < worse) {
            return Err((field, "a worse severity has to have a limit further out".to_owned()));
        }
    }
    let highest = rule.below.values().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = rule.above.values().copied().fold(f64::INFINITY, f64::min);
    if highest + rule.hysteresis > lowest - rule.hysteresis {
        return Err((
            "hysteresis",
            "between above and below there has to be room for it on both sides".to_owned(),
        ));
    }
    let side = |side, limits: &BTreeMap<AlarmSeverity, f64>| {
        limits.iter().map(move |(&severity, &at)| Limit { side, at, severity }).collect::<Vec<_>>()
    };
    Ok([side(Side::Above, &rule.above), side(Side::Below, &rule.below)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn motor() -> AlarmRule {
        AlarmRule {
            name: "motor".to_owned(),
            topic: Some("/motor/*".to_owned()),
            field: "temperature".to_owned(),
            above: BTreeMap::from([(AlarmSeverity::Warning, 70.0), (AlarmSeverity::Critical, 85.0)]),
            hysteresis: 5.0,
            ..AlarmRule::default()
        }
    }

    #[test]
    fn the_defaults_compile() {
        for rule in default_rules() {
            assert!(matches!(compile_rule(&rule), Ok(Some(_))), "{:?}", compile_rule(&rule));
        }
        assert_eq!(compile(&[]).unwrap().len(), default_rules().len());
    }

    #[test]
    fn a_rule_replaces_the_built_in_one_of_its_name() {
        let name = default_rules()[0].name.clone();
        let off = AlarmRule { name: name.clone(), enabled: Some(false), ..AlarmRule::default() };
        let rules = compile(&[off, motor()]).unwrap();
        assert!(rules.iter().all(|rule| rule.name != name));
        assert_eq!(rules.len(), default_rules().len());
        assert!(rules[0].matches("/motor/left", "x") && !rules[0].matches("/motor/left/a", "x"));
    }

    #[test]
    fn a_mistake_is_explained() {
        let limit = |severity, value| BTreeMap::from([(severity, value)]);
        for (rule, field) in [
            (AlarmRule { name: " ".to_owned(), ..motor() }, "name"),
            (AlarmRule { topic: None, ..motor() }, "topic"),
            (AlarmRule { topic: Some("/a/[".to_owned()), ..motor() }, "topic"),
            (AlarmRule { type_name: Some("{".to_owned()), ..motor() }, "type"),
            (AlarmRule { field: String::new(), ..motor() }, "field"),
            (AlarmRule { scale: Some(0.0), ..motor() }, "scale"),
            (AlarmRule { hysteresis: -1.0, ..motor() }, "hysteresis"),
            (AlarmRule { hysteresis: f64::NAN, ..motor() }, "hysteresis"),
            (AlarmRule { above: BTreeMap::new(), ..motor() }, "above"),
            (AlarmRule { above: limit(AlarmSeverity::Watch, f64::INFINITY), ..motor() }, "above"),
            (
                AlarmRule {
                    above: BTreeMap::from([(AlarmSeverity::Warning, 85.0), (AlarmSeverity::Critical, 70.0)]),
                    ..motor()
                },
                "above",
            ),
            (AlarmRule { below: limit(AlarmSeverity::Warning, 65.0), ..motor() }, "hysteresis"),
            (AlarmRule { on_delay_s: Some(-1.0), ..motor() }, "on_delay_s"),
            (AlarmRule { off_delay_s: Some(0.0), ..motor() }, "off_delay_s"),
        ] {
            let other = AlarmRule { name: "other".to_owned(), ..motor() };
            let error = compile(&[other, rule]).unwrap_err();
            assert_eq!((error.index, error.field), (1, field), "{error}");
        }
        assert_eq!(compile(&[motor(), motor()]).unwrap_err().field, "name");
    }
}
