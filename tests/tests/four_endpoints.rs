//! Four endpoints on the simulated rover: each serves exactly its scopes, and they agree with each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::native::{ClientMessage, SampleHeader, ServerMessage};
use roverline_protocol::status::HealthStatus;
use roverline_protocol::{SampleId, Tier};
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::{PlainClient, keys};
use roverline_tests::wait::{eventually, within};
use roverline_tests::{http, raw};
use serde_json::Value;

/// The keys of the plain telemetry object at each tier, as documented.
fn keys_of(tier: Tier) -> BTreeSet<&'static str> {
    let own: &[&str] = match tier {
        Tier::Primary => &[
            "mission_time",
            "system_health",
            "battery_level",
            "current",
            "voltage",
            "gps_position",
            "heading",
            "imu_data",
            "velocity",
            "current_mission",
            "mission_status",
            "samples_collected",
            "autonomous_mode",
            "led",
            "boundary_violation",
            "joint_states",
            "motor_temperatures",
            "system_errors",
        ],
        Tier::Secondary => &[
            "mission_time",
            "velocity",
            "current_mission",
            "mission_status",
            "samples_collected",
            "autonomous_mode",
            "led",
        ],
        Tier::Tertiary => &[
            "system_health",
            "gps_position",
            "heading",
            "velocity",
            "boundary_violation",
            "motor_temperatures",
            "system_errors",
        ],
        Tier::Emergency => &["battery_level", "current", "voltage", "gps_position", "heading", "velocity"],
    };
    own.iter().copied().chain(["timestamp", "emergency_stop", "age"]).collect()
}

async fn plain_client_sees_its_scopes(tier: Tier, port: u16) {
    let mut client = PlainClient::connect(port).await;
    let first = client.next().await.unwrap();
    assert_eq!(first["type"], "initial", "{tier}");
    assert_eq!(keys(&first["data"]), keys_of(tier), "{tier}");
    let mut times: Vec<f64> = Vec::new();
    let mut last = Value::Null;
    while times.len() < 11 {
        let message = client.next().await.unwrap();
        assert_eq!(message["type"], "telemetry", "{tier}");
        assert_eq!(keys(&message["data"]), keys_of(tier), "{tier}");
        times.push(message["data"]["timestamp"].as_f64().unwrap());
        last = message;
    }
    let period = (times[10] - times[0]) / 10.0;
    assert!((0.15..0.4).contains(&period), "{tier}: a message every {period} s");
    let never: Vec<_> = last["data"].as_object().unwrap().iter().filter(|(_, v)| v.is_null()).collect();
    assert!(never.is_empty(), "{tier}: the rover has all of them, yet these never came: {never:?}");
}

#[tokio::test]
async fn plain_clients_see_their_endpoints_scopes() {
    let gateway = Gateway::up(&["--source", "sim"]);
    // The rover publishes every topic within 5 s of its start.
    within("every topic published once", Duration::from_secs(15), async {
        let mut client = PlainClient::connect(gateway.first_port()).await;
        loop {
            let message = client.next().await.unwrap();
            if message["data"].as_object().unwrap().values().all(|value| !value.is_null()) {
                break;
            }
        }
    })
    .await;
    for (tier, port) in gateway.endpoints.clone() {
        plain_client_sees_its_scopes(tier, port).await;
    }
}

type Samples = BTreeMap<(String, SampleId), (SampleHeader, Bytes)>;

/// Checks the initial messages of a session, and returns the samples of a few seconds.
async fn native_client_sees_its_scopes(tier: Tier, port: u16) -> Samples {
    let mut client = NativeClient::connect(port).await;
    let Received::Text(hello) = client.next().await else { panic!("{tier}: not a text first") };
    let ServerMessage::Hello { protocol: 1, endpoint, .. } = *hello else { panic!("{tier}: {hello:?}") };
    assert_eq!((endpoint.tier, endpoint.port, endpoint.scopes), (tier, port, tier.scopes()));
    let Received::Text(topics) = client.next().await else { panic!("{tier}: no topics") };
    assert!(matches!(*topics, ServerMessage::Topics { .. }), "{tier}: {topics:?}");
    let Received::Text(directory) = client.next().await else { panic!("{tier}: no directory") };
    assert!(matches!(*directory, ServerMessage::Directory { .. }), "{tier}: {directory:?}");
    // Without a subscription there are only heartbeats.
    let quiet = client.receive_for(Duration::from_millis(700)).await;
    let beats = quiet.iter().filter(|message| matches!(message, Received::Heartbeat(_))).count();
    assert!(beats >= 3, "{tier}: {beats} heartbeats in 0.7 s");
    assert!(!quiet.iter().any(|message| matches!(message, Received::Sample(..))), "{tier}");

    let subscribe =
        ClientMessage::Subscribe { id: Some(7), topics: vec!["**".into()], max_rate_hz: None, scopes: None };
    client.send(&subscribe).await;
    let mut samples = Samples::new();
    let mut answered = false;
    for message in client.receive_for(Duration::from_secs(4)).await {
        match message {
            Received::Sample(topic, header, payload) => {
                samples.insert((topic, header.id), (header, payload));
            }
            Received::Text(message) => {
                if let ServerMessage::Subscribed { id, matching } = *message {
                    assert_eq!((id, matching), (Some(7), client.topics.len()), "{tier}");
                    answered = true;
                }
            }
            Received::Heartbeat(_) => {}
            Received::Closed(code) => panic!("{tier}: closed with {code}"),
        }
    }
    assert!(answered, "{tier}");
    for info in client.topics.values() {
        assert!(info.scopes.intersects(tier.scopes()), "{tier}: {} is {}", info.name, info.scopes);
    }
    samples
}

