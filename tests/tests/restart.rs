//! An endpoint is killed or frozen under its clients: they fail over, and it is restarted.
//!
//! The measurements come from the ignored tests:
//! `cargo test -p roverline-tests --release --test restart -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roverline_client::{Config, Event, Events, FailoverCause, Link};
use roverline_protocol::{Tier, limits};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{eventually, observe_for_async, within};

const RECONNECT_DELAY: Duration = Duration::from_millis(5);

/// The measurements of a plain client that reconnects immediately.
#[derive(Default)]
struct ReconnectingClient {
    connected: u32,
    refused: u32,
    newest: Option<Instant>,
    longest_gap: Duration,
}

async fn reconnect_forever(port: u16, log: Arc<Mutex<ReconnectingClient>>) {
    loop {
        match PlainClient::try_connect(port).await {
            Err(tokio_tungstenite::tungstenite::Error::Io(error))
                if error.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                log.lock().unwrap().refused += 1;
                observe_for_async(RECONNECT_DELAY, "the client's reconnect delay").await;
            }
            // The process accepted the connection and died before the handshake.
            Err(_) => observe_for_async(RECONNECT_DELAY, "the client's reconnect delay").await,
            Ok(mut client) => {
                log.lock().unwrap().connected += 1;
                while client.next().await.is_ok() {
                    let mut log = log.lock().unwrap();
                    let now = Instant::now();
                    let gap = log.newest.map_or(Duration::ZERO, |newest| now - newest);
                    log.longest_gap = log.longest_gap.max(gap);
                    log.newest = Some(now);
                }
            }
        }
    }
}

struct Scenario {
    gateway: Gateway,
    primary: String,
    // Dropping the handle closes the link.
    _link: Link,
    events: Events,
    plain: Arc<Mutex<ReconnectingClient>>,
    newest_seq: u64,
    lost: u64,
    newest_at: Instant,
    longest_gap: Duration,
}

/// The measurements of one trial.
#[derive(Debug)]
struct Measurements {
    /// As reported by the link.
    link_blackout: Duration,
    /// As seen by its user: the longest gap in a 50 Hz topic.
    link_gap: Duration,
    plain_gap: Duration,
    lost: u64,
    back_after: Duration,
}

impl Scenario {
    async fn start() -> Scenario {
        let gateway = Gateway::up(&["--source", "sim"]);
        let (link, events) = Link::open(Config::with_urls(&gateway.urls()).unwrap());
        link.subscribe("/odom", None);
        let plain = Arc::<Mutex<ReconnectingClient>>::default();
        tokio::spawn(reconnect_forever(gateway.port(Tier::Primary), plain.clone()));
        let primary = gateway.urls()[0].clone();
        let mut scenario = Scenario {
            gateway,
            primary: primary.clone(),
            _link: link,
            events,
            plain,
            newest_seq: 0,
            lost: 0,
            newest_at: Instant::now(),
            longest_gap: Duration::ZERO,
        };
        let start = Instant::now();
        // The first endpoint that answers is used first; the primary serves most scopes and is used in the
        // end.
        if scenario.failover("a first endpoint", 10).await.0.as_deref() != Some(primary.as_str()) {
            scenario.wait_until_primary(Duration::from_secs(30)).await;
        }
        while scenario.newest_seq == 0 || scenario.plain.lock().unwrap().newest.is_none() {
            assert!(start.elapsed() < Duration::from_secs(40), "no telemetry");
            scenario.step().await;
        }
        scenario
    }

    /// Reads one event; returns it if it is a failover.
    async fn step(&mut self) -> Option<(Option<String>, FailoverCause, Option<Duration>)> {
        match within("an event", Duration::from_secs(10), self.events.next()).await.unwrap() {
            Event::Failover(view) => return Some((view.to, view.cause, view.blackout)),
            Event::Sample(sample) => {
                if self.newest_seq != 0 {
                    assert!(sample.id.seq > self.newest_seq, "a sample came twice, or late");
                    self.lost += sample.id.seq - self.newest_seq - 1;
                }
                self.newest_seq = sample.id.seq;
                self.longest_gap = self.longest_gap.max(self.newest_at.elapsed());
                self.newest_at = Instant::now();
            }
            _ => {}
        }
        None
    }

    async fn failover(
        &mut self,
        what: &str,
        seconds: u64,
    ) -> (Option<String>, FailoverCause, Option<Duration>) {
        let start = Instant::now();
        loop {
            if let Some(failover) = self.step().await {
                return failover;
            }
            assert!(start.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}");
        }
    }

