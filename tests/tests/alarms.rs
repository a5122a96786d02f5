//! Alarms end to end: raised by faults of the built-in rover, shared by all endpoints, and not lost with any of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::api::alarms::{AlarmDocument, AlarmList, AlarmSeverity, AlarmState};
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::poll;
use roverline_tests::{binary, temp};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const MOTOR: &str = "motor-temperature/motor/middle_left/temperature";
const BOUNDARY: &str = "boundary/safety/boundary_violation";
/// Rules that react soon, and none of the sources that depend on the computer.
const CONFIG: &str = r#"
[alarms]
diagnostics = false
disk_percent = 100.0

[[alarm]]
name = "motor temperature"
topic = "/motor/*/temperature"
field = "temperature"
unit = "°C"
above = { warning = 45.0, critical = 60.0 }
hysteresis = 5.0
on_delay_s = 0.2
off_delay_s = 1.0
"#;

fn config(directory: &Path) -> String {
    let path = directory.join("roverline.toml");
    std::fs::write(&path, CONFIG).unwrap();
    path.to_str().unwrap().to_owned()
}

fn up(faults: &[&str], more: &[&str]) -> (Gateway, temp::TempDir) {
    let scratch = temp::dir();
    let config = config(scratch.path());
    let mut args = vec!["--config", &config, "--source", "sim"];
    args.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    args.extend(more);
    (Gateway::up(&args), scratch)
}

