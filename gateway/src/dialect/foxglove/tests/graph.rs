//! Tests of services, parameters and the connection graph.

use std::sync::Arc;

use roverline_protocol::Tier;
use roverline_source::{Call, CallError, Graph, GraphTopic, Sink};
use serde_json::json;

use crate::access::Role;
use crate::config::SourceKind;
use crate::dialect::foxglove::tests::harness::{Client, Harness, until};
use crate::limits;

const TRIGGER: (&str, &str) = ("/reset", "std_srvs/srv/Trigger");

/// CDR of a Trigger's response.
const DONE: &[u8] = b"\0\x01\0\0\x01\0\0\0\x03\0\0\0ok\0";

async fn open_client(role: Role) -> (Harness, Client, u32) {
    let harness = Harness::new(Tier::Primary, role, SourceKind::Dds).await;
    harness.serve(&[
        TRIGGER,
        ("/node/get_parameters", "rcl_interfaces/srv/GetParameters"),
        ("/go/_action/cancel_goal", "action_msgs/srv/CancelGoal"),
        ("/strange", "strange_msgs/srv/Thing"),
    ]);
    let mut client = harness.connect().await;
    let services = client.op("advertiseServices").await["services"].clone();
    let service = services[0].clone();
    assert_eq!(services.as_array().unwrap().len(), 1, "{services}");
    assert_eq!((&service["name"], &service["type"]), (&json!(TRIGGER.0), &json!(TRIGGER.1)));
    assert_eq!(service["request"]["schemaName"], "std_srvs/srv/Trigger_Request");
    assert_eq!(service["response"]["schema"], service["responseSchema"]);
    assert!(service["responseSchema"].as_str().unwrap().contains("string message"));
    let id = service["id"].as_u64().unwrap() as u32;
    (harness, client, id)
}

async fn next_call(harness: &Harness) -> Call {
    until("a call", || harness.fake.calls.lock().pop()).await
}

