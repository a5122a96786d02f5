//! Topics, and what clients publish.

use roverline_protocol::{Tier, limits};
use roverline_source::Sink;
use serde_json::json;

use crate::access::Role;
use crate::dialect::foxglove::tests::harness::{Heard, Rig, decl, payload, until};

const STRING: &str = "std_msgs/msg/String";

async fn primary() -> Rig {
    Rig::new(Tier::Primary, Role::Commander, "dds").await
}

#[tokio::test]
async fn channels_come_go_and_change_and_late_ones_get_the_latched_value() {
    let rig = primary().await;
    let mut client = rig.connect().await;
    let info = client.op("serverInfo").await;
    assert_eq!(info["supportedEncodings"], json!(["cdr", "json"]));
    assert_eq!(info["metadata"]["tier"], "primary");
    assert_eq!(client.op("advertise").await["channels"], json!([]));
    let key = rig.endpoint.ingress.topic_up(decl("/name", STRING, true)).unwrap();
    rig.sample(key, 1, payload("early"));
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
    client.say(subscribe(7)).await;
    let early = client.binary().await;
    assert_eq!(early[..13], [&[1, 7, 0, 0, 0][..], &1_001u64.to_le_bytes()].concat());
    assert_eq!(early[13..], payload("early"));
    client.say(subscribe(7)).await;
    client.say(subscribe(8)).await;
    let told = client.statuses().await;
    assert_eq!(
        told,
        ["subscription 7 exists; ignored", format!("channel {} is subscribed; ignored", key.0).as_str()]
    );
    // Another type is another channel, and nothing of it comes under the old subscription.
    rig.endpoint.ingress.topic_up(decl("/name", "std_msgs/msg/Int32", false)).unwrap();
    rig.sample(key, 2, payload("of another type"));
    assert_eq!(client.op("unadvertise").await["channelIds"], json!([key.0]));
    assert_eq!(client.op("advertise").await["channels"][0]["schemaName"], "std_msgs/msg/Int32");
    client.say(json!({"op": "unsubscribe", "subscriptionIds": [7]})).await;
    let heard = client.settle().await;
    assert!(heard.is_empty(), "{heard:?}");
    rig.endpoint.ingress.topic_down(key);
    assert_eq!(client.op("unadvertise").await["channelIds"], json!([key.0]));
}

