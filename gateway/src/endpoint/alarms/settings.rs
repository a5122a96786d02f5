//! Limits and expected rates that operators set: shared values under `alarm/`, followed by every endpoint.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use roverline_coordination::events::{Expected, NewEvent};
use roverline_coordination::kv::{Item, KvError};
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::rule::LimitRule;
use roverline_protocol::alarms::setting::{AlarmSetting, AlarmSettingError, SETTINGS_PREFIX, parse_setting};
use roverline_source::clock::unix_ns;
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::endpoint::alarms::finding::clip;
use crate::identity;

/// Most values that are read; the others are ignored, in the order of their keys.
const MAX_SETTINGS: usize = 2 * MAX_ALARMS;
/// Pause after the store was away.
const RETRY: Duration = Duration::from_secs(1);
/// Revisions of bad values that were reported, remembered by this endpoint.
const MAX_REPORTED: usize = 1_024;

/// The limits and rates that operators have set.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Rules by name; `None` is switched off.
    pub(super) limits: BTreeMap<String, Option<LimitRule>>,
    /// Rates by topic, samples per second; `None` is not expected.
    pub(super) rates: BTreeMap<String, Option<f64>>,
}

impl Settings {
    /// The rules of the configuration with those that operators have set instead, or besides.
    pub(super) fn rules(&self, configured: &[LimitRule]) -> Vec<LimitRule> {
        let kept = configured.iter().filter(|rule| !self.limits.contains_key(&rule.name));
        kept.chain(self.limits.values().flatten()).cloned().collect()
    }

    /// The expected rate of a topic.
    pub(super) fn rate(&self, topic: &str, configured: Option<f64>) -> Option<f64> {
        self.rates.get(topic).copied().unwrap_or(configured)
    }
}

/// A value that is ignored.
struct Ignored<'a> {
    item: &'a Item,
    why: AlarmSettingError,
}

/// Reads the values; a bad one is left out.
fn read<'a>(items: &'a [Item]) -> (Settings, Vec<Ignored<'a>>) {
    let (mut settings, mut ignored) = (Settings::default(), Vec::new());
    for item in items {
        let json = serde_json::from_slice::<serde_json::Value>(&item.value);
        let setting = json
            .map_err(|error| AlarmSettingError::Json(error.to_string()))
            .and_then(|value| parse_setting(&item.key, &value));
        match setting {
            Ok(AlarmSetting::Limit(name, rule)) => {
                settings.limits.insert(name, rule.map(|rule| *rule));
            }
            Ok(AlarmSetting::Rate(topic, rate)) => {
                settings.rates.insert(topic, rate);
            }
            Err(why) => ignored.push(Ignored { item, why }),
        }
    }
    (settings, ignored)
}

/// Follows the values, forever.
pub(super) async fn follow_settings(endpoint: &Endpoint) {
    let mut reported = HashSet::new();
    loop {
        if let Err(error) = follow_once(endpoint, &mut reported).await {
            tracing::debug!(%error, "alarm settings are not read");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Follows them until the watch ends.
async fn follow_once(endpoint: &Endpoint, reported: &mut HashSet<u64>) -> Result<(), KvError> {
    let kv = &endpoint.coordination.kv;
    loop {
        let listing = kv.list(SETTINGS_PREFIX, None, None, MAX_SETTINGS).await?;
        let mut items = listing.items;
        let mut next = listing.next;
        while let Some(after) = next.filter(|_| items.len() < MAX_SETTINGS) {
            let page = kv.list(SETTINGS_PREFIX, Some(&after), Some(listing.revision), MAX_SETTINGS).await?;
            items.extend(page.items);
            next = page.next;
        }
        items.truncate(MAX_SETTINGS);
        adopt(endpoint, &items, reported).await;
        let mut watch = kv.watch(SETTINGS_PREFIX, listing.revision.next()).await?;
        loop {
            match watch.next().await {
                Some(changes) if changes.as_ref().is_ok_and(Vec::is_empty) => {}
                Some(changes) => break drop(changes?),
                None => return Ok(()),
            }
        }
    }
}

async fn adopt(endpoint: &Endpoint, items: &[Item], reported: &mut HashSet<u64>) {
    let (settings, ignored) = read(items);
    endpoint.alarms.set_settings(settings);
    for Ignored { item, why } in ignored {
        if reported.len() < MAX_REPORTED && reported.insert(item.modified.0) {
            report(endpoint, item, &why).await;
        }
    }
}

/// A bad value is an event: one, though every endpoint finds it.
async fn report(endpoint: &Endpoint, item: &Item, why: &AlarmSettingError) {
    let (key, why) = (clip(&item.key), clip(&why.to_string()));
    tracing::warn!(event_type = "alarm.setting_ignored", key, why, "an alarm setting is ignored");
    let event = NewEvent {
        stream: "alarm-settings".to_owned(),
        kind: "alarm.setting_ignored".to_owned(),
        at_ns: unix_ns(),
        data: json!({"key": key, "why": why, "version": item.version}),
        by: identity::log_name(&item.author.by),
        client: item.author.client.as_deref().and_then(identity::log_name),
        id: Some(format!("alarm-setting-{}", item.modified.0)),
        ..NewEvent::default()
    };
    if let Err(error) = endpoint.coordination.events.append(event, Expected::Any).await {
        tracing::warn!(%error, "an ignored alarm setting is not in the event log");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roverline_coordination::kv::Author;
    use roverline_coordination::store::Revision;
    use roverline_protocol::alarms::rule::compile;

    use super::*;

    fn item(key: &str, value: &str) -> Item {
        Item {
            key: Arc::from(key),
            value: value.to_owned().into(),
            version: 1,
            created: Revision(1),
            modified: Revision(7),
            lease: None,
            author: Author { by: "ann".into(), client: None, at_ns: 0 },
        }
    }

    #[test]
    fn a_bad_value_is_left_out_and_the_others_count() {
        let items = [
            item("alarm/limits/odom:x", r#"{"topic": "/odom", "field": "x", "above": {"warning": 1}}"#),
            item("alarm/limits/tilt", r#"{"enabled": false}"#),
            item("alarm/limits/bad", "{"),
            item("alarm/rates/odom", "50"),
            item("alarm/rates/scan", "\"fast\""),
            item("alarm/rates/old", "null"),
        ];
        let (settings, ignored) = read(&items);
        let bad: Vec<&str> = ignored.iter().map(|ignored| &*ignored.item.key).collect();
        assert_eq!(bad, ["alarm/limits/bad", "alarm/rates/scan"]);
        let configured = compile(&[]).unwrap();
        let rules = settings.rules(&configured);
        assert_eq!(rules.len(), configured.len(), "one more, and one less");
        assert!(rules.iter().any(|rule| rule.name == "odom:x"));
        assert!(rules.iter().all(|rule| rule.name != "tilt"));
        assert_eq!(settings.rate("/odom", Some(10.0)), Some(50.0));
        assert_eq!(settings.rate("/old", Some(10.0)), None);
        assert_eq!(settings.rate("/other", Some(10.0)), Some(10.0));
    }
}
