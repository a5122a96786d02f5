//! Ownership by identity, not by the name that a client gives itself: two operators with tokens, and
//! each operation of each object on the other's object, at every endpoint.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, within};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
/// The name that both operators say.
const NAME: &str = "console";

/// A gateway whose clients without a token only read, and the tokens of three people.
struct Team {
    gateway: Gateway,
    ports: Vec<u16>,
    ada: String,
    mallory: String,
    chief: String,
    _scratch: TempDir,
}

impl Team {
    fn start() -> Team {
        let scratch = temp::dir();
        let file = scratch.path().join("tokens").to_str().unwrap().to_owned();
        let token = |role: &str, name: &str| {
            let args = ["token", "add", "--tokens", &file, "--role", role, name];
            let (code, token, why) = gateway::run(&args, PATIENCE);
            assert_eq!(code, 0, "{why}");
            token.trim().to_owned()
        };
        let (ada, mallory) = (token("operator", "ada"), token("operator", "mallory"));
        let chief = token("commander", "chief");
        let gateway = Gateway::up(&["--source", "sim", "--loopback-role", "observer", "--tokens", &file]);
        let ports = gateway.endpoints.iter().map(|(_, port)| *port).collect();
        Team { gateway, ports, ada, mallory, chief, _scratch: scratch }
    }

    fn post(&self, endpoint: usize, token: &str, path: &str, body: &Value) -> Response {
        let fields = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
        http::request(self.ports[endpoint], "POST", path, &fields, &body.to_string())
    }

