//! The compared servers, each in its own process.

use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use roverline_coordination::Coordination;
use roverline_gateway::access::{Access, AccessSettings};
use roverline_gateway::config::SourceKind;
use roverline_gateway::emergency_stop::EmergencyStop;
use roverline_gateway::endpoint::EndpointBuilder;
use roverline_gateway::endpoint::peers::PeerTrust;
use roverline_gateway::endpoint::peers::networks::PeerNetworks;
use roverline_gateway::endpoint::peers::proof::Prover;
use roverline_gateway::endpoint::peers::table::Peers;
use roverline_gateway::hub::{Hub, Ingress};
use roverline_gateway::process::source_control::SourceControlHandle;
use roverline_gateway::server::listener::accept_loop;
use roverline_gateway::trace::sample_ring::SampleRing;
use roverline_protocol::{Delivery, Guid, Routing, SampleId, ScopeSet, Tier, routing::Rule};
use roverline_schema::Registry;
use roverline_source::{Qos, RawSample, Sink, TopicDecl};
use rustix::time::ClockId;
use tokio::sync::{broadcast, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::{MARK, PAYLOAD, PERIOD, WARM_UP, clock};

/// Publishes a message with its sequence number.
type Publish = Box<dyn FnMut(u64, &[u8])>;

struct Running {
    port: u16,
    channel: u64,
    publish: Publish,
}

/// Prints its port; publishes as many messages as the first input line says; prints its CPU time after the
/// next line; exits when its input ends.
pub(super) fn serve(role: &str) {
    let mut server = match role {
        "roverline" => roverline(0),
        "roverline-traced" => roverline(1),
        "roverline-all-traced" => roverline(1_000),
        "foxglove" => foxglove(),
        _ => bare(),
    };
    println!("{} {}", server.port, server.channel);
    let mut lines = std::io::stdin().lock().lines();
    let Some(Ok(count)) = lines.next() else { return };
    let count: u64 = count.parse().expect("a number of messages");
    let mut payload = string_message();
    let (start, mut cpu_before) = (Instant::now(), 0);
    for seq in 0..count {
        let wait = PERIOD * seq as u32;
        std::thread::sleep(wait.saturating_sub(start.elapsed()));
        if seq == WARM_UP {
            cpu_before = clock(ClockId::ProcessCPUTime);
        }
        let stamp = format!("{seq:020}{:020}", clock(ClockId::Monotonic));
        payload[8 + MARK.len()..][..stamp.len()].copy_from_slice(stamp.as_bytes());
        (server.publish)(seq, &payload);
    }
    if lines.next().is_some() {
        println!("{}", clock(ClockId::ProcessCPUTime) - cpu_before);
    }
    let _ = lines.next();
}

/// A std_msgs/msg/String in little-endian CDR of [`PAYLOAD`] bytes.
fn string_message() -> Vec<u8> {
    let mut payload = vec![b'x'; PAYLOAD];
    payload[..4].copy_from_slice(&[0, 1, 0, 0]);
    payload[4..8].copy_from_slice(&(PAYLOAD as u32 - 8).to_le_bytes());
    payload[8..][..MARK.len()].copy_from_slice(MARK);
    payload[PAYLOAD - 1] = 0;
    payload
}

/// Runs `serving` forever on a single-threaded runtime like the endpoint's. Returns the first value it sends.
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

/// A real endpoint, built as `endpoint::run` does; this process's main thread is its source.
fn roverline(traced_samples_per_s: u32) -> Running {
    let scopes = Tier::Primary.scopes();
    let rule = Rule {
        topic: Some("/bench".into()),
        type_name: None,
        scopes,
        priority: None,
        delivery: Some(Delivery::Every),
        max_rate_hz: None,
        expected_rate_hz: None,
    };
    let ingress = Ingress::new(Arc::new(Routing::new(&[rule]).unwrap()), scopes);
    let feed = ingress.clone();
    let port = on_runtime(move |ready| async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = EndpointBuilder {
            session_budget: None,
            endpoint_budget: None,
            tier: Tier::Primary,
            port,
            max_clients: 50,
            hub: hub(scopes, traced_samples_per_s),
            ingress,
            source_kind: SourceKind::Sim,
            peers: Peers::new(Vec::new()),
            peer_trust: PeerTrust {
                prover: Prover { key: None, tier: Tier::Primary, address: None },
                networks: PeerNetworks::default(),
            },
            emergency_stop: EmergencyStop::new(&std::env::temp_dir(), "/emergency_stop"),
            access: Arc::new(Access::new(&AccessSettings::default()).expect("the default")),
            publisher: Arc::new(SourceControlHandle::default()),
            stop_topic: "/emergency_stop".to_owned(),
            path_prefix: String::new(),
            rover: "rover".to_owned(),
            guards: Arc::new(roverline_gateway::authority::Guards::none()),
            coordination: Arc::new(Coordination::disabled("this has no store")),
            state_dir: std::env::temp_dir(),
            spans: None,
            log: Arc::default(),
        }
        .build();
        let draining = endpoint.clone();
        tokio::spawn(async move { draining.hub.run(&draining.ingress).await });
        let ticking = endpoint.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                ticking.hub.flush_throttled(roverline_source::clock::monotonic());
            }
        });
        ready.send(port).unwrap();
        accept_loop(endpoint, listener, None).await;
    });
    let decl = TopicDecl {
        name: "/bench".into(),
        type_name: "std_msgs/msg/String".into(),
        qos: Qos { reliable: true, transient_local: false },
        encoding: Default::default(),
        history_depth: 1,
        schema: None,
        route: None,
    };
    let topic = feed.topic_up(decl).unwrap();
    let source = Guid::from_name("bench");
    let publish = move |seq, payload: &[u8]| {
        let now = roverline_source::clock::unix_ns();
        let id = SampleId { source, seq };
        let payload = Bytes::copy_from_slice(payload);
        feed.sample(topic, RawSample { id, source_time_ns: now, receive_time_ns: now, payload });
    };
    Running { port, channel: u64::from(topic.0), publish: Box::new(publish) }
}

fn hub(scopes: ScopeSet, traced_samples_per_s: u32) -> Arc<Hub> {
    let hub = Hub::new(scopes, Registry::bundled());
    if let Some(ring) = SampleRing::new("primary", traced_samples_per_s) {
        hub.trace_samples(ring);
    }
    hub
}

/// The SDK with default settings, including its own multi-threaded runtime.
fn foxglove() -> Running {
    let schema = foxglove::Schema::new("std_msgs/msg/String", "ros2msg", b"string data".as_slice());
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

/// A broadcast channel and a task per client; it does nothing else, not even reading.
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
