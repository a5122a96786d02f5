//! Traces: what a request caused, from the client through endpoints, relay, store and services, as `/api/v2/traces`
//! and `roverline traces` show it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use roverline_client::{Config, Event, Link};
use roverline_protocol::Tier;
use roverline_protocol::api::traces::{SpanDocument, SpanStatus, TraceDocument, TraceList};
use roverline_protocol::native::ClientMessage;
use roverline_tests::gateway::{self, Gateway, clean_environment};
use roverline_tests::native::NativeClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{eventually, poll};
use roverline_tests::{binary, http};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);
/// The example of the recommendation.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

fn rover() -> Gateway {
    Gateway::up(&["--source", "sim"])
}

/// A trace as an endpoint puts it together.
fn trace(gateway: &Gateway, tier: Tier, id: &str) -> Option<TraceDocument> {
    let response = http::get(gateway.port(tier), &format!("/api/v2/traces/{id}"));
    serde_json::from_str(&response.body).ok()
}

fn list(gateway: &Gateway, query: &str) -> TraceList {
    let response = http::get(gateway.port(Tier::Primary), &format!("/api/v2/traces{query}"));
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.body))
}

fn named<'a>(trace: &'a TraceDocument, name: &str) -> &'a SpanDocument {
    let found = trace.spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {:#?}", trace.spans))
}

