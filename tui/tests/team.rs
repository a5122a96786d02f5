//! The Team screen: what its keys request, and what answers and refusals become.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use crossterm::event::KeyCode;
use roverline_client::{Event, FailoverCause};
use roverline_tui::effect::Effect;
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, endpoints, failover, picture, text};

fn lock(name: &str, holder: Option<(&str, u64)>, waiting: &[&str], handovers: Json) -> Json {
    let holders: Vec<Json> = holder
        .map(|(client, token)| json!({"client": client, "by": client.split('@').next(), "token": token}))
        .into_iter()
        .collect();
    let waiting: Vec<Json> = waiting
        .iter()
        .map(|client| json!({"client": client, "by": client.split('@').next(), "mode": "exclusive"}))
        .collect();
    json!({"resource": name, "mode": "exclusive", "holders": holders, "waiting": waiting, "handovers": handovers})
}

fn locks(rig: &mut Rig, revision: u64, locks: Json) -> &mut Rig {
    rig.answer("WATCH /api/v2/locks", 200, json!({"revision": revision, "locks": locks}))
}

fn team() -> Rig {
    let mut rig = Rig::attended();
    rig.keys("4");
    let now = rig.model.now.wall_ns as u64;
    let ago = |s: u64| now - s * 1_000_000_000;
    rig.answer(
        "WATCH /api/v2/queues",
        200,
        json!({"queues": [
        {"name": "samples", "ready": 41, "in_flight": 0, "delayed": 0, "dead": 2, "enqueued": 43,
         "oldest_ns": ago(490), "max_deliveries": 5, "visibility_ms": 30_000, "node_id": "primary"},
        {"name": "waypoints", "ready": 3, "in_flight": 1, "delayed": 0, "dead": 0, "enqueued": 9,
         "oldest_ns": ago(12), "max_deliveries": 5, "visibility_ms": 30_000, "node_id": "primary"},
    ], "total": 2, "next": null}),
    );
    rig.answer(
        "WATCH /api/v2/kv",
        200,
        json!({"keys": [
        {"key": "here/ann@base", "value": {"screen": "Team"}, "version": 1, "revision": 4, "created": 4,
         "by": "ann", "client": "ann@base", "written_ns": ago(9), "expires": true},
        {"key": "here/bob@base2", "value": {"screen": "Topics"}, "version": 1, "revision": 5, "created": 5,
         "by": "bob", "client": "bob@base2", "written_ns": ago(26), "expires": true},
        {"key": "mission/goal", "value": "north gate\u{1b}[2J", "version": 7, "revision": 6, "created": 1,
         "by": "ann", "client": "ann@base", "written_ns": ago(130), "expires": false},
    ], "revision": 6, "next": null}),
    );
    rig.answer("WATCH /api/v2/lifecycle", 200, json!({"entries": [{
        "kind": "robot", "id": "sim", "type": "rover", "address": null, "state": "active", "previous": "ready",
        "possible": ["ready", "maintenance", "offline"], "since_ns": ago(754), "fact": "moved",
        "at_ns": ago(754), "reason": "its samples arrive", "by": "primary", "manual": false, "failures": 0,
        "fails_at": 3, "healthy": true, "deployable": false, "heartbeat": null, "revision": 3}],
        "total": 1, "next": null, "revision": 3}));
    let asks = json!([{"client": "bob@base2", "by": "bob", "message": "need to back out of the ditch"}]);
    let list = json!([
        lock("drive", Some(("ann@base", 80_896)), &["bob@base2"], asks),
        lock("arm", Some(("bob@base2", 80_897)), &[], json!([])),
    ]);
    locks(&mut rig, 9, list);
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
    snap("team_never", Rig::attended().keys("4"));
    let mut rig = team();
    snap("team", &mut rig);
    rig.keys("jj").wait(Duration::from_millis(300));
    rig.answer(
        "GET /api/v2/queues/samples/peek",
        200,
        json!({"messages": [{
        "message_id": "samples:0:1:a", "message": {"tube": 4}, "priority": 0, "deliveries": 0, "by": "ann",
        "enqueued_ns": rig.model.now.wall_ns - 490_000_000_000_i64, "ready": true}]}),
    );
    rig.answer("GET /api/v2/queues/samples/dead", 200, json!({"next": null, "messages": [{
        "sequence": 1, "reason": "lid stuck", "dead_ns": rig.model.now.wall_ns - 60_000_000_000_i64,
        "dead_by": "bob", "message": {
            "message_id": "samples:0:0:a", "message": {"tube": 3}, "priority": 0, "deliveries": 5, "by": "ann",
            "enqueued_ns": rig.model.now.wall_ns - 900_000_000_000_i64, "ready": false}}]}));
    snap("team_queue", &mut rig);
    rig.send(Msg::Resize(80, 24)).keys("gF");
    snap("team_force", &mut rig);
}

