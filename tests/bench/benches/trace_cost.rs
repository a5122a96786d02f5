//! What tracing samples costs: the fan-out of 1 KiB at 1 kHz to 50 native subscribers, with traces off, one sample a
//! second, and every sample. The variants alternate in short rounds, and the best rounds count. A delivery's least other
//! cost, one write to a TCP socket, is measured in the same run; the ratios are of both together.
//!
//! `cargo bench -p roverline-bench --bench trace_cost`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench is not a library"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_gateway::connection::outbox::Outbox;
use roverline_gateway::dialect::native::encoding::FORMAT;
use roverline_gateway::hub::{Hub, Ingress, SourceEvent, SubscribeOptions};
use roverline_gateway::trace::sample_ring::SampleRing;
use roverline_protocol::routing::Rule;
use roverline_protocol::{Delivery, Guid, Routing, SampleId, Tier};
use roverline_schema::Registry;
use roverline_source::{Qos, RawSample, Sink, TopicDecl, TopicKey};
use rustix::time::{ClockId, clock_gettime};

const SUBSCRIBERS: u64 = 50;
const PAYLOAD_BYTES: usize = 1024;
const MESSAGES_PER_ROUND: u64 = 1_000;
const PERIOD: Duration = Duration::from_millis(1);
/// Traced samples a second; 0: traces are off.
const VARIANTS: [(&str, u32); 3] = [("off", 0), ("one a second", 1), ("all", 1_000)];

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A hub with its subscribers.
struct Variant {
    name: &'static str,
    hub: Arc<Hub>,
    ingress: Arc<Ingress>,
    topic: TopicKey,
    payload: Bytes,
    sent: u64,
    /// CPU time of a delivery in each round.
    rounds_ns: Vec<f64>,
}

impl Variant {
    fn new(name: &'static str, traced_samples_per_s: u32) -> Variant {
        let scopes = Tier::Primary.scopes();
        let rule = Rule {
            topic: Some("/bench".into()),
            type_name: None,
            scopes,
            priority: None,
            // A newer sample replaces the one that waits: no outbox fills, though nobody reads.
            delivery: Some(Delivery::Latest),
            max_rate_hz: None,
            expected_rate_hz: None,
        };
        let ingress = Ingress::new(Arc::new(Routing::new(&[rule]).unwrap()), scopes);
        let hub = Hub::new(scopes, Registry::bundled());
        if let Some(ring) = SampleRing::new("primary", traced_samples_per_s) {
            hub.trace_samples(ring);
        }
        let decl = TopicDecl {
            name: "/bench".into(),
            type_name: "std_msgs/msg/String".into(),
            qos: Qos { reliable: true, transient_local: false },
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let topic = ingress.topic_up(decl.clone()).unwrap();
        hub.handle(&ingress, SourceEvent::TopicUp(topic, decl), PERIOD);
        for id in 0..SUBSCRIBERS {
            hub.attach(id, Outbox::new(), FORMAT);
            let options = SubscribeOptions { patterns: vec!["/bench".into()], ..SubscribeOptions::default() };
            hub.subscribe_now(id, &options).unwrap();
        }
        let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
        Variant { name, hub, ingress, topic, payload, sent: 0, rounds_ns: Vec::new() }
    }

    fn round(&mut self) {
        let began_ns = cpu_ns();
        for _ in 0..MESSAGES_PER_ROUND {
            self.sent += 1;
            let now = PERIOD * u32::try_from(self.sent + 1_000).unwrap();
            let sample = RawSample {
                id: SampleId { source: Guid([1; 16]), seq: self.sent },
                source_time_ns: 1,
                receive_time_ns: 1,
                payload: self.payload.clone(),
            };
            self.hub.handle(&self.ingress, SourceEvent::Sample(self.topic, sample, now), now);
        }
        let deliveries = MESSAGES_PER_ROUND * SUBSCRIBERS;
        self.rounds_ns.push((cpu_ns() - began_ns) as f64 / deliveries as f64);
    }

    /// The CPU time that nine of ten rounds exceed: other work of the machine only adds to it.
    fn best_ns(&self) -> f64 {
        let mut rounds = self.rounds_ns.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len() / 10).copied().unwrap_or(f64::NAN)
    }
}

/// Writes to a socket, as each delivery needs one: CPU time of a write in each round.
struct Socket {
    near: TcpStream,
    far: TcpStream,
    rounds_ns: Vec<f64>,
}

impl Socket {
    fn new() -> Socket {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nodelay(true).unwrap();
        let (far, _) = listener.accept().unwrap();
        Socket { near, far, rounds_ns: Vec::new() }
    }

    fn round(&mut self) {
        let (frame, mut read, mut spent_ns) = ([b'x'; PAYLOAD_BYTES], [0; PAYLOAD_BYTES], 0);
        for _ in 0..MESSAGES_PER_ROUND {
            let began_ns = cpu_ns();
            self.near.write_all(&frame).unwrap();
            spent_ns += cpu_ns() - began_ns;
            self.far.read_exact(&mut read).unwrap();
        }
        self.rounds_ns.push(spent_ns as f64 / MESSAGES_PER_ROUND as f64);
    }

    fn best_ns(&self) -> f64 {
        let mut rounds = self.rounds_ns.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len() / 10).copied().unwrap_or(f64::NAN)
    }
}

fn main() {
    let rounds = if std::env::args().any(|option| option == "--bench") { 300 } else { 2 };
    let mut variants = VARIANTS.map(|(name, samples_per_s)| Variant::new(name, samples_per_s));
    let mut socket = Socket::new();
    for _ in 0..rounds {
        variants.iter_mut().for_each(Variant::round);
        socket.round();
    }
    let (off_ns, write_ns) = (variants[0].best_ns(), socket.best_ns());
    println!("a write of 1 KiB to a TCP socket takes {write_ns:.0} ns of CPU");
    for variant in &variants {
        let ns = variant.best_ns();
        println!(
            "{:<13} {ns:>7.1} ns for each delivery in the hub; with the write {:.4} of off",
            variant.name,
            (ns + write_ns) / (off_ns + write_ns)
        );
    }
}
