//! Fan-out side by side: messages of 1 KiB at 1 kHz to 1 and to 50 WebSocket clients, by our
//! endpoint, by the Foxglove SDK's server, and by the barest broadcast over tokio-tungstenite.
//!
//! Each server runs in a process of its own, so that its CPU time and memory can be told apart; all
//! clients share one epoll loop in this process. The servers take short turns, so that noise of
//! the machine meets all of them. A latency runs from the publisher's call to the client's `read`.
//!
//! `cargo bench -p roverline-bench --bench fanout [-- roverline/50]`; `TURNS=9` for a longer look.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench is not a library"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use roverline_gateway::command::EmergencyStop;
use roverline_gateway::endpoint::{Endpoint, Parts, Peers, accept_loop};
use roverline_gateway::hub::{Hub, Ingress};
use roverline_gateway::source::{Qos, RawSample, Sink, TopicDecl};
use roverline_protocol::{Delivery, Guid, Routing, SampleId, Tier, routing::Rule};
use roverline_schema::Registry;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{broadcast, oneshot};
use tokio_tungstenite::tungstenite::Message;

const SERVERS: [&str; 3] = ["roverline", "foxglove", "bare"];
const CLIENTS: [usize; 2] = [1, 50];
const PAYLOAD: usize = 1024;
const PERIOD: Duration = Duration::from_millis(1);
/// Messages before the measurement.
const WARM_UP: u64 = 300;
/// Set in a server's process: which one it is.
const ROLE: &str = "ROVERLINE_FANOUT_SERVER";

fn clock(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return serve(&role);
    }
    // As criterion does: without `--bench` (`cargo test --benches`) only show that it works.
    let (options, filters): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with('-'));
    let (turns, messages) = match options.iter().any(|option| option == "--bench") {
        true => (std::env::var("TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(3), 2_000),
        false => (1, 100),
    };
    let mut results = Vec::new();
    for clients in CLIENTS {
        let of_count: Vec<_> = SERVERS
            .into_iter()
            .map(|server| Outcome::new(server, clients))
            .filter(|o| filters.is_empty() || filters.iter().any(|filter| o.name().contains(filter)))
            .collect();
        let first = results.len();
        results.extend(of_count);
        for turn in 0..turns {
            for outcome in &mut results[first..] {
                eprintln!("turn {}/{turns}: {}", turn + 1, outcome.name());
                take_turn(outcome, messages);
            }
        }
    }
    report(&mut results);
}

// ---- the servers, each in its own process ----

/// Takes a message's number and the message.
type Publish = Box<dyn FnMut(u64, &[u8])>;

struct Running {
    port: u16,
    channel: u64,
    publish: Publish,
}

/// Says where it listens; publishes as many messages as the first line asks for, then tells its CPU
/// time when asked by another line; ends with its input.
fn serve(role: &str) {
    let mut server = match role {
        "roverline" => roverline(),
        "foxglove" => foxglove(),
        _ => bare(),
    };
    println!("{} {}", server.port, server.channel);
    let mut lines = std::io::stdin().lock().lines();
    let Some(Ok(count)) = lines.next() else { return };
    let count: u64 = count.parse().expect("a number of messages");
    let mut payload = [0; PAYLOAD];
    payload[1] = 1; // CDR, little endian
    let (start, mut cpu_before) = (Instant::now(), 0);
    for seq in 0..count {
        let wait = PERIOD * seq as u32;
        std::thread::sleep(wait.saturating_sub(start.elapsed()));
        if seq == WARM_UP {
            cpu_before = clock(ClockId::ProcessCPUTime);
        }
        payload[8..16].copy_from_slice(&seq.to_le_bytes());
        payload[16..24].copy_from_slice(&clock(ClockId::Monotonic).to_le_bytes());
        (server.publish)(seq, &payload);
    }
    if lines.next().is_some() {
        println!("{}", clock(ClockId::ProcessCPUTime) - cpu_before);
    }
    let _ = lines.next();
}

/// Runs `serving` for ever on a runtime like the endpoint's: one thread. Returns what it sends first.
fn on_runtime<T: Send + 'static, F: Future<Output = ()>>(
    serving: impl FnOnce(oneshot::Sender<T>) -> F + Send + 'static,
) -> T {
    let (ready, started) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serving(ready));
    });
    started.blocking_recv().unwrap()
}

