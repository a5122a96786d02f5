//! What the console's screens show of a real rover: plots with limits that count for everybody, pictures, preflight.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::process::Command;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::console::Console;
use roverline_tests::gateway::Gateway;
use roverline_tests::wait::{eventually, observe_for};
use roverline_tests::{binary, http, temp};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing that depends on the computer of the test.
const CONFIG: &str = "[alarms]\ndiagnostics = false\ndisk_percent = 100.0\n";
const LIMIT_ALARM: &str = "motor/front_left/temperature-temperature/motor/front_left/temperature";

fn up() -> (Gateway, temp::TempDir) {
    let scratch = temp::dir();
    let path = scratch.path().join("roverline.toml");
    std::fs::write(&path, CONFIG).unwrap();
    (Gateway::up(&["--config", path.to_str().unwrap(), "--source", "sim"]), scratch)
}

/// A question is answered once it has been seen.
fn answer(console: &mut Console, question: &str, text: &str) {
    console.until_shows(question);
    observe_for(Duration::from_millis(150), "the time in which a person would have read the question");
    console.type_keys(text);
    console.until_shows(&format!("{text}▏"));
    observe_for(Duration::from_millis(150), "Enter is a key of its own: pasted text sends nothing");
    console.type_keys("\r");
}

fn get(gateway: &Gateway, path: &str) -> Option<Value> {
    let answer = http::get(gateway.port(Tier::Secondary), path);
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn a_limit_of_one_console_is_an_alarm_in_another_and_a_camera_has_a_picture() {
    let (gateway, _scratch) = up();
    let open = |client: &str| {
        let console = Console::open_as(client, &gateway.urls(), 110, 34);
        console.until_shows("▶◇◇◇ primary");
        console
    };
    let (mut ann, bob) = (open("ann@base"), open("bob@base2"));
    ann.type_keys("5");
    ann.until_shows("TOPICS");
    // Keys that come together with others are text of a paste.
    ann.type_keys("/");
    ann.until_shows("Enter keep");
    ann.type_keys("motor/front_left");
    ann.until_shows("/motor/front_left");
    for key in ["\r", "\r"] {
        observe_for(Duration::from_millis(300), "two keys at once would be a paste");
        ann.type_keys(key);
    }
    ann.until_shows("PLOT");
    observe_for(Duration::from_millis(300), "three keys at once would be a paste");
    ann.type_keys("Gk");
    ann.until_shows("PLOT temperature");
    observe_for(Duration::from_millis(200), "three keys at once would be a paste");
    ann.type_keys("x");
    answer(&mut ann, "Limits", ">1 >>2 ~0.5");
    ann.until_shows("limits >1 >>2 ~0.5");
    bob.until_shows("motor/front_left/temperature");
    let id = format!("/api/v2/alarms/{LIMIT_ALARM}");
    let alarm = get(&gateway, &id).unwrap();
    assert_eq!((&alarm["severity"], &alarm["limit"]), (&"critical".into(), &2.0.into()), "{alarm}");
    // A mistake in another value is an event, and the others stay.
    let json = "Content-Type: application/json\r\n";
    let path = "/api/v2/kv/alarm/rates/odom";
    let put = http::request(gateway.port(Tier::Primary), "PUT", path, json, "\"fast\"");
    assert_eq!(put.status, 200, "{put:?}");
    eventually("the event of an ignored value", PATIENCE, || {
        let events = get(&gateway, "/api/v2/events?stream=alarm-settings").unwrap_or_default();
        let all = events["events"].as_array().cloned().unwrap_or_default();
        all.len() == 1 && all[0]["data"]["key"] == "alarm/rates/odom"
    });
    let put = http::request(gateway.port(Tier::Primary), "PUT", path, json, "40");
    assert_eq!(put.status, 200, "{put:?}");
    eventually("the expected rate at the gateway", PATIENCE, || {
        get(&gateway, "/api/v2/topics/odom").is_some_and(|topic| topic["expected_rate_hz"] == 40.0)
    });
    ann.type_keys("9");
    ann.until_shows("/camera/front/compressed");
    ann.until("a picture in half blocks", PATIENCE, |screen| {
        let blocks = screen.chars().filter(|c| matches!(c, '▀' | '▄')).count();
        (blocks > 100).then_some(())
    });
    ann.until_shows(" ago ");
    // Without the limit the condition is over at once.
    ann.type_keys("5");
    ann.until_shows("limits >1 >>2 ~0.5");
    ann.type_keys("x");
    ann.until_shows("Enter sends");
    observe_for(Duration::from_millis(150), "the time in which a person would have read the question");
    ann.type_keys("\r");
    eventually("the end of the condition", PATIENCE, || {
        get(&gateway, &id).is_some_and(|alarm| alarm["active"] == false)
    });
}

#[test]
fn preflight_is_go_with_a_released_stop_and_no_go_with_an_engaged_one() {
    let (gateway, home) = up();
    let roverline = |args: &[&str]| {
        let mut command = Command::new(binary::bin("roverline"));
        command.env_clear().env("HOME", home.path()).args(args).args(gateway.urls());
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut last = String::new();
    eventually("a rover that is ready", PATIENCE, || {
        let (code, text) = roverline(&["preflight"]);
        last = text;
        code == 0
    });
    assert!(last.contains("✓ go     Endpoints   4 of 4") && last.contains("PREFLIGHT ▲ GO"), "{last}");
    let (code, text) = roverline(&["preflight", "--stop-check", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    let verdict = |id: &str| {
        let checks = document["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["verdict"].clone()
    };
    assert_eq!((code, &document["go"]), (0, &Value::Bool(true)), "{text}");
    assert_eq!((verdict("stop-check"), verdict("stop")), ("go".into(), "go".into()));
    assert_eq!(roverline(&["stop"]).0, 0);
    let (code, text) = roverline(&["preflight"]);
    assert!(code == 1 && text.contains("■ no-go  Stop        engaged"), "{code} {text}");
}
