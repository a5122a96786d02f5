//! Latched topics of several publishers: a client that comes late receives the last message of each publisher, as many as
//! the publisher keeps, over every dialect, from recordings and from DDS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use mcap::records::MessageHeader;
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::temp;
use roverline_tests::wait::{eventually, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const PATIENCE: Duration = Duration::from_secs(20);
/// Within it, everything that a late client gets has come.
const QUIET: Duration = Duration::from_millis(1_500);
/// Domain of the test with publishers in DDS; no other test uses it.
const DOMAIN: &str = "94";

/// A `std_msgs/msg/String` in CDR.
fn string(text: &str) -> Vec<u8> {
    let length = (text.len() as u32 + 1).to_le_bytes();
    [&[0, 1, 0, 0][..], &length, text.as_bytes(), &[0]].concat()
}

/// The text of a `std_msgs/msg/String` in CDR.
fn text(payload: &[u8]) -> String {
    String::from_utf8(payload[8..].split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
}

/// Three publishers of a topic that keep one message, two of another that keep two, and `/ticks`.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("r.mcap");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut writer = mcap::WriteOptions::new().create(&mut file).unwrap();
    let schema = writer.add_schema("std_msgs/msg/String", "ros2msg", b"string data").unwrap();
    let mut channel = |topic: &str, publisher: &str, depth: u32, durability: u32| {
        let profiles =
            format!("- history: 1\n  depth: {depth}\n  reliability: 1\n  durability: {durability}\n");
        // Channels of one topic differ in something, else they are one.
        let metadata = [("offered_qos_profiles", profiles.as_str()), ("publisher", publisher)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        writer.add_channel(schema, topic, "cdr", &metadata).unwrap()
    };
    let ticks = channel("/ticks", "clock", 10, 2);
    let publishers = [
        ("/described", "a", 1),
        ("/described", "b", 1),
        ("/described", "c", 1),
        ("/deep", "d", 2),
        ("/deep", "e", 2),
    ]
    .map(|(topic, name, depth)| (name, channel(topic, name, depth, 1)));
    let mut write = |channel_id: u16, at_ms: u64, data: &str| {
        let time = 1_700_000_000_000_000_000 + at_ms * 1_000_000;
        let header = MessageHeader { channel_id, sequence: 0, log_time: time, publish_time: time };
        writer.write_to_known_channel(&header, &std::borrow::Cow::Owned(string(data))).unwrap();
    };
    for round in 0..3 {
        for (n, (name, id)) in publishers.iter().enumerate() {
            write(*id, round * 10 + n as u64, &format!("{name}{round}"));
        }
    }
    for n in 0..3_000 {
        write(ticks, 50 + n * 20, "tick");
    }
    writer.finish().unwrap();
    drop(writer);
    std::io::Write::flush(&mut file).unwrap();
    path
}

async fn native(port: u16, topic: &str) -> Vec<String> {
    let mut client = NativeClient::subscribed(port, &[topic]).await;
    let received = client.receive_for(QUIET).await;
    let texts = received.into_iter().filter_map(|message| match message {
        Received::Sample(name, _, payload) if name == topic => Some(text(&payload)),
        _ => None,
    });
    texts.collect()
}

/// The texts that come as JSON within [`QUIET`].
async fn json_texts(mut client: PlainClient, request: Value, kind: (&str, &str)) -> Vec<String> {
    client.send(&request.to_string()).await;
    let end = tokio::time::Instant::now() + QUIET;
    let mut texts = Vec::new();
    while let Ok(message) = tokio::time::timeout_at(end, client.next()).await {
        let message = message.unwrap();
        if message[kind.0] == kind.1 {
            texts.push(message["msg"]["data"].as_str().unwrap().to_owned());
        }
    }
    texts
}

async fn plain(port: u16, topic: &str) -> Vec<String> {
    let client = PlainClient::connect(port).await;
    json_texts(client, json!({"type": "subscribe", "topics": [topic]}), ("type", "message")).await
}

async fn rosbridge(port: u16, topic: &str) -> Vec<String> {
    let client = PlainClient::try_connect_at(port, "/rosbridge").await.unwrap();
    json_texts(client, json!({"op": "subscribe", "topic": topic}), ("op", "publish")).await
}

async fn foxglove(port: u16, topic: &str) -> Vec<String> {
    let mut request = format!("ws://127.0.0.1:{port}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.websocket.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let channel = loop {
        let Message::Text(message) = within("the channel", PATIENCE, socket.next()).await.unwrap().unwrap()
        else {
            continue;
        };
        let message: Value = serde_json::from_str(message.as_str()).unwrap();
        let channels = message["channels"].as_array().into_iter().flatten();
        if let Some(channel) = channels.clone().find(|channel| channel["topic"] == topic) {
            break channel["id"].clone();
        }
    };
    let subscribe = json!({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": channel}]});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let end = tokio::time::Instant::now() + QUIET;
    let mut texts = Vec::new();
    while let Ok(message) = tokio::time::timeout_at(end, socket.next()).await {
        match message.unwrap().unwrap() {
            // Message data: opcode, subscription, time of the log.
            Message::Binary(data) if data[0] == 1 => texts.push(text(&data[13..])),
            _ => {}
        }
    }
    texts
}

/// What late clients of each dialect receive; sorted.
async fn late_clients(port: u16, topic: &str) -> [(&'static str, Vec<String>); 4] {
    let mut all = [
        ("native", native(port, topic).await),
        ("plain", plain(port, topic).await),
        ("rosbridge", rosbridge(port, topic).await),
        ("foxglove", foxglove(port, topic).await),
    ];
    for (_, texts) in &mut all {
        texts.sort();
    }
    all
}

#[tokio::test]
async fn of_a_recording() {
    let scratch = temp::dir();
    let file = recording(scratch.path());
    let gateway = Gateway::serve(&["--source", "bag", "--file", file.to_str().unwrap()]);
    let port = gateway.first_port();
    let mut first = NativeClient::subscribed(port, &["/ticks"]).await;
    // The recording plays since somebody listens, and the latched messages are behind.
    for _ in 0..20 {
        first.next().await;
    }
    for (dialect, texts) in late_clients(port, "/described").await {
        assert_eq!(texts, ["a2", "b2", "c2"], "{dialect}");
    }
    for (dialect, texts) in late_clients(port, "/deep").await {
        assert_eq!(texts, ["d1", "d2", "e1", "e2"], "{dialect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes() {
    let python = require!(python());
    // CycloneDDS announces no reliability where it is the default; two nodes are there before the gateway.
    let names = ["arm", "base", "mast"];
    let node = |name: &str| {
        let args = [
            "--domain",
            DOMAIN,
            "--seconds",
            "50",
            "--image-rate",
            "0",
            "--slow-rate",
            "0",
            "--imu-rate",
            "1",
        ];
        Script::start(&python, "dds_publisher.py", &[&args[..], &["--description", name]].concat())
    };
    let mut nodes = vec![node("arm"), node("base")];
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", DOMAIN]);
    nodes.push(node("mast"));
    let port = gateway.first_port();
    tokio::task::block_in_place(|| {
        eventually("messages of all three", PATIENCE, || {
            let topics = roverline_tests::http::get(port, "/api/v2/topics?prefix=/robot_description");
            let topics: Value = serde_json::from_str(&topics.body).unwrap_or_default();
            let topic = &topics["topics"][0];
            topic["samples"] == 3 && topic["qos"] == json!({"reliable": true, "transient_local": true})
        });
    });
    for (dialect, texts) in late_clients(port, "/robot_description").await {
        assert_eq!(texts, names, "{dialect}");
    }
    drop(nodes);
}
