//! The store and the event log: observers keep no operator waiting, and write nothing.

use std::time::{Duration, Instant};

use roverline_protocol::native::{ClientMessage, SwitchReport};
use roverline_protocol::status::EventKind;
use roverline_tests::http;
use roverline_tests::native::NativeClient;
use roverline_tests::wait::{eventually, observe_for_async};

use crate::{counter, gateway_with_token};

/// Sessions that request values of the store as fast as it answers.
const SESSIONS: usize = 24;
/// Values that each of their requests reads.
const VALUES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_does_not_wait_for_observers_that_read_the_store() {
    let (gateway, token, _scratch) = gateway_with_token(&[]);
    let port = gateway.first_port();
    let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    for n in 0..VALUES {
        let value = format!("\"{}\"", "x".repeat(2_000));
        let written = http::request(port, "PUT", &format!("/api/v2/kv/v{n:03}"), &fields, &value);
        assert_eq!(written.status, 200, "{written:?}");
    }
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        sessions.spawn(async move {
            let mut client = NativeClient::connect(port).await;
            for id in 0.. {
                let path = "/api/v2/kv?limit=1000".to_owned();
                client
                    .send(&ClientMessage::Request {
                        id,
                        method: "GET".to_owned(),
                        path,
                        body: None,
                        traceparent: None,
                    })
                    .await;
                if id >= 31 {
                    client.next().await;
                }
            }
        });
    }
    observe_for_async(Duration::from_millis(500), "the observers' requests pile up").await;
    let slowest = tokio::task::spawn_blocking(move || {
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            for (what, body) in [
                ("acquire", r#"{"client":"ada","mode":"exclusive","ttl_ms":3000}"#),
                ("release", r#"{"client":"ada"}"#),
            ] {
                let begun = Instant::now();
                let answer = http::request(port, "POST", &format!("/api/v2/locks/arm/{what}"), &fields, body);
                assert!((200..300).contains(&answer.status), "{what}: {answer:?}");
                slowest = slowest.max(begun.elapsed());
            }
        }
        slowest
    });
    let slowest = slowest.await.unwrap();
    println!("slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test]
async fn an_observers_report_is_counted_and_no_event() {
    let (gateway, token, _scratch) = gateway_with_token(&[]);
    let port = gateway.first_port();
    let report = |cause: &str| {
        ClientMessage::Switched(SwitchReport {
            cause: cause.to_owned(),
            from: None,
            to: None,
            blackout_ms: Some(1e9),
            replayed: 0,
            missing: 0,
            trace_id: None,
            duplicates: 0,
        })
    };
    let mut client = NativeClient::connect(port).await;
    for _ in 0..50 {
        client.send(&report("released by ada")).await;
    }
    eventually("all reports to be counted", Duration::from_secs(10), || {
        counter(port, "roverline_observers_switched_total") == 50
    });
    let failovers =
        || http::status(port).events.iter().filter(|event| event.kind == EventKind::Failover).count();
    assert_eq!(failovers(), 0);
    assert!(http::get(port, "/metrics").body.contains("failover_blackout_seconds_count 0"));
    client.send(&ClientMessage::Auth { token }).await;
    for _ in 0..20 {
        client.send(&report("it was killed")).await;
    }
    eventually("the rest to be refused", Duration::from_secs(10), || {
        counter(port, "roverline_refused_switch_reports_total") == 8
    });
    assert_eq!(failovers(), 12);
}

#[tokio::test]
async fn what_happens_to_an_observers_session_is_counted_and_no_event() {
    let (gateway, token, _scratch) = gateway_with_token(&["--session-budget", "40kbit"]);
    let port = gateway.first_port();
    let degraded = || {
        let events = http::status(port).events;
        events.iter().filter(|event| matches!(event.kind, EventKind::Degraded | EventKind::Stalled)).count()
    };
    let _observer = NativeClient::subscribed(port, &["/**"]).await;
    eventually("an observer's service to be reduced", Duration::from_secs(30), || {
        counter(port, "roverline_observers_events_total") > 0
    });
    assert_eq!(degraded(), 0);
    let mut operator = NativeClient::subscribed(port, &["/**"]).await;
    operator.send(&ClientMessage::Auth { token }).await;
    eventually("an operator's service to be reduced", Duration::from_secs(30), || degraded() > 0);
}