    fn done(&self, endpoint: usize, token: &str, path: &str, body: &Value) -> Value {
        let answer = self.post(endpoint, token, path, body);
        assert!(matches!(answer.status, 200 | 202), "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Refused, with the owner's name and the way that a commander has.
    fn refused(&self, token: &str, path: &str, body: &Value, owner: &str) {
        for endpoint in 0..self.ports.len() {
            let answer = self.post(endpoint, token, path, body);
            assert_eq!(answer.status, 403, "{path} {body}: {answer:?}");
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            let detail = problem["detail"].as_str().unwrap();
            for word in [owner, "commander", "reason"] {
                assert!(detail.contains(word), "{path} {body}: {detail}");
            }
        }
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&http::get(self.ports[3], path).body).unwrap()
    }

    /// The events of a stream once they contain one of this type.
    fn events_with(&self, stream: &str, kind: &str) -> Vec<Value> {
        let path = format!("/api/v2/events?stream={stream}");
        let mut events = Vec::new();
        eventually(kind, PATIENCE, || {
            events = self.get(&path)["events"].as_array().unwrap().clone();
            events.iter().any(|event| event["type"] == kind)
        });
        events
    }
}

fn by(event: &Value) -> (&str, Option<&str>) {
    (event["by"].as_str().unwrap_or_default(), event["client"].as_str())
}

#[test]
fn a_lock_is_its_identitys() {
    let team = Team::start();
    let Team { ada, mallory, chief, .. } = &team;
    let lock = |operation: &str| format!("/api/v2/locks/arm/{operation}");
    let acquire = json!({"client": NAME, "mode": "exclusive", "ttl_ms": 60_000});
    let held = team.done(0, ada, &lock("acquire"), &acquire);
    let short = json!({"resource": "arm", "client_id": NAME});
    for (path, body) in [
        (lock("release"), json!({"client": NAME})),
        (lock("keep-alive"), json!({"client": NAME})),
        ("/locks/release".to_owned(), short.clone()),
        (lock("handover/answer"), json!({"holder": NAME, "client": NAME, "grant": true})),
        (lock("handover/answer"), json!({"holder": NAME, "client": NAME, "grant": false})),
    ] {
        team.refused(mallory, &path, &body, "ada");
        // Not even a commander does it silently.
        team.refused(chief, &path, &body, "ada");
    }
    let force = json!({"client": NAME, "reason": "storm"});
    assert_eq!(team.post(0, mallory, &lock("force-release"), &force).status, 403);
    // Under the same name she waits, like anybody.
    let waiting = team.done(1, mallory, &lock("acquire"), &acquire);
    assert_eq!(waiting, json!({"standing": "waiting", "place": 1}));
    let shown = team.get("/api/v2/locks/arm");
    assert_eq!(shown["holders"], json!([{"client": NAME, "by": "ada", "token": held["token"]}]));
    assert_eq!(shown["waiting"], json!([{"client": NAME, "by": "mallory", "mode": "exclusive"}]));
    // Her identity is the same at each endpoint.
    assert_eq!(team.done(2, ada, &lock("keep-alive"), &json!({"client": NAME})), held);
    let empty = json!({"client": NAME, "reason": ""});
    assert_eq!(team.post(0, chief, &lock("force-release"), &empty).status, 422);
    team.done(3, chief, &lock("force-release"), &force);
    let taken = team.post(1, ada, &lock("release"), &json!({"client": NAME}));
    assert!(taken.status == 404 && taken.body.contains("storm") && taken.body.contains("chief"), "{taken:?}");
    team.done(2, mallory, "/locks/release", &short);
    let events = team.events_with("lock/arm", "lock.released");
    let told: Vec<_> = events.iter().map(|event| (event["type"].as_str().unwrap(), by(event).0)).collect();
    let expected = [
        ("lock.acquired", "ada"),
        ("lock.waiting", "mallory"),
        ("lock.taken", "chief"),
        ("lock.acquired", "mallory"),
        ("lock.released", "mallory"),
    ];
    assert_eq!(told, expected);
    assert_eq!((by(&events[0]).1, &events[2]["data"]["from"]), (Some(NAME), &"ada".into()));
    assert!(!team.gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn a_message_in_work_is_its_identitys() {
    let team = Team::start();
    let Team { ada, mallory, chief, .. } = &team;
    let queue = |operation: &str| format!("/api/v2/queues/jobs/{operation}");
    let message = json!({"messages": [{"message": 1, "dedup_id": "1"}]});
    let first = team.done(0, ada, &queue("enqueue"), &message)["messages"][0].clone();
    let again = team.done(1, ada, &queue("enqueue"), &message)["messages"][0].clone();
    assert_eq!((&again["message_id"], &again["duplicate"]), (&first["message_id"], &true.into()));
    let taken =
        team.done(1, ada, &queue("dequeue"), &json!({"visibility_ms": 600_000}))["messages"][0].clone();
    let id = &taken["message_id"];
    for (path, body) in [
        (queue("ack"), json!({"message_id": id})),
        (queue("ack"), json!({"message_id": id, "delivery": 1})),
        (queue("nak"), json!({"message_id": id, "reason": "mine"})),
        (queue("extend"), json!({"message_id": id, "visibility_ms": 1000})),
        ("/queue/ack".to_owned(), json!({"message_id": id})),
    ] {
        team.refused(mallory, &path, &body, "ada");
        team.refused(chief, &path, &body, "ada");
    }
    team.done(2, ada, &queue("extend"), &json!({"message_id": id, "visibility_ms": 600_000}));
    let force = |reason: Value| json!({"message_id": id, "force": true, "reason": reason});
    assert_eq!(team.post(0, mallory, &queue("nak"), &force("mine".into())).status, 403);
    assert_eq!(team.post(0, chief, &queue("nak"), &force(Value::Null)).status, 422);
    team.done(0, chief, &queue("nak"), &force("she left".into()));
    let events = team.events_with("queue/jobs", "queue.taken");
    let event = events.iter().find(|event| event["type"] == "queue.taken").unwrap();
    assert_eq!((by(event).0, &event["data"]["from"]), ("chief", &"ada".into()));
    assert_eq!(event["data"]["reason"], "she left");
    team.done(3, mallory, "/queue/dequeue", &json!({"queue_name": "jobs"}));
    team.refused(ada, &queue("ack"), &json!({"message_id": id}), "mallory");
    assert_eq!(team.done(0, mallory, "/queue/ack", &json!({"message_id": id}))["success"], true);
    // Another's id does not swallow it.
    let foreign = team.done(2, mallory, &queue("enqueue"), &message)["messages"][0].clone();
    assert_eq!(foreign["duplicate"], false);
}

#[test]
fn ids_of_events_and_commands_are_each_identitys_own() {
    let team = Team::start();
    let Team { ada, mallory, .. } = &team;
    let event = json!({"stream": "mission/1", "type": "mission.step", "id": "1"});
    let append = |endpoint, token: &str| team.done(endpoint, token, "/api/v2/events", &event);
    let (first, foreign) = (append(0, ada), append(1, mallory));
    assert_eq!((&first["again"], &foreign["again"]), (&false.into(), &false.into()));
    let again = append(2, ada);
    assert_eq!((&again["again"], &again["seq"]), (&true.into(), &first["seq"]));
    let events = team.events_with("mission/1", "mission.step");
    let told: Vec<_> = events.iter().map(by).collect();
    assert_eq!(told, [("ada", None), ("mallory", None)]);
    // Command ids: each identity's release is done, and done once.
    let stop = |endpoint, token: &str, engage: bool, id: &str| {
        let body = json!({"engage": engage, "id": id, "reason": "test"});
        team.done(endpoint, token, "/api/v2/emergency-stop", &body)["engaged"] == true
    };
    assert!(stop(0, ada, true, "1"));
    assert!(!stop(0, mallory, false, "1"), "her id has engaged nothing");
    assert!(stop(0, ada, true, "2"));
    assert!(stop(0, mallory, false, "1"), "a repeated release is harmless");
    assert!(!stop(0, ada, false, "3"));
    let stops = |count: usize| {
        let path = "/api/v2/events?stream=command/emergency_stop";
        eventually("the stops are recorded", PATIENCE, || {
            team.get(path)["events"].as_array().unwrap().len() == count
        });
        team.get(path)["events"].as_array().unwrap().clone()
    };
    let recorded = stops(4);
    let by: Vec<_> = recorded.iter().map(|event| by(event).0).collect();
    assert_eq!(by, ["ada", "mallory", "ada", "ada"], "{recorded:?}");
}

async fn request(native: &mut NativeClient, method: &str, path: &str, body: Value) -> (u16, Value) {
    let (method, path) = (method.to_owned(), path.to_owned());
    native.send(&ClientMessage::Request { id: 1, method, path, body: Some(body), traceparent: None }).await;
    loop {
        match native.next().await {
            Received::Text(message) => {
                if let ServerMessage::Response { status, body, .. } = *message {
                    return (status, body);
                }
            }
            Received::Closed(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
}

async fn session(port: u16, token: &str, client: &str) -> NativeClient {
    let mut native = NativeClient::connect(port).await;
    native.send(&ClientMessage::Hello { client: client.to_owned(), heartbeat_ms: None }).await;
    native.send(&ClientMessage::Auth { token: token.to_owned() }).await;
    native
}

/// A session's declared name is shown beside its identity and does not change it.
#[tokio::test]
async fn a_session_acts_as_its_token_at_every_endpoint() {
    let team = Team::start();
    let Team { ports, ada, mallory, .. } = &team;
    let mut hers = session(ports[0], ada, NAME).await;
    let acquire = json!({"client": NAME, "mode": "exclusive", "ttl_ms": 60_000});
    assert_eq!(request(&mut hers, "POST", "/api/v2/locks/arm/acquire", acquire).await.0, 200);
    let mut other = session(ports[1], mallory, "ada").await;
    let release = json!({"client": NAME});
    let (status, problem) = request(&mut other, "POST", "/api/v2/locks/arm/release", release.clone()).await;
    assert!(status == 403 && problem["detail"].as_str().unwrap().contains("ada"), "{status} {problem}");
    let event = json!({"stream": "mission/1", "type": "mission.abort", "data": {}});
    assert_eq!(request(&mut other, "POST", "/api/v2/events", event).await.0, 200);
    assert_eq!(request(&mut other, "PUT", "/api/v2/kv/goal", json!(1)).await.0, 200);
    let recorded = team.events_with("mission/1", "mission.abort");
    assert_eq!(by(&recorded[0]), ("mallory", Some("ada")));
    assert_eq!(by(&team.get("/api/v2/kv/goal")), ("mallory", Some("ada")));
    // The session ends; the next one, at another endpoint, is of the same identity.
    drop(hers);
    let mut hers = session(ports[2], ada, NAME).await;
    let (status, done) = request(&mut hers, "POST", "/api/v2/locks/arm/release", release).await;
    assert_eq!((status, &done["success"]), (200, &true.into()), "{done}");
}

async fn next_status(client: &mut PlainClient) -> Value {
    let waited = async {
        loop {
            let message = client.next().await.unwrap();
            if message["op"] == "status" {
                return message;
            }
        }
    };
    within("a status", PATIENCE, waited).await
}

/// A service that a client offers is its identity's as well.
#[tokio::test]
async fn an_offered_service_is_replaced_by_its_identity_only() {
    let team = Team::start();
    let offer =
        r#"{"op":"advertise_service","id":"offer","service":"/mast/raise","type":"std_srvs/srv/Trigger"}"#;
    let rosbridge = async |token: &str| {
        let path = format!("/rosbridge?token={token}");
        PlainClient::try_connect_at(team.ports[0], &path).await.unwrap()
    };
    let mut hers = rosbridge(&team.ada).await;
    hers.send(offer).await;
    eventually("the service is offered", PATIENCE, || {
        http::get(team.ports[0], "/api/v2/services").body.contains("/mast/raise")
    });
    let mut foreign = rosbridge(&team.mallory).await;
    foreign.send(offer).await;
    let refused = next_status(&mut foreign).await;
    assert!(refused["msg"].as_str().unwrap().contains("is offered by ada"), "{refused}");
    // Her own next session takes it over.
    let mut next = rosbridge(&team.ada).await;
    next.send(offer).await;
    let replaced = next_status(&mut hers).await;
    assert!(replaced["msg"].as_str().unwrap().contains("another client offers"), "{replaced}");
}

/// Without tokens, all clients of this computer are one identity, from every loopback address.
#[tokio::test]
async fn clients_of_this_computer_are_one_identity() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let mut native = NativeClient::connect(ports[0]).await;
    native.send(&ClientMessage::Hello { client: "desk".to_owned(), heartbeat_ms: None }).await;
    let acquire = json!({"client": NAME, "mode": "exclusive", "ttl_ms": 60_000});
    assert_eq!(request(&mut native, "POST", "/api/v2/locks/arm/acquire", acquire).await.0, 200);
    let post = |path: &str, body: &str| {
        http::request(ports[2], "POST", path, "Content-Type: application/json\r\n", body)
    };
    // Among them the name decides.
    assert_eq!(post("/api/v2/locks/arm/release", r#"{"client": "desk"}"#).status, 404);
    assert_eq!(post("/api/v2/locks/arm/release", r#"{"client": "console"}"#).status, 200);
    assert_eq!(request(&mut native, "PUT", "/api/v2/kv/goal", json!(1)).await.0, 200);
    let value: Value = serde_json::from_str(&http::get(ports[1], "/api/v2/kv/goal").body).unwrap();
    assert_eq!(by(&value), ("127.0.0.1", Some("desk")));
    let (code, _, why) = gateway::run(&["token", "add", "--tokens", "/nonexistent", "127.0.0.1"], PATIENCE);
    assert!(code != 0 && why.contains("127.0.0.1 is an address"), "{why}");
}