fn list(port: u16, query: &str) -> AlarmList {
    let response = http::get(port, &format!("/api/v2/alarms{query}"));
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

fn alarm(port: u16, id: &str) -> Option<AlarmDocument> {
    let response = http::get(port, &format!("/api/v2/alarms/{id}"));
    (response.status == 200).then(|| serde_json::from_str(&response.body).unwrap())
}

fn post(port: u16, path: &str, fields: &str, body: &str) -> Response {
    let fields = format!("Content-Type: application/json\r\n{fields}");
    http::request(port, "POST", &format!("/api/v2/alarms/{path}"), &fields, body)
}

/// Waits until an alarm is as expected.
fn wait_for(port: u16, id: &str, is_so: impl Fn(&AlarmDocument) -> bool) -> AlarmDocument {
    let found = poll(PATIENCE, || alarm(port, id).filter(&is_so));
    found.unwrap_or_else(|| panic!("{id} at {port}: {:?}", alarm(port, id)))
}

/// The types of an alarm's events, in order, with their identities.
fn events(port: u16, id: &str) -> Vec<(String, Option<String>)> {
    let id = id.replace('/', "%2F");
    let response = http::get(port, &format!("/api/v2/events?stream=alarm%2F{id}&limit=100"));
    let document: Value = serde_json::from_str(&response.body).unwrap();
    let events = document["events"].as_array().unwrap_or_else(|| panic!("{document}")).iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events.map(|event| (text(&event["type"]).unwrap(), text(&event["by"]))).collect()
}

#[test]
fn an_alarm_and_its_acknowledgement_are_the_same_everywhere_and_outlive_an_endpoint() {
    let (gateway, _scratch) = up(&["motor-overheat@1s"], &[]);
    let [primary, secondary, tertiary, emergency] = Tier::ALL.map(|tier| gateway.port(tier));
    // The secondary endpoint does not have the topic.
    for port in [primary, secondary, tertiary, emergency] {
        // It is shown before it is shared.
        let is_shared = |alarm: &AlarmDocument| alarm.severity == AlarmSeverity::Critical && alarm.shared;
        let found = wait_for(port, MOTOR, is_shared);
        assert_eq!((found.state, found.occurrence), (AlarmState::Raised, 1));
        assert!(found.active && !found.latched && found.limit == Some(60.0), "{found:?}");
    }
    let seen = wait_for(primary, MOTOR, |_| true);
    let body = format!(r#"{{"comment":"stopping","occurrence":{}}}"#, seen.occurrence);
    let acknowledged = post(primary, &format!("{MOTOR}/acknowledge"), "", &body);
    assert_eq!(acknowledged.status, 200, "{}", acknowledged.body);
    process::signal(gateway.endpoint_pid(Tier::Primary), Signal::KILL);
    for port in [secondary, tertiary, emergency] {
        let found = wait_for(port, MOTOR, |alarm| alarm.state == AlarmState::Acknowledged);
        let acknowledgement = found.acknowledgement.unwrap();
        assert_eq!(
            (acknowledgement.by.as_str(), acknowledgement.comment.as_str()),
            ("127.0.0.1", "stopping")
        );
        assert_eq!(acknowledgement.severity, AlarmSeverity::Critical);
    }
    // The process that replaces it finds it so, and raises nothing again.
    let found = wait_for(primary, MOTOR, |alarm| alarm.state == AlarmState::Acknowledged);
    assert_eq!((found.occurrence, found.raised_ns), (1, seen.raised_ns));
    let again = post(secondary, &format!("{MOTOR}/acknowledge"), "", r#"{"comment":"me too"}"#);
    let again: AlarmDocument = serde_json::from_str(&again.body).unwrap();
    assert_eq!(again.acknowledgement.unwrap().comment, "stopping", "the first one counts");
    let stale = post(secondary, &format!("{MOTOR}/acknowledge"), "", r#"{"occurrence":7}"#);
    assert_eq!(stale.status, 409, "{}", stale.body);
    let kinds = poll(PATIENCE, || {
        let events = events(secondary, MOTOR);
        (events.len() >= 3).then_some(events)
    });
    let kinds = kinds.unwrap_or_default();
    let kinds: Vec<(&str, Option<&str>)> =
        kinds.iter().map(|(kind, by)| (kind.as_str(), by.as_deref())).collect();
    assert_eq!(
        kinds,
        [("alarm.raised", None), ("alarm.escalated", None), ("alarm.acknowledged", Some("127.0.0.1"))],
        "each once, whoever saw it"
    );
}

#[test]
fn a_latched_alarm_waits_for_its_acknowledgement_and_a_shelved_one_does_not_count() {
    let (gateway, _scratch) = up(&["boundary@1s+15s"], &[]);
    let (primary, tertiary) = (gateway.port(Tier::Primary), gateway.port(Tier::Tertiary));
    wait_for(tertiary, BOUNDARY, |alarm| alarm.active);
    let shelve = r#"{"reason":"fence is wrong","duration_s":60}"#;
    assert_eq!(post(tertiary, &format!("{BOUNDARY}/shelve"), "", r#"{"reason":""}"#).status, 422);
    assert_eq!(post(tertiary, &format!("{BOUNDARY}/shelve"), "", shelve).status, 200);
    let shelved = wait_for(primary, BOUNDARY, |alarm| alarm.shelved.is_some());
    assert_eq!(shelved.shelved.unwrap().reason, "fence is wrong");
    let counted = list(primary, "?shelved=false");
    assert!(counted.alarms.iter().all(|alarm| alarm.id != BOUNDARY));
    assert_eq!(counted.totals.shelved, 1);
    assert_eq!(post(primary, &format!("{BOUNDARY}/unshelve"), "", "{}").status, 200);
    let over = wait_for(tertiary, BOUNDARY, |alarm| alarm.latched && alarm.shelved.is_none());
    assert_eq!((over.state, over.active), (AlarmState::Raised, false));
    assert_eq!(post(tertiary, &format!("{BOUNDARY}/acknowledge"), "", "{}").status, 200);
    wait_for(primary, BOUNDARY, |alarm| alarm.state == AlarmState::Cleared);
    let kinds = poll(PATIENCE, || {
        let events = events(primary, BOUNDARY);
        (events.len() >= 5).then_some(events)
    });
    let kinds: Vec<String> = kinds.unwrap_or_default().into_iter().map(|(kind, _)| kind).collect();
    let expected =
        ["alarm.raised", "alarm.shelved", "alarm.unshelved", "alarm.acknowledged", "alarm.cleared"];
    assert_eq!(kinds, expected);
}

#[test]
fn an_observer_reads_alarms_and_acknowledges_none() {
    let (gateway, _scratch) = up(&["boundary@1s"], &["--loopback-role", "observer"]);
    let port = gateway.first_port();
    wait_for(port, BOUNDARY, |alarm| alarm.active);
    let refused = post(port, &format!("{BOUNDARY}/acknowledge"), "", "{}");
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert!(refused.body.contains("operator"), "it says what to do: {}", refused.body);
    assert_eq!(wait_for(port, BOUNDARY, |_| true).state, AlarmState::Raised);
    assert_eq!(post(port, "nothing/here/acknowledge", "", "{}").status, 401);
    assert!(alarm(port, "nothing/here").is_none());
    assert_eq!(http::get(port, "/api/v2/alarms?severity=awful").status, 400);
}

#[test]
fn without_a_store_alarms_rise_and_cannot_be_acknowledged() {
    let (gateway, _scratch) = up(&["boundary@1s"], &["--store", "etcd://127.0.0.1:1"]);
    for tier in [Tier::Primary, Tier::Tertiary] {
        let found = wait_for(gateway.port(tier), BOUNDARY, |alarm| alarm.active);
        assert!(!found.shared);
    }
    let port = gateway.first_port();
    let unshared = list(port, "").unshared;
    assert!(unshared.is_some_and(|why| !why.is_empty()));
    let refused = post(port, &format!("{BOUNDARY}/acknowledge"), "", "{}");
    assert_eq!(refused.status, 503, "{}", refused.body);
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert!(problem["detail"].as_str().is_some_and(|why| why.contains("store")), "{problem}");
    let metrics = http::get(port, "/metrics").body;
    assert!(
        metrics.contains("roverline_alarms_unshared 1") && metrics.contains("severity=\"critical\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_noisy_value_within_the_hysteresis_does_not_flap() {
    let scratch = temp::dir();
    let path = scratch.path().join("roverline.toml");
    let rule = |name: &str, hysteresis: f64| {
        format!(
            "[[alarm]]\nname = \"{name}\"\ntopic = \"/imu/data\"\nfield = \"linear_acceleration.z\"\n\
             above = {{ warning = 9.81 }}\nhysteresis = {hysteresis:.1}\non_delay_s = 0.0\noff_delay_s = 0.5\n"
        )
    };
    std::fs::write(&path, rule("calm", 5.0) + &rule("nervous", 0.0)).unwrap();
    let gateway = Gateway::serve(&["--config", path.to_str().unwrap(), "--source", "sim"]);
    let port = gateway.first_port();
    // The limit is what the sensor measures, give or take its noise.
    wait_for(port, "nervous/imu/data", |alarm| alarm.triggers >= 3);
    let calm = wait_for(port, "calm/imu/data", |_| true);
    assert_eq!((calm.occurrence, calm.triggers, calm.active), (1, 1, true));
    let nervous = wait_for(port, "nervous/imu/data", |_| true);
    assert_eq!(nervous.occurrence, 1, "latched: it is one occurrence, whatever its value does");
    let raised = poll(PATIENCE, || {
        let events = events(port, "nervous/imu/data");
        (!events.is_empty()).then_some(events.len())
    });
    assert_eq!(raised, Some(1), "and one event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_watches_alarms_and_a_ros_topic_has_them() {
    let (gateway, _scratch) = up(&["boundary@3s"], &[]);
    let port = gateway.first_port();
    let mut native = NativeClient::connect(port).await;
    native.send(&ClientMessage::Watch { id: 7, path: "/api/v2/alarms".to_owned() }).await;
    let mut lists = Vec::new();
    loop {
        let Received::Text(message) = native.next().await else { continue };
        if let ServerMessage::Response { id: 7, body, .. } = *message {
            let list: AlarmList = serde_json::from_value(body).unwrap();
            let is_raised = list.alarms.iter().any(|alarm| alarm.id == BOUNDARY);
            lists.push(list);
            if is_raised {
                break;
            }
        }
    }
    assert!(lists[0].alarms.iter().all(|alarm| alarm.id != BOUNDARY), "it was not raised at first");
    assert!(lists.len() < 20, "nothing is sent while nothing changes: {}", lists.len());
    let latest = poll(PATIENCE, || {
        let response = http::get(port, "/api/v2/topics/roverline/alarms/latest");
        (response.status == 200).then_some(response.body)
    });
    let latest: Value = serde_json::from_str(&latest.unwrap()).unwrap();
    let statuses = latest["message"]["status"].as_array().unwrap();
    let status = statuses.iter().find(|status| status["name"] == BOUNDARY).unwrap();
    assert_eq!(status["level"], 2, "{status}");
}

#[test]
fn a_mistake_in_a_rule_names_file_line_and_field() {
    let scratch = temp::dir();
    let path = scratch.path().join("bad.toml");
    std::fs::write(&path, "[[alarm]]\nname = \"a\"\ntopic = \"/a\"\nfield = \"data\"\nabove = { warning = 1.0 }\nhysteresis = -1.0\n")
        .unwrap();
    let (code, _, stderr) =
        gateway::run(&["up", "--config", path.to_str().unwrap(), "--source", "sim"], Duration::from_secs(20));
    assert_ne!(code, 0);
    assert!(stderr.contains("bad.toml:6: hysteresis"), "{stderr}");
}

#[test]
fn the_command_line_lists_acknowledges_and_shelves() {
    let (gateway, _scratch) = up(&["boundary@1s"], &[]);
    wait_for(gateway.first_port(), BOUNDARY, |alarm| alarm.active);
    let roverline = |args: &[&str]| {
        let mut command = gateway::command_of(&binary::bin("roverline"), args);
        command.env("HOME", gateway.state()).env("ROVERLINE_ENDPOINTS", gateway.urls().join(","));
        let output = command.output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), out.into_owned(), error.into_owned())
    };
    let (code, out, error) = roverline(&["alarms"]);
    assert!(code == Some(0) && out.contains(BOUNDARY) && out.contains("critical"), "{out}{error}");
    let (code, out, error) =
        roverline(&["alarms", "shelve", BOUNDARY, "--reason", "fence is wrong", "--for", "5m"]);
    assert!(code == Some(0) && out.contains("shelved for 300 s"), "{out}{error}");
    assert_eq!(roverline(&["alarms", "unshelve", BOUNDARY]).0, Some(0));
    let (code, out, error) = roverline(&["alarms", "acknowledge", "--all", "--comment", "seen"]);
    assert!(code == Some(0) && out.contains(&format!("{BOUNDARY}: acknowledged")), "{out}{error}");
    let (_, out, _) = roverline(&["alarms", "--json"]);
    let list: AlarmList = serde_json::from_str(&out).unwrap();
    let acknowledged = list.alarms.iter().find(|alarm| alarm.id == BOUNDARY).unwrap();
    assert_eq!(acknowledged.acknowledgement.as_ref().unwrap().comment, "seen");
    let (code, _, error) = roverline(&["alarms", "acknowledge", "no/such"]);
    assert!(code == Some(1) && error.contains("no alarm"), "{error}");
}
