//! The export of traces by OTLP, as a collector with OpenTelemetry's own messages receives it. Needs
//! `scripts/setup-clients`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use roverline_client::{Config, Event, Link};
use roverline_protocol::Tier;
use roverline_protocol::api::commands::{CommandDocument, CommandState};
use roverline_protocol::api::traces::{SpanDocument, TraceDocument, TraceList};
use roverline_tests::binary;
use roverline_tests::certs::Certs;
use roverline_tests::clients::{otlp_python, python};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::script::Script;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, poll};
use roverline_tests::{http, require};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where commands are sent.
const PATH: &str = "/api/v2/commands";
/// The example of the recommendation.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// Spans that the collector's pipe may hold until the test looks.
const RECEIVED_SPANS: usize = 10_000;

/// A collector: its address, and the spans that it receives.
struct Collector {
    url: String,
    lines: Receiver<Value>,
    spans: Vec<Value>,
}

impl Collector {
    fn start(python: &Path) -> Collector {
        Collector::start_with(python, "http://127.0.0.1", &[])
    }

    /// One with the certificate of localhost.
    fn start_tls(python: &Path, certs: &Certs) -> Collector {
        let files = [certs.file("localhost.crt"), certs.file("localhost.key")];
        Collector::start_with(python, "https://localhost", &files)
    }

    fn start_with(python: &Path, host: &str, args: &[String]) -> Collector {
        let mut script = Script::start(python, "otlp_collector.py", args);
        let url = format!("{host}:{}/v1/traces", script.line()["port"]);
        let (sender, lines) = sync_channel(RECEIVED_SPANS);
        std::thread::spawn(move || while sender.send(script.line()).is_ok() {});
        Collector { url, lines, spans: Vec::new() }
    }

    /// Its spans of a trace, once there are as many as `count`.
    fn trace(&mut self, id: &str, count: usize) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let of_trace: Vec<_> = self.spans.iter().filter(|span| span["trace_id"] == id).cloned().collect();
            if of_trace.len() >= count {
                return of_trace;
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(span) => self.spans.push(span),
                Err(_) => panic!("{} of {count} spans of {id}: {:#?}", of_trace.len(), self.spans),
            }
        }
    }
}

