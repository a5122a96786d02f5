//! The Log screen and rewind: what is in the list, notes, and every screen as it was.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use crossterm::event::KeyCode;
use roverline_client::Event;
use roverline_protocol::native::Level;
use roverline_tui::effect::Effect;
use roverline_tui::model::Screen;
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, messages, picture, text, topic};

fn event(rig: &Rig, seq: u64, kind: &str, ago_s: i64, data: Json) -> Json {
    json!({
        "seq": seq, "stream": "lock/arm", "version": seq, "type": kind, "node": "primary", "by": "bob", "client": "bob",
        "at_ns": rig.model.now.wall_ns - ago_s * 1_000_000_000, "id": "", "correlation_id": null, "causation_id": null,
        "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": data, "prev": "", "hash": "",
    })
}

fn log() -> Rig {
    let mut rig = Rig::attended();
    let head = json!({"kind": "head", "log": "", "seq": 3, "hash": "", "bytes": 0, "at_ns": 0, "node": "", "key": "",
        "signature": ""});
    rig.answer("WATCH /api/v2/events/head", 200, json!({"head": head, "floor": null}));
    rig.wait(Duration::from_millis(300));
    let events = [
        event(&rig, 1, "lock.acquired", 90, json!({"token": 80_897, "client": "bob\u{1b}[2J"})),
        event(&rig, 2, "lock.forced", 40, json!({"reason": "asleep"})),
        event(&rig, 3, "note", 20, json!({"text": "smells burnt, stopping"})),
    ];
    rig.answer("GET /api/v2/events?from=1", 200, json!({"events": events, "next": null}));
    rig.link(Event::Notice { level: Level::Warning, text: "the clock of secondary is 0.6 s off".to_owned() });
    rig.keys("6");
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
    snap("log_never", Rig::attended().keys("6"));
    let mut rig = log();
    snap("log", &mut rig);
    rig.keys("s/asleep\n");
    snap("log_filter", &mut rig);
    let mut rig = recorded();
    rig.keys("t,");
    snap("rewind_drive", &mut rig);
    rig.keys("6");
    snap("rewind_log", &mut rig);
}

#[test]
fn events_are_read_once_each_and_in_order() {
    let mut rig = log();
    let seqs: Vec<u64> =
        rig.model.screens.log.entries().map(|entry| entry.seq).filter(|seq| *seq > 0).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let head = json!({"kind": "head", "log": "", "seq": 4, "hash": "", "bytes": 0, "at_ns": 0, "node": "", "key": "",
        "signature": ""});
    rig.effects.clear();
    rig.answer_again("WATCH /api/v2/events/head", 200, json!({"head": head, "floor": null}));
    rig.wait(Duration::from_millis(300));
    let last = event(&rig, 4, "lock.released", 0, json!({}));
    let old = event(&rig, 3, "note", 20, json!({"text": "again"}));
    rig.answer("GET /api/v2/events?from=4", 200, json!({"events": [old, last], "next": null}));
    assert_eq!(rig.model.screens.log.next_seq, 5);
    assert_eq!(rig.model.screens.log.entries().filter(|entry| entry.seq > 0).count(), 4);
}

#[test]
fn a_note_is_an_event() {
    let mut rig = Rig::attended();
    rig.dialog("n", "smells burnt\n");
    let body = rig.body("POST /api/v2/events");
    assert_eq!((&body["type"], &body["data"]), (&json!("note"), &json!({"text": "smells burnt"})));
    assert!(body["id"].is_string(), "a repeated request appends once");
}

/// A rover whose speed is the number of seconds since it began, for three minutes.
fn recorded() -> Rig {
    let mut rig = Rig::attended();
    let odom = topic("/odom", "nav_msgs/msg/Odometry");
    for s in 0..180 {
        let speed = json!({"twist": {"twist": {"linear": {"x": f64::from(s)}}},
            "pose": {"pose": {"orientation": {"w": 1.0}}}});
        for (topic, value) in messages().iter().filter(|(topic, _)| topic.name != "/odom") {
            rig.sample(topic, value);
        }
        rig.sample(&odom, &speed).wait(Duration::from_secs(1));
    }
    rig
}

