//! rosbridge: roslib in Node and in Chromium, roslibpy, and a raw client, with the simulated rover and with
//! CycloneDDS. Needs `scripts/setup-clients`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use roverline_protocol::limits;
use roverline_tests::clients::{node, python};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::PlainClient;
use roverline_tests::require;
use roverline_tests::script::Script;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(150);

fn rover(args: &[&str]) -> Gateway {
    Gateway::serve(&[&["--source", "sim", "--tier", "primary"], args].concat())
}

fn url(gateway: &Gateway) -> String {
    format!("ws://127.0.0.1:{}", gateway.first_port())
}

/// A gateway whose clients need a token to drive, and an operator's token.
fn gateway_with_token(scratch: &Path) -> (Gateway, String) {
    let file = scratch.join("tokens");
    let file = file.to_str().unwrap();
    let add = ["token", "add", "--tokens", file, "--role", "operator", "ada"];
    let (code, stdout, stderr) = gateway::run(&add, Duration::from_secs(20));
    assert_eq!(code, 0, "{stderr}");
    let token = stdout.split_whitespace().last().unwrap().to_owned();
    (rover(&["--tokens", file, "--loopback-role", "observer"]), token)
}

/// Checks roslib's observations of the simulated rover.
fn check_rover(seen: &Value) {
    assert_eq!(seen["json"], json!({"frame": "odom", "x": "number"}), "{seen}");
    assert_eq!(seen["cbor"]["ranges"], "Float32Array", "{seen}");
    assert!(seen["cbor"]["length"].as_u64() > Some(10), "{seen}");
    assert_eq!(seen["raw"]["kind"], "Uint8Array", "{seen}");
    assert!(seen["raw"]["bytes"].as_u64() > Some(300) && seen["raw"]["secs"].as_u64() > Some(1_000_000_000));
    assert_eq!((&seen["png"]["frame"], &seen["bare"]), (&json!("odom"), &json!("number")), "{seen}");
    assert!(seen["latched"].as_u64() >= Some(1), "{seen}");
    assert!((700.0..8_000.0).contains(&seen["throttled_ms"].as_f64().unwrap()), "{seen}");
    assert_eq!((&seen["stops"], &seen["alive"]), (&json!(true), &json!(true)), "{seen}");
    let graph = &seen["graph"];
    assert!(graph["topics"].as_array().unwrap().contains(&json!("/odom")), "{graph}");
    assert_eq!((&graph["type"], &graph["of_type"]), (&json!("nav_msgs/msg/Odometry"), &json!(["/imu/data"])));
    assert_eq!(graph["decoded"]["linear"]["x"], "double", "{graph}");
    assert!(graph["definition"].as_str().unwrap().contains("MSG: geometry_msgs/Twist"), "{graph}");
    assert!(graph["time"]["sec"].as_u64() > Some(1_000_000_000), "{graph}");
    assert_eq!(graph["version"]["version"], 2);
    let errors = seen["errors"].as_array().unwrap();
    let expected = ["dance: there is no such op", "wheels", "/odom is a nav_msgs/msg/Odometry", "/nobody"];
    for (error, part) in errors.iter().zip(expected) {
        assert!(error.as_str().unwrap().contains(part), "{error}");
    }
}

#[test]
fn roslib_works_in_node() {
    let node = require!(node());
    let gateway = rover(&[]);
    let seen = Script::start(&node, "roslib_node.mjs", &["rover", &url(&gateway)]).finish(PATIENCE);
    check_rover(&seen);
}

#[test]
fn roslib_works_in_a_page_and_with_a_token() {
    let node = require!(node());
    let scratch = roverline_tests::temp::dir();
    let (gateway, token) = gateway_with_token(scratch.path());
    let seen = Script::start(&node, "roslib_page.mjs", &["rover", &url(&gateway), &token]).finish(PATIENCE);
    check_rover(&seen);
    // The page is of another site.
    let refused = seen["refused"].as_str().unwrap();
    assert!(refused.starts_with("a page of another site gets telemetry only: show a token"), "{refused}");
    assert_eq!(seen["role"], "you are operator");
}

