//! The dashboard in a real browser: its contents, its failover, its accessibility, and that it contacts only
//! the gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::clients::{browser, node};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::process::{self, Signal};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::skip::Missing;
use roverline_tests::temp;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// The longest gap in telemetry that a failing endpoint may cause.
const BLACKOUT_MS: u64 = 2_000;

/// One browser at a time: on a small computer they would slow each other down.
fn exclusive_browser() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(mode: &str, gateway: &Gateway, more: &[&str]) -> Result<Script, Missing> {
    let node = browser()?;
    let port = gateway.first_port().to_string();
    Ok(Script::start(&node, "dashboard.mjs", &[&[mode, &port], more].concat()))
}

fn request(port: u16, method: &str, fields: &str) -> Response {
    let head = format!("{method} / HTTP/1.1\r\nHost: rover:{port}\r\nConnection: close\r\n{fields}\r\n");
    http::exchange(port, head.as_bytes())
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn assert_empty(what: &str, list: &Value) {
    assert_eq!(*list, json!([]), "{what}");
}

#[test]
fn every_endpoint_serves_the_page_as_html_or_text() {
    let gateway = Gateway::up(&["--source", "sim"]);
    for (tier, port) in gateway.endpoints.clone() {
        let html = "Accept: text/html,*/*;q=0.8\r\n";
        let page = request(port, "GET", html);
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{tier}"
        );
        assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</html>\n"), "{tier}");
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains(" ws://rover:*"), "{policy}");
        let head = request(port, "HEAD", html);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let etag = page.header("etag").unwrap();
        // The harness converts heads to lower case, but the tag is case-sensitive.
        let known = page_etag(port, html);
        assert_eq!(known.to_lowercase(), etag);
        assert_eq!(request(port, "GET", &format!("{html}If-None-Match: {known}\r\n")).status, 304, "{tier}");
        let text = http::get(port, "/");
        assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(text.body.contains("Open a WebSocket here"), "{}", text.body);
        assert_eq!(request(port, "POST", html).status, 405);
    }
}

/// The entity tag in its original case.
fn page_etag(port: u16, fields: &str) -> String {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("HEAD / HTTP/1.1\r\nHost: rover\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.to_lowercase().starts_with("etag:")).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn the_page_is_complete_and_accessible() {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim", "--fault", "motor-overheat@1s"]);
    let script = require!(script("show", &gateway, &[]));
    let output = script.finish(PATIENCE);
    for (variant, seen) in output["variants"].as_object().unwrap() {
        for clean in ["violations", "errors", "foreign", "old"] {
            assert_empty(&format!("{variant}: {clean}"), &seen[clean]);
        }
        assert_eq!(seen["overflow"], 0, "{variant}: it is wider than the screen");
        assert_eq!((&seen["link"], &seen["serving"]), (&json!("live"), &json!("primary")), "{variant}");
        let tiles = seen["tiles"].as_object().unwrap();
        assert_eq!(tiles.len(), 12, "{variant}");
        assert!(tiles.values().all(|value| value != "–"), "{variant}: {tiles:?}");
        assert!(tiles["Speed"].as_str().unwrap().ends_with("m/s"), "{variant}");
        assert!(seen["map"].as_str().unwrap().contains("heading"), "{variant}: {}", seen["map"]);
        assert!(texts(&seen["alarms"]).iter().any(|alarm| alarm.contains("middle_left motor")), "{variant}");
        assert_eq!(seen["led"], "red", "{variant}");
    }
    assert_eq!(output["variants"].as_object().unwrap().len(), 4);
    let walk = output["walk"].as_array().unwrap();
    let reached = walk.iter().map(|one| one["name"].as_str().unwrap());
    // As many as there are alarms.
    let reached: Vec<_> = reached.filter(|name| *name != "acknowledge").collect();
    assert_eq!(reached, ["skip", "theme", "stop", "in", "out", "follow", "fit", "start"]);
    assert!(walk.iter().all(|one| one["visible"] == true), "a focus that is not seen: {walk:?}");
    assert_eq!((&output["theme"], &output["kept"]), (&json!(["dark", "dark"]), &json!("dark")));
    assert_empty("chosen dark", &output["chosenDark"]);
}

