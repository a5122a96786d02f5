//! A relay on the ground station: its clients never notice that a rover's endpoint dies, together they cost
//! one stream on the radio, and their emergency stop reaches the rover.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::native::{ClientMessage, FLAG_STORED, ServerMessage};
use roverline_protocol::status::HealthStatus;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::temp;
use roverline_tests::wait::{eventually, observe_for_async, within};
use tokio::task::JoinHandle;

/// Deadline for a change on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
const CLIENTS: usize = 10;

fn relay_of(urls: &[String]) -> Gateway {
    let relay =
        Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &urls.join(",")]);
    eventually("the rover's samples", PATIENCE, || receives_samples(&relay));
    relay
}

/// Whether the newest sample is younger than a second.
fn receives_samples(gateway: &Gateway) -> bool {
    let health = http::health(gateway.port(Tier::Primary));
    health.source.topics > 20 && health.source.age_s.is_some_and(|age| age < 1.0)
}

/// Whether the relay has a link to every endpoint of the rover.
fn is_connected(relay: &Gateway) -> bool {
    let upstream = http::health(relay.port(Tier::Primary)).source.upstream;
    let connected =
        upstream.iter().filter(|endpoint| ["active", "standby"].contains(&endpoint.state.as_str()));
    connected.count() == Tier::ALL.len()
}

/// A plain client that stays until `stay` changes; the number of messages, or the close code.
fn plain_client(port: u16, stay: tokio::sync::watch::Receiver<bool>) -> JoinHandle<Result<u64, u16>> {
    tokio::spawn(async move {
        let mut client = PlainClient::connect(port).await;
        let (mut stay, mut got) = (stay, 0);
        loop {
            tokio::select! {
                message = client.next() => match message {
                    Ok(_) => got += 1,
                    Err(code) => return Err(code),
                },
                _ = stay.changed() => return Ok(got),
            }
        }
    })
}