#[test]
fn roslibpy_subscribes_and_stops_the_rover() {
    let python = require!(python());
    let gateway = rover(&[]);
    let seen = Script::start(&python, "roslibpy_checks.py", &[url(&gateway)]).finish(PATIENCE);
    assert_eq!(seen["frame"], "odom", "{seen}");
    // One more may arrive before the library's unsubscription takes effect.
    assert!(seen["throttled"].as_u64() >= Some(3), "{seen}");
    assert_eq!((&seen["stops"], &seen["type"]), (&json!(true), &json!("nav_msgs/msg/Odometry")), "{seen}");
    assert!(seen["latched"].as_u64() >= Some(1) && seen["failed"].is_string(), "{seen}");
    assert!(seen["topics"].as_array().unwrap().contains(&json!("/scan")), "{seen}");
    assert_eq!(seen["details"]["typedefs"][0]["type"], "geometry_msgs/Twist", "{seen}");
}

/// The next message with this op; skips all others.
async fn next_op(client: &mut PlainClient, op: &str) -> Value {
    loop {
        let message = client.next().await.unwrap_or_else(|code| panic!("closed with {code}"));
        if message["op"] == op {
            return message;
        }
    }
}

async fn send(client: &mut PlainClient, message: Value) {
    client.send(&message.to_string()).await;
}

#[tokio::test]
async fn messages_in_pieces_and_images_both_ways() {
    let gateway = rover(&[]);
    let mut client = PlainClient::connect(gateway.first_port()).await;
    let text = json!({"op": "subscribe", "topic": "/joint_states", "fragment_size": 200}).to_string();
    let (first, second) = text.split_at(20);
    // Fragments are matched by their id and may arrive in any order.
    send(&mut client, json!({"op": "fragment", "id": "a", "data": second, "num": 1, "total": 2})).await;
    send(&mut client, json!({"op": "fragment", "id": "b", "data": "{", "num": 0, "total": 2})).await;
    send(&mut client, json!({"op": "fragment", "id": "a", "data": first, "num": 0, "total": 2})).await;
    let mut whole = String::new();
    loop {
        let piece = next_op(&mut client, "fragment").await;
        assert!(piece["data"].as_str().unwrap().len() <= 200, "{piece}");
        whole.push_str(piece["data"].as_str().unwrap());
        if piece["num"].as_u64().unwrap() + 1 == piece["total"].as_u64().unwrap() {
            break;
        }
    }
    let message: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!((&message["op"], &message["topic"]), (&json!("publish"), &json!("/joint_states")));
    assert!(message["msg"]["name"].as_array().unwrap().len() > 2, "{message}");
    send(&mut client, json!({"op": "unsubscribe", "topic": "/joint_states"})).await;
    // A message that a server sends as PNG can be sent as PNG by a client, too.
    let call = json!({"op": "call_service", "id": 7, "service": "rosapi/topics", "compression": "png"});
    send(&mut client, call).await;
    let image = next_op(&mut client, "png").await;
    let file = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
    assert!(file.starts_with(b"\x89PNG"));
    send(&mut client, image).await;
    // It is a response without a request: an error about that shows that it was understood.
    let status = next_op(&mut client, "status").await;
    assert!(status["msg"].as_str().unwrap().contains("request"), "{status}");
}

#[tokio::test]
async fn subscriptions_are_many_and_bounded() {
    let gateway = rover(&[]);
    let mut client = PlainClient::connect(gateway.first_port()).await;
    let count = limits::PATTERNS_PER_SESSION + 50;
    let start = std::time::Instant::now();
    for n in 0..count {
        send(&mut client, json!({"op": "subscribe", "id": n, "topic": format!("/none/t{n}")})).await;
    }
    let mut refused = 0;
    while refused < 50 {
        let status = next_op(&mut client, "status").await;
        assert!(status["msg"].as_str().unwrap().contains("may have 1024 subscriptions"), "{status}");
        refused += 1;
    }
    // As fast as a client may send.
    let pace = count as u32 / limits::INBOUND_MESSAGES_PER_S;
    assert!(start.elapsed() < Duration::from_secs(u64::from(pace) + 10), "{:?}", start.elapsed());
    send(&mut client, json!({"op": "unsubscribe", "topic": "/none/t1"})).await;
    send(&mut client, json!({"op": "subscribe", "id": 1, "topic": "/odom"})).await;
    assert_eq!(next_op(&mut client, "publish").await["topic"], "/odom");
}

