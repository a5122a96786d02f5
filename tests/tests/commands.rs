//! Commands: each is done once by the rover, at whichever endpoint and however often it is sent, and what is not valid does
//! nothing. The rover is a robot on CycloneDDS, whose service counts its calls. What becomes of commands under faults is in
//! `command_faults`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeSet;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::api::commands::{CommandDocument, CommandList, CommandState};
use roverline_protocol::api::traces::TraceDocument;
use roverline_tests::clients::python;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::wait::{eventually, poll};
use roverline_tests::{binary, http};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a repeated command waits for the outcome of the first one.
const GIVE_UP: Duration = Duration::from_secs(60);
const PATH: &str = "/api/v2/commands";

/// A robot whose `/robot/count` answers with the number of the call.
fn robot(python: &std::path::Path, domain: &str) -> Script {
    let mut robot = Script::start(python, "dds_robot.py", &["--domain", domain, "--seconds", "1800"]);
    assert_eq!(robot.line()["ready"], true);
    robot
}

fn id(n: usize) -> String {
    format!("0198c2a4-7d3e-7000-8000-{n:012x}")
}

fn count_call(n: usize) -> Value {
    json!({"id": id(n), "kind": "call", "target": "/robot/count", "type": "std_srvs/srv/Trigger", "ttl_ms": 20_000})
}

/// Sends a command once: the status and the answer; `None` if the endpoint does not answer.
fn send(port: u16, command: &Value) -> Option<(u16, Value)> {
    let body = command.to_string();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(GIVE_UP)).ok()?;
    std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).ok()?;
    let text = String::from_utf8(answer).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Sends a command to one endpoint after the other until there is an answer that says what became of it.
fn until_answered(ports: &[u16], n: usize) -> Option<CommandDocument> {
    let next = std::cell::Cell::new(n);
    poll(GIVE_UP, || {
        next.set(next.get() + 1);
        match send(ports[next.get() % ports.len()], &count_call(n)) {
            Some((200..=202, answer)) => serde_json::from_value(answer).ok(),
            // Not its scope: the next one.
            _ => None,
        }
    })
}

/// Waits until the primary endpoint reaches the robot's service.
fn wait_reachable(gateway: &Gateway, n: usize) {
    eventually("the robot's service", PATIENCE, || {
        until_answered(&[gateway.port(Tier::Primary)], n)
            .is_some_and(|answer| answer.state == CommandState::Verified)
            || {
                // Its id is used up.
                send(
                    gateway.port(Tier::Primary),
                    &json!({"id": id(n + 1), "kind": "call", "target": "/robot/count"}),
                )
                .is_some_and(|(_, answer)| answer["state"] == "verified")
            }
    });
}

#[test]
fn every_endpoint_gives_the_first_answer_again() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "100"]);
    let _robot = robot(&python, "100");
    wait_reachable(&gateway, 900_000);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    for n in 0..10 {
        let first = until_answered(&ports, n).unwrap();
        assert_eq!(first.state, CommandState::Verified, "{first:?}");
        for port in &ports {
            let (status, answer) = send(*port, &count_call(n)).unwrap();
            assert_eq!((status, answer), (200, serde_json::to_value(&first).unwrap()));
        }
    }
    let listed = http::get(gateway.port(Tier::Tertiary), "/api/v2/commands?state=verified");
    let listed: CommandList = serde_json::from_str(&listed.body).unwrap();
    assert!(listed.commands.len() >= 10, "{}", listed.commands.len());
    let one = http::get(gateway.port(Tier::Emergency), &format!("{PATH}/{}", id(7)));
    let one: CommandDocument = serde_json::from_str(&one.body).unwrap();
    assert_eq!(one.verified_by.as_deref(), Some("service response"));
    // What has spent its time to live on the way is not done, and stays so.
    let mut late = count_call(50);
    late["sent_ns"] = json!(1);
    for port in &ports[..2] {
        let (status, answer) = send(*port, &late).unwrap();
        assert_eq!((status, &answer["state"]), (200, &json!("expired")), "{answer}");
        late["sent_ns"] = Value::Null;
    }
}

