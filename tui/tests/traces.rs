//! The Traces screen: lists, one trace, and the way to it from an event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use roverline_tui::effect::Effect;
use roverline_tui::model::Screen;
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, picture, text};

const ID: &str = "0af7651916cd43dd8448eb211c80319c";

fn summary(rig: &Rig, id: &str, name: &str, took_us: u64, error: bool) -> Json {
    json!({"trace_id": id, "name": name, "service": "client", "start_ns": rig.model.now.wall_ns - 4_000_000_000_i64,
        "duration_ns": took_us * 1_000, "spans": 3, "error": error, "unfinished": false, "observers_only": false})
}

fn span(rig: &Rig, id: &str, parent: Option<&str>, name: &str, from_us: i64, took_us: Option<u64>) -> Json {
    let start = rig.model.now.wall_ns - 4_000_000_000 + from_us * 1_000;
    json!({"trace_id": ID, "span_id": id, "parent_span_id": parent, "name": name, "kind": "server",
        "service": "primary", "reported_by": null, "start_ns": start,
        "duration_ns": took_us.map(|us| us * 1_000), "status": "unset", "message": null, "attributes": {}})
}

fn traces() -> Rig {
    let mut rig = Rig::attended();
    rig.keys("7");
    let list = json!([
        summary(&rig, ID, "PUT /api/v2/kv/{key}\u{1b}[2J", 1_240, false),
        summary(&rig, "1", "POST /api/v2/locks/{resource}/acquire", 41_800, false),
        summary(&rig, "2", "GET /api/v2/nowhere", 300, true),
    ]);
    let list = json!({"traces": list, "total": 3, "kept_spans": 9, "evicted_spans": 0, "unreachable": []});
    rig.answer("WATCH /api/v2/traces?", 200, list);
    let times =
        |us: u64| json!({"count": 60, "median_ns": us * 1_000, "p99_ns": us * 3_000, "max_ns": us * 4_000});
    let stage = |name: &str, us: u64| {
        let mut stage = times(us);
        stage["stage"] = json!(name);
        stage
    };
    let topics = json!({"topics": [{
        "topic": "/odom", "service": "primary", "samples": 60,
        "stages": [stage("publish", 900), stage("ingress", 40), stage("network", 12_000), stage("draw", 2_000)],
        "end_to_end": times(15_000), "clock_error_ns": 90_000, "newest_trace_id": "3", "slowest_trace_id": ID}],
        "evicted_samples": 0, "unreachable": []});
    rig.answer("WATCH /api/v2/traces/topics", 200, topics);
    rig
}

fn document(rig: &Rig) -> Json {
    json!({"trace_id": ID, "unreachable": ["tertiary"], "spans": [
        span(rig, "a", None, "PUT /api/v2/kv/{key}", 0, Some(1_240)),
        span(rig, "b", Some("a"), "sqlite txn", 200, Some(700)),
        span(rig, "c", Some("a"), "wait", 950, None),
    ]})
}

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

#[test]
fn pictures() {
    snap("traces_never", Rig::attended().keys("7"));
    let mut rig = traces();
    snap("traces", &mut rig);
    rig.keys("ss");
    snap("traces_topics", &mut rig);
    rig.keys("\n");
    let document = document(&rig);
    rig.answer(&format!("GET /api/v2/traces/{ID}"), 200, document);
    snap("traces_one", &mut rig);
}

#[test]
fn the_slowest_come_first_and_failed_ones_alone() {
    let mut rig = traces();
    let shown =
        |rig: &Rig| rig.model.screens.traces.traces().iter().map(|t| t.trace_id.clone()).collect::<Vec<_>>();
    assert_eq!(shown(&rig), [ID, "1", "2"]);
    rig.keys("s");
    assert_eq!(shown(&rig), ["1", ID, "2"]);
    rig.keys("x");
    assert_eq!(shown(&rig), ["2"]);
}

#[test]
fn a_trace_is_opened_from_its_event() {
    let mut rig = Rig::attended();
    let head = json!({"kind": "head", "log": "", "seq": 1, "hash": "", "bytes": 0, "at_ns": 0, "node": "", "key": "",
        "signature": ""});
    rig.answer("WATCH /api/v2/events/head", 200, json!({"head": head, "floor": null}));
    rig.wait(Duration::from_millis(300));
    let event = json!({"seq": 1, "stream": "lock/arm", "version": 1, "type": "lock.acquired", "node": "primary",
        "by": "bob", "at_ns": rig.model.now.wall_ns, "id": "", "correlation_id": null, "causation_id": null,
        "trace": format!("00-{ID}-b7ad6b7169203331-01"), "data": {}, "prev": "", "hash": ""});
    rig.answer("GET /api/v2/events?from=1", 200, json!({"events": [event], "next": null}));
    rig.keys("6\n");
    assert_eq!(rig.model.screen, Screen::Traces);
    let document = document(&rig);
    rig.answer(&format!("GET /api/v2/traces/{ID}"), 200, document);
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("TRACE 0af76519") && screen.contains("sqlite txn"), "{screen}");
}

#[test]
fn an_answer_to_another_trace_is_not_shown() {
    let mut rig = traces();
    rig.keys("\n\u{1b}j\n");
    let document = document(&rig);
    rig.answer(&format!("GET /api/v2/traces/{ID}"), 200, document);
    assert!(rig.model.screens.traces.trace.value.is_none());
    let reads =
        |effect: &&Effect| matches!(effect, Effect::Request { path, .. } if path.ends_with("/traces/1"));
    assert_eq!(rig.effects.iter().filter(reads).count(), 1);
}
