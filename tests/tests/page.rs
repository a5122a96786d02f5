//! The judges' page in a real browser: what it shows, that it goes on when endpoints fail, that
//! everybody can use it, and that it asks nobody but the gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Answer};
use roverline_tests::node::{browser, node};
use roverline_tests::process::{self, Signal};
use roverline_tests::python::Script;
use roverline_tests::scratch::Scratch;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// Longest time without news that a failing endpoint may cost the page.
const BLACKOUT_MS: u64 = 2_000;

/// One browser at a time: on a small computer they would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(mode: &str, gateway: &Gateway, more: &[&str]) -> Option<Script> {
    let node = browser()?;
    let port = gateway.first_port().to_string();
    Some(Script::start(&node, "page.mjs", &[&[mode, &port], more].concat()))
}

fn ask(port: u16, method: &str, fields: &str) -> Answer {
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
fn every_endpoint_serves_the_page_and_text_to_who_wants_text() {
    let gateway = Gateway::up(&["--source", "sim"]);
    for (tier, port) in gateway.endpoints.clone() {
        let html = "Accept: text/html,*/*;q=0.8\r\n";
        let page = ask(port, "GET", html);
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{tier}"
        );
        assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</html>\n"), "{tier}");
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains(" ws://rover:*"), "{policy}");
        let head = ask(port, "HEAD", html);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let etag = page.header("etag").unwrap();
        // The harness reads heads in lower case; the tag itself is not.
        let known = page_etag(port, html);
        assert_eq!(known.to_lowercase(), etag);
        assert_eq!(ask(port, "GET", &format!("{html}If-None-Match: {known}\r\n")).status, 304, "{tier}");
        let text = http::get(port, "/");
        assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(text.body.contains("Open a WebSocket here"), "{}", text.body);
        assert_eq!(ask(port, "POST", html).status, 405);
    }
}

/// The entity tag as it was sent.
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
fn it_shows_the_rover_to_everybody() {
    let _alone = alone();
    let gateway = Gateway::up(&["--source", "sim", "--fault", "motor-overheat@1s"]);
    let Some(script) = script("show", &gateway, &[]) else { return };
    let said = script.finish(PATIENCE);
    for (look, seen) in said["looks"].as_object().unwrap() {
        for clean in ["violations", "errors", "foreign", "old"] {
            assert_empty(&format!("{look}: {clean}"), &seen[clean]);
        }
        assert_eq!(seen["overflow"], 0, "{look}: it is wider than the screen");
        assert_eq!((&seen["link"], &seen["serving"]), (&json!("live"), &json!("primary")), "{look}");
        let tiles = seen["tiles"].as_object().unwrap();
        assert_eq!(tiles.len(), 12, "{look}");
        assert!(tiles.values().all(|value| value != "–"), "{look}: {tiles:?}");
        assert!(tiles["Speed"].as_str().unwrap().ends_with("m/s"), "{look}");
        assert!(seen["map"].as_str().unwrap().contains("heading"), "{look}: {}", seen["map"]);
        assert!(texts(&seen["alarms"]).iter().any(|alarm| alarm.contains("middle_left motor")), "{look}");
        assert_eq!(seen["led"], "red", "{look}");
    }
    assert_eq!(said["looks"].as_object().unwrap().len(), 4);
    let walk = said["walk"].as_array().unwrap();
    let reached: Vec<_> = walk.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(reached, ["skip", "theme", "stop", "in", "out", "follow", "fit", "start"]);
    assert!(walk.iter().all(|one| one["visible"] == true), "a focus that is not seen: {walk:?}");
    assert_eq!((&said["theme"], &said["kept"]), (&json!(["dark", "dark"]), &json!("dark")));
    assert_empty("chosen dark", &said["chosenDark"]);
}

/// Thousands of failures of made-up endpoints: it always finds the one that serves, keeps one
/// connection with each at most, asks none too often, and returns to the primary alone.
#[test]
fn its_link_survives_whatever_endpoints_do() {
    let Some(node) = node() else { return };
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u32;
    let said = Script::start(&node, "page_link.mjs", &[&seed.to_string(), "100"]).finish(PATIENCE);
    std::io::stderr()
        .write_all(format!("page, made-up endpoints, seed {seed}: {said}\n").as_bytes())
        .unwrap();
    assert_empty("problems", &said["problems"]);
    assert_eq!(said["runs"], 100);
    let figure = |name: &str| said[name].as_f64().unwrap();
    assert!(figure("slowest_takeover_ms") < 1_500.0, "{said}");
    assert!(figure("slowest_recovery_ms") < 4_000.0, "{said}");
    assert!(figure("slowest_return_ms") < 60_000.0, "{said}");
    assert!(figure("most_attempts_per_s") < 8.0, "{said}");
}