fn speed(rig: &Rig) -> f64 {
    let screen = text(&support::draw(&rig.model, 80, 24));
    let line = screen.lines().find_map(|line| line.split_once("Speed")).unwrap_or_else(|| panic!("{screen}"));
    line.1.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_screen_is_as_it_was_and_esc_is_now() {
    let mut rig = recorded();
    assert_eq!(speed(&rig), 179.0);
    rig.keys("t");
    let first = speed(&rig);
    assert!((177.0..=179.0).contains(&first), "{first}");
    rig.keys(",");
    assert_eq!(speed(&rig), first - 60.0);
    rig.key(KeyCode::Left);
    assert_eq!(speed(&rig), first - 61.0);
    rig.key(KeyCode::Right).keys(".");
    assert_eq!(speed(&rig), first);
    // What goes on is not shown, and is not lost.
    let odom = topic("/odom", "nav_msgs/msg/Odometry");
    rig.sample(&odom, &json!({"twist": {"twist": {"linear": {"x": 500.0}}}}));
    assert_eq!(speed(&rig), first);
    rig.keys("5");
    assert_eq!(rig.model.screen, Screen::Topics);
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("Nothing here is now") && screen.contains("◀◀ "), "{screen}");
    rig.keys("1\u{1b}");
    assert!(rig.model.rewind.is_none());
    assert_eq!(speed(&rig), 500.0);
}

#[test]
fn the_past_is_violet_from_edge_to_edge() {
    let mut rig = recorded();
    rig.keys("t,");
    let buffer = support::draw(&rig.model, 80, 24);
    let violet = support::themes()[0].replay.bg;
    for (x, y) in [(0, 0), (79, 0), (0, 12), (79, 12), (0, 23), (79, 23), (40, 20)] {
        assert_eq!(buffer[(x, y)].style().bg, violet, "{x},{y}");
    }
}

#[test]
fn the_stop_is_now_in_the_past_too() {
    let mut rig = recorded();
    rig.keys("t,");
    rig.effects.clear();
    rig.keys("!");
    assert_eq!(rig.effects, [roverline_tui::effect::Effect::EmergencyStop { engage: true }]);
    rig.sample(&topic("/emergency_stop", "std_msgs/msg/Bool"), &json!({"data": true}));
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.lines().nth(1).unwrap().contains("EMERGENCY STOP ENGAGED"), "{screen}");
}

#[test]
fn space_freezes_what_is_shown_and_space_goes_on() {
    let mut rig = recorded();
    let odom = topic("/odom", "nav_msgs/msg/Odometry");
    let driven = |x: f64| json!({"twist": {"twist": {"linear": {"x": x}}}});
    // Newer than the last step of the history.
    rig.wait(Duration::from_millis(300));
    rig.sample(&odom, &driven(333.0)).keys(" ");
    assert_eq!(speed(&rig), 333.0);
    rig.sample(&odom, &driven(444.0)).wait(Duration::from_secs(7));
    assert_eq!(speed(&rig), 333.0);
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("FROZEN 7s ago. Nothing here is now."), "{screen}");
    rig.key(KeyCode::Left);
    let screen = text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("REPLAY") && !screen.contains("FROZEN"), "a step is a rewind: {screen}");
    // The emergency stop acts now.
    rig.effects.clear();
    rig.keys("!");
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::EmergencyStop { engage: true })));
    rig.keys(" ");
    assert!(rig.model.rewind.is_none());
    assert_eq!(speed(&rig), 444.0);
}

#[test]
fn keys_of_a_screen_change_nothing_while_the_past_is_shown() {
    let mut rig = recorded();
    rig.keys("4t");
    rig.effects.clear();
    rig.keys("\nFwyXre").drawn().keys("x\n");
    assert_eq!(rig.effects, []);
}
