//! Alarms of statuses on `/diagnostics`. Each publisher reports some of them, so every message counts.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::alarms::debounce::Delays;
use roverline_protocol::alarms::id::alarm_id;
use roverline_protocol::alarms::{ALARMS_TOPIC, MAX_ALARMS};
use roverline_protocol::api::alarms::{AlarmQuality, AlarmSeverity, AlarmSource};
use roverline_schema::Value;
use roverline_source::RawSample;

use crate::endpoint::alarms::finding::{Finding, clip, subject};
use crate::endpoint::diagnostics::DIAGNOSTICS_TYPE;
use crate::hub::{Decoder, Hub};

/// Messages decoded in one step; of more, the newest.
const MESSAGES_PER_STEP: usize = 64;
/// Messages with more bytes are not decoded.
const MESSAGE_BYTES: usize = 256 << 10;
/// A status that is not reported for so long is stale.
const STALE: Duration = Duration::from_secs(10);
/// A status that is not reported for so long, while others are, is over.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The gateway's own statuses, which have alarms of their own.
const OWN: &str = "roverline: ";
const DELAYS: Delays = Delays { on: Duration::ZERO, off: Duration::from_secs(3) };

/// Follows all topics of diagnostics.
#[derive(Default)]
pub(super) struct StatusWatch {
    /// Up to when messages were read (monotonic).
    read_until: Duration,
    /// By id.
    statuses: HashMap<String, Status>,
}

struct Status {
    name: String,
    topic: String,
    scopes: ScopeSet,
    level: i128,
    message: String,
    at: Duration,
}

impl StatusWatch {
    /// The present findings; see `LimitWatch::find`.
    pub(super) fn find(
        &mut self,
        hub: &Hub,
        now: Duration,
        is_followed: impl Fn(ScopeSet) -> bool,
    ) -> Vec<Finding> {
        let after = std::mem::replace(&mut self.read_until, now);
        let mut messages: Vec<(String, ScopeSet, Decoder, RawSample, Duration)> = Vec::new();
        hub.with_topics(|topics| {
            for topic in topics {
                if topic.info.type_name != DIAGNOSTICS_TYPE || topic.info.name == ALARMS_TOPIC {
                    continue;
                }
                let Some(decoder) = &topic.decoder else { continue };
                let new = topic.samples_after(after).take(MESSAGES_PER_STEP);
                let of = |(sample, at): (&RawSample, Duration)| {
                    (topic.info.name.clone(), topic.info.scopes, decoder.clone(), sample.clone(), at)
                };
                messages.extend(new.map(of));
            }
        });
        // Newest first, so that what does not fit is old.
        messages.sort_by_key(|(.., at)| std::cmp::Reverse(*at));
        messages.truncate(MESSAGES_PER_STEP);
        for (topic, scopes, decoder, sample, at) in messages.into_iter().rev() {
            if sample.payload.len() <= MESSAGE_BYTES
                && let Some(message) = decoder.plan().and_then(|plan| plan.decode(&sample.payload).ok())
            {
                self.ingest(&message, &topic, scopes, at);
            }
        }
        let newest = self.statuses.values().map(|status| status.at).max().unwrap_or(now);
        let findings = self.statuses.iter().map(|(id, status)| Finding {
            is_followed: is_followed(status.scopes),
            ..status.finding(id, now, newest)
        });
        let findings = findings.collect();
        self.statuses.retain(|_, status| newest.saturating_sub(status.at) < FORGOTTEN * 2);
        findings
    }

    fn ingest(&mut self, message: &Value, topic: &str, scopes: ScopeSet, at: Duration) {
        for entry in message.get("status").and_then(Value::as_array).unwrap_or_default() {
            let text = |key| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let name = text("name");
            if name.starts_with(OWN) {
                continue;
            }
            let id = alarm_id(&["diagnostics", name]);
            if self.statuses.len() >= MAX_ALARMS && !self.statuses.contains_key(&id) {
                continue;
            }
            let level = entry.get("level").and_then(Value::as_i128).unwrap_or_default();
            let (name, message) = (clip(name), clip(text("message")));
            let status = Status { name, topic: topic.to_owned(), scopes, level, message, at };
            self.statuses.insert(id, status);
        }
    }
}

impl Status {
    fn finding(&self, id: &str, now: Duration, newest: Duration) -> Finding {
        let is_forgotten = newest.saturating_sub(self.at) >= FORGOTTEN;
        let is_stale = now.saturating_sub(self.at) >= STALE && !is_forgotten;
        let mut subject = subject(AlarmSource::Diagnostics, &self.name);
        subject.topic = Some(self.topic.clone());
        Finding {
            id: id.to_owned(),
            severity: match is_forgotten {
                true => Some(None),
                false => (!is_stale).then(|| severity(self.level)),
            },
            delays: DELAYS,
            quality: if is_stale { AlarmQuality::Stale } else { AlarmQuality::Good },
            text: if self.message.is_empty() { self.name.clone() } else { self.message.clone() },
            subject,
            ..Finding::default()
        }
    }
}

/// The severity of a level of diagnostic_msgs/msg/DiagnosticStatus: WARN, ERROR and STALE.
fn severity(level: i128) -> Option<AlarmSeverity> {
    match level {
        0 => None,
        1 => Some(AlarmSeverity::Warning),
        2 => Some(AlarmSeverity::Critical),
        _ => Some(AlarmSeverity::Distress),
    }
}

#[cfg(test)]
mod tests {
    use roverline_schema::Registry;
    use serde_json::json;

    use super::*;

    fn message(statuses: &serde_json::Value) -> Value {
        let plan = Registry::bundled().plan(DIAGNOSTICS_TYPE).unwrap();
        plan.decode(&plan.encode_json(&json!({ "status": statuses })).unwrap()).unwrap()
    }

    #[test]
    fn every_publisher_counts_and_our_own_do_not() {
        let mut watch = StatusWatch::default();
        let at = Duration::from_secs;
        let arm = message(&json!([{"level": 2, "name": "arm: \u{1b}[31mgrip", "message": ""}]));
        let drive = message(&json!([{"level": 1, "name": "drive", "message": "derating"},
            {"level": 2, "name": "roverline: primary endpoint", "message": "covers"}]));
        watch.ingest(&arm, "/diagnostics", ScopeSet::ALL, at(10));
        watch.ingest(&drive, "/diagnostics", ScopeSet::ALL, at(11));
        assert_eq!(watch.statuses.len(), 2);
        let arm = watch.statuses["diagnostics/arm-31mgrip"].finding("a", at(11), at(11));
        assert_eq!(
            (arm.severity, arm.text.as_str()),
            (Some(Some(AlarmSeverity::Critical)), "arm: ·[31mgrip")
        );
        let drive = &watch.statuses["diagnostics/drive"];
        let stale = drive.finding("a", at(22), at(11));
        assert_eq!((stale.severity, stale.quality), (None, AlarmQuality::Stale));
        assert_eq!(drive.finding("a", at(80), at(80)).severity, Some(None), "others are still reported");
        assert_eq!(drive.finding("a", at(80), at(11)).severity, None, "nothing is");
    }

    #[test]
    fn there_is_a_bound() {
        let mut watch = StatusWatch::default();
        let many: Vec<_> =
            (0..MAX_ALARMS + 50).map(|n| json!({"level": 1, "name": format!("n{n}")})).collect();
        watch.ingest(&message(&json!(many)), "/diagnostics", ScopeSet::ALL, Duration::ZERO);
        assert_eq!(watch.statuses.len(), MAX_ALARMS);
    }
}
