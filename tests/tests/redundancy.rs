//! Peers: endpoints that discover each other at run time and cover for each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::os::unix::fs::PermissionsExt;
use std::sync::Once;
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::status::{DirectoryDocument, EventKind, HealthStatus, Origin};
use roverline_tests::clients::python;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::temp;
use roverline_tests::wait::eventually;
use serde_json::Value;

const ENDPOINTS: &str = "/api/v2/endpoints";
const SINGLE: [&str; 4] = ["--source", "sim", "--base-port", "0"];

/// The key of the tests' rover, which its endpoints share although each has its own state directory.
fn key() -> &'static str {
    const FILE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/redundancy.key");
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        std::fs::write(FILE, "a key that the endpoints of these tests share\n").unwrap();
        std::fs::set_permissions(FILE, std::fs::Permissions::from_mode(0o600)).unwrap();
    });
    FILE
}

fn serve(tier: &str, more: &[&str]) -> Gateway {
    serve_without_key(tier, &[&["--peers-key", key()], more].concat())
}

/// An endpoint without the rover's key.
fn serve_without_key(tier: &str, more: &[&str]) -> Gateway {
    Gateway::serve(&[&SINGLE[..], &["--tier", tier], more].concat())
}

fn write(port: u16, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::exchange(port, request.as_bytes())
}

fn register(port: u16, tier: &str, address: &str) -> Response {
    let body = serde_json::json!({"tier": tier, "address": address}).to_string();
    write(port, "POST", ENDPOINTS, "Content-Type: application/json\r\n", &body)
}

fn directory(port: u16) -> DirectoryDocument {
    let answer = http::get(port, ENDPOINTS);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(&answer.body).unwrap()
}

fn problem(answer: &Response, status: u16) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")));
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()));
    assert!(!problem["title"].as_str().unwrap().is_empty());
    problem["detail"].as_str().unwrap().to_owned()
}

fn sees_peer(port: u16, tier: Tier, status: HealthStatus) -> bool {
    http::status(port).peers.iter().any(|peer| peer.endpoint.tier == tier && peer.endpoint.status == status)
}

fn has_event(port: u16, kind: EventKind) -> bool {
    http::status(port).events.iter().any(|event| event.kind == kind)
}

#[test]
fn peers_come_and_go_at_run_time() {
    let (primary, secondary) = (serve("primary", &[]), serve("secondary", &[]));
    let port = primary.first_port();
    let other = format!("127.0.0.1:{}", secondary.first_port());
    let alone = directory(port);
    assert_eq!(alone.endpoints.len(), 1, "{alone:?}");
    assert_eq!(alone.endpoints[0].origin, Origin::Own);

    let created = register(port, "secondary", &other);
    assert_eq!(
        (created.status, created.header("location")),
        (201, Some(format!("{ENDPOINTS}/{other}").as_str()))
    );
    eventually("the new peer answers", Duration::from_secs(10), || {
        sees_peer(port, Tier::Secondary, HealthStatus::Healthy)
    });
    let both = directory(port).endpoints;
    let entry = &both[1];
    assert_eq!((both.len(), entry.origin), (2, Origin::Api));
    assert_eq!(entry.peer.endpoint.address.as_deref(), Some(other.as_str()));
    assert!(
        entry.peer.rtt_ms.is_some() && entry.peer.last_error.is_none() && entry.load == Some(0.0),
        "{entry:?}"
    );
    assert!(!entry.peer.freshness_s.is_empty(), "{entry:?}");
    assert!(has_event(port, EventKind::PeerAdded) && has_event(port, EventKind::EndpointUp));

    assert!(problem(&register(port, "secondary", &other), 409).contains("already"));
    let own = format!("127.0.0.1:{port}");
    assert!(problem(&register(port, "primary", &own), 409).contains("this very endpoint"));
    let at = format!("{ENDPOINTS}/{other}");
    assert_eq!(write(port, "DELETE", &at, "", "").status, 204);
    assert!(has_event(port, EventKind::PeerRemoved));
    assert_eq!(directory(port).endpoints.len(), 1);
    assert!(problem(&write(port, "DELETE", &at, "", ""), 404).contains("no peer"));
}

#[test]
fn endpoints_of_one_rover_find_each_other() {
    let scratch = temp::dir();
    let config = |rover: &str| {
        let path = scratch.path().join(format!("{rover}.toml"));
        std::fs::write(&path, format!("[gateway]\nrover = \"{rover}-{}\"\n", std::process::id())).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, theirs) = (config("ours"), config("theirs"));
    let start = |tier, config: &str| serve(tier, &["--mdns", "on", "--config", config]);
    let primary = start("primary", &ours);
    let port = primary.first_port();
    let _stranger = start("tertiary", &theirs);
    let secondary = start("secondary", &ours);
    let address = format!("127.0.0.1:{}", secondary.first_port());
    eventually("they see each other", Duration::from_secs(20), || {
        sees_peer(port, Tier::Secondary, HealthStatus::Healthy)
            && sees_peer(secondary.first_port(), Tier::Primary, HealthStatus::Healthy)
    });
    let known = directory(port).endpoints;
    assert_eq!(known.len(), 2, "{known:?}");
    assert_eq!(
        (known[1].origin, known[1].peer.endpoint.address.as_deref()),
        (Origin::Mdns, Some(address.as_str()))
    );
    // It announces its end over mDNS.
    drop(secondary);
    eventually("it is gone", Duration::from_secs(20), || directory(port).endpoints.len() == 1);
    assert!(has_event(port, EventKind::PeerRemoved));
}

