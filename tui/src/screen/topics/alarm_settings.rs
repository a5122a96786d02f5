//! Limits of a field and expected rates of topics: shared values, which every console and the gateway's alarms follow.

use std::collections::BTreeMap;

use roverline_protocol::alarms::rule::AlarmRule;
use roverline_protocol::alarms::setting::{
    AlarmSetting, SETTINGS_PREFIX, limit_key, parse_setting, rate_key,
};
use roverline_protocol::api::alarms::AlarmSeverity;
use roverline_protocol::api::kv::KvDocument;
use serde_json::{Value, json};

use crate::effect::Effect;
use crate::format;
use crate::model::{Form, Model, QuestionKind, Screen};
use crate::screen::topics::model::State;
use crate::shared_values;

/// Values that are read.
const SETTINGS: usize = 200;
/// What a limit is worth: one sign for a warning, two for what needs attention now.
const SEVERITIES: [AlarmSeverity; 2] = [AlarmSeverity::Warning, AlarmSeverity::Critical];

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitTextError {
    /// A word that is none of those.
    #[error("'{0}' is no limit: write >70 for a warning, >>85 for critical, <10, <<5, ~2 for hysteresis")]
    Word(String),
    /// One word twice.
    #[error("'{0}' is there twice")]
    Twice(String),
    /// What the gateway would refuse.
    #[error("{0}")]
    Rule(String),
}

/// Watches the settings while the screen is shown.
pub fn watch(model: &mut Model) -> Vec<Effect> {
    let is_shown = model.screen == Screen::Topics && model.is_attended;
    let path = format!("/api/v2/kv?prefix={SETTINGS_PREFIX}&limit={SETTINGS}");
    let present = model.screens.topics.watch;
    let (watch, effects) = shared_values::watch_while(model, is_shown, present, &path, |model, answer| {
        let now = model.now;
        model.screens.topics.settings.take(answer, now, |list| list.revision);
    });
    model.screens.topics.watch = watch;
    effects
}

impl State {
    fn setting(&self, key: &str) -> Option<&KvDocument> {
        self.settings.value.as_ref()?.keys.iter().find(|value| value.key == key)
    }

    /// The limits of a field that were set from a console: those above, and those below.
    pub fn limits_of(&self, topic: &str, field: &str) -> Option<AlarmRule> {
        serde_json::from_value(self.setting(&limit_key(topic, field))?.value.clone()).ok()
    }

    /// The expected rate of a topic that was set from a console; the inner `None` is "not expected".
    pub fn rate_of(&self, topic: &str) -> Option<Option<f64>> {
        let setting = self.setting(&rate_key(topic))?;
        match parse_setting(&setting.key, &setting.value) {
            Ok(AlarmSetting::Rate(_, rate)) => Some(rate),
            _ => None,
        }
    }
}

