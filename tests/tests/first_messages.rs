//! The first message of a client reaches a node that was there before: over rosbridge and Foxglove's protocol, advertised or
//! not, at once, later, and after a pause; and what rosbridge takes as numbers. The node is CycloneDDS's Python binding.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use roverline_protocol::Tier;
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::require;
use roverline_tests::script::Script;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const PATIENCE: Duration = Duration::from_secs(60);
/// Domains of this file; tests that run in parallel use different ones.
const ROSBRIDGE_DOMAIN: &str = "88";
const FOXGLOVE_DOMAIN: &str = "90";
const NUMBERS_DOMAIN: &str = "92";
/// Longer than the gateway's writers and any discovery need: a pause in which a client does nothing.
const PAUSE: Duration = Duration::from_secs(4);

fn gateway(domain: &str) -> Gateway {
    Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", domain])
}

/// A node that subscribes to these topics, each with one message to come.
fn subscriber(python: &std::path::Path, domain: &str, topics: &[&str]) -> Script {
    let until = ["--domain", domain, "--seconds", "50", "--until", "1"];
    let mut subscriber = Script::start(python, "dds_subscriber.py", &[&until[..], topics].concat());
    assert_eq!(subscriber.line()["ready"], true);
    subscriber
}

async fn connect(gateway: &Gateway, path: &str, subprotocol: Option<&str>) -> Socket {
    let url = format!("ws://127.0.0.1:{}{path}", gateway.port(Tier::Primary));
    let mut request = url.into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
    }
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn send(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

fn received(subscriber: Script) -> Value {
    subscriber.finish(PATIENCE)["received"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rosbridge() {
    let python = require!(python());
    let gateway = gateway(ROSBRIDGE_DOMAIN);
    let names = ["/unannounced", "/at_once", "/later", "/after_a_pause"];
    let topics = names.map(|name| format!("{name}=std_msgs/msg/String"));
    let subscriber = subscriber(&python, ROSBRIDGE_DOMAIN, &topics.each_ref().map(String::as_str));
    let mut client = connect(&gateway, "/rosbridge", None).await;
    let publish = |topic: &str, number: u32| json!({"op": "publish", "topic": topic, "type": "std_msgs/String", "msg": {"data": number.to_string()}});
    let advertise = |topic: &str| json!({"op": "advertise", "topic": topic, "type": "std_msgs/String"});
    send(&mut client, publish("/unannounced", 1)).await;
    send(&mut client, advertise("/at_once")).await;
    send(&mut client, publish("/at_once", 2)).await;
    send(&mut client, advertise("/later")).await;
    send(&mut client, advertise("/after_a_pause")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(&mut client, publish("/later", 3)).await;
    tokio::time::sleep(PAUSE).await;
    send(&mut client, publish("/after_a_pause", 4)).await;
    let received = tokio::task::block_in_place(|| received(subscriber));
    let last = names.map(|name| (received[name]["count"].as_u64(), received[name]["last"].as_u64()));
    assert_eq!(last, [1, 2, 3, 4].map(|number| (Some(1), Some(number))), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_foxglove() {
    let python = require!(python());
    let gateway = gateway(FOXGLOVE_DOMAIN);
    let names = ["/at_once", "/later", "/after_a_pause"];
    let topics = names.map(|name| format!("{name}=std_msgs/msg/String"));
    let subscriber = subscriber(&python, FOXGLOVE_DOMAIN, &topics.each_ref().map(String::as_str));
    let mut client = connect(&gateway, "/", Some("foxglove.websocket.v1")).await;
    let channel = |id: usize| json!({"id": id, "topic": names[id], "encoding": "json", "schemaName": "std_msgs/msg/String"});
    // Client message data: opcode 1, the channel, the message.
    let data = |id: usize| {
        let message = json!({"data": (id + 1).to_string()}).to_string();
        Message::Binary([&[1][..], &(id as u32).to_le_bytes(), message.as_bytes()].concat().into())
    };
    send(&mut client, json!({"op": "advertise", "channels": [channel(0)]})).await;
    client.send(data(0)).await.unwrap();
    send(&mut client, json!({"op": "advertise", "channels": [channel(1), channel(2)]})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.send(data(1)).await.unwrap();
    tokio::time::sleep(PAUSE).await;
    client.send(data(2)).await.unwrap();
    let received = tokio::task::block_in_place(|| received(subscriber));
    let last = names.map(|name| (received[name]["count"].as_u64(), received[name]["last"].as_u64()));
    assert_eq!(last, [1, 2, 3].map(|number| (Some(1), Some(number))), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_as_python_writes_them_are_published_and_the_session_stays_open() {
    let python = require!(python());
    let gateway = gateway(NUMBERS_DOMAIN);
    let topics = ["/vector=geometry_msgs/msg/Twist"];
    let until = ["--domain", NUMBERS_DOMAIN, "--seconds", "50", "--until", "124"];
    let mut subscriber = Script::start(&python, "dds_subscriber.py", &[&until[..], &topics].concat());
    assert_eq!(subscriber.line()["ready"], true);
    let mut client = connect(&gateway, "/rosbridge", None).await;
    send(&mut client, json!({"op": "advertise", "topic": "/vector", "type": "geometry_msgs/Twist"})).await;
    // No session may have more than 100 messages that are none.
    let numbers = ["NaN", "Infinity", "-Infinity", "1e-400"];
    for number in numbers.iter().cycle().take(124) {
        let text = format!(r#"{{"op":"publish","topic":"/vector","msg":{{"linear":{{"x":{number}}}}}}}"#);
        client.send(Message::text(text)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.send(Message::Ping(Bytes::from_static(b"open"))).await.unwrap();
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Pong(payload) if payload.as_ref() == b"open" => break,
            Message::Text(text) => panic!("{text}"),
            Message::Close(close) => panic!("{close:?}"),
            _ => {}
        }
    }
    let received = tokio::task::block_in_place(|| received(subscriber));
    assert_eq!(received["/vector"]["count"], 124, "{received}");
}