#[tokio::test]
async fn native_clients_see_their_scopes_and_the_same_samples() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<_> = gateway.endpoints.clone();
    let sessions = ports.iter().map(|&(tier, port)| native_client_sees_its_scopes(tier, port));
    let all = futures_util::future::join_all(sessions).await;
    let names = |samples: &Samples| samples.keys().map(|(topic, _)| topic.clone()).collect::<BTreeSet<_>>();
    assert!(names(&all[0]).contains("/imu/data"));
    for (at, (tier, _)) in ports.iter().enumerate().skip(1) {
        assert!(!names(&all[at]).contains("/imu/data"), "{tier}");
        assert!(names(&all[at]).contains("/odom"), "{tier}: {:?}", names(&all[at]));
        assert!(names(&all[at]).contains("/emergency_stop"), "{tier}");
        let (mut shared, mut odometry) = (0, 0);
        for (id, (header, payload)) in &all[at] {
            let Some((theirs, same)) = all[0].get(id) else { continue };
            assert_eq!(payload, same, "{tier}: {id:?}");
            assert_eq!(header.source_time_ns, theirs.source_time_ns, "{tier}: {id:?}");
            shared += 1;
            odometry += usize::from(id.0 == "/odom");
        }
        assert!(odometry > 100, "{tier}: {shared} samples in common with the primary, {odometry} of /odom");
    }
}

#[test]
fn health_and_status_are_as_documented() {
    let gateway = Gateway::up(&["--source", "sim"]);
    for (tier, port) in gateway.endpoints.clone() {
        eventually("health", Duration::from_secs(10), || {
            http::health(port).endpoint.status == HealthStatus::Healthy
        });
        let answer = http::get(port, "/health");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let health = http::health(port);
        assert_eq!((health.endpoint.tier, health.endpoint.port), (tier, port));
        assert_eq!((health.source.kind.as_str(), health.source.state.as_str()), ("sim", "running"));
        let status = http::status(port);
        assert!(status.topics.iter().all(|topic| topic.scopes.intersects(tier.scopes())), "{tier}");
        assert!(status.topics.iter().all(|topic| topic.schema), "{tier}");
        eventually("the other three", Duration::from_secs(15), || {
            let peers = http::status(port).peers;
            peers.len() == 3 && peers.iter().all(|peer| peer.endpoint.status == HealthStatus::Healthy)
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_endpoint_names_alternatives() {
    let gateway = Gateway::up(&["--source", "sim", "--max-clients", "3"]);
    let port = gateway.first_port();
    eventually("the other three", Duration::from_secs(15), || {
        http::status(port).peers.iter().all(|peer| peer.endpoint.status == HealthStatus::Healthy)
    });
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(PlainClient::connect(port).await);
    }
    let answer = http::exchange(port, raw::handshake("/").as_bytes());
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    let alternatives = problem["alternatives"].as_array().unwrap();
    assert_eq!(alternatives.len(), 3, "{problem}");
    for (_, other) in &gateway.endpoints[1..] {
        assert!(alternatives.iter().any(|entry| entry.to_string().contains(&other.to_string())), "{problem}");
    }
    assert_eq!(http::status(port).counters.refused_full, 1);
    // HTTP requests are still answered, other sessions continue, and a freed slot can be used again.
    assert_eq!(http::health(port).endpoint.clients, 3);
    clients[0].next_of("telemetry").await;
    clients.pop();
    eventually("the slot to be free", Duration::from_secs(5), || http::health(port).endpoint.clients == 2);
    PlainClient::connect(port).await.next_of("telemetry").await;
}