/// Limits as they are typed: `>70 >>85 ~2`.
pub fn limits_text(rule: &AlarmRule) -> String {
    let sides = [(">", &rule.above), ("<", &rule.below)];
    let words = sides.into_iter().flat_map(|(sign, limits)| {
        limits.iter().map(move |(severity, at)| {
            let count = if *severity <= AlarmSeverity::Warning { 1 } else { 2 };
            format!("{}{at}", sign.repeat(count))
        })
    });
    words
        .chain((rule.hysteresis > 0.0).then(|| format!("~{}", rule.hysteresis)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The rule of a typed text; `None` for no limits at all.
fn parse_limits(topic: &str, field: &str, text: &str) -> Result<Option<AlarmRule>, LimitTextError> {
    let mut rule =
        AlarmRule { topic: Some(topic.to_owned()), field: field.to_owned(), ..AlarmRule::default() };
    // A blank after a sign is as good as none.
    let text = text.replace("> ", ">").replace("< ", "<").replace("~ ", "~");
    let mut has_hysteresis = false;
    for word in text.split_whitespace() {
        let number = word.trim_start_matches(['>', '<', '~']);
        let sign = &word[..word.len() - number.len()];
        let unknown = || LimitTextError::Word(format::printable(&format::fit(word, 20)));
        let at: f64 = number.parse().ok().filter(|at: &f64| at.is_finite()).ok_or_else(unknown)?;
        let (limits, severity): (&mut BTreeMap<_, _>, _) = match sign {
            ">" => (&mut rule.above, SEVERITIES[0]),
            ">>" => (&mut rule.above, SEVERITIES[1]),
            "<" => (&mut rule.below, SEVERITIES[0]),
            "<<" => (&mut rule.below, SEVERITIES[1]),
            "~" if !has_hysteresis => {
                (rule.hysteresis, has_hysteresis) = (at, true);
                continue;
            }
            _ => return Err(unknown()),
        };
        if limits.insert(severity, at).is_some() {
            return Err(LimitTextError::Twice(sign.to_owned()));
        }
    }
    if rule.above.is_empty() && rule.below.is_empty() {
        return Ok(None);
    }
    let value = serde_json::to_value(&rule).unwrap_or_default();
    match parse_setting(&limit_key(topic, field), &value) {
        Ok(_) => Ok(Some(rule)),
        Err(error) => Err(LimitTextError::Rule(error.to_string())),
    }
}

/// Opens the question for the limits of the plotted field.
pub fn open_limits(model: &mut Model) -> Vec<Effect> {
    crate::screen::topics::plot::follow(model);
    let Some(series) = &model.screens.topics.plot.series else {
        model.notify(false, "no number is under the cursor".to_owned());
        return Vec::new();
    };
    let subject = vec![series.topic.clone(), series.field.clone()];
    let now = model.screens.topics.limits_of(&series.topic, &series.field);
    let now = now.map_or_else(|| "none set from a console".to_owned(), |rule| limits_text(&rule));
    let lines = vec![
        format!("{} {}", format::printable(&series.topic), format::printable(&series.field)),
        format!("now: {now}"),
        ">70 warns, >>85 is critical, <10 and <<5 below, ~2 is hysteresis.".to_owned(),
        "An empty text removes them. All consoles and the gateway's alarms follow.".to_owned(),
    ];
    let form = Form::text("Limits", lines, "Limits", subject, set_limits);
    model.open_question(QuestionKind::Other(Form { may_be_empty: true, ..form }));
    Vec::new()
}

fn set_limits(model: &mut Model, form: &Form, text: &str) -> Vec<Effect> {
    let [topic, field] = form.subject.as_slice() else { return Vec::new() };
    let key = limit_key(topic, field);
    let name = format::printable(&format!("{topic} {field}"));
    match parse_limits(topic, field, text) {
        Ok(Some(rule)) => {
            let done = format!("limits of {name}: {}", limits_text(&rule));
            let value = serde_json::to_value(&rule).unwrap_or_default();
            shared_values::put(model, "set limits", (&key, ""), value, done)
        }
        Ok(None) => shared_values::delete(model, "remove limits", &key, format!("{name} has no limits")),
        Err(error) => {
            model.notify(true, format!("nothing was set: {error}"));
            Vec::new()
        }
    }
}

/// Opens the question for the expected rate of the selected topic.
pub fn open_rate(model: &mut Model) -> Vec<Effect> {
    let Some(row) = model.topics.selected_row() else { return Vec::new() };
    let topic = row.info.name.clone();
    let now = match model.screens.topics.rate_of(&topic) {
        None => "as configured".to_owned(),
        Some(None) => "not expected".to_owned(),
        Some(Some(rate)) => format!("{rate} Hz"),
    };
    let lines = vec![
        format!("{}: {now}; it comes with {} Hz", format::printable(&topic), format::rate(row.rate.0)),
        "Samples per second, off for none, empty for what is configured.".to_owned(),
        "A topic that is missing or much slower is an alarm, for everybody.".to_owned(),
    ];
    let form = Form::text("Expected rate", lines, "Hz", vec![topic], set_rate);
    model.open_question(QuestionKind::Other(Form { may_be_empty: true, ..form }));
    Vec::new()
}

fn set_rate(model: &mut Model, form: &Form, text: &str) -> Vec<Effect> {
    let Some(topic) = form.subject.first() else { return Vec::new() };
    let (key, name) = (rate_key(topic), format::printable(topic));
    let value = match text {
        "" => {
            let done = format!("the rate of {name} is expected as configured");
            return shared_values::delete(model, "remove an expected rate", &key, done);
        }
        "off" => Value::Null,
        text => text.parse::<f64>().map_or_else(|_| json!(text), Value::from),
    };
    match parse_setting(&key, &value) {
        Ok(_) => {
            let done = format!("expected rate of {name}: {text}");
            shared_values::put(model, "set an expected rate", (&key, ""), value, done)
        }
        Err(error) => {
            model.notify(true, format!("nothing was set: {error}"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written_alike() {
        let rule = parse_limits("/a", "x", ">70  >> 85 <-5 ~2.5").unwrap().unwrap();
        assert_eq!(limits_text(&rule), ">70 >>85 <-5 ~2.5");
        assert_eq!(rule.above[&AlarmSeverity::Critical], 85.0);
        assert_eq!(parse_limits("/a", "x", "  "), Ok(None));
    }

    #[test]
    fn a_mistake_is_named() {
        let error = |text| parse_limits("/a", "x", text).unwrap_err().to_string();
        assert!(error("70").contains("'70'"));
        assert!(error(">hot").contains("'>hot'"));
        assert!(error(">inf").contains("'>inf'"));
        assert!(error("><3").contains("'><3'"));
        assert!(error(">1 >2").contains("twice"));
        assert!(error(">85 >>70").starts_with("above"));
        assert!(error(">1 <2").starts_with("hysteresis"));
    }
}