#[test]
fn a_free_lock_is_taken_kept_alive_and_released() {
    let mut rig = Rig::attended();
    rig.keys("4");
    locks(&mut rig, 1, json!([]));
    rig.keys("\n");
    let body = rig.body("POST /api/v2/locks/drive/acquire");
    assert_eq!((&body["client"], &body["wait_ms"]), (&json!("ann@base"), &json!(0)), "it does not queue up");
    rig.answer("POST /api/v2/locks/drive/acquire", 200, json!({"standing": "held", "token": 7}));
    assert_eq!(rig.notification(), "you have drive (token 7)");
    locks(&mut rig, 2, json!([lock("drive", Some(("ann@base", 7)), &[], json!([]))]));
    rig.effects.clear();
    rig.wait(Duration::from_secs(9));
    assert!(!rig.effects.iter().any(is_keep_alive), "{:?}", rig.effects);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.effects.iter().filter(|effect| is_keep_alive(effect)).count(), 1);
    rig.answer("POST /api/v2/locks/drive/keep-alive", 200, json!({"standing": "held", "token": 7}));
    rig.keys("\n");
    assert_eq!(rig.body("POST /api/v2/locks/drive/release"), json!({"client": "ann@base"}));
    rig.effects.clear();
    rig.wait(Duration::from_secs(60));
    assert!(!rig.effects.iter().any(is_keep_alive), "what is released is not kept alive");
}

fn is_keep_alive(effect: &Effect) -> bool {
    matches!(effect, Effect::Request { path, .. } if path.ends_with("/keep-alive"))
}

#[test]
fn a_lost_lock_is_said_once_with_who_took_it() {
    let mut rig = Rig::attended();
    rig.keys("4\n").answer("POST /api/v2/locks/drive/acquire", 200, json!({"standing": "held", "token": 7}));
    rig.wait(Duration::from_secs(11));
    let why = json!({"detail": "eve took drive from ann@base: she is asleep"});
    rig.answer("POST /api/v2/locks/drive/keep-alive", 409, why);
    assert_eq!(rig.notification(), "you lost drive: eve took drive from ann@base: she is asleep");
    rig.effects.clear();
    rig.wait(Duration::from_secs(60));
    assert!(!rig.effects.iter().any(is_keep_alive));
}

#[test]
fn a_lock_of_another_is_asked_for_and_the_answer_is_shown() {
    let mut rig = team();
    rig.keys("j").dialog("\n", "please\n");
    let body = rig.body("POST /api/v2/locks/arm/handover");
    assert_eq!((&body["client"], &body["message"]), (&json!("ann@base"), &json!("please")));
    let refused = json!({"outcome": "refused", "reason": "in the middle of it"});
    rig.answer("POST /api/v2/locks/arm/handover", 200, refused);
    assert_eq!(rig.notification(), "arm is not handed over: in the middle of it; you wait in its queue");
}

#[test]
fn a_request_is_answered_with_yes_or_a_reason() {
    let mut rig = team();
    let shown = |rig: &Rig| text(&support::draw(&rig.model, 80, 24)).lines().nth(1).unwrap().to_owned();
    assert!(shown(&rig).contains("bob@base2 asks for drive"), "{}", shown(&rig));
    rig.keys("yy");
    assert!(
        !rig.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Request { path, .. } if path.contains("answer")))
    );
    rig.drawn().keys("y");
    let body = rig.body("POST /api/v2/locks/drive/handover/answer");
    let expected =
        json!({"holder": "ann@base", "client": "bob@base2", "by": "bob", "grant": true, "reason": ""});
    assert_eq!(body, expected);
    let mut rig = team();
    rig.dialog("n", "not now\n");
    assert_eq!(rig.body("POST /api/v2/locks/drive/handover/answer")["reason"], "not now");
}

#[test]
fn a_forced_release_needs_a_reason_and_a_refusal_names_its_remedy() {
    let mut rig = team();
    rig.keys("j").dialog("F", "\n");
    assert!(rig.model.question().is_some(), "nothing without a reason");
    rig.keys("bob is asleep\n");
    let body = rig.body("POST /api/v2/locks/arm/force-release");
    assert_eq!(body, json!({"client": "bob@base2", "by": "bob", "reason": "bob is asleep"}));
    rig.answer("POST /api/v2/locks/arm/force-release", 403, json!({"detail": "only a commander may"}));
    assert_eq!(rig.notification(), "take arm away refused: only a commander may → a commander may");
}

#[test]
fn dead_messages_are_put_back_and_a_message_is_enqueued() {
    let mut rig = team();
    rig.keys("jj").dialog("r", "y");
    rig.answer("POST /api/v2/queues/samples/redrive", 200, json!({"messages": 2}));
    assert_eq!(rig.notification(), "2 messages of samples are tried again");
    rig.dialog("e", "{\"tube\": 5}\n");
    let body = rig.body("POST /api/v2/queues/samples/enqueue");
    assert_eq!(body["messages"][0]["message"], json!({"tube": 5}));
    assert!(body["messages"][0]["dedup_id"].is_string(), "a repeated request enqueues once");
}

