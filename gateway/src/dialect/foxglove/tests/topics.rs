//! Tests of topics and of publishing.

use roverline_protocol::Tier;
use roverline_source::Sink;
use serde_json::json;

use crate::access::Role;
use crate::config::SourceKind;
use crate::dialect::foxglove::tests::harness::{Harness, Received, decl, payload, until};
use crate::limits;

const STRING: &str = "std_msgs/msg/String";

async fn primary() -> Harness {
    Harness::new(Tier::Primary, Role::Commander, SourceKind::Dds).await
}

#[tokio::test]
async fn channels_come_go_and_change_and_late_ones_get_the_latched_value() {
    let harness = primary().await;
    let mut client = harness.connect().await;
    let info = client.op("serverInfo").await;
    assert_eq!(info["supportedEncodings"], json!(["cdr", "json"]));
    assert_eq!(info["metadata"]["tier"], "primary");
    assert_eq!(client.op("advertise").await["channels"], json!([]));
    let key = harness.endpoint.ingress.topic_up(decl("/name", STRING, true)).unwrap();
    harness.sample(key, 1, payload("early"));
    let channel = client.op("advertise").await["channels"][0].clone();
    assert_eq!(
        channel,
        json!({
            "id": key.0, "topic": "/name", "encoding": "cdr", "schemaName": STRING,
            "schemaEncoding": "ros2msg", "schema": channel["schema"],
        })
    );
    assert!(channel["schema"].as_str().unwrap().contains("string data"));
    let subscribe = |id: u32| json!({"op": "subscribe", "subscriptions": [{"id": id, "channelId": key.0}]});
    client.send_json(subscribe(7)).await;
    let early = client.binary().await;
    assert_eq!(early[..13], [&[1, 7, 0, 0, 0][..], &1_001u64.to_le_bytes()].concat());
    assert_eq!(early[13..], payload("early"));
    client.send_json(subscribe(7)).await;
    client.send_json(subscribe(8)).await;
    let statuses = client.statuses().await;
    assert_eq!(
        statuses,
        ["subscription 7 exists; ignored", format!("channel {} is subscribed; ignored", key.0).as_str()]
    );
    // Another type is another channel, and none of its samples arrives under the old subscription.
    harness.endpoint.ingress.topic_up(decl("/name", "std_msgs/msg/Int32", false)).unwrap();
    harness.sample(key, 2, payload("of another type"));
    assert_eq!(client.op("unadvertise").await["channelIds"], json!([key.0]));
    assert_eq!(client.op("advertise").await["channels"][0]["schemaName"], "std_msgs/msg/Int32");
    client.send_json(json!({"op": "unsubscribe", "subscriptionIds": [7]})).await;
    let received = client.settle().await;
    assert!(received.is_empty(), "{received:?}");
    harness.endpoint.ingress.topic_down(key);
    assert_eq!(client.op("unadvertise").await["channelIds"], json!([key.0]));
}