    async fn wait_until_primary(&mut self, patience: Duration) {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed()).as_secs();
            // Usually because it is better; on a machine that stalls, because the standby became silent.
            let (to, _, _) = self.failover("the primary to be used again", left).await;
            if to.as_deref() == Some(self.primary.as_str()) {
                return;
            }
        }
    }

    /// Waits until the primary has run for so long that its next exit counts as the first one: repeated
    /// crashes are restarted with growing backoff.
    async fn wait_until_settled(&mut self) {
        let port = self.gateway.port(Tier::Primary);
        let settled = Duration::from_millis(limits::RESTART_HEALTHY_MS + 500).as_secs_f64();
        while tokio::task::block_in_place(|| http::health(port).uptime_s) < settled {
            // A sample comes every 20 ms: checking now and then is enough.
            for _ in 0..20 {
                self.step().await;
            }
        }
    }

    /// Sends `fault` to the primary and waits until the primary is in use again.
    async fn trial(&mut self, fault: Signal) -> Measurements {
        let port = self.gateway.port(Tier::Primary);
        // The HTTP client blocks.
        let pid = tokio::task::block_in_place(|| http::status(port).pid);
        self.plain.lock().unwrap().longest_gap = Duration::ZERO;
        let connected = self.plain.lock().unwrap().connected;
        (self.lost, self.longest_gap, self.newest_at) = (0, Duration::ZERO, Instant::now());
        let start = Instant::now();
        process::signal(pid, fault);
        let (to, cause, blackout) = self.failover("a failover", 10).await;
        let expected = if fault == Signal::KILL { FailoverCause::Closed } else { FailoverCause::Silent };
        assert_eq!(cause, expected);
        assert!(to.is_some_and(|to| to != self.primary));
        let link_blackout = blackout.unwrap();
        assert!(link_blackout < Duration::from_secs(5), "{link_blackout:?}");
        while self.plain.lock().unwrap().connected == connected {
            assert!(start.elapsed() < Duration::from_secs(20), "the plain client did not come back");
            self.step().await;
        }
        self.wait_until_primary(Duration::from_secs(30)).await;
        let back_after = start.elapsed();
        let (refused, plain_gap) = {
            let log = self.plain.lock().unwrap();
            (log.refused, log.longest_gap)
        };
        assert_eq!(refused, 0, "a client that came back was refused");
        assert!(plain_gap < Duration::from_secs(10), "{plain_gap:?}");
        let new = tokio::task::block_in_place(|| http::status(port).pid);
        assert_ne!(new, pid);
        eventually("the old process to be gone", Duration::from_secs(3), || !process::is_running(pid));
        let link_gap = self.longest_gap;
        assert!(link_gap < Duration::from_secs(5), "{link_gap:?}");
        Measurements { link_blackout, link_gap, plain_gap, lost: self.lost, back_after }
    }
}

async fn trials(fault: Signal, count: usize) {
    let mut scenario = Scenario::start().await;
    let mut all = Vec::new();
    for _ in 0..count {
        let measured = scenario.trial(fault).await;
        println!("{fault:?}: {measured:?}");
        all.push(measured);
        if all.len() < count {
            scenario.wait_until_settled().await;
        }
    }
    let summary = |name: &str, of: fn(&Measurements) -> Duration| {
        let mut sorted: Vec<_> = all.iter().map(|measured| of(measured).as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        println!(
            "{fault:?} × {count}: {name}: median {:.0} ms, max {:.0} ms",
            sorted[count / 2],
            sorted[count - 1]
        );
    };
    summary("link's blackout", |measured| measured.link_blackout);
    summary("longest gap behind the link", |measured| measured.link_gap);
    summary("plain client's longest gap", |measured| measured.plain_gap);
    summary("primary in use again after", |measured| measured.back_after);
    println!("{fault:?} × {count}: lost on /odom: {}", all.iter().map(|measured| measured.lost).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_endpoint_is_replaced_and_used_again() {
    trials(Signal::KILL, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_endpoint_is_replaced_and_used_again() {
    trials(Signal::STOP, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes and wants a quiet machine"]
async fn figures_of_killed_endpoints() {
    trials(Signal::KILL, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes and wants a quiet machine"]
async fn figures_of_frozen_endpoints() {
    trials(Signal::STOP, 20).await;
}
