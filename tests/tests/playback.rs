//! Playback control of a recording: two endpoints of one gateway, over raw frames of the Foxglove protocol,
//! and the sequence numbers seen by native clients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mcap::records::MessageHeader;
use roverline_protocol::Tier;
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::temp;
use roverline_tests::wait::within;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PATIENCE: Duration = Duration::from_secs(30);
const S: i64 = 1_000_000_000;
const T0: i64 = 1_700_000_000 * S;
/// A topic in the scopes of all four endpoints with `every` delivery.
const TOPIC: &str = "/emergency_stop";
const PLAYING: u8 = 0;
const PAUSED: u8 = 1;
const ENDED: u8 = 3;

/// Writes a recording of one minute with fifty messages per second.
fn record(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut writer = mcap::WriteOptions::new().chunk_size(Some(4_000)).create(&mut file).unwrap();
    let schema = writer.add_schema("std_msgs/msg/Bool", "ros2msg", b"bool data").unwrap();
    let channel = writer.add_channel(schema, TOPIC, "cdr", &BTreeMap::new()).unwrap();
    for n in 0..3_000 {
        let time = (T0 + n * S / 50) as u64;
        let header = MessageHeader { channel_id: channel, sequence: 0, log_time: time, publish_time: time };
        writer.write_to_known_channel(&header, &[0, 1, 0, 0, 0]).unwrap();
    }
    writer.finish().unwrap();
}

#[derive(Debug)]
struct State {
    status: u8,
    time: i64,
    speed: f32,
    did_seek: bool,
    id: String,
}

/// A Foxglove client that is subscribed to the topic.
struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Receive time and log time of each sample.
    samples: Vec<(Instant, i64)>,
    states: Vec<State>,
    info: Value,
    statuses: Vec<String>,
}

impl Client {
    async fn connect(port: u16) -> Client {
        let mut request = format!("ws://127.0.0.1:{port}/").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.sdk.v1".parse().unwrap());
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = within("the handshake", PATIENCE, handshake).await.unwrap();
        let (samples, states, statuses) = (Vec::new(), Vec::new(), Vec::new());
        let mut client = Client { socket, samples, states, info: Value::Null, statuses };
        client.until("samples", |client| !client.samples.is_empty()).await;
        client
    }

    /// Reads messages until a condition holds.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Client) -> bool) {
        within(what, PATIENCE, async {
            while !is_so(self) {
                self.receive().await;
            }
        })
        .await;
    }

    async fn receive(&mut self) {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Text(text) => self.on_text(serde_json::from_str(text.as_str()).unwrap()).await,
            Message::Binary(bytes) => match bytes[0] {
                1 => self.samples.push((Instant::now(), time(&bytes[5..]))),
                5 => self.states.push(State {
                    status: bytes[1],
                    time: time(&bytes[2..]),
                    speed: f32::from_le_bytes(bytes[10..14].try_into().unwrap()),
                    did_seek: bytes[14] != 0,
                    id: String::from_utf8(bytes[19..].to_vec()).unwrap(),
                }),
                _ => {}
            },
            _ => {}
        }
    }

    async fn on_text(&mut self, json: Value) {
        match json["op"].as_str().unwrap() {
            "serverInfo" => self.info = json,
            "status" => self.statuses.push(json["message"].as_str().unwrap().to_owned()),
            "advertise" => {
                let ids: Vec<Value> =
                    json["channels"].as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
                for id in ids {
                    let subscribe =
                        json!({"op": "subscribe", "subscriptions": [{"id": id, "channelId": id}]});
                    self.socket.send(Message::text(subscribe.to_string())).await.unwrap();
                }
            }
            _ => {}
        }
    }

    async fn control(&mut self, play: bool, speed: f32, seek: Option<i64>, id: &str) {
        let mut bytes = vec![3, u8::from(!play)];
        bytes.extend(speed.to_le_bytes());
        bytes.push(u8::from(seek.is_some()));
        bytes.extend(seek.unwrap_or(0).to_le_bytes());
        bytes.extend((id.len() as u32).to_le_bytes());
        bytes.extend(id.as_bytes());
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    /// Waits for the state that results from a request.
    async fn state(&mut self, id: &str) -> &State {
        self.until(id, |client| client.states.iter().any(|state| state.id == id)).await;
        self.states.iter().find(|state| state.id == id).unwrap()
    }

    /// The samples of the next `seconds`.
    async fn samples_for(&mut self, seconds: f64) -> Vec<(Instant, i64)> {
        self.samples.clear();
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while tokio::time::timeout_at(end, self.receive()).await.is_ok() {}
        std::mem::take(&mut self.samples)
    }
}