#[tokio::test]
async fn a_service_is_called_in_cdr_and_in_json() {
    let (harness, mut client, service) = open_client(Role::Operator).await;
    client.call(service, 41, "cdr", b"\0\x01\0\0\0").await;
    let call = next_call(&harness).await;
    assert_eq!((call.service.as_str(), call.type_name.as_str()), TRIGGER);
    call.answer.send(Ok(DONE.into())).unwrap();
    let response = client.binary().await;
    assert_eq!(response[..1], [3]);
    assert_eq!(response[1..9], [service.to_le_bytes(), 41u32.to_le_bytes()].concat());
    assert_eq!(response[9..], [&[3, 0, 0, 0][..], b"cdr", DONE].concat());
    client.call(service, 42, "json", b"{}").await;
    next_call(&harness).await.answer.send(Ok(DONE.into())).unwrap();
    let response = client.binary().await;
    assert_eq!(response[13..], *br#"json{"success":true,"message":"ok"}"#);
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_costs_only_itself() {
    let (harness, mut client, service) = open_client(Role::Operator).await;
    client.call(service, 1, "cdr", b"\0\x01\0\0\0").await;
    next_call(&harness).await.answer.send(Err(CallError::NoServer("/reset".to_owned()))).unwrap();
    let failure = client.op("serviceCallFailure").await;
    assert_eq!(
        failure,
        json!({"op": "serviceCallFailure", "serviceId": service, "callId": 1, "message": "no node serves /reset"})
    );
    let message = |failure: serde_json::Value| failure["message"].as_str().unwrap().to_owned();
    client.call(service + 1, 2, "cdr", b"").await;
    assert!(message(client.op("serviceCallFailure").await).starts_with("there is no service"));
    client.call(service, 3, "protobuf", b"").await;
    assert!(message(client.op("serviceCallFailure").await).contains("use cdr or json"));
    client.call(service, 4, "json", b"{\"x\":1}").await;
    client.op("serviceCallFailure").await;
    // Calls that are never answered fill the session's own limit and no more.
    for call in 0..=limits::CALLS_PER_SESSION as u32 {
        client.call(service, call, "cdr", b"\0\x01\0\0\0").await;
    }
    let failure = client.op("serviceCallFailure").await;
    assert_eq!(failure["callId"], limits::CALLS_PER_SESSION);
    assert_eq!(harness.fake.calls.lock().len(), limits::CALLS_PER_SESSION);
    // They end with the session.
    drop(client);
    let ended = || harness.fake.calls.lock().iter().all(|call| call.answer.is_closed()).then_some(());
    until("the calls end", ended).await;
}

#[tokio::test]
async fn an_observer_calls_and_sets_nothing() {
    let (harness, mut client, service) = open_client(Role::Observer).await;
    client.call(service, 1, "cdr", b"\0\x01\0\0\0").await;
    let failure = client.op("serviceCallFailure").await;
    assert_eq!(failure["message"], "you may not call /reset: an observer may not; show a token");
    let parameters = json!([{"name": "/node.speed", "value": 3}]);
    client.send_json(json!({"op": "setParameters", "parameters": parameters, "id": "a"})).await;
    let status = client.op("status").await;
    assert_eq!(status["message"], "you may not set parameters of /node: an observer may not; show a token");
    assert!(harness.fake.calls.lock().iter().all(|call| !call.service.contains("set_parameters")));
}

#[tokio::test]
async fn a_service_that_comes_back_has_its_number_of_before() {
    let (harness, mut client, service) = open_client(Role::Operator).await;
    harness.serve(&[("/other", TRIGGER.1)]);
    assert_eq!(client.op("unadvertiseServices").await["serviceIds"], json!([service]));
    let other = client.op("advertiseServices").await["services"][0]["id"].clone();
    assert_ne!(other, json!(service));
    harness.serve(&[TRIGGER, ("/other", TRIGGER.1)]);
    assert_eq!(client.op("advertiseServices").await["services"][0]["id"], json!(service));
}

#[tokio::test]
async fn the_connection_graph_is_sent_whole_and_then_as_diffs() {
    let (harness, mut client, _) = open_client(Role::Operator).await;
    client.send_json(json!({"op": "subscribeConnectionGraph"})).await;
    let update = client.op("connectionGraphUpdate").await;
    assert!(update["advertisedServices"].to_string().contains("/reset"), "{update}");
    let topic = GraphTopic {
        name: "/chat".into(),
        type_name: "std_msgs/msg/String".into(),
        publishers: vec!["/a".into()],
        subscribers: vec![],
    };
    harness.endpoint.ingress.graph(Graph { topics: vec![topic], ..Graph::default() });
    let update = client.op("connectionGraphUpdate").await;
    assert_eq!(update["publishedTopics"], json!([{"name": "/chat", "publisherIds": ["/a"]}]));
    assert!(update["removedServices"].as_array().unwrap().contains(&json!("/reset")), "{update}");
    client.send_json(json!({"op": "unsubscribeConnectionGraph"})).await;
    client.settle().await;
    // Services and graph are sent in the same tick, so a graph update would come with the services.
    harness.serve(&[TRIGGER]);
    client.op("advertiseServices").await;
    assert!(client.settle().await.is_empty());
}

#[tokio::test]
async fn the_emergency_endpoint_has_none_of_the_others_services() {
    let harness = Harness::new(Tier::Emergency, Role::Commander, SourceKind::Dds).await;
    harness.serve(&[TRIGGER]);
    let mut client = harness.connect().await;
    client.send_json(json!({"op": "subscribeConnectionGraph"})).await;
    assert_eq!(client.op("connectionGraphUpdate").await["advertisedServices"], json!([]));
    client.send_json(json!({"op": "getParameters", "parameterNames": ["/node.speed"], "id": "a"})).await;
    let status = client.op("status").await;
    assert_eq!(status["message"], "/node.speed is not in the scope of the emergency endpoint");
    assert_eq!(
        client.op("parameterValues").await,
        json!({"op": "parameterValues", "parameters": [], "id": "a"})
    );
}

/// An endpoint with this many nodes that have parameters.
async fn harness_with_nodes(count: usize) -> Harness {
    let harness = Harness::new(Tier::Primary, Role::Observer, SourceKind::Dds).await;
    let names: Vec<String> = (0..count).map(|n| format!("/n{n}/list_parameters")).collect();
    let list = "rcl_interfaces/srv/ListParameters";
    harness.serve(&names.iter().map(|name| (name.as_str(), list)).collect::<Vec<_>>());
    let known = || Some(()).filter(|()| harness.endpoint.ros.graph().services.len() == count);
    until("the graph is known", known).await;
    harness
}

#[tokio::test]
async fn one_client_that_asks_for_all_parameters_leaves_room_for_the_calls_of_others() {
    let calls = |harness: &Harness| harness.fake.calls.lock().len();
    let harness = harness_with_nodes(20).await;
    let mut client = harness.connect().await;
    let named: Vec<String> = (0..20).map(|n| format!("/n{n}.speed")).collect();
    for _ in 0..8 {
        client.send_json(json!({"op": "getParameters", "parameterNames": [], "id": "all"})).await;
        client.send_json(json!({"op": "getParameters", "parameterNames": named, "id": "some"})).await;
    }
    client.settle().await;
    let count = calls(&harness);
    assert!((1..=limits::QUERIED_NODES).contains(&count), "{count} calls at a time");

    let harness = harness_with_nodes(20).await;
    let mut client = harness.connect_rosbridge().await;
    for _ in 0..8 {
        client.send_json(json!({"op": "call_service", "service": "/rosapi/get_param_names"})).await;
    }
    client.send_json(json!({"op": "call_service", "service": "/rosapi/get_time"})).await;
    client.op("service_response").await;
    until("nodes are asked", || (calls(&harness) > 0).then_some(())).await;
    let count = calls(&harness);
    assert!((1..=limits::QUERIED_NODES).contains(&count), "{count} calls at a time");
}

#[tokio::test]
async fn the_graph_in_scope_is_computed_once() {
    let harness = harness_with_nodes(2_000).await;
    let graph = harness.endpoint.graph();
    assert_eq!(graph.services.len(), 2_000);
    assert!(Arc::ptr_eq(&graph, &harness.endpoint.graph()));
    harness.serve(&[TRIGGER]);
    until("the graph is another", || (harness.endpoint.graph().services.len() == 1).then_some(())).await;
    harness.endpoint.serve_scopes(Tier::Emergency.scopes());
    assert!(harness.endpoint.graph().services.is_empty());
    harness.endpoint.serve_scopes(Tier::Primary.scopes());
    assert_eq!(harness.endpoint.graph().services.len(), 1);
}
