//! Recordings whose messages are not CDR, whose types are defined in IDL, or which are compressed: through the whole
//! gateway, to clients of each dialect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use mcap::records::MessageHeader;
use roverline_tests::binary;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::PlainClient;
use roverline_tests::temp;
use roverline_tests::wait::{eventually, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PATIENCE: Duration = Duration::from_secs(20);
const IDL: &str = "================================================================================\n\
    IDL: own_msgs/msg/Pump\nmodule own_msgs { module msg { struct Pump { double flow; string label; }; }; };\n";
/// Bytes that are no text, as a compiled definition is.
const DESCRIPTOR: &[u8] = b"\x0a\xff\x00descriptor";

/// Topic, type, schema encoding, schema, message encoding, message.
type Channel = (&'static str, &'static str, &'static str, &'static [u8], &'static str, &'static [u8]);

fn channels() -> [Channel; 6] {
    let pump = b"\0\x01\0\0\0\0\0\0\0\0\x04\x40\x03\0\0\0p1\0";
    [
        (
            "/json",
            "weather",
            "jsonschema",
            b"{\"type\": \"object\"}",
            "json",
            b"{\"wind\": {\"speed\": 2.50}}",
        ),
        ("/bare_json", "", "", b"", "json", b"[1, 2]"),
        ("/broken_json", "weather", "jsonschema", b"{}", "json", b"{\"wind\":"),
        ("/protobuf", "foxglove.Log", "protobuf", DESCRIPTOR, "protobuf", b"\x08\x01"),
        ("/ros1", "std_msgs/String", "ros1msg", b"string data\n", "ros1", b"\x02\0\0\0hi"),
        ("/idl", "own_msgs/msg/Pump", "ros2idl", IDL.as_bytes(), "cdr", pump),
    ]
}

/// A recording of 200 messages of each channel, 50 a second.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("r.mcap");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut writer = mcap::WriteOptions::new().create(&mut file).unwrap();
    let ids = channels().map(|(topic, name, schema_encoding, schema, encoding, _)| {
        let schema = match name {
            "" => 0,
            name => writer.add_schema(name, schema_encoding, schema).unwrap(),
        };
        writer.add_channel(schema, topic, encoding, &BTreeMap::new()).unwrap()
    });
    for n in 0..200 {
        for (id, channel) in ids.iter().zip(channels()) {
            let time = 1_700_000_000_000_000_000 + n * 20_000_000;
            let header =
                MessageHeader { channel_id: *id, sequence: n as u32, log_time: time, publish_time: time };
            writer.write_to_known_channel(&header, &std::borrow::Cow::Borrowed(channel.5)).unwrap();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    file.flush().unwrap();
    path
}

fn serve(file: &Path, more: &[&str]) -> Gateway {
    Gateway::serve(&[&["--source", "bag", "--loop", "--file", file.to_str().unwrap()], more].concat())
}

/// The channels that a Foxglove client is told of, and the first message of each.
async fn foxglove(port: u16, wanted: usize) -> (BTreeMap<String, Value>, BTreeMap<String, Vec<u8>>) {
    let mut request = format!("ws://127.0.0.1:{port}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.websocket.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let (mut channels, mut messages) = (BTreeMap::new(), BTreeMap::new());
    let mut topics = Vec::new();
    while messages.len() < wanted {
        match within("a message", PATIENCE, socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(text.as_str()).unwrap();
                for channel in message["channels"].as_array().into_iter().flatten() {
                    let topic = channel["topic"].as_str().unwrap().to_owned();
                    let id = topics.len();
                    topics.push(topic.clone());
                    channels.insert(topic, channel.clone());
                    let subscribe =
                        json!({"op": "subscribe", "subscriptions": [{"id": id, "channelId": channel["id"]}]});
                    socket.send(Message::text(subscribe.to_string())).await.unwrap();
                }
            }
            Message::Binary(data) if data[0] == 1 => {
                let subscription = u32::from_le_bytes(data[1..5].try_into().unwrap());
                messages.entry(topics[subscription as usize].clone()).or_insert_with(|| data[13..].to_vec());
            }
            _ => {}
        }
    }
    (channels, messages)
}

fn check_foxglove(channels: &BTreeMap<String, Value>, messages: &BTreeMap<String, Vec<u8>>) {
    for (topic, name, schema_encoding, schema, encoding, message) in self::channels() {
        let channel = &channels[topic];
        let schema = match schema_encoding {
            "protobuf" => STANDARD.encode(schema),
            _ => String::from_utf8(schema.to_vec()).unwrap(),
        };
        let told =
            ["encoding", "schemaName", "schemaEncoding", "schema"].map(|key| channel[key].as_str().unwrap());
        assert_eq!(told, [encoding, name, schema_encoding, &schema], "{topic}");
        assert_eq!(messages[topic], message, "{topic}");
    }
}

#[tokio::test]
async fn foxglove_clients_get_messages_as_they_were_recorded() {
    let scratch = temp::dir();
    let gateway = serve(&recording(scratch.path()), &[]);
    let (channels, messages) = foxglove(gateway.first_port(), self::channels().len()).await;
    check_foxglove(&channels, &messages);
}

#[tokio::test]
async fn a_relay_passes_encodings_on() {
    let scratch = temp::dir();
    let rover = serve(&recording(scratch.path()), &[]);
    // Somebody listens, so that it plays.
    let _listener = subscribed_plain(rover.first_port(), "/json").await;
    let url = format!("ws://127.0.0.1:{}", rover.first_port());
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &url]);
    // Definitions arrive after their topics, which are then announced anew.
    eventually("the relay has the definitions", PATIENCE, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let port = relay.first_port();
        let asked = std::thread::spawn(move || runtime.block_on(foxglove(port, self::channels().len())));
        let (channels, messages) = asked.join().unwrap();
        let known = channels["/protobuf"]["schema"] != "" && channels["/ros1"]["schema"] != "";
        if known {
            assert_eq!(channels["/protobuf"]["schema"], STANDARD.encode(DESCRIPTOR));
            assert_eq!(channels["/ros1"]["schemaEncoding"], "ros1msg");
            assert_eq!(channels["/idl"]["schemaEncoding"], "ros2msg", "what the gateway made of it");
            assert_eq!(messages["/json"], self::channels()[0].5);
        }
        known
    });
}

