//! The preflight list: what it finds, what is confirmed by hand, and the trial of the stop.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use roverline_client::Event;
use roverline_tui::effect::Effect;
use roverline_tui::preflight::{Verdict, evaluate};
use roverline_tui::update::Msg;
use serde_json::{Value, json};
use support::{Rig, picture, topic};

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

fn entry(name: &str, rate_hz: f64, expected_rate_hz: Value) -> Value {
    json!({"name": name, "type": "a/msg/B", "scopes": [], "priority": "sensors", "delivery": "latest",
        "max_rate_hz": null, "expected_rate_hz": expected_rate_hz,
        "qos": {"reliable": true, "transient_local": false}, "schema": true, "samples": 1, "bytes": 1,
        "rate_hz": rate_hz, "bandwidth_bytes_per_s": 1.0, "age_s": 0.1, "publishers": [], "subscribers": [],
        "listeners": 1})
}

/// Everything has been received; one motor is hot.
fn ready() -> Rig {
    let mut rig = Rig::attended();
    let mut views = support::endpoints(Some(0));
    views.iter_mut().for_each(|view| view.clock_offset_s = Some(0.003));
    rig.link(Event::Endpoints(views.into()));
    rig.answer("WATCH /api/v2/locks", 200, json!({"revision": 1, "locks": []}));
    let totals = json!({"open": 0, "unacknowledged": 0, "latched": 0, "shelved": 0, "cleared": 0,
        "by_severity": {}, "worst": null});
    let none = json!({"alarms": [], "totals": totals, "unshared": null, "dropped": 0, "at_ns": 0});
    rig.answer("WATCH /api/v2/alarms", 200, none);
    rig.keys("P");
    rig.answer("WATCH /api/v2/queues", 200, json!({"queues": [], "total": 0, "next": null}));
    rig.answer("WATCH /api/v2/kv?prefix=preflight/", 200, json!({"keys": [], "revision": 1, "next": null}));
    let topics = [entry("/odom", 49.0, json!(50.0)), entry("/scan", 10.0, Value::Null)];
    rig.answer("GET /api/v2/topics", 200, json!({"topics": topics, "total": 2, "next": null}));
    rig
}

fn verdict(rig: &Rig, id: &str) -> Verdict {
    evaluate(&rig.model).checks.iter().find(|check| check.id == id).unwrap().verdict
}

#[test]
fn pictures() {
    snap("preflight_never", Rig::new().keys("P"));
    let mut rig = ready();
    snap("preflight", &mut rig);
    let topics = [entry("/odom", 12.0, json!(50.0))];
    rig.wait(Duration::from_secs(2));
    rig.answer("GET /api/v2/topics", 200, json!({"topics": topics, "total": 1, "next": null}));
    rig.sample(&topic("/safety/boundary_violation", "std_msgs/msg/Bool"), &json!({"data": true}));
    snap("preflight_no_go", rig.keys("G"));
}

#[test]
fn a_check_is_confirmed_by_hand_and_a_no_go_is_not() {
    let mut rig = ready();
    assert_eq!(verdict(&rig, "area"), Verdict::Caution);
    rig.keys("Gk\n");
    assert_eq!(rig.body("PUT /api/v2/kv/preflight/area?ttl_ms=3600000")["found"], "nobody is near the rover");
    let value = json!({"key": "preflight/area", "value": {}, "version": 1, "revision": 2, "created": 2, "by": "ann",
        "client": null, "written_ns": support::WALL_NS, "expires": true});
    rig.answer_again(
        "WATCH /api/v2/kv?prefix=preflight/&limit=50",
        200,
        json!({"keys": [value], "revision": 2, "next": null}),
    );
    assert_eq!(verdict(&rig, "area"), Verdict::Go);
    rig.effects.clear();
    rig.keys("\n");
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Request { method: "DELETE", .. })));
    rig.sample(&topic("/safety/boundary_violation", "std_msgs/msg/Bool"), &json!({"data": true}));
    rig.effects.clear();
    rig.keys("ggjjjjjjj\n");
    assert!(rig.notification().contains("a no-go cannot be confirmed"), "{}", rig.notification());
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Request { .. })));
}

#[test]
fn only_the_rovers_answer_finishes_the_trial_of_the_stop() {
    let state = topic("/emergency_stop", "std_msgs/msg/Bool");
    let tick = Duration::from_millis(300);
    let mut rig = ready();
    rig.sample(&state, &json!({"data": false}));
    rig.dialog("s", "y");
    assert!(rig.effects.contains(&Effect::EmergencyStop { engage: true }));
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    // Somebody else's stop, before an endpoint has taken ours.
    rig.sample(&state, &json!({"data": true})).wait(tick);
    assert_eq!(verdict(&rig, "stop-check"), Verdict::Caution, "sent");
    rig.link(Event::Command { id: "a".into(), accepted: true, message: String::new() });
    rig.sample(&state, &json!({"data": true})).wait(tick);
    assert_eq!(verdict(&rig, "stop-check"), Verdict::NoGo, "engaged");
    rig.sample(&state, &json!({"data": false})).wait(tick);
    assert_eq!(verdict(&rig, "stop-check"), Verdict::Go);
    let mut rig = ready();
    rig.sample(&state, &json!({"data": false}));
    rig.dialog("s", "y").send(Msg::StopSent { id: "b".into(), engage: true });
    for _ in 0..30 {
        rig.sample(&state, &json!({"data": false})).wait(tick);
    }
    assert_eq!(verdict(&rig, "stop-check"), Verdict::NoGo, "no answer");
    rig.sample(&state, &json!({"data": true})).wait(tick);
    rig.effects.clear();
    rig.keys("s");
    assert!(rig.model.question().is_some());
    rig.drawn().keys("y");
    assert!(rig.effects.is_empty() && rig.notification().contains("not tried"), "it is engaged already");
}

#[test]
fn what_is_missing_is_no_go() {
    let mut rig = Rig::new();
    rig.keys("P");
    for id in ["endpoints", "role", "topics", "locks", "queues", "alarms", "stop"] {
        assert_eq!(verdict(&rig, id), Verdict::NoGo, "{id}");
    }
    assert_eq!(evaluate(&rig.model).verdict(), Verdict::NoGo);
    let mut rig = ready();
    rig.wait(Duration::from_secs(60));
    for id in ["battery", "fix", "boundary", "stop"] {
        assert_eq!(verdict(&rig, id), Verdict::NoGo, "{id} is old");
    }
}