/// A real endpoint, put together as `endpoint::run` does; this process's main thread is its source.
fn roverline() -> Running {
    let scopes = Tier::Primary.scopes();
    let rule = Rule {
        topic: Some("/bench".into()),
        type_name: None,
        scopes,
        priority: None,
        delivery: Some(Delivery::Every),
        max_rate_hz: None,
    };
    let ingress = Ingress::new(Arc::new(Routing::new(&[rule]).unwrap()), scopes);
    let feed = ingress.clone();
    let port = on_runtime(move |ready| async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint::new(Parts {
            tier: Tier::Primary,
            port,
            max_clients: 50,
            hub: Hub::new(scopes, Registry::bundled()),
            ingress,
            source_kind: "bench",
            peers: Peers::new(Vec::new()),
            estop: EmergencyStop::new(&std::env::temp_dir(), "/emergency_stop"),
        });
        let draining = endpoint.clone();
        tokio::spawn(async move { draining.hub.run(&draining.ingress).await });
        let ticking = endpoint.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                ticking.hub.flush_throttled(roverline_gateway::clock::monotonic());
            }
        });
        ready.send(port).unwrap();
        accept_loop(endpoint, listener).await;
    });
    let decl = TopicDecl {
        name: "/bench".into(),
        type_name: "std_msgs/msg/ByteMultiArray".into(),
        qos: Qos { reliable: true, transient_local: false },
        schema: None,
    };
    let topic = feed.topic_up(decl).unwrap();
    let source = Guid::from_name("bench");
    let publish = move |seq, payload: &[u8]| {
        let now = roverline_gateway::clock::unix_ns();
        let id = SampleId { source, seq };
        let payload = Bytes::copy_from_slice(payload);
        feed.sample(topic, RawSample { id, source_time_ns: now, receive_time_ns: now, payload });
    };
    Running { port, channel: 0, publish: Box::new(publish) }
}

/// The SDK with everything at its default, its own multi-threaded runtime included.
fn foxglove() -> Running {
    let schema = foxglove::Schema::new("std_msgs/msg/ByteMultiArray", "ros2msg", b"byte[] data".as_slice());
    let channel =
        foxglove::ChannelBuilder::new("/bench").message_encoding("cdr").schema(schema).build_raw().unwrap();
    let server = foxglove::WebSocketServer::new().bind("127.0.0.1", 0).start_blocking().unwrap();
    let (port, id) = (server.port(), u64::from(channel.id()));
    let publish = move |_, payload: &[u8]| {
        let _running = &server;
        channel.log(payload);
    };
    Running { port, channel: id, publish: Box::new(publish) }
}