fn time(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// Sequence numbers and log times that a native client receives, until this log time.
async fn numbers(port: u16, until: i64) -> BTreeSet<(u64, i64)> {
    let mut native = NativeClient::subscribed(port, &[TOPIC]).await;
    let mut received = BTreeSet::new();
    loop {
        if let Received::Sample(_, header, _) = native.next().await {
            received.insert((header.id.seq, header.receive_time_ns));
            if header.receive_time_ns >= until {
                return received;
            }
        }
    }
}

#[tokio::test]
async fn all_endpoints_pause_jump_and_speed_up_together() {
    let scratch = temp::dir();
    let file = scratch.path().join("minute.mcap");
    record(&file);
    let gateway = Gateway::up(&["--source", "bag", "--file", file.to_str().unwrap()]);
    let (one, other) = (gateway.port(Tier::Primary), gateway.port(Tier::Emergency));
    let (mut here, mut there) = (Client::connect(one).await, Client::connect(other).await);
    here.until("the capability", |client| {
        client.info["capabilities"].as_array().unwrap().contains(&json!("playbackControl"))
    })
    .await;
    assert_eq!(here.info["dataStartTime"], json!({"sec": T0 / S, "nsec": 0}));
    assert_eq!(here.info["dataEndTime"], json!({"sec": T0 / S + 59, "nsec": 980_000_000}));
    assert_eq!(here.states[0].status, PLAYING);

    here.control(false, 1.0, None, "pause").await;
    let paused = here.state("pause").await.time;
    assert_eq!(there.state("pause").await.time, paused);
    for client in [&mut here, &mut there] {
        assert_eq!(client.states.last().unwrap().status, PAUSED);
        // Messages in flight may still arrive, then nothing does.
        client.samples_for(0.2).await;
        assert!(client.samples_for(0.7).await.is_empty());
    }

    // A seek by the other endpoint moves all of them, and equal samples have equal sequence numbers.
    let target = T0 + 40 * S;
    there.control(true, 1.0, Some(target), "seek").await;
    for client in [&mut here, &mut there] {
        let state = client.state("seek").await;
        assert!(state.status == PLAYING && state.did_seek && state.time >= target, "{state:?}");
        let samples = client.samples_for(0.5).await;
        assert!(samples.iter().any(|(_, time)| (target..target + 2 * S).contains(time)), "{samples:?}");
    }
    let (received_here, received_there) =
        tokio::join!(numbers(one, target + 3 * S), numbers(other, target + 3 * S));
    let both: Vec<_> = received_here.intersection(&received_there).collect();
    assert!(both.len() > 10, "{} in common", both.len());
    for received in [&received_here, &received_there] {
        // The first pass ended with 3000; in the second one, number 2001 is the first of second 40.
        assert!(
            received.iter().all(|(seq, time)| *seq == 3_001 + ((time - T0) / (S / 50)) as u64),
            "{received:?}"
        );
    }

    here.control(true, 2.0, Some(T0), "fast").await;
    assert!((there.state("fast").await.speed - 2.0).abs() < 1e-6);
    let samples = there.samples_for(3.0).await;
    let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
    let pace = (last.1 - first.1) as f64 / 1e9 / (last.0 - first.0).as_secs_f64();
    assert!((1.5..2.7).contains(&pace), "{pace}");

    // At the end playback stops; from there it can be started again.
    here.control(true, 100.0, Some(T0 + 58 * S), "last").await;
    there.until("the end", |client| client.states.last().is_some_and(|state| state.status == ENDED)).await;
    there.control(true, 1.0, Some(T0 + 10 * S), "again").await;
    assert_eq!(here.state("again").await.status, PLAYING);
    let samples = here.samples_for(1.0).await;
    assert!(samples.iter().any(|(_, time)| (T0 + 10 * S..T0 + 13 * S).contains(time)), "{samples:?}");
}

#[tokio::test]
async fn a_restarted_endpoint_joins_the_playback_of_the_others() {
    let scratch = temp::dir();
    let file = scratch.path().join("minute.mcap");
    record(&file);
    let gateway = Gateway::up(&["--source", "bag", "--file", file.to_str().unwrap()]);
    let (one, other) = (gateway.port(Tier::Primary), gateway.port(Tier::Emergency));
    let mut here = Client::connect(one).await;
    here.control(true, 0.5, Some(T0 + 30 * S), "seek").await;
    here.state("seek").await;
    roverline_tests::process::signal(
        gateway.endpoint_pid(Tier::Emergency),
        roverline_tests::process::Signal::KILL,
    );
    let (received_here, received_there) =
        tokio::join!(numbers(one, T0 + 33 * S), numbers(other, T0 + 33 * S));
    assert!(received_here.intersection(&received_there).count() > 10, "{received_here:?} {received_there:?}");
    assert!(received_there.iter().all(|(seq, _)| *seq > 3_000), "{received_there:?}");
}

#[tokio::test]
async fn an_observer_may_not_control_playback() {
    let scratch = temp::dir();
    let file = scratch.path().join("minute.mcap");
    record(&file);
    let args = ["--source", "bag", "--file", file.to_str().unwrap(), "--loopback-role", "observer"];
    let gateway = Gateway::up(&args);
    let mut client = Client::connect(gateway.first_port()).await;
    client.control(false, 1.0, None, "no").await;
    client.until("a status", |client| !client.statuses.is_empty()).await;
    assert!(client.statuses[0].starts_with("you may not call /playback"), "{:?}", client.statuses);
    assert!(!client.samples_for(1.0).await.is_empty(), "it goes on");
    assert!(client.states.iter().all(|state| state.status == PLAYING));
}