#[test]
fn bad_registrations_are_explained() {
    let endpoint = serve("primary", &["--peer", "secondary=127.0.0.1:9"]);
    let port = endpoint.first_port();
    assert!(problem(&register(port, "secondary", "rover"), 422).contains("host:port"));
    assert!(problem(&register(port, "fifth", "rover:1"), 422).contains("fifth"));
    let json = "Content-Type: application/json\r\n";
    assert!(problem(&write(port, "POST", ENDPOINTS, json, "{"), 400).contains("for example"));
    let misspelt = write(port, "POST", ENDPOINTS, json, r#"{"tier":"primary","adress":"a:1"}"#);
    assert!(problem(&misspelt, 422).contains("adress"));
    problem(&write(port, "POST", ENDPOINTS, "Content-Type: text/plain\r\n", "{}"), 415);
    problem(&write(port, "POST", ENDPOINTS, json, &"x".repeat(9_000)), 413);
    let foreign = "Content-Type: application/json\r\nOrigin: http://evil.example\r\n";
    assert!(problem(&write(port, "POST", ENDPOINTS, foreign, "{}"), 403).contains("curl"));
    assert!(
        problem(&write(port, "DELETE", &format!("{ENDPOINTS}/127.0.0.1:9"), "", ""), 409)
            .contains("configur")
    );
    let wrong = write(port, "PUT", ENDPOINTS, "", "");
    problem(&wrong, 405);
    assert_eq!(wrong.header("allow"), Some("get, head, options, post"));
    problem(&http::get(port, "/api/v2/nothing"), 404);
    assert_eq!(directory(port).endpoints.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_stays_down_is_covered_until_it_returns() {
    let mut primary = serve("primary", &[]);
    let address = format!("primary=127.0.0.1:{}", primary.first_port());
    let secondary = serve("secondary", &["--peer", &address]);
    let port = secondary.first_port();
    eventually("the peer", Duration::from_secs(10), || sees_peer(port, Tier::Primary, HealthStatus::Healthy));
    let mut client = PlainClient::connect(port).await;
    assert_eq!(http::health(port).endpoint.covers, []);

    process::signal(primary.pid(), Signal::KILL);
    let killed = Instant::now();
    primary.wait(Duration::from_secs(5)).unwrap();
    let message = client.next_of("promotion").await;
    let took = killed.elapsed();
    println!("covered {took:?} after the kill");
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!((&message["event"], &message["covers"][0]), (&"promotion".into(), &"primary".into()));
    assert_eq!(http::health(port).endpoint.covers, [Tier::Primary]);
    assert!(has_event(port, EventKind::EndpointDown) && has_event(port, EventKind::Promotion));
    let carries = |topic: &str| http::status(port).topics.iter().any(|t| t.name == topic && t.samples > 0);
    eventually("the primary's topics at the secondary", Duration::from_secs(10), || carries("/imu/data"));

    let again = primary.first_port().to_string();
    let back = gateway::command(&["serve", "--port", &again, "--peers-key", key()]);
    let back = Gateway::start(back, &SINGLE);
    let started = Instant::now();
    let message = tokio::time::timeout(Duration::from_secs(40), async {
        loop {
            let message = client.next_of("promotion").await;
            if message["event"] == "give_back" {
                return message;
            }
        }
    });
    let message = message.await.unwrap();
    println!("given back {:?} after the start", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(9));
    assert_eq!(message["covers"], serde_json::json!([]));
    assert_eq!(http::health(port).endpoint.covers, []);
    eventually("its own topics again", Duration::from_secs(10), || !carries("/imu/data") && carries("/odom"));
    let promotions =
        http::status(port).events.iter().filter(|event| event.kind == EventKind::Promotion).count();
    assert_eq!((promotions, back.endpoints.len()), (1, 1));
}

#[test]
fn one_endpoint_answers_for_all_in_the_ros_graph() {
    let python = require!(python());
    let domain = (100 + (std::process::id() * 7 + 53) % 100).to_string();
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", &domain]);
    for (_, port) in &gateway.endpoints {
        eventually("the other three", Duration::from_secs(15), || {
            http::status(*port).peers.iter().all(|peer| peer.endpoint.status <= HealthStatus::Degraded)
        });
    }
    let args = ["--domain", &domain, "--seconds", "25", "/websocket_redundancy/status"];
    let output = Script::start(&python, "dds_service.py", &args).finish(Duration::from_secs(40));
    assert!(output["answered"].as_u64() >= Some(3), "{output}");
    assert_eq!(
        (&output["most"], &output["strangers"], &output["success"]),
        (&1.into(), &0.into(), &true.into()),
        "{output}"
    );
    let directory: DirectoryDocument = serde_json::from_str(output["message"].as_str().unwrap()).unwrap();
    let tiers: Vec<_> = directory.endpoints.iter().map(|entry| entry.peer.endpoint.tier).collect();
    assert_eq!(tiers, Tier::ALL, "{output}");
    for tier in Tier::ALL {
        let status = &output["statuses"][format!("roverline: {tier} endpoint")];
        // Without a robot there is no topic in scope, which is worth a warning.
        assert_eq!(
            (&status["level"], &status["values"]["status"]),
            (&1.into(), &"degraded".into()),
            "{tier}: {output}"
        );
    }
}
