//! Settings of alarms: `[alarms]`, and the rules `[[alarm]]`.

use roverline_protocol::alarms::rule::{self, AlarmRule, AlarmRuleError};
use serde::{Deserialize, Serialize};

/// Settings of the alarms that no rule describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmSettings {
    /// Whether this gateway raises alarms at all.
    pub enabled: bool,
    /// Whether statuses on `/diagnostics` raise alarms.
    pub diagnostics: bool,
    /// A topic whose rate is below this share of its `expected_rate_hz` raises an alarm; from 0 to 1.
    pub topic_rate: f64,
    /// A publisher's clock that is further ahead raises an alarm, seconds.
    pub clock_offset_s: f64,
    /// A queue whose oldest message is older, and of which nobody takes, raises an alarm, seconds.
    pub queue_age_s: f64,
    /// A disk of the state directory that is fuller raises an alarm, percent.
    pub disk_percent: f64,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        AlarmSettings {
            enabled: true,
            diagnostics: true,
            topic_rate: 0.7,
            clock_offset_s: 0.5,
            queue_age_s: 120.0,
            disk_percent: 90.0,
        }
    }
}

impl AlarmSettings {
    /// Checks what the types cannot express; an error is a key and a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let within = |key, value: f64, (least, most): (f64, f64)| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err((key, format!("write a number from {least} to {most}"))),
        };
        within("topic_rate", self.topic_rate, (0.0, 1.0))?;
        within("clock_offset_s", self.clock_offset_s, (0.05, 86_400.0))?;
        within("queue_age_s", self.queue_age_s, (1.0, 86_400.0))?;
        within("disk_percent", self.disk_percent, (1.0, 100.0))
    }
}

/// Checks the rules; an error is the line in the file and a message with the field.
pub(super) fn check_rules(rules: &[AlarmRule], text: &str) -> Result<(), (usize, String)> {
    rule::compile(rules).map(drop).map_err(|error| (line_of(text, &error), error.to_string()))
}

/// The line of the field with the mistake, or of its `[[alarm]]`; the first line is 1.
fn line_of(text: &str, error: &AlarmRuleError) -> usize {
    let is_header = |line: &str| line.trim_start().starts_with("[[alarm]]");
    let headers = text.lines().enumerate().filter(|(_, line)| is_header(line));
    let Some((header, _)) = headers.take(error.index + 1).last() else { return 1 };
    let is_field = |line: &str| {
        let rest = line.trim_start().strip_prefix(error.field);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    let section = text.lines().enumerate().skip(header + 1);
    let mut section = section.take_while(|(_, line)| !line.trim_start().starts_with('['));
    section.find(|(_, line)| is_field(line)).map_or(header, |(at, _)| at) + 1
}
