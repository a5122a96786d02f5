//! Commands: each is done once by the rover, at whichever endpoint and however often it is sent, while endpoints die; and what
//! is not valid does nothing. The rover is a robot on CycloneDDS, whose service counts its calls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::api::commands::{CommandDocument, CommandList, CommandState};
use roverline_protocol::api::traces::TraceDocument;
use roverline_tests::clients::python;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::process::{self, Signal};
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

/// What became of many commands that were each sent several times.
#[derive(Debug, Default)]
struct Tally {
    sent: usize,
    verified: usize,
    /// The rover may have done it; the client was told so.
    unknown: usize,
    expired: usize,
    refused: usize,
    without_answer: usize,
    /// Calls that the rover received for commands of which a client has a number.
    numbers: BTreeMap<String, BTreeSet<String>>,
}

impl Tally {
    /// Commands of which two repetitions have different answers: the rover did them twice.
    fn done_twice(&self) -> usize {
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for numbers in self.numbers.values() {
            numbers.iter().for_each(|number| *owners.entry(number).or_default() += 1);
        }
        let shared = owners.values().filter(|owners| **owners > 1).count();
        self.numbers.values().filter(|numbers| numbers.len() > 1).count() + shared
    }
}

/// Sends a command to one endpoint after the other until there is an answer that says what became of it.
fn until_answered(ports: &[u16], n: usize) -> Option<CommandDocument> {
    let end = Instant::now() + GIVE_UP;
    let mut at = fastrand(n);
    while Instant::now() < end {
        let port = ports[at % ports.len()];
        at += 1;
        match send(port, &count_call(n)) {
            Some((200..=202, answer)) => return serde_json::from_value(answer).ok(),
            // Down, away, or not its scope: the next one.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    None
}

/// A number that scatters.
fn fastrand(n: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9) >> 7
}

/// Sends commands, each by two clients that repeat it at random endpoints, while `break_it` does its worst.
fn campaign(gateway: &Gateway, first: usize, count: usize, break_it: impl Fn(usize) + Sync) -> Tally {
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let next = AtomicUsize::new(0);
    let tally = parking(Tally { sent: count, ..Tally::default() });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    // Neighbours are the same command.
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count * 2 {
                        return;
                    }
                    let n = first + at / 2;
                    if at.is_multiple_of(2) {
                        break_it(at / 2);
                    }
                    let answer = until_answered(&ports, n);
                    let mut tally = tally.lock().unwrap();
                    let Some(answer) = answer else {
                        tally.without_answer += 1;
                        continue;
                    };
                    match answer.state {
                        CommandState::Verified => {
                            let number = answer.result.unwrap()["message"].as_str().unwrap().to_owned();
                            let is_first = tally.numbers.entry(answer.id).or_default().insert(number);
                            tally.verified += usize::from(is_first);
                        }
                        CommandState::Expired => tally.expired += 1,
                        _ if answer.reason.is_some_and(|why| why.contains("may have been done")) => {
                            tally.unknown += 1
                        }
                        _ => tally.refused += 1,
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn parking<T>(value: T) -> std::sync::Mutex<T> {
    std::sync::Mutex::new(value)
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
fn each_is_done_once_while_endpoints_are_killed() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "100"]);
    let _robot = robot(&python, "100");
    wait_reachable(&gateway, 900_000);
    let tally = campaign(&gateway, 0, 60, |turn| {
        if turn == 20 || turn == 40 {
            process::signal(gateway.endpoint_pid(Tier::Secondary), Signal::KILL);
        }
        if turn == 30
            && let Some(status) = poll(PATIENCE, || Some(http::status(gateway.port(Tier::Primary))))
        {
            process::signal(status.pid, Signal::KILL);
        }
    });
    assert_eq!((tally.done_twice(), tally.without_answer, tally.expired), (0, 0, 0), "{tally:?}");
    assert!(tally.verified >= 50, "{tally:?}");
    let listed = http::get(gateway.port(Tier::Tertiary), "/api/v2/commands?state=verified");
    let listed: CommandList = serde_json::from_str(&listed.body).unwrap();
    assert!(listed.commands.len() >= 50, "{}", listed.commands.len());
    let one = http::get(gateway.port(Tier::Emergency), &format!("{PATH}/{}", id(7)));
    let one: CommandDocument = serde_json::from_str(&one.body).unwrap();
    assert_eq!(one.verified_by.as_deref(), Some("service response"));
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

/// Prints what became of many commands under each fault. `scripts/faults commands` runs it.
#[test]
#[ignore = "takes a quarter of an hour"]
fn figures_of_commands() {
    let python = require!(python());
    let count: usize = std::env::var("COMMANDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    println!(
        "{:<18} {:>6} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8}",
        "fault", "sent", "done once", "unknown", "twice", "no answ.", "late", "refused"
    );
    for (at, fault) in ["none", "kill -9", "SIGSTOP", "rolling restart", "store away"].into_iter().enumerate()
    {
        let domain = (102 + at).to_string();
        let gateway = Gateway::up(&["--source", "dds", "--domain-id", &domain]);
        let _robot = robot(&python, &domain);
        wait_reachable(&gateway, 900_000);
        let every = (count / 10).max(10);
        let tally = campaign(&gateway, 0, count, |turn| {
            if turn % every == every / 2 {
                break_with(&gateway, fault, turn / every);
            }
        });
        println!(
            "{fault:<18} {:>6} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8}",
            tally.sent,
            tally.verified,
            tally.unknown,
            tally.done_twice(),
            tally.without_answer,
            0,
            tally.refused
        );
        assert_eq!((tally.done_twice(), tally.without_answer), (0, 0), "{tally:?}");
    }
}

fn break_with(gateway: &Gateway, fault: &str, n: usize) {
    let tier = Tier::ALL[n % 2];
    let pid = || http::status(gateway.port(tier)).pid;
    match fault {
        "kill -9" => process::signal(pid(), Signal::KILL),
        "SIGSTOP" => {
            let pid = pid();
            process::signal(pid, Signal::STOP);
            std::thread::sleep(Duration::from_millis(800));
            process::resume(&[pid]);
        }
        "rolling restart" => {
            let state = gateway.state().to_str().unwrap().to_owned();
            let (_, _, error) =
                gateway::run(&["restart", "--rolling", "--state", &state], Duration::from_secs(60));
            assert!(!error.contains("error"), "{error}");
        }
        "store away" => {
            let store = gateway.state().join("store");
            let aside = gateway.state().join("aside");
            if std::fs::rename(&store, &aside).is_ok() {
                std::thread::sleep(Duration::from_millis(1_500));
                let _ = std::fs::remove_dir_all(&store);
                std::fs::rename(&aside, &store).unwrap();
            }
        }
        _ => {}
    }
}
