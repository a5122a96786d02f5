//! Logs of the real processes: their JSON lines, the requests that these belong to, levels that change while the gateway
//! runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::api::log::LogDocument;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::process::{self, Signal};
use roverline_tests::temp;
use roverline_tests::wait::{eventually, poll};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const LOG: &str = "/api/v2/log";
const JSON: &str = "Content-Type: application/json\r\n";

/// The lines of a process's log.
fn lines(gateway: &Gateway, process: &str) -> Vec<String> {
    let files = std::fs::read_dir(gateway.state().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let own = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(process));
    own.flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        // The last line may not be complete.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].lines().map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

fn json_lines(gateway: &Gateway, process: &str) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines(gateway, process).iter().map(parse).collect()
}

/// The first line of this type.
fn of_type(gateway: &Gateway, process: &str, event_type: &str) -> Value {
    poll(PATIENCE, || json_lines(gateway, process).into_iter().find(|line| line["event_type"] == event_type))
        .unwrap_or_else(|| panic!("no {event_type} of {process}: {:#?}", lines(gateway, process)))
}

fn level(gateway: &Gateway, tier: Tier) -> LogDocument {
    serde_json::from_str(&http::get(gateway.port(tier), LOG).body).unwrap()
}

fn put(port: u16, fields: &str, body: &str) -> Response {
    http::request(port, "PUT", LOG, &format!("{JSON}{fields}"), body)
}

/// Runs `roverline-gateway log`: exit code, standard output and standard error.
fn log_command(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    let state = gateway.state().to_str().unwrap();
    gateway::run(&[&["log"], args, &["--state", state]].concat(), PATIENCE)
}

/// Waits until all four processes have this level.
fn all_have(gateway: &Gateway, expected: &str) {
    eventually(&format!("level {expected} everywhere"), PATIENCE, || {
        Tier::ALL.iter().all(|tier| level(gateway, *tier).level == expected)
    });
}

/// Whether a process has written this of a request that is made now.
fn writes_requests(gateway: &Gateway, tier: Tier) -> bool {
    let before = lines(gateway, tier.name()).len();
    assert_eq!(http::get(gateway.port(tier), "/api/v2/topics").status, 200);
    let found = |lines: Vec<String>| lines[before..].iter().any(|line| line.contains("request.done"));
    poll(Duration::from_secs(2), || found(lines(gateway, tier.name())).then_some(())).is_some()
}