/// A broadcast channel and a task per client; it does nothing else, not even read.
fn bare() -> Running {
    let (sender, _) = broadcast::channel::<Bytes>(8192);
    let messages = sender.clone();
    let port = on_runtime(|ready| async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        ready.send(listener.local_addr().unwrap().port()).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let mut messages = messages.subscribe();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Ok(message) = messages.recv().await {
                    if socket.send(Message::Binary(message)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let publish = move |_, payload: &[u8]| drop(sender.send(Bytes::copy_from_slice(payload)));
    Running { port, channel: 0, publish: Box::new(publish) }
}

// ---- the clients ----

/// A server's process; killed when dropped.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(role: &str) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Server { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that knows just enough of RFC 6455 to be served.
struct Client {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Client {
    fn connect(address: SocketAddr, server: &str, channel: u64) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut client = Client { stream, buffer: vec![0; 256 << 10].into(), filled: 0 };
        let protocol = match server {
            "roverline" => "Sec-WebSocket-Protocol: roverline.v1\r\n",
            "foxglove" => "Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n",
            _ => "",
        };
        write!(
            client.stream,
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        )
        .unwrap();
        client.read_head();
        match server {
            "roverline" => {
                client.say(r#"{"op":"subscribe","topics":["/bench"]}"#);
                client.wait_for("\"subscribed\"");
            }
            "foxglove" => {
                client.wait_for("\"advertise\"");
                client.say(&format!(
                    r#"{{"op":"subscribe","subscriptions":[{{"id":1,"channelId":{channel}}}]}}"#
                ));
            }
            _ => {}
        }
        client.stream.set_nonblocking(true).unwrap();
        client
    }

    fn read_head(&mut self) {
        loop {
            self.fill().unwrap();
            let head = &self.buffer[..self.filled];
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(head));
                self.consume(end + 4);
                return;
            }
        }
    }

    /// A text frame, masked with zeros.
    fn say(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    fn wait_for(&mut self, word: &str) {
        let mut found = false;
        while !found {
            self.frames(|_, body| found |= String::from_utf8_lossy(body).contains(word));
            if !found {
                self.fill().unwrap();
            }
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Hands every whole frame's first byte and body to `each`.
    fn frames(&mut self, mut each: impl FnMut(u8, &[u8])) {
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..self.filled];
            let (head, length) = match *rest {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
                [_, 127, _, _, _, _, a, b, c, d, ..] => (10, u32::from_be_bytes([a, b, c, d]) as usize),
                [_, 126..=255, ..] => break,
                [_, length, ..] => (2, usize::from(length)),
                _ => break,
            };
            if rest.len() < head + length {
                break;
            }
            each(rest[0], &rest[head..head + length]);
            at += head + length;
        }
        if at > 0 {
            self.consume(at);
        }
    }
}

/// What was measured of one server with so many clients, over all its turns.
struct Outcome {
    server: &'static str,
    clients: usize,
    latencies_ns: Vec<u64>,
    best_p99_ns: u64,
    expected: u64,
    seconds: f64,
    cpu_ns: u64,
    rss_mb: f64,
}

impl Outcome {
    fn new(server: &'static str, clients: usize) -> Outcome {
        Outcome {
            server,
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
        format!("{}/{}", self.server, self.clients)
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

fn take_turn(outcome: &mut Outcome, messages: u64) {
    let mut server = Server::start(outcome.server);
    let ready = server.line();
    let (port, channel) = ready.trim().split_once(' ').expect("a port and a channel");
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let channel = channel.parse().unwrap();
    let mut clients: Vec<_> =
        (0..outcome.clients).map(|_| Client::connect(address, outcome.server, channel)).collect();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (at, client) in clients.iter().enumerate() {
        let data = epoll::EventData::new_u64(at as u64);
        epoll::add(&poll, &client.stream, data, epoll::EventFlags::IN).unwrap();
    }
    // Where a subscription is not answered, give it time.
    std::thread::sleep(Duration::from_millis(200));

    let last = WARM_UP + messages;
    let expected = messages * outcome.clients as u64;
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
                Err(error) => panic!("{} lost a client: {error}", outcome.server),
            }
            let now = clock(ClockId::Monotonic);
            client.frames(|first, body| {
                if first == 0x82 && body.len() >= PAYLOAD {
                    let payload = &body[body.len() - PAYLOAD..];
                    let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
                    if word(8) >= WARM_UP {
                        latencies.push(now.saturating_sub(word(16)));
                    }
                }
            });
        }
    }
    writeln!(server.input).unwrap();
    outcome.cpu_ns += server.line().trim().parse::<u64>().unwrap();
    outcome.rss_mb = outcome.rss_mb.max(server.rss_mb());
    outcome.expected += expected;
    outcome.seconds += messages as f64 * PERIOD.as_secs_f64();
    latencies.sort_unstable();
    outcome.best_p99_ns = outcome.best_p99_ns.min(percentile(&latencies, 99));
    outcome.latencies_ns.append(&mut latencies);
}

fn report(results: &mut [Outcome]) {
    println!(
        "{:<10} {:>7} {:>11} {:>6} {:>8} {:>8} {:>8} {:>9} {:>10} {:>7}",
        "server",
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
            outcome.server,
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
    for ours in results.iter().filter(|outcome| outcome.server == SERVERS[0]) {
        for other in results.iter().filter(|o| o.clients == ours.clients && o.server != ours.server) {
            println!(
                "ours / {} at {}: p50 {:.2}, p99 {:.2}, CPU {:.2}, RSS {:.2}",
                other.server,
                ours.clients,
                ours.percentile(50) / other.percentile(50),
                ours.percentile(99) / other.percentile(99),
                ours.cpu_per_million() / other.cpu_per_million(),
                ours.rss_mb / other.rss_mb
            );
        }
    }
}