#[tokio::test]
async fn nonsense_costs_its_sender_alone() {
    let gateway = rover(&[]);
    let mut good = PlainClient::connect(gateway.first_port()).await;
    send(&mut good, json!({"op": "subscribe", "topic": "/odom", "throttle_rate": 100})).await;
    let mut bad = PlainClient::connect(gateway.first_port()).await;
    for nonsense in [
        "{\"op\":\"subscribe\"}",
        "{\"op\":\"subscribe\",\"topic\":\"/a b\"}",
        "[]",
        "{\"op\":5}",
        "{\"op\":\"png\",\"data\":\"AAAA\"}",
        "{\"op\":\"fragment\",\"id\":\"x\",\"data\":\"x\",\"num\":9,\"total\":2}",
        "{\"op\":\"service_response\",\"service\":\"/x\",\"id\":\"y\"}",
        "{\"op\":\"set_level\",\"level\":\"loud\"}",
    ] {
        bad.send(nonsense).await;
        assert_eq!(next_op(&mut bad, "status").await["level"], "error", "{nonsense}");
    }
    bad.send(&format!("{{\"op\":\"publish\",\"msg\":{}", "[".repeat(500_000))).await;
    assert!(next_op(&mut bad, "status").await["msg"].as_str().unwrap().contains("not JSON"));
    bad.send_message(Message::binary(vec![0xa0; 100])).await;
    assert!(next_op(&mut bad, "status").await["msg"].as_str().unwrap().contains("JSON as text"));
    send(&mut bad, json!({"op": "set_level", "level": "none"})).await;
    for _ in 0..=limits::BAD_MESSAGES_PER_SESSION {
        bad.send("{").await;
    }
    let code = loop {
        if let Err(code) = bad.next().await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    let mut large = PlainClient::connect(gateway.first_port()).await;
    send(&mut large, json!({"op": "set_level", "level": "error"})).await;
    let giant = Message::text(format!("{{\"op\":\"publish\",\"msg\":\"{}\"}}", "x".repeat(10 << 20)));
    large.send_or_closed(giant).await;
    let code = loop {
        if let Err(code) = large.next().await {
            break code;
        }
    };
    assert!(code == 1009 || code == 1006, "{code}");
    assert_eq!(next_op(&mut good, "publish").await["topic"], "/odom");
}

#[tokio::test]
async fn subscriptions_and_publications_are_checked_by_scope_and_type() {
    let gateway = Gateway::serve(&["--source", "sim", "--tier", "emergency"]);
    let mut client = PlainClient::connect(gateway.first_port()).await;
    send(&mut client, json!({"op": "subscribe", "id": "s", "topic": "/imu/data", "type": "sensor_msgs/Imu"}))
        .await;
    let status = next_op(&mut client, "status").await;
    assert_eq!((&status["id"], &status["level"]), (&json!("s"), &json!("error")));
    assert!(
        status["msg"].as_str().unwrap().contains("not in the scope of the emergency endpoint"),
        "{status}"
    );
    // The endpoint discovers its topics one by one; the others must never appear.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        send(&mut client, json!({"op": "call_service", "id": 1, "service": "/rosapi/topics"})).await;
        let topics = next_op(&mut client, "service_response").await["values"]["topics"].clone();
        let has = |name: &str| topics.as_array().unwrap().contains(&json!(name));
        assert!(!has("/imu/data") && std::time::Instant::now() < deadline, "{topics}");
        if has("/gps/fix") {
            break;
        }
    }
    let twist = json!({"op": "publish", "topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "msg": {}});
    send(&mut client, twist).await;
    assert!(next_op(&mut client, "status").await["msg"].as_str().unwrap().contains("use the primary one"));
}

/// Domains of this file; tests that run in parallel use different ones.
const ROBOT_DOMAIN: &str = "76";
const PYTHON_DOMAIN: &str = "78";
const SERVING_DOMAIN: &str = "80";

#[test]
fn roslib_and_a_robot_in_dds_meet() {
    let (node, python) = (require!(node()), require!(python()));
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", ROBOT_DOMAIN]);
    let publish = ["--domain", ROBOT_DOMAIN, "--wait", "15", "--seconds", "40"];
    let _robot = Script::start(&python, "dds_publisher.py", &publish);
    let subscribe =
        ["--domain", ROBOT_DOMAIN, "--seconds", "60", "--until", "5", "/cmd_vel=geometry_msgs/msg/Twist"];
    let subscriber = Script::start(&python, "dds_subscriber.py", &subscribe);
    let page = Script::start(&node, "roslib_node.mjs", &["robot", &gateway.urls()[0]]);
    let args = ["--domain", ROBOT_DOMAIN, "--seconds", "60", "--replies", "3", "/roslib/answer"];
    let caller = Script::start(&python, "dds_service.py", &args);
    let received = subscriber.finish(PATIENCE);
    assert!(received["received"]["/cmd_vel"]["count"].as_u64() >= Some(5), "{received}");
    let seen = page.finish(PATIENCE);
    let numbers: Vec<i64> = seen["numbers"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    assert_eq!(numbers.len(), 20, "{seen}");
    assert!(numbers.is_sorted_by(|a, b| a < b), "{seen}");
    assert_eq!(seen["latched"], 1, "{seen}");
    let reply = caller.finish(PATIENCE);
    assert_eq!((&reply["success"], &reply["message"]), (&json!(true), &json!("roslib answers")), "{reply}");
    assert_eq!((&reply["most"], &reply["strangers"]), (&json!(1), &json!(0)), "{reply}");
}

#[test]
fn roslibpy_serves_a_service_to_dds() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", PYTHON_DOMAIN]);
    let mut server =
        Script::start(&python, "roslibpy_checks.py", &["--serve", "/roslibpy/answer", &gateway.urls()[0]]);
    assert_eq!(server.line()["ready"], true);
    let args = ["--domain", PYTHON_DOMAIN, "--seconds", "60", "--replies", "3", "/roslibpy/answer"];
    let reply = Script::start(&python, "dds_service.py", &args).finish(PATIENCE);
    assert_eq!(reply["message"], "roslibpy answers", "{reply}");
    assert!(server.finish(PATIENCE)["asked"].as_u64() >= Some(3));
}

#[test]
fn clients_serve_each_other_through_ros() {
    let node = require!(node());
    let gateway = Gateway::serve(&["--source", "dds", "--tier", "primary", "--domain-id", SERVING_DOMAIN]);
    let seen = Script::start(&node, "roslib_node.mjs", &["serving", &url(&gateway)]).finish(PATIENCE);
    assert_eq!(seen["switched"], json!({"success": true, "message": "switched"}), "{seen}");
    assert_eq!(seen["result"], json!({"sequence": [0, 1, 1, 5]}), "{seen}");
    assert!(seen["feedback"].as_array().unwrap().contains(&json!({"sequence": [0, 1]})), "{seen}");
    assert!(seen["cancelled"].as_str().unwrap().to_lowercase().contains("cancel"), "{seen}");
}

#[test]
fn the_rovers_services_and_parameters_are_reachable() {
    let node = require!(node());
    let gateway = rover(&[]);
    let seen = Script::start(&node, "roslib_node.mjs", &["services", &url(&gateway)]).finish(PATIENCE);
    assert_eq!(seen["type"], "std_srvs/srv/SetBool", "{seen}");
    assert_eq!((&seen["enabled"]["success"], &seen["positional"]["success"]), (&json!(true), &json!(true)));
    assert!(seen["names"].as_array().unwrap().contains(&json!("/navigation:max_speed")), "{seen}");
    assert_eq!((seen["before"].as_f64(), seen["after"].as_f64()), (Some(0.8), Some(0.0)), "{seen}");
    assert_eq!(seen["details"]["typedefs"][0]["fieldtypes"], json!(["boolean"]), "{seen}");
}

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rosbridge.md")).unwrap()
}

/// Checks that the page shows the example literally, and runs it.
fn example(program: &Path, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(page().contains(text.trim()), "docs/rosbridge.md does not show {name} as it is");
    let gateway = rover(&[]);
    let output = Command::new(program).arg(&path).arg(url(&gateway)).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("acceleration") && stdout.contains("topics"), "{stdout}{stderr}");
}

#[test]
fn the_page_example_for_roslib_runs() {
    example(&require!(node()), "roslib_example.mjs");
}

#[test]
fn the_page_example_for_roslibpy_runs() {
    example(&require!(python()), "roslibpy_example.py");
}