#[tokio::test]
async fn a_topic_that_comes_back_is_subscribed_anew() {
    let harness = primary().await;
    let key = harness.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    let mut client = harness.connect().await;
    client.op("advertise").await;
    let subscribe =
        |channel: u32| json!({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": channel}]});
    client.send_json(subscribe(key.0)).await;
    let subscribed = || {
        let hub = &harness.endpoint.hub;
        hub.with_topics(|mut topics| Iterator::any(&mut topics, |topic| topic.subscriber_count() == 1))
            .then_some(())
    };
    until("it is subscribed", subscribed).await;
    harness.endpoint.ingress.topic_down(key);
    client.op("unadvertise").await;
    let key = harness.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    client.op("advertise").await;
    harness.sample(key, 1, payload("nobody asked"));
    let received = client.settle().await;
    assert!(received.is_empty(), "{received:?}");
    client.send_json(subscribe(key.0)).await;
    assert_eq!(client.binary().await[13..], payload("nobody asked"));
    harness.sample(key, 2, payload("asked"));
    assert_eq!(client.binary().await[13..], payload("asked"));
}

#[tokio::test]
async fn an_unknown_type_is_reported_once() {
    let harness = primary().await;
    for name in ["/a", "/b"] {
        harness.endpoint.ingress.topic_up(decl(name, "strange_msgs/msg/Thing", false)).unwrap();
    }
    until("both", || (harness.endpoint.hub.topic_infos().len() == 2).then_some(())).await;
    let mut client = harness.connect().await;
    let received = client.settle().await;
    let of = |op: &str| -> Vec<_> {
        let json = received.iter().filter_map(|received| match received {
            Received::Json(json) if json["op"] == op => Some(json.clone()),
            _ => None,
        });
        json.collect()
    };
    assert_eq!(of("status").len(), 1, "{received:?}");
    let channels = of("advertise")[0]["channels"].clone();
    assert_eq!((&channels[0]["schema"], &channels[1]["schema"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn thousands_of_topics_reach_a_client_that_takes_them_slowly() {
    let harness = primary().await;
    let count = 4_000;
    for n in 0..count {
        harness
            .endpoint
            .ingress
            .topic_up(decl(&format!("/robot/{n}"), "nav_msgs/msg/Odometry", false))
            .unwrap();
    }
    let all = || (harness.endpoint.hub.topic_infos().len() == count).then_some(());
    until("all topics", all).await;
    let mut client = harness.connect().await;
    let (mut channels, mut bytes) = (0, 0);
    while channels < count {
        let advertised = client.op("advertise").await;
        bytes += advertised.to_string().len();
        channels += advertised["channels"].as_array().unwrap().len();
        let waiting = harness.endpoint.sessions()[0].outbox().control_bytes();
        assert!(waiting < limits::OUTBOX_CONTROL_BYTES / 2, "{waiting}");
    }
    assert!(bytes > limits::OUTBOX_CONTROL_BYTES, "too few to prove anything: {bytes} bytes");
}

fn advertise(id: u32, topic: &str, encoding: &str, schema: &str) -> serde_json::Value {
    json!({"op": "advertise", "channels": [
        {"id": id, "topic": topic, "encoding": encoding, "schemaName": schema},
    ]})
}

#[tokio::test]
async fn what_a_client_publishes_arrives_as_cdr() {
    let harness = primary().await;
    let mut client = harness.connect().await;
    client.send_json(advertise(1, "/chat", "cdr", STRING)).await;
    client.send_json(advertise(2, "/chat", "json", "std_msgs/String")).await;
    client.publish(1, &payload("one")).await;
    client.publish(2, br#"{"data":"two"}"#).await;
    client.publish(1, b"\0\x01\0\0\xff\xff\xff\xff").await;
    client.publish(2, br#"{"data":3}"#).await;
    client.publish(2, b"{").await;
    client.send_json(json!({"op": "unadvertise", "channelIds": [1]})).await;
    client.publish(1, &payload("late")).await;
    let statuses = client.statuses().await;
    assert_eq!(statuses.len(), 4, "{statuses:?}");
    assert!(statuses[0].starts_with("/chat: this is no std_msgs/msg/String"), "{statuses:?}");
    assert!(statuses[2].contains("no JSON"), "{statuses:?}");
    assert_eq!(statuses[3], "channel 1 is not advertised");
    let published = harness.fake.published.lock();
    let published: Vec<_> =
        published.iter().map(|p| (p.topic.as_str(), p.type_name.as_str(), p.payload.clone())).collect();
    assert_eq!(published, [("/chat", STRING, payload("one")), ("/chat", STRING, payload("two"))]);
}

#[tokio::test]
async fn an_unauthorized_client_cannot_publish_and_gets_the_reason() {
    for (tier, role) in [(Tier::Primary, Role::Observer), (Tier::Emergency, Role::Commander)] {
        let harness = Harness::new(tier, role, SourceKind::Dds).await;
        let mut client = harness.connect().await;
        client.send_json(advertise(1, "/chat", "cdr", STRING)).await;
        for _ in 0..200 {
            client.publish(1, &payload("x")).await;
        }
        let statuses = client.statuses().await;
        let expected = match role {
            Role::Observer => "you may not publish /chat: an observer may not; show a token",
            _ => "/chat is not in the scope of the emergency endpoint; use the primary one",
        };
        assert!(
            statuses.iter().all(|status| status == expected || status.contains("more messages like these")),
            "{statuses:?}"
        );
        assert!((1..10).contains(&statuses.len()), "{statuses:?}");
        assert!(harness.fake.published.lock().is_empty());
    }
}

#[tokio::test]
async fn a_rejected_asset_request_still_gets_a_response() {
    let harness = primary().await;
    let mut client = harness.connect().await;
    let uri = format!("package://{}", "x".repeat(limits::FOXGLOVE_URI_BYTES));
    client.send_json(json!({"op": "fetchAsset", "uri": uri, "requestId": 5})).await;
    assert_eq!(client.binary().await[..6], [4, 5, 0, 0, 0, 1]);
    let entries: Vec<u32> = (0..=limits::FOXGLOVE_REQUEST_ENTRIES as u32).collect();
    client.send_json(json!({"op": "unsubscribe", "subscriptionIds": entries})).await;
    assert_eq!(client.statuses().await, ["a request may have 1024 entries"]);
}

#[tokio::test]
async fn too_many_bad_messages_end_a_session_and_no_other() {
    let harness = primary().await;
    let (mut bad, mut good) = (harness.connect().await, harness.connect().await);
    for _ in 0..=limits::BAD_MESSAGES_PER_SESSION {
        bad.send_json(json!({"op": "fly"})).await;
    }
    let code = loop {
        if let Received::Closed(code) = bad.next().await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    assert!(good.statuses().await.is_empty());
}

#[tokio::test]
async fn a_recording_has_its_own_time_and_takes_nothing() {
    let harness = Harness::new(Tier::Primary, Role::Commander, SourceKind::Bag).await;
    let key = harness.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    let mut client = harness.connect().await;
    let info = client.op("serverInfo").await;
    assert_eq!(info["capabilities"], json!(["time", "connectionGraph", "assets"]));
    harness.sample(key, 5, payload("x"));
    assert_eq!(client.binary().await[..], [&[2][..], &1_005u64.to_le_bytes()].concat());
}

#[tokio::test]
async fn dropped_messages_are_reported_to_a_slow_client() {
    let harness = primary().await;
    let key = harness.endpoint.ingress.topic_up(decl("/camera/text", STRING, false)).unwrap();
    let mut client = harness.connect().await;
    client.op("advertise").await;
    let channel = json!([{"id": 1, "channelId": key.0}]);
    client.send_json(json!({"op": "subscribe", "subscriptions": channel})).await;
    client.settle().await;
    let large = payload(&"x".repeat(16 << 10));
    let outbox = harness.endpoint.sessions()[0].outbox().clone();
    // The client reads nothing until even the kernel's buffer is full.
    let mut seq = 0;
    until("drops", || {
        seq += 1;
        harness.sample(key, seq, large.clone());
        (outbox.stats().dropped > 10).then_some(())
    })
    .await;
    let status = loop {
        let status = client.op("status").await;
        if status["id"] == "drops" {
            break status;
        }
    };
    assert_eq!(status["level"], 1);
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("messages were dropped") && message.contains("/camera/text ("), "{message}");
}

#[tokio::test]
async fn an_emergency_stop_that_is_published_again_and_again_is_written_once() {
    let harness = Harness::new(Tier::Primary, Role::Operator, SourceKind::Dds).await;
    let mut client = harness.connect().await;
    let channel =
        json!({"id": 1, "topic": "/emergency_stop", "encoding": "cdr", "schemaName": "std_msgs/msg/Bool"});
    client.send_json(json!({"op": "advertise", "channels": [channel]})).await;
    let is_engaged = |engaged: bool| harness.stop.read().engaged == engaged;
    client.publish(1, b"\0\x01\0\0\x01").await;
    until("it is engaged", || is_engaged(true).then_some(())).await;
    let command = || (harness.stop.read().id, harness.stop.read().at_ns);
    let first = command();
    for _ in 0..5 {
        client.publish(1, b"\0\x01\0\0\x01").await;
    }
    client.settle().await;
    assert_eq!(command(), first);
    // They are applied in order, and the last one wins.
    for engaged in [0, 1, 0, 1, 0] {
        client.publish(1, &[0, 1, 0, 0, engaged]).await;
    }
    client.settle().await;
    until("it is released", || is_engaged(false).then_some(())).await;
    // A client that only publishes "not stopped" releases no stop of another client.
    client.publish(1, b"\0\x01\0\0\x01").await;
    until("it is engaged again", || is_engaged(true).then_some(())).await;
    let mut other = harness.connect().await;
    let channel =
        json!({"id": 1, "topic": "/emergency_stop", "encoding": "cdr", "schemaName": "std_msgs/msg/Bool"});
    other.send_json(json!({"op": "advertise", "channels": [channel]})).await;
    other.publish(1, b"\0\x01\0\0\0").await;
    other.settle().await;
    assert!(is_engaged(true));
    assert!(harness.fake.published.lock().is_empty());
}