#[test]
fn what_is_not_valid_does_nothing() {
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let port = gateway.first_port();
    let twist = |x: Value| json!({"linear": {"x": x}});
    let whole = |n: usize, change: Value| {
        let mut command = json!({"id": id(n), "kind": "publish", "target": "/cmd_vel",
            "type": "geometry_msgs/msg/Twist", "body": twist(json!(0.1))});
        for (key, value) in change.as_object().unwrap() {
            command[key] = value.clone();
        }
        command
    };
    eventually("the holders are known", PATIENCE, || {
        send(port, &whole(1, json!({}))).is_some_and(|(status, _)| status == 200)
    });
    for (n, (change, expected, word)) in [
        (json!({"id": "7"}), 422, "id: "),
        (json!({"ttl_ms": 0}), 422, "ttl_ms: "),
        (json!({"ttl_ms": 86_400_000}), 422, "ttl_ms: "),
        (json!({"target": "cmd_vel"}), 422, "target: "),
        (json!({"target": "/nowhere", "type": ""}), 404, "type: "),
        (json!({"type": "geometry_msgs/msg/Pose"}), 409, "linear"),
        (json!({"body": twist(json!("fast"))}), 409, "linear.x"),
        (json!({"body": {"speed": 1}}), 409, "speed"),
        (json!({"kind": "fly"}), 422, "fly"),
        (json!({"extra": 1}), 422, "extra"),
        (json!({"token": 5}), 409, "token 5"),
        (json!({"client": "somebody else"}), 409, "held by"),
        (json!({"kind": "cancel", "body": {}}), 404, "target: "),
    ]
    .into_iter()
    .enumerate()
    {
        // The authority is kept by commanding.
        assert_eq!(send(port, &whole(200 + n, json!({}))).unwrap().0, 200);
        let (status, answer) = send(port, &whole(100 + n, change.clone())).unwrap();
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(status, expected, "{change}: {answer}");
        assert!(detail.contains(word), "{change}: {detail}");
        let known = http::get(port, &format!("{PATH}/{}", id(100 + n)));
        assert_eq!(known.status, 404, "{change} is not in the journal");
    }
    let (status, answer) = send(port, &whole(1, json!({"body": twist(json!(0.2))}))).unwrap();
    assert_eq!(status, 409, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("used for another command"), "{answer}");
}

#[test]
fn one_trace_leads_through_a_relay_to_the_service_and_back() {
    let python = require!(python());
    let rover = Gateway::up(&["--source", "dds", "--domain-id", "101"]);
    let _robot = robot(&python, "101");
    wait_reachable(&rover, 900_000);
    let urls = rover.urls().join(",");
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &urls]);
    let call = || {
        let mut command = std::process::Command::new(binary::bin("roverline"));
        gateway::clean_environment(&mut command);
        command.args(["call", "/robot/count", "--type", "std_srvs/srv/Trigger", "--json"]);
        let output = command.args(["--url"]).arg(&relay.urls()[0]).output().unwrap();
        serde_json::from_slice::<CommandDocument>(&output.stdout).ok()
    };
    let done = poll(PATIENCE, || call().filter(|done| done.state == CommandState::Verified)).unwrap();
    assert_eq!(done.verified_by.as_deref(), Some("service response"));
    assert!(
        done.client.starts_with("127.0.0.1 ("),
        "the rover knows who is behind the relay: {}",
        done.client
    );
    let path = format!("/api/v2/traces/{}", done.trace_id.unwrap());
    let names = ["POST /api/v2/commands", "/robot/count"];
    let trace: TraceDocument = poll(PATIENCE, || {
        let trace: TraceDocument = serde_json::from_str(&http::get(relay.first_port(), &path).body).ok()?;
        let services: BTreeSet<&str> = trace.spans.iter().map(|span| span.service.as_str()).collect();
        let has_all = names.iter().all(|name| trace.spans.iter().any(|span| span.name == *name));
        (has_all && ["relay", "primary"].iter().all(|service| services.contains(service))).then_some(trace)
    })
    .unwrap();
    // Client, relay, the relay's link, rover, service: each within the one before it.
    let mut span = trace.spans.iter().find(|span| span.name == "/robot/count").unwrap();
    let mut chain = vec![format!("{} {}", span.service, span.name)];
    while let Some(parent) =
        trace.spans.iter().find(|other| Some(&other.span_id) == span.parent_span_id.as_ref())
    {
        assert!(parent.duration_ns >= span.duration_ns, "{trace:?}");
        span = parent;
        chain.push(format!("{} {}", span.service, span.name));
    }
    assert!(chain.len() >= 4 && chain.iter().any(|step| step.starts_with("relay ")), "{chain:?}");
}
