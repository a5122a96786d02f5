//! Two consoles on a real gateway: locks, queues, the log, and what was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::console::Console;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::wait::{eventually, observe_for};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(15);

fn open(gateway: &Gateway, client: &str) -> Console {
    let mut console = Console::open_as(client, &gateway.urls(), 110, 34);
    console.until_shows("▶◇◇◇ primary");
    console.type_keys("4");
    console.until_shows("QUEUES");
    console
}

/// The line of the screen that begins with this word.
fn row(console: &Console, name: &str, what: &str, is_there: impl Fn(&str) -> bool) {
    console.until(what, PATIENCE, |screen| {
        let mut lines = screen.lines().filter(|line| line.trim_start().starts_with(name));
        lines.any(&is_there).then_some(())
    });
}

/// A question is answered once it has been seen.
fn answer(console: &mut Console, question: &str, keys: &str) {
    console.until_shows(question);
    observe_for(Duration::from_millis(150), "the time in which a person would have read the question");
    let text = keys.trim_end_matches('\r');
    console.type_keys(text);
    if text.len() < keys.len() {
        console.until_shows(&format!("{text}▏"));
        observe_for(Duration::from_millis(150), "Enter is a key of its own: pasted text sends nothing");
        console.type_keys("\r");
    }
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Value {
    let json = "Content-Type: application/json\r\n";
    let answer = http::request(gateway.port(Tier::Primary), "POST", path, json, &body.to_string());
    assert!(answer.status < 300, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_lock_is_taken_asked_for_handed_over_and_forced() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let (mut ann, mut bob) = (open(&gateway, "ann@base"), open(&gateway, "bob@base2"));
    ann.type_keys("\r");
    row(&ann, "drive", "the own lock", |line| line.contains("▶ YOU"));
    row(&bob, "drive", "the lock of another", |line| line.contains("ann@base"));
    bob.type_keys("h");
    answer(&mut bob, "Ask for drive?", "back out of the ditch\r");
    ann.until_shows("bob@base2 asks for drive");
    ann.until_shows("back out of the ditch");
    ann.type_keys("n");
    answer(&mut ann, "Keep drive?", "not now\r");
    bob.until_shows("drive is not handed over: not now");
    // A second request; in between, who asked waits in the queue.
    row(&ann, "drive", "who waits", |line| line.contains("bob@base2"));
    bob.type_keys("h");
    answer(&mut bob, "Ask for drive?", "now?\r");
    ann.until_shows("\"now?\"");
    ann.type_keys("y");
    answer(&mut ann, "Hand drive over?", "y");
    row(&bob, "drive", "the lock that was handed over", |line| line.contains("▶ YOU"));
    row(&ann, "drive", "its new holder", |line| line.contains("bob@base2") && !line.contains("YOU"));
    ann.type_keys("F");
    answer(&mut ann, "Take drive away?", "he does not answer\r");
    bob.until_shows("you lost drive");
    bob.until_shows("he does not answer");
    row(&ann, "drive", "a free lock", |line| line.contains("free"));
    // The log has all of it.
    ann.type_keys("6");
    for event in ["lock.acquired", "lock.released", "lock.taken"] {
        ann.until_shows(event);
    }
}

#[test]
fn a_lock_of_a_console_that_is_gone_expires_and_one_that_quits_is_released() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let (mut ann, bob) = (open(&gateway, "ann@base"), open(&gateway, "bob@base2"));
    ann.type_keys("\r");
    row(&bob, "drive", "the lock of another", |line| line.contains("ann@base"));
    ann.type_keys("q");
    answer(&mut ann, "Quit and release?", "y");
    assert_eq!(ann.exit_code(Duration::from_secs(5)), 0);
    row(&bob, "drive", "a free lock", |line| line.contains("free"));
}

#[test]
fn a_dead_message_is_redriven() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let message = json!({"messages": [{"message": {"x": 3}}]});
    post(&gateway, "/api/v2/queues/waypoints/enqueue", &message);
    for _ in 0..5 {
        let taken = post(&gateway, "/api/v2/queues/waypoints/dequeue", &json!({"wait_ms": 2_000}));
        let id = taken["messages"][0]["message_id"].as_str().unwrap().to_owned();
        let nak = json!({"message_id": id, "reason": "wheel stuck"});
        post(&gateway, "/api/v2/queues/waypoints/nak", &nak);
    }
    let mut ann = open(&gateway, "ann@base");
    let counts = |line: &str| line.split_whitespace().skip(1).take(4).map(str::to_owned).collect::<Vec<_>>();
    row(&ann, "waypoints", "a dead message", |line| counts(line) == ["0", "0", "0", "1"]);
    ann.type_keys("jj");
    ann.until_shows("wheel stuck");
    ann.type_keys("r");
    answer(&mut ann, "Redrive waypoints?", "y");
    row(&ann, "waypoints", "a message to be done", |line| counts(line) == ["1", "0", "0", "0"]);
    eventually("the queue at the gateway", PATIENCE, || {
        let answer = http::get(gateway.port(Tier::Secondary), "/api/v2/queues/waypoints");
        serde_json::from_str::<Value>(&answer.body)
            .is_ok_and(|queue| queue["ready"] == 1 && queue["dead"] == 0)
    });
}

#[test]
fn rewind_shows_the_value_of_then_and_a_note_is_in_the_log() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open_as("ann@base", &gateway.urls(), 80, 24);
    console.until_shows("▶◇◇◇ primary");
    let odometry = |screen: &str| {
        let line = screen.lines().find_map(|line| line.split_once("To start"))?;
        line.1.split_whitespace().next()?.parse::<f64>().ok()
    };
    console.until("a position", PATIENCE, odometry);
    let early =
        console.until("a rover that has driven", PATIENCE, |screen| odometry(screen).filter(|x| *x > 1.0));
    observe_for(Duration::from_secs(8), "the rover drives on");
    let late = console.until("a position", PATIENCE, odometry);
    assert!(late > early + 1.0, "{early} {late}");
    console.type_keys("t");
    console.until_shows("Nothing here is now");
    let moment = |screen: &str| screen.split_once("◀◀ ")?.1.split_whitespace().next().map(str::to_owned);
    let is_past = |screen: &str| odometry(screen).is_some_and(|x| x < late - 1.0);
    // One second at a time: the history may begin only shortly before.
    while !is_past(&console.screen()) {
        let before = console.until("the moment that is shown", PATIENCE, moment);
        console.type_keys("\u{1b}[D");
        console.until("another moment", PATIENCE, |screen| moment(screen).filter(|shown| *shown != before));
    }
    let then = console.until("a position of the past", PATIENCE, odometry);
    observe_for(Duration::from_secs(2), "the past stays as it was");
    let still = console.until("the same position", PATIENCE, odometry);
    assert_eq!(then, still);
    console.type_keys("t");
    console.until("now", PATIENCE, |screen| odometry(screen).filter(|x| *x > late));
    console.type_keys("n");
    answer(&mut console, "Note", "smells burnt\r");
    // A key right behind it would be a part of the same paste.
    console.until_shows("the note is in the log");
    console.type_keys("6");
    console.until_shows("\"smells burnt\"");
}
