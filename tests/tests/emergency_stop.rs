//! The emergency stop from outside: over HTTP, WebSockets and the command line, with endpoints that hang, slots
//! that are taken, and a latch that cannot be read or written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{eventually, observe_for};
use roverline_tests::{binary, http, temp};
use serde_json::{Value, json};

const PATH: &str = "/api/v2/emergency-stop";
const PATIENCE: Duration = Duration::from_secs(20);

fn up() -> Gateway {
    Gateway::up(&["--source", "sim"])
}

fn state(port: u16) -> Value {
    let answer = http::get(port, PATH);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn is_engaged(port: u16) -> bool {
    state(port)["engaged"] == true
}

fn post(port: u16, body: &Value) -> (u16, Value) {
    let fields = "Content-Type: application/json\r\n";
    let answer = http::request(port, "POST", PATH, fields, &body.to_string());
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Runs `roverline stop` and returns its exit code, standard output and standard error.
fn stop(urls: &[String], args: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(binary::bin("roverline"));
    gateway::clean_environment(&mut command);
    let scratch = temp::dir();
    command.env("XDG_STATE_HOME", scratch.path());
    let output = command.arg("stop").args(urls).args(args).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn over_http_an_engage_always_engages_and_a_release_is_done_once() {
    let gateway = up();
    let [first, last] = [Tier::Primary, Tier::Emergency].map(|tier| gateway.port(tier));
    assert_eq!(state(first)["engaged"], false);
    for (n, id) in ["1", "2", "1"].into_iter().enumerate() {
        let (status, answer) = post(first, &json!({"engage": true, "id": id, "reason": "test"}));
        assert_eq!((status, &answer["engaged"]), (200, &json!(true)), "{answer}");
        eventually("all endpoints know", PATIENCE, || is_engaged(last));
        // The id of an engage releases nothing.
        let (status, problem) = post(last, &json!({"engage": false, "id": id}));
        assert_eq!((status, problem["status"].as_u64()), (409, Some(409)), "{problem}");
        assert_eq!(post(last, &json!({"engage": false, "id": format!("release {n}")})).0, 200);
        eventually("all endpoints know", PATIENCE, || !is_engaged(first));
    }
    post(first, &json!({"engage": true}));
    let (status, late) = post(first, &json!({"engage": false, "id": "release 1"}));
    assert_eq!((status, &late["engaged"]), (200, &json!(true)), "{late}");
    assert!(is_engaged(first));
    for (body, status) in
        [(json!({"engage": "yes"}), 422), (json!({}), 422), (json!({"engage": true, "when": "now"}), 422)]
    {
        assert_eq!(post(first, &body).0, status, "{body}");
    }
    let observed = Gateway::serve(&["--source", "sim", "--loopback-role", "observer"]);
    assert_eq!(post(observed.first_port(), &json!({"engage": true})).0, 401);
}

#[tokio::test]
async fn it_is_heard_when_all_places_are_taken() {
    let gateway = Gateway::serve(&["--source", "sim", "--max-clients", "2"]);
    let port = gateway.first_port();
    let _taken = (PlainClient::connect(port).await, PlainClient::connect(port).await);
    assert!(PlainClient::try_connect(port).await.is_err());
    let (status, answer) =
        tokio::task::spawn_blocking(move || post(port, &json!({"engage": true}))).await.unwrap();
    assert_eq!((status, &answer["engaged"]), (200, &json!(true)), "{answer}");
}

#[test]
fn a_damaged_latch_is_engaged_and_says_why() {
    let gateway = up();
    let port = gateway.first_port();
    // Each gateway keeps the latch in its rover's directory.
    let latch = find(gateway.state(), "emergency_stop.json").unwrap_or_else(|| {
        post(port, &json!({"engage": true, "id": "1"}));
        post(port, &json!({"engage": false, "id": "2"}));
        find(gateway.state(), "emergency_stop.json").unwrap()
    });
    std::fs::write(&latch, "{\"engaged\":fal").unwrap();
    for (_, port) in &gateway.endpoints {
        eventually("it is engaged", PATIENCE, || is_engaged(*port));
    }
    assert!(state(port)["reason"].as_str().unwrap().contains("emergency_stop.json"), "{}", state(port));
    let (code, stdout, stderr) = stop(&gateway.urls(), &["--release", "--reason", "looked at it"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(!is_engaged(port));
}

fn find(dir: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => find(&path, name),
        path if path.ends_with(name) => Some(path),
        _ => None,
    })
}

#[test]
fn the_command_line_believes_only_the_rovers_state() {
    let gateway = up();
    let urls = gateway.urls();
    let (code, stdout, stderr) = stop(&urls, &["--json", "--reason", "test"]);
    let done: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &done["done"], &done["engaged"]), (0, &json!(true), &json!(true)), "{done} {stderr}");
    assert_eq!(state(gateway.first_port())["reason"], "test");
    let (code, stdout, stderr) = stop(&urls, &["--release"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(!is_engaged(gateway.first_port()));
    // A client without the permission gets a refusal with the remedy.
    let observed = Gateway::serve(&["--source", "sim", "--loopback-role", "observer"]);
    let (code, _, stderr) = stop(&observed.urls(), &["--timeout", "1s"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("refused") && stderr.contains("red button"), "{stderr}");
    // Nothing listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for args in [&["--timeout", "1s"][..], &["--timeout", "1s", "--release"]] {
        let (code, stdout, stderr) = stop(&[format!("ws://127.0.0.1:{free}")], args);
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains("no endpoint answered"), "{stderr}");
    }
}

#[test]
fn a_stop_while_all_endpoints_hang_is_heard_when_they_are_back() {
    let gateway = up();
    let suspended = gateway.suspend();
    let urls = gateway.urls();
    let stopping = std::thread::spawn(move || stop(&urls, &["--timeout", "60s"]));
    observe_for(Duration::from_secs(2), "the command tries meanwhile");
    assert!(!stopping.is_finished());
    process::resume(&suspended);
    let (code, stdout, stderr) = stopping.join().unwrap();
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(is_engaged(gateway.first_port()));
}

#[test]
fn one_endpoint_that_hangs_delays_nothing() {
    let gateway = up();
    let pid = gateway.endpoint_pid(Tier::Primary);
    process::signal(gateway.pid(), Signal::STOP);
    process::signal(pid, Signal::STOP);
    let (code, stdout, stderr) = stop(&gateway.urls(), &["--timeout", "20s"]);
    for pid in [pid, gateway.pid()] {
        process::signal(pid, Signal::CONT);
    }
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(is_engaged(gateway.port(Tier::Emergency)));
}
