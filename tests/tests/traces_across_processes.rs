//! Traces of what several processes do together: a client's change of endpoints, a lock's handover, and a request whose
//! endpoint dies before it answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_client::{Config, Event, Events, Link, REQUEST_LOST};
use roverline_protocol::Tier;
use roverline_protocol::api::traces::{SpanStatus, TraceDocument, TraceList};
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::poll;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn rover() -> Gateway {
    Gateway::up(&["--source", "sim"])
}

fn get<T: serde::de::DeserializeOwned>(port: u16, path: &str) -> Option<T> {
    serde_json::from_str(&http::get(port, path).body).ok()
}

/// The newest trace with a span of this name, as the endpoint behind `port` puts it together.
fn newest(port: u16, name: &str) -> Option<TraceDocument> {
    let list: TraceList = get(port, &format!("/api/v2/traces?name={name}"))?;
    get(port, &format!("/api/v2/traces/{}", list.traces.first()?.trace_id))
}

async fn until(events: &mut Events, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let event = tokio::time::timeout_at(end, events.next()).await.unwrap().unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn a_change_of_endpoints_is_a_trace_and_its_event_says_which() {
    let rover = rover();
    let (link, mut events) = Link::open(Config::with_urls(&rover.urls()).unwrap());
    link.subscribe("/imu/data", None);
    until(&mut events, |event| matches!(event, Event::Sample(_))).await;
    // A standby needs a session before it can take over.
    let standby = |event: &Event| match event {
        Event::Endpoints(views) => views.iter().filter(|view| view.clock_offset_s.is_some()).count() >= 2,
        _ => false,
    };
    until(&mut events, standby).await;
    process::signal(rover.endpoint_pid(Tier::Primary), Signal::KILL);
    let switched =
        until(&mut events, |event| matches!(event, Event::Failover(view) if view.from.is_some())).await;
    let port = rover.port(Tier::Emergency);
    let trace = poll(PATIENCE, || newest(port, "failover").filter(|trace| trace.spans.len() >= 3));
    let trace = trace.unwrap_or_else(|| panic!("no trace of {switched:?}"));
    let span = |name: &str| {
        let found = trace.spans.iter().find(|span| span.name.starts_with(name) && span.service == "client");
        found.unwrap_or_else(|| panic!("no {name} in {trace:#?}"))
    };
    let (whole, resume) = (span("failover"), span("resume"));
    assert_eq!(resume.parent_span_id.as_ref(), Some(&whole.span_id));
    assert!(resume.duration_ns <= whole.duration_ns, "{trace:#?}");
    let at_endpoint = trace.spans.iter().find(|span| span.name == "resume" && span.service != "client");
    assert_eq!(at_endpoint.unwrap().parent_span_id.as_ref(), Some(&resume.span_id), "{trace:#?}");
    // Whichever endpoint has the event.
    let events_say = poll(PATIENCE, || {
        Tier::ALL.iter().find_map(|tier| {
            let status: Value = get(rover.port(*tier), "/status")?;
            let events = status["events"].as_array()?.clone();
            events.into_iter().find(|event| event["trace_id"] == trace.trace_id.as_str())
        })
    });
    assert_eq!(events_say.unwrap()["kind"], "failover");
}

#[tokio::test]
async fn a_handover_is_one_trace_at_two_endpoints() {
    let rover = rover();
    let (primary, secondary) = (rover.port(Tier::Primary), rover.port(Tier::Secondary));
    let post = |port: u16, path: &str, body: &Value| {
        http::request(port, "POST", path, "Content-Type: application/json\r\n", &body.to_string())
    };
    let take = json!({"client": "ann", "mode": "exclusive", "ttl_ms": 30_000});
    assert_eq!(post(secondary, "/api/v2/locks/arm/acquire", &take).status, 200);
    let ask = json!({"client": "bob", "message": "the poles", "ttl_ms": 30_000, "wait_ms": 10_000});
    let asking = std::thread::spawn(move || {
        let body = ask.to_string();
        http::request(
            primary,
            "POST",
            "/api/v2/locks/arm/handover",
            "Content-Type: application/json\r\n",
            &body,
        )
    });
    let grant = json!({"holder": "ann", "client": "bob", "grant": true});
    let granted = poll(PATIENCE, || {
        Some(post(secondary, "/api/v2/locks/arm/handover/answer", &grant))
            .filter(|answer| answer.status == 200)
    });
    assert!(granted.is_some());
    assert_eq!(asking.join().unwrap().status, 200);
    let trace = poll(PATIENCE, || newest(rover.port(Tier::Tertiary), "handover%20granted")).unwrap();
    let named = |name: &str| trace.spans.iter().find(|span| span.name == name).unwrap();
    let (request, answer) = (named("POST /api/v2/locks/{resource}/handover"), named("handover granted"));
    assert_eq!((request.service.as_str(), answer.service.as_str()), ("primary", "secondary"));
    assert_eq!(answer.parent_span_id.as_ref(), Some(&request.span_id));
    assert_eq!(answer.attributes["roverline.lock"], "arm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_endpoint_dies_is_shown_as_failed() {
    let rover = rover();
    let take = json!({"client": "ann", "mode": "exclusive", "ttl_ms": 60_000});
    let held = http::request(
        rover.port(Tier::Secondary),
        "POST",
        "/api/v2/locks/arm/acquire",
        "Content-Type: application/json\r\n",
        &take.to_string(),
    );
    assert_eq!(held.status, 200, "{}", held.body);
    let (link, mut events) = Link::open(Config::with_urls(&rover.urls()).unwrap());
    let wait = json!({"client": "bob", "mode": "exclusive", "ttl_ms": 30_000, "wait_ms": 20_000});
    let asked = link.request("POST", "/api/v2/locks/arm/acquire", Some(wait));
    // While it waits it is unfinished, at whichever endpoint the client has chosen.
    let open = || -> Option<TraceDocument> {
        let list: TraceList = get(rover.port(Tier::Emergency), "/api/v2/traces?name=acquire")?;
        let id = list.traces.into_iter().find(|trace| trace.unfinished)?.trace_id;
        get(rover.port(Tier::Emergency), &format!("/api/v2/traces/{id}"))
    };
    let waiting = tokio::task::block_in_place(|| poll(PATIENCE, open));
    let serving = waiting.unwrap().spans.into_iter().find(|span| span.duration_ns.is_none()).unwrap().service;
    let tier = Tier::ALL.into_iter().find(|tier| tier.name() == serving).unwrap();
    process::signal(rover.endpoint_pid(tier), Signal::KILL);
    let lost = until(&mut events, |event| matches!(event, Event::Response { id, .. } if *id == asked)).await;
    assert!(matches!(lost, Event::Response { status: REQUEST_LOST, .. }), "{lost:?}");
    let shown = poll(PATIENCE, || {
        newest(rover.port(Tier::Emergency), "acquire").filter(|trace| {
            trace.spans.iter().any(|span| span.service == "client" && span.status == SpanStatus::Error)
        })
    });
    assert!(shown.is_some(), "the client's part of the trace");
}

#[tokio::test]
async fn new_traces_reach_a_session_that_watches_them() {
    let rover = rover();
    let mut client = NativeClient::connect(rover.port(Tier::Primary)).await;
    let path = "/api/v2/traces?limit=5&name=kv&local=true".to_owned();
    client.send(&ClientMessage::Watch { id: 7, path }).await;
    let mut totals = Vec::new();
    while totals.last() != Some(&1) {
        let Received::Text(message) = client.next().await else { continue };
        let ServerMessage::Response { id: 7, status, body } = *message else { continue };
        assert_eq!(status, 200, "{body}");
        totals.push(body["total"].as_u64().unwrap());
        if totals.len() == 1 {
            http::get(rover.port(Tier::Primary), "/api/v2/kv/goal");
        }
    }
    assert_eq!(totals, [0, 1], "sent when it differs only");
}
