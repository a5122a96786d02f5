//! Clients that stop reading for a while, and links with little bandwidth.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::budget::cost;
use roverline_protocol::native::{ClientMessage, SAMPLE_HEADER_BYTES, ServerMessage};
use roverline_protocol::{Priority, limits};
use roverline_tests::control_client::ControlClient;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::scheduler_stall::StallWatch;
use roverline_tests::wait::observe_for_async;

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resumes_reading_gets_fresh_samples() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    // So little data that all of it would fit into the network's buffers.
    let mut client = NativeClient::subscribed(gateway.first_port(), &["/imu/data", "/gps/fix"]).await;
    // Long enough for a ping to be answered.
    client.receive_for(Duration::from_millis(2_500)).await;
    let frozen_at = unix_ns();
    observe_for_async(Duration::from_secs(4), "the client does not read").await;

    let (mut stale, mut fresh) = (Vec::new(), 0);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let Received::Sample(topic, header, _) = client.next().await else { continue };
        let priority = client.topics[&header.topic].priority;
        let (age, later) =
            (seconds(unix_ns() - header.receive_time_ns), seconds(header.receive_time_ns - frozen_at));
        // Samples sent before the silence was detected are in the network's buffers.
        if priority > Priority::Mission && later > 1.9 && age > 1.3 {
            stale.push((topic, age));
        }
        fresh += usize::from(age < 0.5);
    }
    assert!(stale.is_empty(), "{} stale samples: {:?}", stale.len(), &stale[..stale.len().min(5)]);
    assert!(fresh > 50, "{fresh}");
}

/// The measurements of a client.
#[derive(Debug, Default)]
struct Measured {
    bytes: usize,
    urgent_delays_ms: Vec<f64>,
    others: usize,
    shed: u64,
}

async fn measure(client: &mut NativeClient, duration: Duration) -> Measured {
    let end = Instant::now() + duration;
    let mut measured = Measured::default();
    while Instant::now() < end {
        match client.next().await {
            Received::Sample(_, header, payload) => {
                // 4: the header of a WebSocket frame of this size.
                measured.bytes += cost(payload.len() + SAMPLE_HEADER_BYTES + 4);
                let urgent = client.topics[&header.topic].priority <= Priority::Mission;
                if urgent && header.flags == 0 {
                    let delay = unix_ns() - header.receive_time_ns;
                    measured.urgent_delays_ms.push(seconds(delay) * 1e3);
                } else {
                    measured.others += 1;
                }
            }
            Received::Text(message) => {
                measured.bytes += cost(serde_json::to_vec(&*message).unwrap().len() + 4);
                if let ServerMessage::Service { shed, .. } = *message {
                    measured.shed = shed;
                }
            }
            Received::Heartbeat(_) => measured.bytes += cost(18),
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }
    measured.urgent_delays_ms.sort_by(f64::total_cmp);
    measured
}

const BUDGET: u64 = 31_250;

fn check(measured: &Measured, duration: Duration, stall: Duration) {
    let delays = &measured.urgent_delays_ms;
    let p99 = delays[delays.len() * 99 / 100];
    let rate = measured.bytes as f64 / duration.as_secs_f64();
    println!(
        "{rate:.0} bytes/s of {BUDGET}; {} urgent samples, p50 {:.1} ms, p99 {p99:.1} ms, most {:.1} ms; {} others; {} shed",
        delays.len(),
        delays[delays.len() / 2],
        delays[delays.len() - 1],
        measured.others,
        measured.shed,
    );
    assert!(rate <= 1.1 * BUDGET as f64, "{rate} bytes/s");
    // A stall of the machine may hit the endpoint and the client.
    let bound = 300.0 + 2.0 * stall.as_secs_f64() * 1e3;
    assert!(p99 <= bound, "p99 of urgent samples: {p99} ms, bound {bound} ms");
    assert!(delays.len() > 50 && measured.others > 50, "{} {}", delays.len(), measured.others);
    assert!(measured.shed > 0, "shed samples are reported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budgeted_session_delivers_urgent_samples_in_time() {
    let gateway = Gateway::serve(&["--source", "sim", "--session-budget", "250kbit"]);
    let mut client = NativeClient::subscribed(gateway.first_port(), &["**"]).await;
    let duration = Duration::from_secs(15);
    let watch = StallWatch::start();
    let measured = measure(&mut client, duration).await;
    check(&measured, duration, watch.stop());
    let status = http::status(gateway.first_port());
    assert!(status.sessions[0].shed >= measured.shed && status.counters.shed >= measured.shed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_budget_does_not_slow_the_others() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let control = tokio::task::spawn_blocking(move || ControlClient::subscribe(port, "/odom")).await.unwrap();
    let mut client = NativeClient::connect(port).await;
    client.send(&ClientMessage::Budget { bytes_per_s: BUDGET }).await;
    let topics = vec!["**".to_owned()];
    client.send(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
    let duration = Duration::from_secs(8);
    let watch = StallWatch::start();
    let measured = measure(&mut client, duration).await;
    let longest = tokio::task::spawn_blocking(move || control.end()).await.unwrap();
    let stall = watch.stop();
    check(&measured, duration, stall);
    assert!(longest < Duration::from_millis(limits::DEAD_MS) + 2 * stall, "{longest:?}, stall {stall:?}");
}
