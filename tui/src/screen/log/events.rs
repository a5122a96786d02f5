//! Entries from the team's event log and from `/rosout`.

use roverline_client::LinkSample;
use roverline_protocol::api::events::{EventList, LogEvent, LogHeadDocument};
use roverline_schema::Value;

use crate::effect::Effect;
use crate::format;
use crate::model::{Answer, Model};
use crate::screen::log::model::{Entry, Level, Origin};

/// The type of `/rosout`.
pub const ROSOUT: &str = "rcl_interfaces/msg/Log";
/// The type of notes in the event log.
pub(super) const NOTE: &str = "note";
/// Events that are read at the start.
const EARLIER_EVENTS: u64 = 200;
/// Events that one request reads.
const PAGE_EVENTS: u64 = 100;

/// Watches the head of the event log: the events themselves are read once each.
pub(super) fn start(model: &mut Model) -> Vec<Effect> {
    vec![model.watch("/api/v2/events/head", |model, answer| match answer.document::<LogHeadDocument>() {
        Ok(document) => {
            let state = &mut model.screens.log;
            state.fault = None;
            let head = document.head.map_or(0, |head| head.seq);
            if state.next_seq == 0 {
                let floor = document.floor.map_or(0, |floor| floor.seq);
                state.next_seq = (head.saturating_sub(EARLIER_EVENTS)).max(floor) + 1;
            }
            model.screens.log.wanted_seq = head;
        }
        Err(fault) => model.screens.log.fault = Some(fault.0),
    })]
}

/// Reads the next page of events, if there is one and none is being read.
pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.log;
    if state.is_reading || state.next_seq == 0 || state.next_seq > state.wanted_seq {
        return Vec::new();
    }
    if !model.network.is_connected() {
        return Vec::new();
    }
    model.screens.log.is_reading = true;
    let path = format!("/api/v2/events?from={}&limit={PAGE_EVENTS}", model.screens.log.next_seq);
    let request = model.request("", ("GET", path), None, |model, answer| {
        take_page(model, answer);
        Vec::new()
    });
    if request.is_empty() {
        model.screens.log.is_reading = false;
    }
    request
}

fn take_page(model: &mut Model, answer: &Answer) {
    let state = &mut model.screens.log;
    state.is_reading = false;
    match answer.document::<EventList>() {
        Ok(page) => {
            state.fault = None;
            for event in &page.events {
                if event.seq >= state.next_seq {
                    state.next_seq = event.seq + 1;
                    state.push(entry(event));
                }
            }
            // Nothing is there although the head says so: the next change asks again.
            if page.events.is_empty() {
                state.wanted_seq = state.next_seq.saturating_sub(1);
            }
        }
        // Removed by retention before it was read: begin at what is kept.
        Err(_) if answer.status == 410 => state.next_seq = 0,
        Err(fault) => {
            state.fault = Some(fault.0);
            state.wanted_seq = state.next_seq.saturating_sub(1);
        }
    }
}

fn entry(event: &LogEvent) -> Entry {
    let by = event.by.as_deref().unwrap_or(&event.node);
    // Without a token, the identity is an address: the name says more.
    let by = event.client.as_deref().filter(|_| format::is_address(by)).unwrap_or(by);
    let is_note = event.kind == NOTE;
    let text = match event.data.get("text").and_then(serde_json::Value::as_str).filter(|_| is_note) {
        Some(text) => format!("\"{text}\""),
        None => fields(&event.data),
    };
    let origin = if is_note { Origin::Note } else { Origin::Event };
    let mut entry =
        Entry::new(event.at_ns, origin, level(&event.kind), [&event.kind, &event.stream, by, &text]);
    entry.seq = event.seq;
    entry.trace = event.trace.as_deref().and_then(trace_id);
    entry
}

/// The id in a `traceparent` (W3C Trace Context): `00-ID-SPAN-FLAGS`.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// Members that say most, first.
const IMPORTANT: [&str; 5] = ["reason", "cause", "message", "to", "from"];
/// Members that other columns show, or that say little.
const LEFT_OUT: [&str; 5] = ["at_ns", "resource", "queue", "client", "mode"];

/// Members of an object as `name value`, others as JSON.
fn fields(data: &serde_json::Value) -> String {
    let Some(object) = data.as_object() else { return data.to_string() };
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rank = |name: &str| IMPORTANT.iter().position(|one| *one == name).unwrap_or(IMPORTANT.len());
    let mut members: Vec<_> = object.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())).collect();
    members.sort_by_key(|(name, _)| rank(name));
    let all: Vec<String> = members.iter().map(|(name, value)| format!("{name} {}", text(value))).collect();
    all.join("  ")
}

fn level(kind: &str) -> Level {
    let has = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if has(&["alarm.raised", "emergency", "failed", "_down"]) {
        Level::Error
    } else if has(&["taken", "forced", "dead", "expired", "purged", "offline", "promotion", "deadlock"]) {
        Level::Warning
    } else {
        Level::Info
    }
}

/// Takes a message of `/rosout`.
pub fn take_rosout(model: &mut Model, sample: &LinkSample) {
    let Ok(plan) = model.registry.plan(ROSOUT) else { return };
    let Ok(value) = plan.decode(&sample.payload) else { return };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // rcl_interfaces/msg/Log: DEBUG 10, INFO 20, WARN 30, ERROR 40, FATAL 50.
    let (level, kind) = match value.get("level").and_then(Value::as_f64).unwrap_or(0.0) as u8 {
        0..20 => (Level::Info, "debug"),
        20..30 => (Level::Info, "info"),
        30..40 => (Level::Warning, "warn"),
        40..50 => (Level::Error, "error"),
        50.. => (Level::Error, "fatal"),
    };
    let node = text("name");
    let at_ns = sample.receive_time_ns;
    model.screens.log.push(Entry::new(at_ns, Origin::Rosout, level, [kind, &node, &node, &text("msg")]));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: &serde_json::Value) -> LogEvent {
        serde_json::from_value(json!({
            "seq": 9, "stream": "lock/arm", "version": 1, "type": kind, "at_ns": 5, "node": "primary", "by": "ann",
            "id": "", "correlation_id": null, "causation_id": null,
            "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": data, "prev": "", "hash": "",
        }))
        .unwrap()
    }

    #[test]
    fn an_event_says_what_who_and_its_trace() {
        let entry =
            entry(&event("lock.acquired", &json!({"token": 7, "client": "ann@base", "reason": "test"})));
        assert_eq!((entry.kind.as_str(), entry.by.as_str()), ("lock.acquired", "ann"));
        assert_eq!(entry.text, "reason test  token 7");
        assert_eq!(entry.trace.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(trace_id("00-short-x-01"), None);
    }

    #[test]
    fn a_note_is_its_text() {
        let entry = entry(&event(NOTE, &json!({"text": "smells burnt"})));
        assert_eq!((entry.origin, entry.text.as_str()), (Origin::Note, "\"smells burnt\""));
    }
}