/// A file with a header field.
fn headers_file(folder: &TempDir) -> PathBuf {
    let path = temp::write(folder, "headers", "X-Team: 5ec2e7\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// What the API has of a trace, once all its spans have ended.
fn trace(gateway: &Gateway, id: &str, count: usize) -> Vec<SpanDocument> {
    let whole = poll(PATIENCE, || {
        let response = http::get(gateway.port(Tier::Primary), &format!("/api/v2/traces/{id}"));
        let trace: TraceDocument = serde_json::from_str(&response.body).ok()?;
        let has_ended = trace.spans.iter().all(|span| span.duration_ns.is_some());
        (has_ended && trace.spans.len() >= count).then_some(trace.spans)
    });
    whole.unwrap_or_else(|| panic!("no {count} spans of {id}"))
}

/// The attributes of a span as OTLP has them: texts, but for those that are integers in the conventions.
fn attributes(span: &SpanDocument) -> Value {
    let integers = ["http.response.status_code", "messaging.message.body.size", "roverline.clock_error_ns"];
    let mut attributes: serde_json::Map<String, Value> = Default::default();
    for (key, value) in &span.attributes {
        let value = match integers.contains(&key.as_str()) {
            true => json!({"int_value": value.parse::<i64>().unwrap()}),
            false => json!({"string_value": value}),
        };
        attributes.insert(key.clone(), value);
    }
    if let Some(by) = &span.reported_by {
        attributes.insert("roverline.reported_by".to_owned(), json!({"string_value": by}));
    }
    attributes.into()
}

/// Both have the same spans.
fn assert_same(exported: &[Value], shown: &[SpanDocument]) {
    assert_eq!(exported.len(), shown.len(), "{exported:#?} {shown:#?}");
    for span in shown {
        let found = exported.iter().find(|other| other["span_id"] == span.span_id.as_str());
        let found = found.unwrap_or_else(|| panic!("{span:?} is not in {exported:#?}"));
        assert_eq!(found["parent_span_id"].as_str(), span.parent_span_id.as_deref(), "{found}");
        assert_eq!(found["name"], span.name.as_str());
        let kind = serde_json::to_value(span.kind).unwrap().as_str().unwrap().to_uppercase();
        assert_eq!(found["kind"], format!("SPAN_KIND_{kind}"));
        assert_eq!(found["start_ns"], span.start_ns, "{found}");
        assert_eq!(found["duration_ns"].as_u64(), span.duration_ns, "{found}");
        assert_eq!(found["attributes"], attributes(span));
        assert_eq!(found["scope"], json!(["roverline", env!("CARGO_PKG_VERSION")]));
        assert_eq!((&found["path"], &found["team"]), (&json!("/v1/traces"), &json!("5ec2e7")));
        assert_eq!(found["content_type"], "application/x-protobuf");
        let service = if span.reported_by.is_some() { "roverline-client" } else { "roverline-gateway" };
        assert_eq!(found["resource"]["service.name"]["string_value"], service);
        if span.reported_by.is_none() {
            let instance = found["resource"]["service.instance.id"]["string_value"].as_str().unwrap();
            assert!(instance.starts_with(&format!("{}@", span.service)), "{instance}");
            assert!(found["resource"]["process.pid"]["int_value"].as_u64().is_some());
        }
    }
}

#[tokio::test]
async fn a_foreign_collector_receives_what_the_api_shows() {
    let python = require!(otlp_python());
    let mut collector = Collector::start(&python);
    let folder = temp::dir();
    let file = headers_file(&folder);
    let rover = Gateway::up(&[
        "--source",
        "sim",
        "--otlp",
        &collector.url,
        "--otlp-headers-file",
        file.to_str().unwrap(),
    ]);
    // Over HTTP, as part of the caller's trace.
    let fields = format!("Content-Type: application/json\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n");
    let body = r#"{"client": "bob", "mode": "exclusive", "ttl_ms": 30000}"#;
    let path = "/api/v2/locks/drill/acquire";
    let acquired = http::request(rover.port(Tier::Secondary), "POST", path, &fields, body);
    assert_eq!(acquired.status, 200, "{}", acquired.body);
    let shown = trace(&rover, TRACE, 2);
    assert_eq!(shown[0].parent_span_id.as_deref(), Some(PARENT));
    assert_same(&collector.trace(TRACE, shown.len()), &shown);
    // By the client library, whose span the endpoint gets before the link is closed.
    let (link, mut events) = Link::open(Config::with_urls(&rover.urls()).unwrap().without_hysteresis());
    let body = json!({"client": "ann", "mode": "exclusive", "ttl_ms": 30_000});
    let asked = link.request("POST", "/api/v2/locks/arm/acquire", Some(body));
    loop {
        match events.next().await.unwrap() {
            Event::Response { id, status, body } if id == asked => break assert_eq!(status, 200, "{body}"),
            _ => {}
        }
    }
    link.close(events).await;
    let list = http::get(rover.port(Tier::Primary), "/api/v2/traces?name=locks/arm/acquire").body;
    let list: TraceList = serde_json::from_str(&list).unwrap();
    let [summary] = &list.traces[..] else { panic!("{list:#?}") };
    let shown = trace(&rover, &summary.trace_id, 3);
    assert!(shown.iter().any(|span| span.reported_by.is_some()), "{shown:#?}");
    assert_same(&collector.trace(&summary.trace_id, shown.len()), &shown);
    // A failed request.
    assert_eq!(http::get(rover.port(Tier::Primary), "/api/v2/kv/none").status, 404);
    assert_no_secret(&rover);
}

/// A gateway whose traces are exported with the header field of `assert_same`.
fn exported(collector: &Collector, headers: &Path, mut command: Command, args: &[&str]) -> Gateway {
    command.args(["--otlp", &collector.url, "--otlp-headers-file"]).arg(headers);
    Gateway::start(command, args)
}

#[test]
fn the_way_through_a_relay_to_a_service_is_exported_as_it_is_shown() {
    let (python, dds) = (require!(otlp_python()), require!(python()));
    let mut collector = Collector::start(&python);
    let folder = temp::dir();
    let headers = headers_file(&folder);
    let up = gateway::command(&["up", "--base-port", "0"]);
    let rover = exported(&collector, &headers, up, &["--source", "dds", "--domain-id", "109"]);
    let mut robot = Script::start(&dds, "dds_robot.py", &["--domain", "109", "--seconds", "600"]);
    assert_eq!(robot.line()["ready"], true);
    let relay = gateway::command(&["relay", "--base-port", "0"]);
    let relay = exported(&collector, &headers, relay, &["--upstream", &rover.urls().join(",")]);
    let call = || {
        let mut command = Command::new(binary::bin("roverline"));
        gateway::clean_environment(&mut command);
        command.args(["call", "/robot/count", "--type", "std_srvs/srv/Trigger", "--json", "--url"]);
        let output = command.arg(&relay.urls()[0]).output().unwrap();
        serde_json::from_slice::<CommandDocument>(&output.stdout).ok()
    };
    let done = poll(PATIENCE, || call().filter(|done| done.state == CommandState::Verified)).unwrap();
    let id = done.trace_id.unwrap();
    let shown = poll(PATIENCE, || {
        let response = http::get(relay.port(Tier::Primary), &format!("/api/v2/traces/{id}"));
        let trace: TraceDocument = serde_json::from_str(&response.body).ok()?;
        let of = |service: &str, name: &str| {
            trace.spans.iter().any(|span| span.service == service && span.name.ends_with(name))
        };
        let has_ended = trace.spans.iter().all(|span| span.duration_ns.is_some());
        (has_ended && of("client", PATH) && of("relay", PATH) && of("primary", "/robot/count"))
            .then_some(trace.spans)
    });
    let shown = shown.unwrap();
    assert_same(&collector.trace(&id, shown.len()), &shown);
}

#[test]
fn the_way_of_a_sample_is_exported_as_it_is_shown() {
    let python = require!(otlp_python());
    let mut collector = Collector::start(&python);
    let folder = temp::dir();
    let headers = headers_file(&folder);
    let serve = gateway::command(&["up", "--base-port", "0"]);
    let rover = exported(&collector, &headers, serve, &["--source", "sim"]);
    let mut echo = Command::new(binary::bin("roverline"));
    gateway::clean_environment(&mut echo);
    echo.args(["echo", "/imu/data", "--count", "2000"]).arg(&rover.urls()[0]);
    let mut echo = echo.stdout(Stdio::null()).spawn().unwrap();
    let whole = poll(PATIENCE, || {
        let body = http::get(rover.port(Tier::Primary), "/api/v2/traces?topic=/imu/data&local=true").body;
        let list: TraceList = serde_json::from_str(&body).ok()?;
        list.traces.into_iter().find(|trace| trace.spans >= 10)
    });
    let id = whole.unwrap().trace_id;
    let shown = trace(&rover, &id, 10);
    let exported = collector.trace(&id, shown.len());
    echo.kill().unwrap();
    echo.wait().unwrap();
    assert_same(&exported, &shown);
    let root = shown.iter().find(|span| span.parent_span_id.is_none()).unwrap();
    let stages = shown.iter().filter(|span| span.parent_span_id.as_ref() == Some(&root.span_id));
    assert!(stages.count() >= 9, "{shown:#?}");
}

/// Nothing that an endpoint shows has the header's value.
fn assert_no_secret(gateway: &Gateway) {
    for path in ["/metrics", "/status", "/health"] {
        assert!(!http::get(gateway.port(Tier::Primary), path).body.contains("5ec2e7"), "{path}");
    }
    for file in std::fs::read_dir(gateway.state().join("log")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("5ec2e7"), "{text}");
    }
}

#[test]
fn a_process_that_ends_exports_its_last_spans() {
    let python = require!(otlp_python());
    let mut collector = Collector::start(&python);
    let rover = Gateway::serve(&["--source", "sim", "--otlp", &collector.url, "--tier", "primary"]);
    // The export has begun; what follows comes within its interval.
    eventually("the first spans are exported", PATIENCE, || {
        http::get(rover.first_port(), "/api/v2/kv");
        http::get(rover.first_port(), "/metrics").body.contains("spans_total{result=\"accepted\"} ")
            && !http::get(rover.first_port(), "/metrics")
                .body
                .contains("spans_total{result=\"accepted\"} 0\n")
    });
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    assert_eq!(http::request(rover.first_port(), "GET", "/api/v2/kv", &fields, "").status, 200);
    drop(rover);
    assert!(!collector.trace(TRACE, 1).is_empty());
}

#[test]
fn a_collector_with_tls_must_be_certified() {
    let python = require!(otlp_python());
    let (certs, others) = (Certs::with_node("localhost"), Certs::with_node("localhost"));
    let mut collector = Collector::start_tls(&python, &certs);
    let folder = temp::dir();
    let rover = |ca: String| {
        let text = format!("[trace]\notlp = {:?}\notlp_ca = {ca:?}\n", collector.url);
        let file = temp::write(&folder, "roverline.toml", &text).display().to_string();
        Gateway::serve(&["--source", "sim", "--tier", "primary", "--config", &file])
    };
    let (good, bad) = (rover(certs.file("ca.crt")), rover(others.file("ca.crt")));
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    for rover in [&bad, &good] {
        assert_eq!(http::request(rover.first_port(), "GET", "/api/v2/kv", &fields, "").status, 200);
    }
    let shown = trace(&good, TRACE, 1);
    assert_eq!(collector.trace(TRACE, shown.len()).len(), shown.len());
    eventually("the certificate of another authority is not trusted", PATIENCE, || {
        let metrics = http::get(bad.first_port(), "/metrics").body;
        !metrics.contains("roverline_trace_export_failures_total 0\n")
            && metrics.contains("roverline_trace_export_spans_total{result=\"accepted\"} 0\n")
    });
}

#[test]
fn what_cannot_be_exported_is_said_at_the_start() {
    let folder = temp::dir();
    let open = temp::write(&folder, "open", "a: 5ec2e7\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = open.display().to_string();
    let url = "http://127.0.0.1:4318/v1/traces";
    let no_ca = temp::write(&folder, "ca.toml", "[trace]\notlp_ca = \"ca.pem\"\n").display().to_string();
    for (args, expected) in [
        (vec!["--otlp", "collector:4318"], "otlp: 'collector:4318'"),
        (vec!["--otlp", "https://collector/v1/traces"], "otlp: https needs"),
        (vec!["--otlp", url, "--config", &no_ca], "otlp_ca: otlp has no certificate"),
        (vec!["--otlp", url, "--otlp-headers-file", "/nowhere"], "otlp_headers_file: cannot read /nowhere"),
        (vec!["--otlp", url, "--otlp-headers-file", &open], "otlp_headers_file: others may read"),
    ] {
        for command in ["up", "serve"] {
            let port = ["--port", "0"];
            let port = if command == "serve" { &port[..] } else { &["--base-port", "0"][..] };
            let state = folder.path().join("state").display().to_string();
            let all = [&[command, "--source", "sim", "--state", &state][..], port, &args].concat();
            let (code, _, stderr) = gateway::run(&all, PATIENCE);
            assert_eq!(code, 2, "{all:?}: {stderr}");
            assert!(stderr.contains(expected) && !stderr.contains("5ec2e7"), "{stderr}");
        }
    }
}