/// The serving process gets a signal; the page goes on with others and comes back.
fn goes_on_after(signal: Signal, what: &str) {
    let _alone = alone();
    let gateway = Gateway::up(&["--source", "sim"]);
    let Some(mut script) = script("failover", &gateway, &["60"]) else { return };
    assert_eq!(script.line()["ready"], true);
    process::signal(gateway.endpoint_pid(Tier::Primary), signal);
    let said = script.finish(PATIENCE);
    let gap = said["gap_ms"].as_u64().unwrap();
    std::io::stderr()
        .write_all(format!("page, endpoint {what}: {gap} ms without news at most\n").as_bytes())
        .unwrap();
    assert!(gap < BLACKOUT_MS, "{gap} ms: {said}");
    // Whoever talks first serves first; which of the others that is, is the network's choice.
    let tiers = texts(&said["tiers"]);
    assert_eq!((tiers.first(), tiers.last()), (Some(&"primary"), Some(&"primary")), "{said}");
    assert!((3..=5).contains(&tiers.len()) && said["during"]["serving"] != "primary", "{said}");
    assert_eq!(said["back"], true, "{said}");
    // Not a value is lost from sight meanwhile, and none is old: the three others carry all but sensors.
    assert_empty("old values", &said["during"]["old"]);
    assert!(said["during"]["tiles"].as_object().unwrap().values().all(|value| value != "–"), "{said}");
    assert_empty("errors", &said["errors"]);
    assert_empty("foreign requests", &said["foreign"]);
}

#[test]
fn it_goes_on_when_its_endpoint_is_killed() {
    goes_on_after(Signal::KILL, "killed");
}

#[test]
fn it_goes_on_when_its_endpoint_hangs() {
    goes_on_after(Signal::STOP, "hung");
}

#[test]
fn it_keeps_what_it_knows_when_nobody_answers() {
    let _alone = alone();
    let gateway = Gateway::up(&["--source", "sim"]);
    let Some(mut script) = script("lost", &gateway, &[]) else { return };
    assert_eq!(script.line()["ready"], true);
    let endpoints = Tier::ALL.map(|tier| gateway.endpoint_pid(tier));
    // The supervisor first, or it would replace them.
    let all: Vec<u32> = [gateway.pid()].into_iter().chain(endpoints).collect();
    all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
    let said = script.line();
    all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    let (before, after) = (&said["before"], &said["after"]);
    assert_empty("before", &before["old"]);
    assert_eq!(after["link"], "lost");
    assert_eq!(after["old"].as_array().unwrap().len(), 12);
    assert!(after["tiles"].as_object().unwrap().values().all(|value| value != "–"), "{after}");
    assert!(after["ages"].as_object().unwrap().values().all(|age| age.as_str().unwrap().ends_with(" s ago")));
    assert!(texts(&after["alarms"])[0].starts_with("Link lost"), "{after}");
    assert_empty("axe", &said["axe"]);
    let said = script.finish(PATIENCE);
    assert_eq!(said["back"]["serving"], "primary", "{said}");
    assert_empty("alarms", &said["back"]["alarms"]);
    assert_empty("foreign requests", &said["foreign"]);
}

#[test]
fn the_stop_takes_two_presses_and_tells_the_answer() {
    let _alone = alone();
    let gateway = Gateway::up(&["--source", "sim"]);
    let Some(script) = script("stop", &gateway, &[]) else { return };
    let said = script.finish(PATIENCE);
    assert_eq!(said["armed"], "Press again to stop the rover");
    assert_eq!((&said["cancelled"], &said["untouched"]), (&json!("Emergency stop"), &json!("Not engaged")));
    assert!(said["answer"].as_str().unwrap().starts_with("Accepted by the primary endpoint"), "{said}");
    assert_eq!((&said["after"]["stop"], &said["after"]["led"]), (&json!("STOPPED"), &json!("Flashing red")));
    assert_eq!(texts(&said["after"]["alarms"])[0], "Emergency stop engaged");
    assert_empty("axe", &said["axe"]);
    assert_empty("errors", &said["errors"]);
}

#[test]
fn who_may_not_stop_is_offered_no_button_until_a_token_is_shown() {
    let _alone = alone();
    let scratch = Scratch::new();
    let tokens = scratch.path().join("tokens").display().to_string();
    let (code, token, _) =
        gateway::run(&["token", "add", "--tokens", &tokens, "judge"], Duration::from_secs(20));
    assert_eq!(code, 0);
    let gateway = Gateway::up(&["--source", "sim", "--loopback-role", "observer", "--tokens", &tokens]);
    let Some(script) = script("observer", &gateway, &[token.trim()]) else { return };
    let said = script.finish(PATIENCE);
    assert_eq!((&said["offered"], &said["visible"]), (&json!(false), &json!(true)), "{said}");
    assert!(said["wrong"].as_str().unwrap().starts_with("Refused"), "{said}");
    assert_eq!(said["right"], "Accepted: you are operator.");
    assert_empty("axe", &said["axe"]);
    assert_empty("errors", &said["errors"]);
}
