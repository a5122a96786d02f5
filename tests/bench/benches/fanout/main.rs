//! Fan-out compared with peers: messages of 1 KiB at 1 kHz to 1 and to 50 WebSocket clients, by our endpoint
//! in each of its dialects and in a mix of them, with one and with all samples of a second traced, by the Foxglove SDK's server, and by a minimal broadcast
//! over tokio-tungstenite.
//!
//! Each server runs in its own process, so that its CPU time and memory can be measured; all clients share
//! one epoll loop in this process. The servers alternate in short runs, so that noise of the machine affects
//! all of them. A latency runs from the publisher's call to the client's `read`.
//!
//! `cargo bench -p roverline-bench --bench fanout [-- native/50]`; `TURNS=9` runs longer; `-- stall`: one
//! client of each dialect stops reading.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench is not a library"
)]

mod clients;
mod servers;
mod stall;

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

use clients::{Client, ClientDialect, Server};
use servers::serve;

/// The benchmarks: name, server, dialects of the clients (in turn), and number of clients.
const RUNS: [(&str, &str, &[ClientDialect], usize); 13] = [
    ("native", OURS, &[ClientDialect::Native], 1),
    ("sdk", "foxglove", &[ClientDialect::Foxglove], 1),
    ("bare", "bare", &[ClientDialect::Nothing], 1),
    ("native", OURS, &[ClientDialect::Native], 50),
    ("foxglove", OURS, &[ClientDialect::Foxglove], 50),
    ("rosbridge", OURS, &[ClientDialect::Rosbridge("none")], 50),
    ("cbor", OURS, &[ClientDialect::Rosbridge("cbor")], 50),
    ("plain", OURS, &[ClientDialect::Plain], 50),
    ("mixed", OURS, &MIX, 50),
    ("traced", "roverline-traced", &[ClientDialect::Native], 50),
    ("all traced", "roverline-all-traced", &[ClientDialect::Native], 50),
    ("sdk", "foxglove", &[ClientDialect::Foxglove], 50),
    ("bare", "bare", &[ClientDialect::Nothing], 50),
];
const MIX: [ClientDialect; 5] = [
    ClientDialect::Native,
    ClientDialect::Foxglove,
    ClientDialect::Rosbridge("none"),
    ClientDialect::Rosbridge("cbor"),
    ClientDialect::Plain,
];
const OURS: &str = "roverline";
/// Size of the std_msgs/msg/String with its header and length; its text begins with [`MARK`], a sequence
/// number and a time in twenty digits each.
const PAYLOAD: usize = 1024;
/// Marks our text in a frame of any dialect.
const MARK: &[u8] = b"ROVER";
/// How far into a frame the mark may be.
const MARK_WITHIN: usize = 400;
const PERIOD: Duration = Duration::from_millis(1);
/// Messages before the measurement.
const WARM_UP: u64 = 300;
/// Environment variable of a server process: which server it is.
const ROLE: &str = "ROVERLINE_FANOUT_SERVER";

