//! Calls, goals, parameters and publications of clients whose protocols have no ids for commands are events with their
//! outcomes, and what is repeated many times a second is a stream.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::wait::{poll, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(20);

struct Client(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Client {
    async fn connect(port: u16, path: &str, protocol: Option<&str>) -> Client {
        let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        }
        Client(tokio_tungstenite::connect_async(request).await.unwrap().0)
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next text with this `op`.
    async fn until(&mut self, op: &str) -> Value {
        let wanted = async {
            loop {
                let Message::Text(text) = self.0.next().await.unwrap().unwrap() else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["op"] == op {
                    return message;
                }
            }
        };
        within(op, PATIENCE, wanted).await
    }
}

/// Waits for an event of this type about this target.
fn event(port: u16, kind: &str, target: &str) -> Value {
    let find = || {
        let events = http::get(port, &format!("/api/v2/events?type={kind}&limit=100")).body;
        let events: Value = serde_json::from_str(&events).ok()?;
        events["events"].as_array()?.iter().find(|event| event["data"]["target"] == target).cloned()
    };
    tokio::task::block_in_place(|| poll(PATIENCE, find)).unwrap_or_else(|| panic!("no {kind} of {target}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rosbridge_client_does_is_logged_with_its_outcome() {
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let port = gateway.first_port();
    let mut client = Client::connect(port, "/rosbridge", None).await;
    let call =
        |service: &str| json!({"op": "call_service", "service": service, "id": "c", "args": {"data": true}});
    client.send(call("/autonomy/enable")).await;
    assert_eq!(client.until("service_response").await["result"], true);
    let seen = event(port, "command.verified", "/autonomy/enable");
    assert_eq!(
        (&seen["data"]["kind"], &seen["data"]["dialect"]),
        (&json!("call"), &json!("rosbridge")),
        "{seen}"
    );
    assert_eq!((&seen["data"]["messages"], &seen["by"]), (&json!(1), &json!("127.0.0.1")), "{seen}");
    client
        .send(json!({"op": "call_service", "service": "/no/such", "type": "std_srvs/srv/Trigger", "id": "c"}))
        .await;
    assert_eq!(client.until("service_response").await["result"], false);
    let seen = event(port, "command.failed", "/no/such");
    assert!(seen["data"]["reason"].as_str().unwrap().contains("/no/such"), "{seen}");
    let set = json!({"name": "/navigation:max_speed", "value": "0.4"});
    client.send(json!({"op": "call_service", "service": "/rosapi/set_param", "id": "p", "args": set})).await;
    let answer = client.until("service_response").await;
    let kind = if answer["values"]["successful"] == true { "command.verified" } else { "command.failed" };
    assert_eq!(event(port, kind, "/navigation")["data"]["kind"], "parameter");
    // A service that is called again and again is a stream, whatever comes of it.
    for _ in 0..30 {
        client.send(call("/mission/restart")).await;
        client.until("service_response").await;
    }
    let seen = event(port, "command.stream_ended", "/mission/restart");
    let (done, failed) = (seen["data"]["messages"].as_u64(), seen["data"]["refused"].as_u64());
    assert_eq!(done.zip(failed).map(|(done, failed)| done + failed), Some(30), "{seen}");
    // What only reads is no command.
    client.send(call("/navigation/list_parameters")).await;
    client.until("service_response").await;
    let events = http::get(port, "/api/v2/events?limit=100").body;
    assert!(!events.contains("list_parameters"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foxglove_client_does_is_logged_with_its_outcome() {
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let port = gateway.first_port();
    let mut client = Client::connect(port, "/", Some("foxglove.websocket.v1")).await;
    let id = loop {
        let advertised = client.until("advertiseServices").await;
        let services = advertised["services"].as_array().unwrap().clone();
        if let Some(service) = services.iter().find(|service| service["name"] == "/autonomy/enable") {
            break service["id"].as_u64().unwrap();
        }
    };
    let call = [
        &[2][..],
        &u32::try_from(id).unwrap().to_le_bytes(),
        &7_u32.to_le_bytes(),
        &4_u32.to_le_bytes(),
        br#"json{"data":true}"#,
    ];
    client.0.send(Message::Binary(call.concat().into())).await.unwrap();
    let seen = event(port, "command.verified", "/autonomy/enable");
    assert_eq!(
        (&seen["data"]["kind"], &seen["data"]["dialect"]),
        (&json!("call"), &json!("foxglove")),
        "{seen}"
    );
    let parameters = json!([{"name": "/navigation.no_such", "value": 1}]);
    client.send(json!({"op": "setParameters", "parameters": parameters, "id": "s"})).await;
    client.until("parameterValues").await;
    let seen = poll(PATIENCE, || {
        let events = http::get(port, "/api/v2/events?limit=100").body;
        let events: Value = serde_json::from_str(&events).ok()?;
        events["events"].as_array()?.iter().find(|event| event["stream"] == "command/parameter").cloned()
    });
    assert_eq!(seen.unwrap()["data"]["target"], "/navigation");
}