#[test]
fn every_line_says_what_happened_to_what() {
    let rover = Gateway::up(&["--source", "sim", "--log-format", "json", "--log-level", "debug"]);
    let port = rover.port(Tier::Secondary);
    let fields = format!("{JSON}traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
    let body = r#"{"client": "ann", "mode": "exclusive", "ttl_ms": 30000}"#;
    assert_eq!(http::request(port, "POST", "/api/v2/locks/arm/acquire", &fields, body).status, 200);
    let stop = r#"{"engage": true, "reason": "test\n\u001b[2J of\u202e the log"}"#;
    assert_eq!(http::request(port, "POST", "/api/v2/emergency-stop", &fields, stop).status, 200);

    let stop = of_type(&rover, "secondary", "command.emergency_stop");
    assert_eq!((&stop["trace_id"], &stop["correlation_id"]), (&TRACE.into(), &TRACE.into()), "{stop}");
    assert_eq!(stop["aggregate_id"], "command/emergency_stop");
    assert_eq!(stop["fields"]["http.route"], "/api/v2/emergency-stop");
    assert_eq!(of_type(&rover, "secondary", "request.done")["span_id"].as_str().map(str::len), Some(16));
    assert_eq!(of_type(&rover, "secondary", "endpoint.serving")["aggregate_id"], "endpoint/secondary");
    assert_eq!(of_type(&rover, "supervisor", "process.serving")["trace_id"], Value::Null);
    // One process records what happens in the store.
    let recorded = poll(PATIENCE, || {
        let all = Tier::ALL.iter().flat_map(|tier| json_lines(&rover, tier.name()));
        all.filter(|line| line["event_type"] == "lock.acquired")
            .find(|line| line["aggregate_id"] == "lock/arm")
    });
    assert!(recorded.is_some());

    for process in ["supervisor", "primary", "secondary", "tertiary", "emergency"] {
        let raw = lines(&rover, process);
        assert!(raw.iter().all(|line| !line.chars().any(|c| c.is_control() || c == '\u{202e}')), "{raw:#?}");
        for line in json_lines(&rover, process) {
            for member in ["timestamp", "level", "event_type", "aggregate_id", "message", "target"] {
                assert!(line[member].is_string(), "{member} of {line}");
            }
            assert!(
                line["fields"].is_object() && line["timestamp"].as_str().unwrap().ends_with('Z'),
                "{line}"
            );
        }
    }
    let metrics = http::get(port, "/metrics").body;
    let count = |name: &str| {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.trim().parse::<f64>().unwrap()
    };
    assert!(count(r#"roverline_log_lines_total{level="info"} "#) >= 3.0);
    assert!(count("roverline_log_dropped_total ") + count("roverline_log_truncated_total ") < 1.0);
}

#[test]
fn the_command_changes_the_level_of_all_processes_for_a_time() {
    let rover = Gateway::up(&["--source", "sim"]);
    let (code, text, stderr) = log_command(&rover, &[]);
    assert_eq!((code, text.as_str()), (0, "level info, as configured\n"), "{stderr}");
    assert!(!writes_requests(&rover, Tier::Tertiary));
    let (code, text, stderr) = log_command(&rover, &["debug", "--for", "10m"]);
    assert!(
        code == 0 && text.contains("sent to supervisor, primary, secondary, tertiary, emergency"),
        "{text}{stderr}"
    );
    assert!(text.starts_with("level debug for another ") && text.contains("then info again"), "{text}");
    all_have(&rover, "debug");
    for tier in Tier::ALL {
        assert!(writes_requests(&rover, tier), "{tier}");
    }
    let shown = level(&rover, Tier::Emergency);
    assert!(shown.changed_by.unwrap().starts_with("user ") && shown.remaining_s.unwrap() <= 600.0);
    // A process that starts meanwhile has the level as well.
    process::signal(rover.endpoint_pid(Tier::Emergency), Signal::KILL);
    eventually("the emergency endpoint is back with the level", PATIENCE, || {
        // Connections wait in the socket that the supervisor keeps, unless one was accepted by the old process.
        let port = rover.port(Tier::Emergency);
        let response = std::panic::catch_unwind(|| http::get(port, LOG).body);
        response.is_ok_and(|body| body.contains(r#""level":"debug""#))
    });
    // The event log says who.
    let event = poll(PATIENCE, || {
        let page =
            http::get(rover.port(Tier::Primary), "/api/v2/events?stream=endpoint/primary&limit=100").body;
        let page: Value = serde_json::from_str(&page).ok()?;
        let all = page["events"].as_array()?.clone();
        all.into_iter().find(|event| event["type"] == "endpoint.log_level")
    });
    let event =
        event.unwrap_or_else(|| panic!("{}", http::get(rover.port(Tier::Primary), "/api/v2/events").body));
    assert!(event["by"].as_str().unwrap().starts_with("user "), "{event}");
    assert_eq!((&event["data"]["from"], &event["data"]["to"]), (&"info".into(), &"debug".into()));
    assert!(lines(&rover, "primary").iter().any(|line| line.contains("log.level_changed")));

    let (code, json, _) =
        log_command(&rover, &["warn,roverline_gateway::api=debug", "--for", "2s", "--json"]);
    let document: LogDocument = serde_json::from_str(&json).unwrap();
    assert_eq!((code, document.level.as_str()), (0, "warn,roverline_gateway::api=debug"));
    // It is put back by itself.
    all_have(&rover, "info");
    assert_eq!(log_command(&rover, &[]).1, "level info, as configured\n");
    assert!(!writes_requests(&rover, Tier::Tertiary));
    log_command(&rover, &["trace"]);
    all_have(&rover, "trace");
    assert_eq!(log_command(&rover, &["--reset"]).0, 0);
    all_have(&rover, "info");
}

#[test]
fn a_wrong_level_is_explained() {
    let rover = Gateway::serve(&["--source", "sim"]);
    for (args, words) in [
        (&["debgu"][..], "character 1: 'debgu' is no level"),
        (&["info,hub=loud"], "character 6: 'loud' is no level"),
        (&["debug", "--for", "soon"], "90s"),
        (&["--for", "10m"], "LEVEL"),
    ] {
        let (code, _, stderr) = log_command(&rover, args);
        assert!(code == 2 && stderr.contains(words), "{args:?}: {stderr}");
    }
    let (code, _, stderr) = log_command(&rover, &["debug"]);
    assert!(code == 1 && stderr.contains("no running gateway"), "{stderr}");
    for (body, words) in [
        (r#"{"level": "info,hub=loud"}"#, "character 6: 'loud' is no level"),
        (r#"{"level": "debug", "for_s": 0}"#, "24 h"),
        (r#"{"level": "debug", "for": 5}"#, "for"),
    ] {
        let refused = put(rover.first_port(), "", body);
        assert!(refused.status == 422 && refused.body.contains(words), "{refused:?}");
    }
}

#[test]
fn the_api_changes_the_level_of_all_processes() {
    let rover = Gateway::up(&["--source", "sim"]);
    let answer = put(rover.port(Tier::Tertiary), "", r#"{"level": "debug", "for_s": 600}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let document: LogDocument = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document.processes, ["supervisor", "primary", "secondary", "tertiary", "emergency"]);
    assert_eq!((document.level.as_str(), document.changed_by.as_deref()), ("debug", Some("127.0.0.1")));
    all_have(&rover, "debug");
    assert!(writes_requests(&rover, Tier::Primary));
    assert!(log_command(&rover, &[]).1.contains("set by 127.0.0.1"));
    assert_eq!(http::request(rover.port(Tier::Secondary), "DELETE", LOG, "", "").status, 200);
    all_have(&rover, "info");
    put(rover.port(Tier::Primary), "", r#"{"level": "off", "for_s": 1}"#);
    all_have(&rover, "info");
    let own = lines(&rover, "emergency");
    assert!(own.iter().filter(|line| line.contains("log.level_restored")).count() >= 2, "{own:#?}");
}

#[test]
fn one_endpoint_and_a_relay_change_their_level_too() {
    let rover = Gateway::serve(&["--source", "sim"]);
    let port = rover.first_port();
    let answer = put(port, "", r#"{"level": "debug"}"#);
    assert!(answer.status == 200 && answer.body.contains(r#""processes":["primary"]"#), "{}", answer.body);
    let shown: LogDocument = serde_json::from_str(&http::get(port, LOG).body).unwrap();
    assert!(shown.level == "debug" && shown.remaining_s.is_some_and(|left| left > 3_000.0), "an hour");
    let url = format!("ws://127.0.0.1:{port}");
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &url]);
    let (code, text, stderr) = log_command(&relay, &["debug"]);
    assert!(code == 0 && text.contains("sent to supervisor, relay"), "{text}{stderr}");
    all_have(&relay, "debug");
    let answer = http::request(relay.port(Tier::Emergency), "DELETE", LOG, "", "");
    assert!(answer.body.contains(r#""processes":["supervisor","relay"]"#), "{}", answer.body);
    all_have(&relay, "info");
}

#[test]
fn an_observer_may_not_change_it() {
    let scratch = temp::dir();
    let tokens = scratch.path().join("tokens");
    let token = |role: &str| {
        let add = ["token", "add", "--tokens", tokens.to_str().unwrap(), "--role", role, role];
        let (code, token, stderr) = gateway::run(&add, PATIENCE);
        assert_eq!(code, 0, "{stderr}");
        format!("Authorization: Bearer {}\r\n", token.trim())
    };
    let (commander, operator, observer) = (token("commander"), token("operator"), token("observer"));
    let rover = Gateway::serve(&[
        "--source",
        "sim",
        "--loopback-role",
        "observer",
        "--tokens",
        tokens.to_str().unwrap(),
    ]);
    let port = rover.first_port();
    let body = r#"{"level": "trace"}"#;
    for (fields, status, words) in [
        ("", 401, "token"),
        (
            observer.as_str(),
            403,
            "you may not overrule the configured level of the log: an observer may not; show a token",
        ),
        (operator.as_str(), 403, "your role has no such right"),
    ] {
        let refused = put(port, fields, body);
        assert!(refused.status == status && refused.body.contains(words), "{refused:?}");
        assert_eq!(http::request(port, "DELETE", LOG, fields, "").status, status);
    }
    assert!(http::get(port, LOG).body.contains(r#""level":"info""#), "reading is open");
    let changed = put(port, &commander, body);
    assert!(changed.status == 200 && changed.body.contains(r#""changed_by":"commander""#), "{changed:?}");
}