async fn subscribed_plain(port: u16, topic: &str) -> PlainClient {
    let mut client = PlainClient::connect(port).await;
    client.send(&json!({"type": "subscribe", "topics": [topic]}).to_string()).await;
    client
}

#[tokio::test]
async fn others_get_json_and_are_told_what_they_cannot_read() {
    let scratch = temp::dir();
    let gateway = serve(&recording(scratch.path()), &[]);
    let port = gateway.first_port();
    for (topic, expected) in [
        ("/json", json!({"wind": {"speed": 2.5}})),
        ("/bare_json", json!([1, 2])),
        ("/idl", json!({"flow": 2.5, "label": "p1"})),
        ("/broken_json", Value::Null),
        ("/ros1", Value::Null),
    ] {
        let message = subscribed_plain(port, topic).await.next_of("message").await;
        assert_eq!(message["msg"], expected, "{message}");
        let error = message["error"].as_str().unwrap_or_default();
        let why = match topic {
            "/ros1" => "its messages are ros1, which this dialect does not read",
            "/broken_json" => "it is not the JSON that its recording promises",
            _ => "",
        };
        assert!(error.starts_with(why) && error.is_empty() == why.is_empty(), "{error}");

        let mut rosbridge = PlainClient::try_connect_at(port, "/rosbridge").await.unwrap();
        rosbridge.send(&json!({"op": "subscribe", "topic": topic}).to_string()).await;
        let answer = rosbridge.next().await.unwrap();
        match &expected {
            Value::Null => assert_eq!(answer["op"], "status", "{answer}"),
            expected => assert_eq!(answer["msg"], *expected, "{answer}"),
        }
        let latest = roverline_tests::http::get(port, &format!("/api/v2/topics{topic}/latest"));
        let latest: Value = serde_json::from_str(&latest.body).unwrap();
        assert_eq!(latest["message"], expected, "{latest}");
    }
}

fn echo(gateway: &Gateway, args: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(binary::bin("roverline"));
    gateway::clean_environment(&mut command);
    command.arg("echo").args(args).args(["--count", "1", "--timeout", "20s"]).args(gateway.urls());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_command_line_prints_json() {
    let scratch = temp::dir();
    let gateway = serve(&recording(scratch.path()), &[]);
    let (done, text) = echo(&gateway, &["--field", "wind.speed", "/json"]);
    assert!(done && text.trim() == "2.5", "{text}");
    let (done, text) = echo(&gateway, &["--field", "label", "/idl"]);
    assert!(done && text.trim() == "\"p1\"", "{text}");
    let (done, text) = echo(&gateway, &["/protobuf"]);
    assert!(!done && text.contains("are protobuf, which roverline does not read"), "{text}");
}

#[test]
fn four_endpoints_unpack_a_recording_once() {
    let (scratch, state) = (temp::dir(), temp::dir());
    let path = recording(scratch.path());
    let packed = scratch.path().join("r.mcap.zstd");
    std::fs::write(&packed, stored_zstd(&std::fs::read(&path).unwrap())).unwrap();
    std::fs::remove_file(&path).unwrap();
    let args = ["--source", "bag", "--loop", "--file", packed.to_str().unwrap()];
    let gateway = Gateway::start_in(state.path(), gateway::command(&["up", "--base-port", "0"]), &args);
    eventually("all four play it", PATIENCE, || {
        let is_playing = |port: &u16| roverline_tests::http::health(*port).source.state == "running";
        gateway.endpoints.iter().all(|(_, port)| is_playing(port))
    });
    let unpacked = || {
        let folders =
            std::fs::read_dir(state.path()).unwrap().flatten().map(|entry| entry.path().join("unpacked"));
        let files = folders
            .chain([state.path().join("unpacked")])
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        files.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let recordings = unpacked().into_iter().filter(|name| name.ends_with(".mcap")).count();
    assert_eq!(recordings, 1, "{:?}", unpacked());
    drop(gateway);
    eventually("it is removed", PATIENCE, || unpacked().is_empty());
}

/// A Zstandard frame of raw blocks (RFC 8878, 3.1.1.2).
fn stored_zstd(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    frame.extend((data.len() as u32).to_le_bytes());
    let mut blocks = data.chunks(100_000).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        frame.extend(&((block.len() as u32) << 3 | last).to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}
