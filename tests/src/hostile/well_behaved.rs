//! The well-behaved clients: a native and a plain one that receive telemetry, and an operator who takes locks and
//! presses the stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::ClientConfig;

use crate::hostile::tls;
use crate::http;
use crate::native::{NativeClient, Received};
use crate::plain::PlainClient;

/// Measurements of these clients; times in milliseconds, sorted.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    /// Gaps between samples of the native client.
    pub(super) native: Vec<f64>,
    /// Gaps between messages of the plain client.
    pub(super) plain: Vec<f64>,
    /// How long an operator's lock calls took.
    pub(super) lock: Vec<f64>,
    /// How long an operator's emergency stop took.
    pub(super) stop: Vec<f64>,
    /// Samples that the native client missed.
    pub(super) lost: u64,
    /// Calls of the operator that failed: the request and the response.
    pub(super) refused: Vec<String>,
    /// Clients whose connection ended.
    pub(super) ended: u64,
}

/// Pause between two stops. An act of three seconds then has more than a hundred, so that their 99th percentile is
/// not their maximum.
const STOP_PAUSE: Duration = Duration::from_millis(20);

/// The running clients.
pub(super) struct WellBehavedClients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Measurements>>,
}

fn ms_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl WellBehavedClients {
    /// Starts them; the operator shows this token. With `tls` the stop is pressed over TLS as well.
    pub(super) fn start(port: u16, token: &str, tls: Option<Arc<ClientConfig>>) -> WellBehavedClients {
        let stop: Arc<AtomicBool> = Arc::default();
        let (flag, token) = (stop.clone(), token.to_owned());
        let mut clients = vec![std::thread::spawn(move || runtime().block_on(native(port, &flag)))];
        let flag = stop.clone();
        clients.push(std::thread::spawn(move || runtime().block_on(plain(port, &flag))));
        let (flag, shown) = (stop.clone(), token.clone());
        clients.push(std::thread::spawn(move || locks(port, &shown, &flag)));
        let (flag, shown) = (stop.clone(), token.clone());
        clients.push(std::thread::spawn(move || runtime().block_on(stops(port, &shown, &flag))));
        if let Some(tls) = tls {
            let flag = stop.clone();
            clients.push(std::thread::spawn(move || tls_stops(port, &token, &tls, &flag)));
        }
        WellBehavedClients { stop, clients }
    }

    /// Stops them; returns their measurements.
    pub(super) fn finish(self) -> Measurements {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Measurements::default();
        for client in self.clients {
            match client.join() {
                Ok(measured) => {
                    all.native.extend(measured.native);
                    all.plain.extend(measured.plain);
                    all.lock.extend(measured.lock);
                    all.stop.extend(measured.stop);
                    all.lost += measured.lost;
                    all.refused.extend(measured.refused);
                    all.ended += measured.ended;
                }
                Err(_) => all.ended += 1,
            }
        }
        for values in [&mut all.native, &mut all.plain, &mut all.lock, &mut all.stop] {
            values.sort_by(f64::total_cmp);
        }
        all
    }
}

async fn native(port: u16, stop: &AtomicBool) -> Measurements {
    let mut client = NativeClient::subscribed(port, &["/odom"]).await;
    let (mut measured, mut last, mut newest) = (Measurements::default(), None::<Instant>, HashMap::new());
    while !stop.load(Ordering::Relaxed) {
        match client.next().await {
            Received::Sample(_, header, _) => {
                measured.native.extend(last.map(ms_since));
                last = Some(Instant::now());
                if let Some(before) = newest.insert(header.id.source, header.id.seq) {
                    measured.lost += header.id.seq.saturating_sub(before + 1);
                }
            }
            Received::Closed(_) => {
                measured.ended += 1;
                return measured;
            }
            _ => {}
        }
    }
    measured
}

async fn plain(port: u16, stop: &AtomicBool) -> Measurements {
    let mut client = PlainClient::try_connect_at(port, "/telemetry").await.unwrap();
    let (mut measured, mut last) = (Measurements::default(), None::<Instant>);
    while !stop.load(Ordering::Relaxed) {
        client.next_of("telemetry").await;
        measured.plain.extend(last.map(ms_since));
        last = Some(Instant::now());
    }
    measured
}

fn locks(port: u16, token: &str, stop: &AtomicBool) -> Measurements {
    let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let mut measured = Measurements::default();
    while !stop.load(Ordering::Relaxed) {
        for (what, body) in [
            ("acquire", r#"{"client":"ada","mode":"exclusive","ttl_ms":5000}"#),
            ("release", r#"{"client":"ada"}"#),
        ] {
            let begun = Instant::now();
            let answer = http::request(port, "POST", &format!("/api/v2/locks/arm/{what}"), &fields, body);
            measured.lock.push(ms_since(begun));
            if !(200..300).contains(&answer.status) {
                measured.refused.push(format!("lock {what}: {} {}", answer.status, answer.body.trim()));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    measured
}

/// A new session for each stop, as for an operator who connects when all slots are taken.
async fn stops(port: u16, token: &str, stop: &AtomicBool) -> Measurements {
    let mut measured = Measurements::default();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match PlainClient::try_connect_at(port, &format!("/telemetry?token={token}")).await {
            Ok(mut client) => {
                client.send(r#"{"type":"emergency_stop","reason":"test"}"#).await;
                let answer = client.next_of("emergency_stop").await;
                measured.stop.push(ms_since(begun));
                if answer["accepted"] != true {
                    measured.refused.push(format!("stop: {answer}"));
                }
            }
            Err(error) => measured.refused.push(format!("stop, connecting: {error}")),
        }
        tokio::time::sleep(STOP_PAUSE).await;
    }
    measured
}

/// The same over TLS and HTTP: a new connection, with its handshake, for each stop.
fn tls_stops(port: u16, token: &str, config: &Arc<ClientConfig>, stop: &AtomicBool) -> Measurements {
    let body = r#"{"engage":true,"reason":"test"}"#;
    let request = format!(
        "POST /api/v2/emergency-stop HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut measured = Measurements::default();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match tls::request(port, config, request.as_bytes()) {
            Ok(answer) if answer.status == 200 => measured.stop.push(ms_since(begun)),
            Ok(answer) => {
                measured.refused.push(format!("TLS stop: {} {}", answer.status, answer.body.trim()))
            }
            Err(error) => measured.refused.push(format!("TLS stop: {error}")),
        }
        std::thread::sleep(STOP_PAUSE);
    }
    measured
}