/// Thousands of failures of simulated endpoints: the page always finds a working endpoint, keeps at most one
/// connection to each, does not reconnect too often, and returns to the primary only.
#[test]
fn the_link_of_the_page_survives_random_failures() {
    let node = require!(node());
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u32;
    let output = Script::start(&node, "dashboard_link.mjs", &[&seed.to_string(), "100"]).finish(PATIENCE);
    std::io::stderr()
        .write_all(format!("page, simulated endpoints, seed {seed}: {output}\n").as_bytes())
        .unwrap();
    assert_empty("problems", &output["problems"]);
    assert_eq!(output["runs"], 100);
    let figure = |name: &str| output[name].as_f64().unwrap();
    assert!(figure("slowest_takeover_ms") < 1_500.0, "{output}");
    assert!(figure("slowest_recovery_ms") < 4_000.0, "{output}");
    assert!(figure("slowest_return_ms") < 60_000.0, "{output}");
    assert!(figure("most_attempts_per_s") < 8.0, "{output}");
}

/// Sends a signal to the serving process; the page switches to another endpoint and returns later.
#[test]
fn late_telemetry_does_not_take_back_an_accepted_stop() {
    let node = require!(node());
    let output = Script::start::<&str>(&node, "dashboard_model.mjs", &[]).finish(PATIENCE);
    let expected = json!({
        "before": false, "late": "left out", "of another endpoint": "left out", "engaged": true,
        "released since": false, "of another endpoint, still": "left out", "long after": false,
        "other values": 1, "after a second stop": "left out",
    });
    assert_eq!(output, expected);
}

fn assert_failover_after(signal: Signal, what: &str) {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut script = require!(script("failover", &gateway, &["60"]));
    assert_eq!(script.line()["ready"], true);
    process::signal(gateway.endpoint_pid(Tier::Primary), signal);
    let output = script.finish(PATIENCE);
    let gap = output["gap_ms"].as_u64().unwrap();
    std::io::stderr()
        .write_all(format!("page, endpoint {what}: {gap} ms without news at most\n").as_bytes())
        .unwrap();
    assert!(gap < BLACKOUT_MS, "{gap} ms: {output}");
    // Any other tier may take over: the first one that sends telemetry does.
    let tiers = texts(&output["tiers"]);
    // On a busy machine another endpoint may have answered before the primary, at the beginning.
    let from_primary = tiers.iter().skip_while(|tier| **tier != "primary");
    let tiers: Vec<_> = from_primary.collect();
    assert_eq!(tiers.last(), Some(&&"primary"), "{output}");
    assert!((3..=5).contains(&tiers.len()) && output["during"]["serving"] != "primary", "{output}");
    assert_eq!(output["back"], true, "{output}");
    // No value disappears or becomes stale: the other three carry everything except sensors.
    assert_empty("old values", &output["during"]["old"]);
    assert!(output["during"]["tiles"].as_object().unwrap().values().all(|value| value != "–"), "{output}");
    assert_empty("errors", &output["errors"]);
    assert_empty("foreign requests", &output["foreign"]);
}

#[test]
fn the_page_fails_over_when_its_endpoint_is_killed() {
    assert_failover_after(Signal::KILL, "killed");
}

#[test]
fn the_page_fails_over_when_its_endpoint_hangs() {
    assert_failover_after(Signal::STOP, "hung");
}

#[test]
fn an_alarm_is_acknowledged_on_the_page_for_everybody() {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim", "--fault", "boundary@1s"]);
    let script = require!(script("acknowledge", &gateway, &[]));
    let output = script.finish(PATIENCE);
    assert!(texts(&output["alarms"]).iter().any(|alarm| alarm.contains("seen by 127.0.0.1")), "{output}");
    assert_empty("errors", &output["errors"]);
    // At an endpoint that the page did not ask.
    let list = http::get(gateway.port(Tier::Secondary), "/api/v2/alarms?state=acknowledged");
    let list: Value = serde_json::from_str(&list.body).unwrap();
    assert_eq!(list["alarms"][0]["acknowledgement"]["comment"], "on the web page", "{list}");
}