/// The sequence numbers of one topic by writer, as received by a native client of the relay.
async fn sequences(port: u16, stay: tokio::sync::watch::Receiver<bool>) -> BTreeMap<[u8; 16], Vec<u64>> {
    let mut client = NativeClient::subscribed(port, &["/odom"]).await;
    let (mut stay, mut got) = (stay, BTreeMap::<_, Vec<u64>>::new());
    loop {
        tokio::select! {
            message = client.next() => match message {
                Received::Sample(_, header, _) if header.flags & FLAG_STORED == 0 => {
                    got.entry(header.id.source.0).or_default().push(header.id.seq);
                }
                Received::Closed(code) => panic!("closed with {code}"),
                _ => {}
            },
            _ = stay.changed() => return got,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_never_see_the_rovers_endpoints_die() {
    let rover = Gateway::up(&["--source", "sim"]);
    let relay = relay_of(&rover.urls());
    let started = Instant::now();
    let (leave, stay) = tokio::sync::watch::channel(false);
    let ports = Tier::ALL.map(|tier| relay.port(tier));
    let clients: Vec<_> = (0..CLIENTS).map(|n| plain_client(ports[n % 4], stay.clone())).collect();
    let listening = tokio::spawn(sequences(ports[0], stay));
    eventually("the relay to be connected to all endpoints", PATIENCE, || is_connected(&relay));
    let every_tier = Tier::ALL.map(|tier| vec![tier]).into_iter().chain([Tier::ALL.to_vec()]);
    for tiers in every_tier {
        let killed: Vec<u32> = tiers.iter().map(|tier| rover.endpoint_pid(*tier)).collect();
        let samples = http::health(ports[0]).source.samples;
        for pid in &killed {
            process::signal(*pid, Signal::KILL);
        }
        eventually("samples after a kill", PATIENCE, || {
            http::health(ports[0]).source.samples > samples + 50 && receives_samples(&relay)
        });
        eventually("the rover's endpoints to be back", PATIENCE, || {
            let alive = process::children(rover.pid());
            alive.len() == 4 && alive.iter().all(|pid| !killed.contains(pid))
        });
        eventually("the relay to be connected to all endpoints", PATIENCE, || is_connected(&relay));
    }
    observe_for_async(Duration::from_secs(2), "the clients receive telemetry after the last failure").await;
    // Half of the five messages a second.
    let expected = started.elapsed().as_secs() * 5 / 2;
    leave.send(true).unwrap();
    for task in clients {
        let got = within("a client to leave", PATIENCE, task).await.unwrap();
        assert!(got.is_ok_and(|messages| messages >= expected), "{got:?}, at least {expected}");
    }
    let got = within("the listener to leave", PATIENCE, listening).await.unwrap();
    let (mut missing, mut all) = (0, 0);
    for seqs in got.values() {
        assert!(seqs.is_sorted_by(|a, b| a < b), "in order, and none twice");
        all += seqs.len();
        missing += seqs.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>();
    }
    println!("/odom: {all} samples, {missing} missing, {} writers", got.len());
    // Samples are lost only while all four endpoints are down: for less than half a second.
    assert!(missing < 25, "{missing} of {all} missing");
    assert!(all as u64 >= 10 * expected && got.len() == 1, "{all} samples of {} writers", got.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_stop_is_confirmed_by_the_rover_or_not_at_all() {
    let rover = Gateway::up(&["--source", "sim"]);
    let relay = relay_of(&rover.urls());
    let mut client = PlainClient::connect(relay.port(Tier::Emergency)).await;
    client.send(r#"{"type":"emergency_stop","id":"stop-1","reason":"test"}"#).await;
    let answer = client.next_of("emergency_stop").await;
    assert_eq!((&answer["accepted"], &answer["id"]), (&true.into(), &"stop-1".into()), "{answer}");
    let latch = std::fs::read_dir(rover.state().join("sim")).unwrap().flatten().next().unwrap();
    let latch = std::fs::read_to_string(latch.path().join("emergency_stop.json")).unwrap();
    assert!(latch.contains("stop-1") && latch.contains("true"), "{latch}");
    assert!(!relay.state().join("emergency_stop.json").exists(), "a relay has no latch");
    within("the rover's stop to come back", PATIENCE, async {
        while client.next_of("telemetry").await["data"]["emergency_stop"] != true {}
    })
    .await;

    // The same from a native client while the rover is frozen: an unknown result is not reported as success.
    // The supervisor is frozen as well, because it would replace the endpoints.
    let mut frozen = process::children(rover.pid());
    frozen.insert(0, rover.pid());
    let mut native = NativeClient::connect(relay.port(Tier::Secondary)).await;
    for pid in &frozen {
        process::signal(*pid, Signal::STOP);
    }
    eventually("the freeze", PATIENCE, || frozen.iter().all(|pid| process::state(*pid) == Some('T')));
    let sent_at = Instant::now();
    let release = ClientMessage::EmergencyStop {
        id: "go-1".into(),
        engage: false,
        reason: String::new(),
        traceparent: None,
    };
    native.send(&release).await;
    let mut received_meanwhile = 0;
    let (accepted, message) = loop {
        match native.next().await {
            Received::Text(text) => {
                if let ServerMessage::Command { accepted, message, .. } = *text {
                    break (accepted, message);
                }
            }
            Received::Closed(code) => panic!("closed with {code}"),
            Received::Heartbeat(_) | Received::Sample(..) => received_meanwhile += 1,
        }
    };
    for pid in frozen.iter().rev() {
        process::signal(*pid, Signal::CONT);
    }
    assert!(!accepted && message.contains("not confirmed by the rover within 2 s"), "{message}");
    assert!(sent_at.elapsed() >= Duration::from_millis(1_900), "{:?}", sent_at.elapsed());
    assert!(received_meanwhile > 5, "the session goes on while it waits");
}

/// Bytes that the rover has sent to the relay, and to all other native clients.
fn sent(rover: &Gateway) -> (u64, u64) {
    let sessions = Tier::ALL.into_iter().flat_map(|tier| http::status(rover.port(tier)).sessions);
    sessions.fold((0, 0), |(relay, other), session| match session.client.contains("relay") {
        true => (relay + session.sent_bytes, other),
        false => (relay, other + session.sent_bytes),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_clients_of_a_relay_cost_the_radio_one_stream() {
    let rover = Gateway::up(&["--source", "sim"]);
    let relay = relay_of(&rover.urls());
    let (leave, stay) = tokio::sync::watch::channel(false);
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| plain_client(relay.port(Tier::Primary), stay.clone())).collect();
    let mut direct = NativeClient::subscribed(rover.port(Tier::Primary), &["**"]).await;
    // Let both receive the retained samples before the measurement.
    direct.receive_for(Duration::from_secs(1)).await;
    let before = sent(&rover);
    direct.receive_for(Duration::from_secs(6)).await;
    let after = sent(&rover);
    leave.send(true).unwrap();
    for task in clients {
        assert!(task.await.unwrap().is_ok_and(|messages| messages > 10));
    }
    let (relay_bytes, direct_bytes) = (after.0 - before.0, after.1 - before.1);
    let ratio = relay_bytes as f64 / direct_bytes as f64;
    println!("relay {relay_bytes} bytes, one native client {direct_bytes} bytes: {ratio:.3}");
    assert!(direct_bytes > 100_000 && ratio <= 1.2, "{relay_bytes} / {direct_bytes} = {ratio:.2}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_rover_shows_in_ages_only() {
    let scratch = temp::dir();
    let first = Gateway::up(&["--source", "sim"]);
    let urls = first.urls();
    let ports: String =
        first.endpoints.iter().map(|(tier, port)| format!("[endpoints.{tier}]\nport = {port}\n")).collect();
    let config = temp::write(&scratch, "rover.toml", &ports);
    let relay = relay_of(&urls);
    let (leave, stay) = tokio::sync::watch::channel(false);
    let clients: Vec<_> =
        Tier::ALL.map(|tier| plain_client(relay.port(tier), stay.clone())).into_iter().collect();
    drop(first);
    let port = relay.port(Tier::Primary);
    eventually("a reason", PATIENCE, || {
        let health = http::health(port);
        let names_it = health.endpoint.reasons.iter().any(|why| why.contains("rover"));
        health.endpoint.status == HealthStatus::Degraded && names_it && health.source.state == "disconnected"
    });
    assert_eq!(http::get(port, "/health").status, 200, "a silent radio is not the relay's fault");
    assert!(http::health(port).source.upstream.iter().all(|endpoint| endpoint.last_error.is_some()));
    observe_for_async(Duration::from_secs(5), "the duration of the outage").await;
    let again = gateway::command(&["up", "--config", config.to_str().unwrap()]);
    let second = Gateway::start(again, &["--source", "sim"]);
    assert_eq!(second.urls(), urls);
    eventually("the rover to be back", PATIENCE, || receives_samples(&relay));
    assert_eq!(http::health(port).endpoint.status, HealthStatus::Healthy);
    leave.send(true).unwrap();
    for task in clients {
        assert!(task.await.unwrap().is_ok_and(|messages| messages > 12));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_dies_is_back_on_its_four_ports() {
    let rover = Gateway::up(&["--source", "sim"]);
    let mut relay = relay_of(&rover.urls());
    let first = process::children(relay.pid());
    assert_eq!(first.len(), 1, "one uplink means one process");
    process::signal(first[0], Signal::KILL);
    for tier in Tier::ALL {
        // A connection waits in the backlog in the meantime.
        let mut client = PlainClient::connect(relay.port(tier)).await;
        client.next_of("telemetry").await;
        assert_eq!(http::health(relay.port(tier)).endpoint.tier, tier);
    }
    eventually("the rover's samples", PATIENCE, || receives_samples(&relay));
    assert_ne!(process::children(relay.pid()), first);
    let mut client = PlainClient::connect(relay.port(Tier::Secondary)).await;
    process::signal(relay.pid(), Signal::TERM);
    let code = loop {
        if let Err(code) = client.next().await {
            break code;
        }
    };
    assert_eq!(code, 1001, "a stop says goodbye");
    assert_eq!(relay.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn bad_relay_arguments_are_explained() {
    for (args, word) in [
        (&["relay"][..], "--upstream"),
        (&["relay", "--upstream", "rover"], "ws://HOST:PORT"),
        (&["relay", "--upstream", "ws://rover:8080", "--max-rate", "0"], "max_rate_hz"),
        (&["relay", "--upstream", "ws://rover:8080", "--topics", "/a["], "topics"),
    ] {
        let (code, _, stderr) = gateway::run(args, PATIENCE);
        assert!(code == 2 && stderr.contains(word), "{args:?}: {code}: {stderr}");
    }
}