#[tokio::test]
async fn a_topic_that_comes_back_is_subscribed_anew() {
    let rig = primary().await;
    let key = rig.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    let mut client = rig.connect().await;
    client.op("advertise").await;
    let subscribe =
        |channel: u32| json!({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": channel}]});
    client.say(subscribe(key.0)).await;
    rig.endpoint.ingress.topic_down(key);
    client.op("unadvertise").await;
    let key = rig.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    client.op("advertise").await;
    rig.sample(key, 1, payload("nobody asked"));
    let heard = client.settle().await;
    assert!(heard.is_empty(), "{heard:?}");
    client.say(subscribe(key.0)).await;
    assert_eq!(client.binary().await[13..], payload("nobody asked"));
    rig.sample(key, 2, payload("asked"));
    assert_eq!(client.binary().await[13..], payload("asked"));
}

#[tokio::test]
async fn an_unknown_type_is_said_once() {
    let rig = primary().await;
    for name in ["/a", "/b"] {
        rig.endpoint.ingress.topic_up(decl(name, "strange_msgs/msg/Thing", false)).unwrap();
    }
    until("both", || (rig.endpoint.hub.topic_infos().len() == 2).then_some(())).await;
    let mut client = rig.connect().await;
    let heard = client.settle().await;
    let of = |op: &str| -> Vec<_> {
        let json = heard.iter().filter_map(|heard| match heard {
            Heard::Json(json) if json["op"] == op => Some(json.clone()),
            _ => None,
        });
        json.collect()
    };
    assert_eq!(of("status").len(), 1, "{heard:?}");
    let channels = of("advertise")[0]["channels"].clone();
    assert_eq!((&channels[0]["schema"], &channels[1]["schema"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn thousands_of_topics_reach_a_client_that_takes_them_slowly() {
    let rig = primary().await;
    let count = 4_000;
    for n in 0..count {
        rig.endpoint.ingress.topic_up(decl(&format!("/robot/{n}"), "nav_msgs/msg/Odometry", false)).unwrap();
    }
    let all = || (rig.endpoint.hub.topic_infos().len() == count).then_some(());
    until("all topics", all).await;
    let mut client = rig.connect().await;
    let (mut channels, mut bytes) = (0, 0);
    while channels < count {
        let advertised = client.op("advertise").await;
        bytes += advertised.to_string().len();
        channels += advertised["channels"].as_array().unwrap().len();
        let waiting = rig.endpoint.sessions()[0].outbox().control_bytes();
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
    let rig = primary().await;
    let mut client = rig.connect().await;
    client.say(advertise(1, "/chat", "cdr", STRING)).await;
    client.say(advertise(2, "/chat", "json", "std_msgs/String")).await;
    client.publish(1, &payload("one")).await;
    client.publish(2, br#"{"data":"two"}"#).await;
    client.publish(1, b"\0\x01\0\0\xff\xff\xff\xff").await;
    client.publish(2, br#"{"data":3}"#).await;
    client.publish(2, b"{").await;
    client.say(json!({"op": "unadvertise", "channelIds": [1]})).await;
    client.publish(1, &payload("late")).await;
    let told = client.statuses().await;
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("/chat: this is no std_msgs/msg/String"), "{told:?}");
    assert!(told[2].contains("no JSON"), "{told:?}");
    assert_eq!(told[3], "channel 1 is not advertised");
    let published = rig.fake.published.lock().unwrap();
    let published: Vec<_> =
        published.iter().map(|p| (p.topic.as_str(), p.type_name.as_str(), p.payload.clone())).collect();
    assert_eq!(published, [("/chat", STRING, payload("one")), ("/chat", STRING, payload("two"))]);
}

#[tokio::test]
async fn who_may_not_publish_does_not_and_is_told_so() {
    for (tier, role) in [(Tier::Primary, Role::Observer), (Tier::Emergency, Role::Commander)] {
        let rig = Rig::new(tier, role, "dds").await;
        let mut client = rig.connect().await;
        client.say(advertise(1, "/chat", "cdr", STRING)).await;
        for _ in 0..200 {
            client.publish(1, &payload("x")).await;
        }
        let told = client.statuses().await;
        let expected = match role {
            Role::Observer => "you may not publish /chat: an observer may not; show a token",
            _ => "/chat is not in the scope of the emergency endpoint; use the primary one",
        };
        assert!(
            told.iter().all(|told| told == expected || told.contains("more messages like these")),
            "{told:?}"
        );
        assert!((1..10).contains(&told.len()), "{told:?}");
        assert!(rig.fake.published.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_asked_for_has_an_answer_all_the_same() {
    let rig = primary().await;
    let mut client = rig.connect().await;
    let uri = format!("package://{}", "x".repeat(limits::FOXGLOVE_URI_BYTES));
    client.say(json!({"op": "fetchAsset", "uri": uri, "requestId": 5})).await;
    assert_eq!(client.binary().await[..6], [4, 5, 0, 0, 0, 1]);
    let entries: Vec<u32> = (0..=limits::FOXGLOVE_REQUEST_ENTRIES as u32).collect();
    client.say(json!({"op": "unsubscribe", "subscriptionIds": entries})).await;
    assert_eq!(client.statuses().await, ["a request may have 1024 entries"]);
}

#[tokio::test]
async fn too_many_bad_messages_end_a_session_and_no_other() {
    let rig = primary().await;
    let (mut bad, mut good) = (rig.connect().await, rig.connect().await);
    for _ in 0..=limits::BAD_MESSAGES_PER_SESSION {
        bad.say(json!({"op": "fly"})).await;
    }
    let code = loop {
        if let Heard::Closed(code) = bad.next().await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    assert!(good.statuses().await.is_empty());
}

#[tokio::test]
async fn a_recording_has_its_own_time_and_takes_nothing() {
    let rig = Rig::new(Tier::Primary, Role::Commander, "bag").await;
    let key = rig.endpoint.ingress.topic_up(decl("/name", STRING, false)).unwrap();
    let mut client = rig.connect().await;
    let info = client.op("serverInfo").await;
    assert_eq!(info["capabilities"], json!(["time", "connectionGraph", "assets"]));
    rig.sample(key, 5, payload("x"));
    assert_eq!(client.binary().await[..], [&[2][..], &1_005u64.to_le_bytes()].concat());
}

#[tokio::test]
async fn a_client_that_does_not_keep_up_is_told_what_it_missed() {
    let rig = primary().await;
    let key = rig.endpoint.ingress.topic_up(decl("/camera/text", STRING, false)).unwrap();
    let mut client = rig.connect().await;
    client.op("advertise").await;
    let channel = json!([{"id": 1, "channelId": key.0}]);
    client.say(json!({"op": "subscribe", "subscriptions": channel})).await;
    client.settle().await;
    let large = payload(&"x".repeat(16 << 10));
    let outbox = rig.endpoint.sessions()[0].outbox().clone();
    // It reads nothing, until there is too much even for the kernel.
    let mut seq = 0;
    until("drops", || {
        seq += 1;
        rig.sample(key, seq, large.clone());
        (outbox.stats().dropped > 10).then_some(())
    })
    .await;
    let told = loop {
        let status = client.op("status").await;
        if status["id"] == "drops" {
            break status;
        }
    };
    assert_eq!(told["level"], 1);
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("messages were dropped") && message.contains("/camera/text ("), "{message}");
}

#[tokio::test]
async fn an_emergency_stop_that_is_published_again_and_again_is_written_once() {
    let rig = Rig::new(Tier::Primary, Role::Operator, "dds").await;
    let mut client = rig.connect().await;
    let channel =
        json!({"id": 1, "topic": "/emergency_stop", "encoding": "cdr", "schemaName": "std_msgs/msg/Bool"});
    client.say(json!({"op": "advertise", "channels": [channel]})).await;
    let says = |engaged: bool| rig.stop.read().engaged == engaged;
    client.publish(1, b"\0\x01\0\0\x01").await;
    until("it is engaged", || says(true).then_some(())).await;
    let first = rig.stop.read();
    for _ in 0..5 {
        client.publish(1, b"\0\x01\0\0\x01").await;
    }
    client.settle().await;
    assert_eq!(rig.stop.read(), first);
    // One after the other, and the last one counts.
    for engaged in [0, 1, 0, 1, 0] {
        client.publish(1, &[0, 1, 0, 0, engaged]).await;
    }
    client.settle().await;
    until("it is released", || says(false).then_some(())).await;
    // Who only ever says that there is no stop releases nobody's.
    client.publish(1, b"\0\x01\0\0\x01").await;
    until("it is engaged again", || says(true).then_some(())).await;
    let mut other = rig.connect().await;
    let channel =
        json!({"id": 1, "topic": "/emergency_stop", "encoding": "cdr", "schemaName": "std_msgs/msg/Bool"});
    other.say(json!({"op": "advertise", "channels": [channel]})).await;
    other.publish(1, b"\0\x01\0\0\0").await;
    other.settle().await;
    assert!(says(true));
    assert!(rig.fake.published.lock().unwrap().is_empty());
}
