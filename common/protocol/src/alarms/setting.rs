//! Limits and expected rates that operators set while the gateway runs: shared values under known keys. They come before
//! the rules of `roverline.toml`.

use serde_json::Value;

use crate::alarms::rule::{AlarmRule, AlarmRuleError, LimitRule, compile_one};

/// The prefix of all keys.
pub const SETTINGS_PREFIX: &str = "alarm/";
/// Keys of limits: `alarm/limits/NAME`. The value is a rule as in `[[alarm]]`, as JSON; its name is the rest of the key
/// if it has none.
pub const LIMITS_PREFIX: &str = "alarm/limits/";
/// Keys of expected rates: `alarm/rates/TOPIC`, the topic without its first slash. The value is a number of samples per
/// second, or null for a topic that is not expected.
pub const RATES_PREFIX: &str = "alarm/rates/";
/// Highest rate that can be expected, samples per second.
pub const RATE_MAX_HZ: f64 = 10_000.0;

/// One of them.
#[derive(Clone, Debug)]
pub enum AlarmSetting {
    /// A rule, by its name; `None` if it is switched off.
    Limit(String, Option<Box<LimitRule>>),
    /// The rate of a topic, samples per second; `None` if it is not expected.
    Rate(String, Option<f64>),
}

/// Why a value is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmSettingError {
    /// The key is none of those.
    #[error("the key has to begin with {LIMITS_PREFIX} or {RATES_PREFIX}")]
    Key,
    /// The value is no rule.
    #[error("no rule: {0}")]
    Json(String),
    /// The rule has a mistake.
    #[error(transparent)]
    Rule(#[from] AlarmRuleError),
    /// The value is no rate.
    #[error("write samples per second, more than 0 and at most {RATE_MAX_HZ}, or null")]
    Rate,
}

/// The key of the limits of a topic's field.
pub fn limit_key(topic: &str, field: &str) -> String {
    format!("{LIMITS_PREFIX}{}:{field}", topic.trim_start_matches('/'))
}

/// The key of the expected rate of a topic.
pub fn rate_key(topic: &str) -> String {
    format!("{RATES_PREFIX}{}", topic.trim_start_matches('/'))
}

/// Reads a shared value.
///
/// # Errors
///
/// The mistake in it.
pub fn parse_setting(key: &str, value: &Value) -> Result<AlarmSetting, AlarmSettingError> {
    if let Some(topic) = key.strip_prefix(RATES_PREFIX).filter(|topic| !topic.is_empty()) {
        let topic = format!("/{topic}");
        if value.is_null() {
            return Ok(AlarmSetting::Rate(topic, None));
        }
        let rate = value.as_f64().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX_HZ);
        return rate.map(|rate| AlarmSetting::Rate(topic, Some(rate))).ok_or(AlarmSettingError::Rate);
    }
    let name = key.strip_prefix(LIMITS_PREFIX).filter(|name| !name.is_empty());
    let name = name.ok_or(AlarmSettingError::Key)?;
    let rule: AlarmRule =
        serde_json::from_value(value.clone()).map_err(|error| AlarmSettingError::Json(error.to_string()))?;
    let name = if rule.name.is_empty() { name.to_owned() } else { rule.name.clone() };
    let compiled = compile_one(&AlarmRule { name: name.clone(), ..rule })?;
    Ok(AlarmSetting::Limit(name, compiled.map(Box::new)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_of_a_field_is_a_rule_by_the_name_of_its_key() {
        let key = limit_key("/odom", "twist.twist.linear.x");
        assert_eq!(key, "alarm/limits/odom:twist.twist.linear.x");
        let value = json!({"topic": "/odom", "field": "twist.twist.linear.x", "above": {"warning": 1.0}});
        let Ok(AlarmSetting::Limit(name, Some(rule))) = parse_setting(&key, &value) else {
            panic!("no rule")
        };
        assert_eq!(name, "odom:twist.twist.linear.x");
        assert!(rule.matches("/odom", "nav_msgs/msg/Odometry") && !rule.matches("/other", "x"));
        let off = parse_setting("alarm/limits/tilt", &json!({"enabled": false}));
        assert!(matches!(off, Ok(AlarmSetting::Limit(name, None)) if name == "tilt"));
    }

    #[test]
    fn a_rate_is_a_number_or_null() {
        let rate = |value: Value| match parse_setting(&rate_key("/odom"), &value) {
            Ok(AlarmSetting::Rate(topic, rate)) => Ok((topic, rate)),
            Ok(AlarmSetting::Limit(..)) => panic!("a limit"),
            Err(error) => Err(error),
        };
        assert_eq!(rate(json!(50)), Ok(("/odom".to_owned(), Some(50.0))));
        assert_eq!(rate(Value::Null), Ok(("/odom".to_owned(), None)));
        for bad in [json!(0), json!(-1.0), json!("fast"), json!(1e9), json!({})] {
            assert_eq!(rate(bad), Err(AlarmSettingError::Rate));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |key: &str, value: Value| parse_setting(key, &value).unwrap_err().to_string();
        assert!(error("alarm/other", json!(1)).contains("alarm/limits/"));
        assert!(error("alarm/limits/", json!({})).contains("alarm/limits/"));
        assert!(error("alarm/limits/x", json!(3)).starts_with("no rule"));
        assert!(error("alarm/limits/x", json!({"colour": "red"})).contains("colour"));
        let value = json!({"topic": "/a", "field": "x", "above": {"warning": 5.0, "critical": 1.0}});
        assert!(error("alarm/limits/x", value).starts_with("above: "));
    }
}