fn clock(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return serve(&role);
    }
    // Like criterion: without `--bench` (`cargo test --benches`) only check that it works.
    let (options, filters): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with('-'));
    if filters.iter().any(|filter| filter == "stall") {
        return stall::run();
    }
    let (runs, messages) = match options.iter().any(|option| option == "--bench") {
        true => (std::env::var("TURNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3), 2_000),
        false => (1, 100),
    };
    let mut results = Vec::new();
    for count in [1, 50] {
        let of_count: Vec<_> = RUNS
            .into_iter()
            .filter(|(.., clients)| *clients == count)
            .map(Outcome::new)
            .filter(|o| filters.is_empty() || filters.iter().any(|filter| o.name().contains(filter)))
            .collect();
        let first = results.len();
        results.extend(of_count);
        for number in 0..runs {
            for outcome in &mut results[first..] {
                eprintln!("run {}/{runs}: {}", number + 1, outcome.name());
                run_once(outcome, messages);
            }
        }
    }
    report(&mut results);
}

/// The measurements of one server with this number of clients, over all its runs.
struct Outcome {
    name: &'static str,
    server: &'static str,
    dialects: &'static [ClientDialect],
    clients: usize,
    latencies_ns: Vec<u64>,
    best_p99_ns: u64,
    expected: u64,
    seconds: f64,
    cpu_ns: u64,
    rss_mb: f64,
}

impl Outcome {
    fn new(run: (&'static str, &'static str, &'static [ClientDialect], usize)) -> Outcome {
        let (name, server, dialects, clients) = run;
        Outcome {
            name,
            server,
            dialects,
            clients,
            latencies_ns: Vec::new(),
            best_p99_ns: u64::MAX,
            expected: 0,
            seconds: 0.0,
            cpu_ns: 0,
            rss_mb: 0.0,
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.name, self.clients)
    }

    fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.latencies_ns, percent) as f64 / 1e6
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu_ns as f64 / 1e9 / self.latencies_ns.len().max(1) as f64 * 1e6
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn run_once(outcome: &mut Outcome, messages: u64) {
    let mut server = Server::start(outcome.server);
    let ready = server.line();
    let (port, channel) = ready.trim().split_once(' ').expect("a port and a channel");
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let channel = channel.parse().unwrap();
    let clients: Vec<_> = (0..outcome.clients)
        .map(|at| Client::connect(address, outcome.dialects[at % outcome.dialects.len()], channel))
        .collect();
    let mut run = Run { messages, clients };
    let mut latencies = run.run(&mut server);
    let expected = messages * outcome.clients as u64;
    writeln!(server.input).unwrap();
    outcome.cpu_ns += server.line().trim().parse::<u64>().unwrap();
    outcome.rss_mb = outcome.rss_mb.max(server.rss_mb());
    outcome.expected += expected;
    outcome.seconds += messages as f64 * PERIOD.as_secs_f64();
    latencies.sort_unstable();
    outcome.best_p99_ns = outcome.best_p99_ns.min(percentile(&latencies, 99));
    outcome.latencies_ns.append(&mut latencies);
}

/// One run: messages to these clients.
struct Run {
    messages: u64,
    clients: Vec<Client>,
}

impl Run {
    /// Has the server publish, and reads; the latency of each message in nanoseconds.
    fn run(&mut self, server: &mut Server) -> Vec<u64> {
        let Run { messages, clients } = self;
        let messages = *messages;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (at, client) in clients.iter().enumerate() {
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&poll, &client.stream, data, epoll::EventFlags::IN).unwrap();
        }
        // Dialects without a confirmation of subscriptions need some time.
        std::thread::sleep(Duration::from_millis(200));

        let last = WARM_UP + messages;
        let expected = messages * clients.len() as u64;
        let mut latencies = Vec::with_capacity(expected as usize);
        writeln!(server.input, "{last}").unwrap();
        let deadline = Instant::now() + PERIOD * last as u32 + Duration::from_secs(1);
        let mut events = Vec::with_capacity(64);
        let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while (latencies.len() as u64) < expected && Instant::now() < deadline {
            events.clear();
            epoll::wait(&poll, spare_capacity(&mut events), Some(&patience)).unwrap();
            for event in &events {
                let client = &mut clients[event.data.u64() as usize];
                match client.fill() {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("the server lost a client: {error}"),
                }
                let now = clock(ClockId::Monotonic);
                client.frames(|_, body| {
                    if let Some((seq, sent)) = stamp(body)
                        && seq >= WARM_UP
                    {
                        latencies.push(now.saturating_sub(sent));
                    }
                });
            }
        }
        latencies
    }
}

/// The sequence number and the time in a frame with one of our messages.
fn stamp(frame: &[u8]) -> Option<(u64, u64)> {
    let head = &frame[..frame.len().min(MARK_WITHIN)];
    let at = head.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = |from: usize| std::str::from_utf8(frame.get(from..from + 20)?).ok()?.parse().ok();
    Some((digits(at)?, digits(at + 20)?))
}

fn report(results: &mut [Outcome]) {
    println!(
        "{:<10} {:>7} {:>11} {:>6} {:>8} {:>8} {:>8} {:>9} {:>10} {:>7}",
        "run",
        "clients",
        "delivered/s",
        "lost",
        "p50 ms",
        "p99 ms",
        "max ms",
        "best p99",
        "CPU s/M",
        "RSS MB"
    );
    for outcome in results.iter_mut() {
        outcome.latencies_ns.sort_unstable();
        println!(
            "{:<10} {:>7} {:>11.0} {:>6} {:>8.3} {:>8.3} {:>8.3} {:>9.3} {:>10.2} {:>7.1}",
            outcome.name,
            outcome.clients,
            outcome.latencies_ns.len() as f64 / outcome.seconds,
            outcome.expected - outcome.latencies_ns.len() as u64,
            outcome.percentile(50),
            outcome.percentile(99),
            outcome.percentile(100),
            outcome.best_p99_ns as f64 / 1e6,
            outcome.cpu_per_million(),
            outcome.rss_mb
        );
    }
    for ours in results.iter().filter(|outcome| outcome.server == OURS) {
        for other in results.iter().filter(|o| o.clients == ours.clients && o.server != OURS) {
            println!(
                "{} / {} at {}: p50 {:.2}, p99 {:.2}, CPU {:.2}, RSS {:.2}",
                ours.name,
                other.name,
                ours.clients,
                ours.percentile(50) / other.percentile(50),
                ours.percentile(99) / other.percentile(99),
                ours.cpu_per_million() / other.cpu_per_million(),
                ours.rss_mb / other.rss_mb
            );
        }
    }
}