#[test]
fn a_value_is_written_over_the_version_that_was_seen_only() {
    let mut rig = team();
    rig.keys("jjjj").dialog("\n", "\"south gate\"\n");
    assert_eq!(rig.body("PUT /api/v2/kv/mission/goal?version=7"), json!("south gate"));
    let why = json!({"detail": "it has version 8"});
    rig.answer("PUT /api/v2/kv/mission/goal", 409, why);
    assert_eq!(rig.notification(), "put mission/goal refused: it has version 8");
}

#[test]
fn nothing_is_sent_later_than_it_was_meant() {
    let mut rig = team();
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    rig.effects.clear();
    rig.keys("\n");
    assert_eq!(rig.effects, []);
    assert_eq!(rig.notification(), "release drive: no endpoint is connected, nothing was sent");
    rig.wait(Duration::from_secs(40));
    let shown = text(&support::draw(&rig.model, 80, 24));
    assert!(shown.contains("▲ as of 40s ago"), "{shown}");
}

#[test]
fn a_console_with_locks_asks_before_it_quits() {
    let mut rig = Rig::attended();
    rig.keys("4\n").answer("POST /api/v2/locks/drive/acquire", 200, json!({"standing": "held", "token": 7}));
    locks(&mut rig, 2, json!([lock("drive", Some(("ann@base", 7)), &[], json!([]))]));
    rig.effects.clear();
    rig.dialog("q", "n");
    assert_eq!(rig.effects, []);
    rig.dialog("q", "y");
    let [Effect::Request { path, .. }] = &rig.effects[..] else { panic!("{:?}", rig.effects) };
    assert_eq!(path, "/api/v2/locks/drive/release");
    rig.answer("POST /api/v2/locks/drive/release", 200, json!({"success": true, "message": "released"}));
    rig.wait(Duration::from_millis(300));
    assert!(rig.effects.contains(&Effect::Quit), "it ends when they are released");
}

#[test]
fn what_costs_the_radio_is_watched_while_it_is_shown() {
    let mut rig = Rig::attended();
    let watched = |rig: &Rig| rig.effects.iter().filter(|e| matches!(e, Effect::Watch { .. })).count();
    assert_eq!(watched(&rig), 4, "locks, the head of the log, alarms, way-points");
    rig.keys("4");
    assert_eq!(watched(&rig), 7);
    rig.effects.clear();
    rig.key(KeyCode::Tab);
    let ended = rig.effects.iter().filter(|e| matches!(e, Effect::Unwatch(_))).count();
    assert_eq!((ended, watched(&rig)), (3, 1), "Topics watches limits and expected rates");
}

#[test]
fn presence_is_written_seldom_and_never_by_an_observer() {
    let mut rig = Rig::attended();
    let writes = |rig: &mut Rig| {
        rig.effects.clear();
        for _ in 0..120 {
            rig.wait(Duration::from_millis(500));
        }
        let is_write =
            |effect: &&Effect| matches!(effect, Effect::Request { path, .. } if path.contains("/here/"));
        rig.effects.iter().filter(is_write).count()
    };
    assert_eq!(writes(&mut rig), 3, "in a minute");
    let mut views = endpoints(Some(0));
    for view in &mut views {
        view.identity =
            Some(roverline_protocol::native::ClientIdentity { name: "eve".into(), role: "observer".into() });
    }
    rig.link(Event::Endpoints(views.into()));
    assert_eq!(writes(&mut rig), 0);
}

#[test]
fn rewind_shows_the_queues_of_then_and_nothing_of_a_time_without_them() {
    let mut rig = team();
    let second = Duration::from_secs(1);
    let shown = |rig: &Rig| text(&support::draw(&rig.model, 110, 40));
    for _ in 0..3 {
        rig.wait(second);
    }
    let none = json!({"queues": [], "total": 0, "next": null});
    rig.answer_again("WATCH /api/v2/queues", 200, none);
    for _ in 0..3 {
        rig.wait(second);
    }
    assert!(!shown(&rig).contains("waypoints"));
    rig.keys("t");
    for _ in 0..4 {
        rig.key(KeyCode::Left);
    }
    assert!(shown(&rig).contains("waypoints") && shown(&rig).contains("north gate"), "{}", shown(&rig));
    rig.keys("\u{1b}1");
    for _ in 0..3 {
        rig.wait(second);
    }
    rig.keys("t4");
    assert!(!shown(&rig).contains("north gate"), "nobody watched them then: {}", shown(&rig));
}

#[test]
fn rates_of_queues_are_of_the_last_minute() {
    let mut rig = team();
    for n in 0..20_u64 {
        let queue = json!({"name": "samples", "ready": 5, "in_flight": 0, "delayed": 0, "dead": 0, "enqueued": 50 + n,
            "oldest_ns": null, "max_deliveries": 5, "visibility_ms": 30_000, "node_id": "primary"});
        let list = json!({"queues": [queue], "total": 1, "next": null});
        rig.answer_again("WATCH /api/v2/queues", 200, list).wait(Duration::from_secs(1));
    }
    let screen = text(&support::draw(&rig.model, 110, 40));
    let row = screen.lines().find(|line| line.contains("samples")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[words.len() - 2..], ["60", "60"], "{row}");
}