#[test]
fn the_page_keeps_stale_values_when_all_endpoints_are_silent() {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut script = require!(script("lost", &gateway, &[]));
    assert_eq!(script.line()["ready"], true);
    let suspended = gateway.suspend();
    let output = script.line();
    process::resume(&suspended);
    let (before, after) = (&output["before"], &output["after"]);
    assert_empty("before", &before["old"]);
    assert_eq!(after["link"], "lost");
    assert_eq!(after["old"].as_array().unwrap().len(), 12);
    assert!(after["tiles"].as_object().unwrap().values().all(|value| value != "–"), "{after}");
    assert!(after["ages"].as_object().unwrap().values().all(|age| age.as_str().unwrap().ends_with(" s ago")));
    assert!(texts(&after["alarms"])[0].starts_with("Link lost"), "{after}");
    assert_empty("axe", &output["axe"]);
    let output = script.finish(PATIENCE);
    assert_eq!(output["back"]["serving"], "primary", "{output}");
    assert_empty("alarms", &output["back"]["alarms"]);
    assert_empty("foreign requests", &output["foreign"]);
}

#[test]
fn the_emergency_stop_needs_two_presses_and_shows_the_result() {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim"]);
    let script = require!(script("stop", &gateway, &[]));
    let output = script.finish(PATIENCE);
    assert_eq!(output["armed"], "Press again to stop the rover");
    assert_eq!(
        (&output["cancelled"], &output["untouched"]),
        (&json!("Emergency stop"), &json!("Not engaged"))
    );
    assert!(output["answer"].as_str().unwrap().starts_with("Accepted by the primary endpoint"), "{output}");
    assert_eq!(
        (&output["after"]["stop"], &output["after"]["led"]),
        (&json!("STOPPED"), &json!("Flashing red"))
    );
    assert_eq!(texts(&output["after"]["alarms"])[0], "Emergency stop engaged");
    assert_empty("axe", &output["axe"]);
    assert_empty("errors", &output["errors"]);
}

#[test]
fn a_stop_that_nobody_hears_is_repeated_until_it_is_accepted() {
    let _exclusive = exclusive_browser();
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut script = require!(script("unheard", &gateway, &[]));
    assert_eq!(script.line()["ready"], true);
    let suspended = gateway.suspend();
    let output = script.line();
    process::resume(&suspended);
    let unheard = "asked, not yet heard by the rover: use the red button";
    for stage in ["first", "later"] {
        assert!(output[stage].as_str().unwrap().contains(unheard), "{output}");
    }
    assert_eq!((&output["offered"], &output["unknown"]), (&json!("Take back"), &json!("Not known")));
    assert_empty("axe", &output["axe"]);
    let output = script.finish(PATIENCE);
    assert!(output["answer"].as_str().unwrap().starts_with("Accepted by the"), "{output}");
    assert_eq!(output["stop"], "STOPPED", "{output}");
}

#[test]
fn an_observer_sees_no_stop_button_until_it_has_a_token() {
    let _exclusive = exclusive_browser();
    let scratch = temp::dir();
    let tokens = scratch.path().join("tokens").display().to_string();
    let (code, token, _) =
        gateway::run(&["token", "add", "--tokens", &tokens, "judge"], Duration::from_secs(20));
    assert_eq!(code, 0);
    let gateway = Gateway::up(&["--source", "sim", "--loopback-role", "observer", "--tokens", &tokens]);
    let script = require!(script("observer", &gateway, &[token.trim()]));
    let output = script.finish(PATIENCE);
    assert_eq!((&output["offered"], &output["visible"]), (&json!(false), &json!(true)), "{output}");
    assert!(output["wrong"].as_str().unwrap().starts_with("Refused"), "{output}");
    assert_eq!(output["right"], "Accepted: you are operator.");
    assert_empty("axe", &output["axe"]);
    assert_empty("errors", &output["errors"]);
}