/// Runs `roverline` until it exits: exit code, standard output.
fn roverline(gateway: &Gateway, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(binary::bin("roverline"));
    clean_environment(&mut command);
    command.args(args).env("HOME", gateway.state()).env_remove("XDG_STATE_HOME");
    command.env("ROVERLINE_ENDPOINTS", gateway.urls().join(","));
    let output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_request_continues_the_trace_of_its_client() {
    let rover = rover();
    let secondary = rover.port(Tier::Secondary);
    let fields = format!("Content-Type: application/json\r\ntraceparent: {}\r\n", traceparent());
    let put = http::request(secondary, "PUT", "/api/v2/kv/goal?x=1", &fields, r#"{"value": 1}"#);
    assert_eq!(put.status, 400, "{}", put.body);
    let problem: Value = serde_json::from_str(&put.body).unwrap();
    assert_eq!(problem["trace_id"], TRACE, "{problem}");
    let put = http::request(secondary, "PUT", "/api/v2/kv/goal", &fields, r#"{"value": 1}"#);
    assert_eq!(put.status, 200, "{}", put.body);
    let answer = put.header("traceresponse").unwrap().to_owned();
    assert!(answer.starts_with(&format!("00-{TRACE}-")), "{answer}");
    // Another endpoint asks the one that has it.
    let whole =
        poll(PATIENCE, || trace(&rover, Tier::Emergency, TRACE).filter(|t| t.spans.len() >= 3)).unwrap();
    assert_eq!(whole.unreachable, []);
    let requests: Vec<_> = whole.spans.iter().filter(|span| span.name == "PUT /api/v2/kv/{key}").collect();
    assert_eq!(requests.len(), 2, "{whole:#?}");
    assert!(requests.iter().all(|span| span.parent_span_id.as_deref() == Some(PARENT)));
    assert_eq!(requests[1].service, "secondary");
    assert_eq!(requests[1].attributes["url.path"], "/api/v2/kv/goal", "without the query");
    assert_eq!(requests[1].attributes["http.response.status_code"], "200");
    let store = named(&whole, "sqlite txn");
    assert_eq!(store.parent_span_id.as_deref(), Some(requests[1].span_id.as_str()));
    assert!(store.duration_ns <= requests[1].duration_ns);
    assert_eq!(http::get(secondary, "/api/v2/traces/nonsense").status, 404);
    assert_eq!(http::get(secondary, "/api/v2/traces?limit=0").status, 400);
}

#[test]
fn a_header_that_is_none_begins_a_new_trace() {
    let rover = rover();
    let port = rover.port(Tier::Primary);
    for bad in ["", "junk", "00-00000000000000000000000000000000-b7ad6b7169203331-01", &"9".repeat(3_000)] {
        let fields = format!("traceparent: {bad}\r\n");
        let answer = http::request(port, "GET", "/api/v2/kv", &fields, "");
        assert_eq!(answer.status, 200, "{bad}");
        let context = answer.header("traceresponse").unwrap().to_owned();
        assert!(context.parse::<roverline_protocol::trace::TraceContext>().is_ok(), "{context}");
    }
    let metrics = http::get(port, "/metrics").body;
    assert!(metrics.contains("\nroverline_trace_invalid_contexts_total 4\n"), "{metrics}");
    assert_eq!(list(&rover, "?name=kv&local=true").total, 4);
}

#[tokio::test]
async fn a_command_is_one_trace_with_its_client_and_the_store() {
    let rover = rover();
    let (link, mut events) = Link::open(Config::with_urls(&rover.urls()).unwrap());
    let body = json!({"client": "ann", "mode": "exclusive", "ttl_ms": 30_000});
    let asked = link.request("POST", "/api/v2/locks/arm/acquire", Some(body));
    loop {
        match events.next().await.unwrap() {
            Event::Response { id, status, body } if id == asked => break assert_eq!(status, 200, "{body}"),
            _ => {}
        }
    }
    let found = poll(PATIENCE, || {
        let list = list(&rover, "?name=acquire");
        list.traces.into_iter().find(|trace| trace.spans >= 4)
    });
    let summary = found.unwrap_or_else(|| panic!("{:#?}", list(&rover, "")));
    let whole = trace(&rover, Tier::Primary, &summary.trace_id).unwrap();
    let client = named(&whole, "POST /api/v2/locks/arm/acquire");
    assert_eq!((client.service.as_str(), client.parent_span_id.as_deref()), ("client", None));
    assert!(client.reported_by.is_some() && client.attributes.contains_key("roverline.clock_error_ns"));
    let request = named(&whole, "POST /api/v2/locks/{resource}/acquire");
    assert_eq!(request.parent_span_id.as_deref(), Some(client.span_id.as_str()));
    assert!(request.duration_ns < client.duration_ns, "{whole:#?}");
    assert_eq!(named(&whole, "sqlite txn").parent_span_id.as_deref(), Some(request.span_id.as_str()));
    // As a table, and as a tree.
    let (_, table) = roverline(&rover, &["traces", "--name", "acquire"]);
    assert!(table.contains(&summary.trace_id[..8]) && table.contains("client"), "{table}");
    let (code, tree) = roverline(&rover, &["traces", &summary.trace_id[..10]]);
    assert!(
        code == 0 && tree.lines().count() == whole.spans.len() + 1 && tree.contains("  sqlite txn"),
        "{tree}"
    );
    assert_eq!(roverline(&rover, &["traces", "ffffffffff"]).0, 1);
    let (_, slow) = roverline(&rover, &["traces", "--slow", "1h", "--json"]);
    assert_eq!(serde_json::from_str::<TraceList>(&slow).unwrap().traces, []);
}

#[test]
fn a_command_that_ends_leaves_its_span() {
    let rover = rover();
    for run in 0..20 {
        let resource = format!("arm{run}");
        assert_eq!(roverline(&rover, &["locks", "acquire", &resource]).0, 0);
        // At once: nothing is under way any more.
        let list = list(&rover, &format!("?attribute=/api/v2/locks/{resource}/acquire"));
        let [summary] = &list.traces[..] else { panic!("{list:#?}") };
        let whole = trace(&rover, Tier::Primary, &summary.trace_id).unwrap();
        let client = whole.spans.iter().find(|span| span.service == "client");
        assert!(client.is_some_and(|span| span.parent_span_id.is_none()), "{run}: {whole:#?}");
    }
}

#[tokio::test]
async fn a_service_call_over_rosbridge_is_traced() {
    let rover = rover();
    let url = format!("ws://127.0.0.1:{}/rosbridge", rover.port(Tier::Primary));
    let (mut client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let call = json!({"op": "call_service", "id": "1", "service": "/autonomy/enable", "args": {"data": true},
        "traceparent": traceparent()});
    client.send(Message::text(call.to_string())).await.unwrap();
    while !client.next().await.unwrap().unwrap().to_text().unwrap_or_default().contains("service_response") {}
    let whole =
        poll(PATIENCE, || trace(&rover, Tier::Primary, TRACE).filter(|t| t.spans.len() == 2)).unwrap();
    let (call, ros) = (named(&whole, "call /autonomy/enable"), named(&whole, "/autonomy/enable"));
    assert_eq!(call.parent_span_id.as_deref(), Some(PARENT));
    assert_eq!(ros.parent_span_id.as_deref(), Some(call.span_id.as_str()));
    assert_eq!(ros.attributes["rpc.system.name"], "ros2");
}

#[test]
fn a_stop_is_followed_through_a_relay_to_every_endpoint() {
    let rover = rover();
    let urls = rover.urls().join(",");
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &urls]);
    eventually("the relay is connected", PATIENCE, || {
        let upstream = http::health(relay.port(Tier::Primary)).source.upstream;
        upstream.iter().filter(|one| ["active", "standby"].contains(&one.state.as_str())).count() == 4
    });
    assert_eq!(roverline(&relay, &["stop", "--reason", "test"]).0, 0);
    // A relay shares nothing: a failure.
    assert_eq!(http::get(relay.port(Tier::Primary), "/api/v2/kv").status, 503);
    let failed = list(&relay, "?errors=true").traces;
    assert!(failed.len() == 1 && failed[0].error, "{failed:#?}");
    let failed = trace(&relay, Tier::Emergency, &failed[0].trace_id).unwrap();
    let failed = named(&failed, "GET /api/v2/kv");
    assert_eq!((failed.status, failed.attributes["error.type"].as_str()), (SpanStatus::Error, "503"));
    let at_rover = poll(PATIENCE, || {
        let stops = list(&rover, "?name=emergency%20stop");
        stops.traces.into_iter().find(|trace| trace.spans >= 4)
    });
    let id = at_rover.unwrap_or_else(|| panic!("{:#?}", list(&rover, ""))).trace_id;
    let (rover_spans, relay_spans) =
        (trace(&rover, Tier::Primary, &id).unwrap().spans, trace(&relay, Tier::Primary, &id).unwrap().spans);
    let client = relay_spans.iter().find(|span| span.service == "client").unwrap();
    assert_eq!(client.parent_span_id, None);
    // The rover's spans are children of the relay's, and those of the client's.
    for span in &rover_spans {
        let parent = relay_spans.iter().find(|relay| Some(&relay.span_id) == span.parent_span_id.as_ref());
        let parent = parent.unwrap_or_else(|| panic!("{span:?} has no parent in {relay_spans:#?}"));
        assert_eq!(
            (parent.service.as_str(), parent.parent_span_id.as_ref()),
            ("relay", Some(&client.span_id))
        );
    }
}

#[tokio::test]
async fn a_request_that_has_not_ended_is_shown_until_its_process_is_gone() {
    let rover = rover();
    let secondary = rover.port(Tier::Secondary);
    let mut client = NativeClient::connect(secondary).await;
    let path = "/api/v2/queues/jobs/dequeue".to_owned();
    let body = Some(json!({"wait_ms": 25_000}));
    let (method, traceparent) = ("POST".to_owned(), Some(traceparent()));
    client.send(&ClientMessage::Request { id: 1, method, path, body, traceparent }).await;
    let open = |whole: &TraceDocument| whole.spans.iter().any(|span| span.duration_ns.is_none());
    let whole = poll(PATIENCE, || trace(&rover, Tier::Primary, TRACE).filter(open));
    let whole = whole.unwrap_or_else(|| panic!("{:#?}", list(&rover, "")));
    assert!(whole.spans.iter().all(|span| span.service == "secondary"), "{whole:#?}");
    assert!(list(&rover, "").traces.iter().any(|trace| trace.trace_id == TRACE && trace.unfinished));
    process::signal(rover.endpoint_pid(Tier::Secondary), Signal::KILL);
    eventually("the spans end with their process", PATIENCE, || {
        trace(&rover, Tier::Primary, TRACE).is_none()
    });
}

#[tokio::test]
async fn spans_of_a_client_are_bounded_and_marked() {
    let rover = rover();
    let mut client = NativeClient::connect(rover.port(Tier::Primary)).await;
    let span = json!({"context": traceparent(), "name": "a\u{1b}[2Jb", "start_ns": -1, "duration_ns": 5});
    for _ in 0..100 {
        let spans = serde_json::from_value(json!({"op": "spans", "spans": vec![span.clone(); 100]})).unwrap();
        client.send(&spans).await;
    }
    let refused = || {
        let metrics = http::get(rover.port(Tier::Primary), "/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("roverline_trace_refused_spans_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    eventually("ten thousand spans are judged", PATIENCE, || refused() >= 9_000.0);
    let whole = trace(&rover, Tier::Secondary, TRACE).unwrap();
    assert!(whole.spans.iter().all(|span| span.service == "client" && span.reported_by.is_some()));
    let (_, tree) = roverline(&rover, &["traces", TRACE]);
    assert!(tree.contains('b') && !tree.contains('\u{1b}'), "{tree}");
}

#[test]
fn traces_can_be_off() {
    let folder = roverline_tests::temp::dir();
    let file = roverline_tests::temp::write(&folder, "roverline.toml", "[trace]\nenabled = false\n");
    let rover = Gateway::up(&["--source", "sim", "--config", file.to_str().unwrap()]);
    let port = rover.port(Tier::Primary);
    let answer = http::request(port, "GET", "/api/v2/kv", &format!("traceparent: {}\r\n", traceparent()), "");
    assert_eq!((answer.status, answer.header("traceresponse")), (200, None));
    let off = http::get(port, "/api/v2/traces");
    assert!(off.status == 404 && off.body.contains("[trace] enabled"), "{}", off.body);
    assert_eq!(roverline(&rover, &["kv", "list"]).0, 0);
    let (_, status) = roverline(&rover, &["traces"]);
    assert_eq!(status, "");
}
