//! The Alarms screen, and alarms on the first two lines.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use roverline_client::{Event, FailoverCause};
use roverline_tui::effect::Effect;
use roverline_tui::model::Screen;
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, endpoints, failover, picture, text};

fn alarm(rig: &Rig, id: &str, severity: &str, state: &str, ago_s: i64) -> Json {
    let now = rig.model.now.wall_ns;
    json!({"id": id, "name": id.replace('-', " "), "source": "limit", "topic": "/motor/rear_left/temperature",
        "field": "temperature", "severity": severity, "worst": severity, "state": state, "active": state != "cleared",
        "latched": false, "shelved": null, "value": 111.0, "unit": "°C", "limit": 85.0, "quality": "good",
        "text": "111 °C > 85 °C\u{1b}[2J", "raised_ns": now - ago_s * 1_000_000_000, "age_s": ago_s, "changed_ns": now,
        "ended_ns": null, "acknowledgement": null, "occurrence": 3, "triggers": 1, "evaluated_by": "primary",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "shared": true})
}

fn list(alarms: Vec<Json>) -> Json {
    let is_open = |alarm: &&Json| alarm["state"] != "cleared" && alarm["shelved"].is_null();
    let open: Vec<_> = alarms.iter().filter(is_open).collect();
    let mut by_severity = json!({"watch": 0, "warning": 0, "distress": 0, "critical": 0, "severe": 0});
    for alarm in &open {
        let severity = alarm["severity"].as_str().unwrap();
        by_severity[severity] = json!(by_severity[severity].as_u64().unwrap() + 1);
    }
    let unacknowledged = open.iter().filter(|alarm| alarm["state"] == "raised").count();
    let totals = json!({"open": open.len(), "unacknowledged": unacknowledged, "latched": 0, "shelved": 1, "cleared": 1,
        "by_severity": by_severity, "worst": null});
    json!({"alarms": alarms, "totals": totals, "unshared": null, "dropped": 0, "at_ns": 0})
}

fn alarms() -> Rig {
    let mut rig = Rig::attended();
    let mut acknowledged = alarm(&rig, "battery", "warning", "acknowledged", 300);
    acknowledged["acknowledgement"] = json!({"by": "bob", "client": "bob@base", "age_s": 30.0, "severity": "warning",
        "at_ns": rig.model.now.wall_ns - 30_000_000_000_i64, "comment": "going home"});
    let mut shelved = alarm(&rig, "gps-fix", "warning", "raised", 900);
    shelved["shelved"] = json!({"by": "ann", "client": null, "at_ns": 0, "until_ns": 0, "remaining_s": 480.0,
        "reason": "no antenna"});
    let all = vec![
        alarm(&rig, "motor-temperature", "critical", "raised", 41),
        alarm(&rig, "boundary", "watch", "raised", 9),
        acknowledged,
        shelved,
        alarm(&rig, "clock", "watch", "cleared", 9_000),
    ];
    rig.answer("WATCH /api/v2/alarms", 200, list(all));
    rig.wait(Duration::from_secs(1));
    rig
}

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

#[test]
fn pictures() {
    snap("alarms_never", Rig::attended().keys("a"));
    let mut rig = alarms();
    rig.keys("a");
    snap("alarms", &mut rig);
    rig.keys("jjx");
    snap("alarms_acknowledged", &mut rig);
}

fn lines(rig: &Rig) -> [String; 2] {
    let screen = text(&support::draw(&rig.model, 80, 24));
    [0, 1].map(|n| screen.lines().nth(n).unwrap().to_owned())
}

#[test]
fn the_first_two_lines_count_the_alarms_and_name_the_worst() {
    let rig = alarms();
    let [first, second] = lines(&rig);
    assert!(first.contains("■1▲2"), "{first}");
    assert!(second.contains("■ motor temperature 111 °C > 85 °C·[2J"), "{second}");
}

#[test]
fn an_acknowledgement_is_of_the_occurrence_that_was_seen() {
    let mut rig = alarms();
    rig.keys("a\n");
    let body = rig.body("POST /api/v2/alarms/motor-temperature/acknowledge");
    assert_eq!(body["occurrence"], 3);
    rig.dialog("A", "y");
    let sent =
        |effect: &&Effect| matches!(effect, Effect::Request { path, .. } if path.ends_with("/acknowledge"));
    assert_eq!(rig.effects.iter().filter(sent).count(), 3, "one, then the two that are not acknowledged");
    rig.dialog("z", "\n");
    assert!(rig.model.question().is_some(), "a reason is needed");
    rig.keys("sensor broken\n");
    let body = rig.body("POST /api/v2/alarms/motor-temperature/shelve");
    assert_eq!(body, json!({"reason": "sensor broken", "duration_s": 600}));
}

#[test]
fn the_bell_rings_once_for_what_is_new() {
    let mut rig = alarms();
    let bells = |rig: &Rig| rig.effects.iter().filter(|effect| **effect == Effect::Bell).count();
    assert_eq!(bells(&rig), 0, "what was there before is not new");
    assert!(rig.effects.contains(&Effect::Title("■1 rover".to_owned())));
    let mut all = vec![alarm(&rig, "motor-temperature", "critical", "raised", 41)];
    all.push(alarm(&rig, "redundancy", "warning", "raised", 0));
    for _ in 0..3 {
        rig.answer_again("WATCH /api/v2/alarms", 200, list(all.clone()));
        rig.wait(Duration::from_secs(1));
    }
    assert_eq!(bells(&rig), 1);
    // The same alarm anew.
    all[1]["occurrence"] = json!(4);
    rig.answer_again("WATCH /api/v2/alarms", 200, list(all));
    rig.wait(Duration::from_secs(1));
    assert_eq!(bells(&rig), 2);
}

#[test]
fn without_an_endpoint_it_is_not_known_which_are_open() {
    let mut rig = alarms();
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    rig.wait(Duration::from_secs(5));
    let [first, _] = lines(&rig);
    assert!(first.contains("?■1▲2"), "{first}");
    rig.keys("a");
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("▲ as of 5s ago"), "{screen}");
}

#[test]
fn a_trace_is_opened_from_its_alarm() {
    let mut rig = alarms();
    rig.keys("ao");
    assert_eq!(rig.model.screen, Screen::Traces);
    rig.body("GET /api/v2/traces/0af7651916cd43dd8448eb211c80319c");
}
