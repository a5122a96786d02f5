//! The API over a native session: the same responses with the session's role, and watches.

use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::wait::eventually;
use serde_json::{Value, json};

use super::directory::{TokenOnlyGateway, token_only};
use super::{json as body, post_ok, serve};

const PATIENCE: Duration = Duration::from_secs(20);

fn request(id: u64, method: &str, path: &str, body: Option<Value>) -> ClientMessage {
    ClientMessage::Request { id, method: method.to_owned(), path: path.to_owned(), body, traceparent: None }
}

fn watch(id: u64, path: &str) -> ClientMessage {
    ClientMessage::Watch { id, path: path.to_owned() }
}

/// The next response to any request or watch.
async fn next_response(native: &mut NativeClient) -> (u64, u16, Value) {
    loop {
        match native.next().await {
            Received::Text(message) => {
                if let ServerMessage::Response { id, status, body } = *message {
                    return (id, status, body);
                }
            }
            Received::Closed(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
}

async fn exchange(native: &mut NativeClient, message: ClientMessage) -> (u16, Value) {
    let expected = match &message {
        ClientMessage::Request { id, .. } | ClientMessage::Watch { id, .. } => *id,
        other => panic!("{other:?}"),
    };
    native.send(&message).await;
    loop {
        let (id, status, body) = next_response(native).await;
        if id == expected {
            return (status, body);
        }
    }
}

#[tokio::test]
async fn a_session_sends_requests_with_its_role() {
    let TokenOnlyGateway { gateway, observer, operator, commander, .. } = &token_only();
    let mut native = NativeClient::connect(gateway.first_port()).await;
    let lock = json!({"resource": "arm", "client_id": "ada", "lock_type": "exclusive"});
    let force = json!({"client": "ada", "reason": "late"});
    const FORCE: &str = "/api/v2/locks/arm/force-release";
    let rights = |acquire: u16, force: u16, who: Option<String>| (acquire, force, who);
    for (acquires, forces, token) in [
        rights(403, 403, None),
        rights(403, 403, Some(observer.clone())),
        rights(200, 403, Some(operator.clone())),
        rights(200, 200, Some(commander.clone())),
    ] {
        if let Some(token) = token {
            native.send(&ClientMessage::Auth { token }).await;
        }
        assert_eq!(exchange(&mut native, request(1, "GET", "/locks", None)).await.0, 200);
        let (status, options) =
            exchange(&mut native, request(2, "POST", "/locks/acquire", Some(lock.clone()))).await;
        assert_eq!(status, acquires, "{options}");
        let (status, options) = exchange(&mut native, request(3, "POST", FORCE, Some(force.clone()))).await;
        assert_eq!(status, forces, "{options}");
    }
    // The commander sent the operator's name, and still waited for a lock of its own.
    let release = json!({"resource": "arm", "client_id": "ada"});
    let (_, done) = exchange(&mut native, request(4, "POST", "/locks/release", Some(release))).await;
    assert_eq!(done["success"], true, "{done}");
    assert_eq!(exchange(&mut native, request(5, "GET", "/locks", None)).await.1, json!({"locks": []}));
}

#[tokio::test]
async fn malformed_session_requests_are_explained() {
    let gateway = serve(&[]);
    let mut native = NativeClient::connect(gateway.first_port()).await;
    for (method, path, sent, status) in [
        ("GET", "/nothing", None, 404),
        ("GET", "", None, 404),
        ("GET", "locks", None, 404),
        ("PATCH", "/locks", None, 405),
        ("get", "/locks", None, 405),
        ("NO METHOD", "/locks", None, 400),
        ("", "/locks", None, 400),
        ("POST", "/locks/acquire", None, 400),
        ("POST", "/locks/acquire", Some(json!([])), 422),
        ("POST", "/locks/acquire", Some(json!({"resource": "x".repeat(9 << 10)})), 413),
        ("GET", "/api/v2/kv/%ff", None, 400),
        ("GET", "/api/v2/kv?limit=x", None, 400),
        ("GET", "/", None, 200),
    ] {
        let (got, options) = exchange(&mut native, request(1, method, path, sent)).await;
        assert_eq!(got, status, "{method} {path} {options}");
        if status != 200 {
            assert_eq!(options["status"], status, "{options}");
        }
    }
    for (path, status) in [("/nothing", 404), ("", 404), ("/health", 400), ("/locks/acquire", 400)] {
        let (got, options) = exchange(&mut native, watch(2, path)).await;
        assert_eq!((got, &options["status"]), (status, &status.into()), "{path} {options}");
    }
    // An unknown id is not fatal: the session continues.
    native.send(&ClientMessage::Unwatch { id: 77 }).await;
    assert_eq!(exchange(&mut native, request(3, "GET", "/locks", None)).await.0, 200);
}

#[tokio::test]
async fn a_watch_reports_changes_from_any_endpoint() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let mut native = NativeClient::connect(ports[0]).await;
    let put = |port: u16, n: u64| {
        let sent = http::request(
            port,
            "PUT",
            "/api/v2/kv/goal",
            "Content-Type: application/json\r\n",
            &n.to_string(),
        );
        assert_eq!(sent.status, 200, "{sent:?}");
    };
    put(ports[1], 0);
    assert_eq!(exchange(&mut native, watch(1, "/api/v2/kv/goal")).await.1["value"], 0);
    // The last update always shows the newest value, however fast the changes come.
    for round in 1..=30 {
        put(ports[1 + round as usize % 3], round);
        if round % 3 == 0 {
            loop {
                let (id, status, options) = next_response(&mut native).await;
                assert_eq!((id, status), (1, 200));
                if options["value"] == round {
                    break;
                }
            }
        }
    }
    // Another path with the same id; the first watch ends.
    let (_, mut locks) = exchange(&mut native, watch(1, "/api/v2/locks")).await;
    while !locks["locks"].is_array() {
        // The last update of the first watch may be in flight.
        locks = next_response(&mut native).await.2;
    }
    assert_eq!(locks["locks"], json!([]));
    put(ports[1], 99);
    let lock = json!({"resource": "arm", "client_id": "ada", "lock_type": "exclusive"});
    assert_eq!(post_ok(ports[2], "/locks/acquire", &lock)["success"], true);
    loop {
        let (id, _, options) = next_response(&mut native).await;
        assert!(id == 1 && options["locks"].is_array(), "{options}");
        if options["locks"][0]["holders"][0]["client"] == "ada" {
            break;
        }
    }
    // A hand-over request is reported as well, although it does not change the holder.
    let request_body = json!({"client": "ben", "mode": "exclusive", "ttl_ms": 60_000});
    super::post(ports[3], "/api/v2/locks/arm/acquire", &request_body.to_string());
    let port = ports[3];
    let handover = std::thread::spawn(move || {
        let request_body = json!({"client": "ben", "message": "please", "ttl_ms": 60_000, "wait_ms": 3_000});
        post_ok(port, "/api/v2/locks/arm/handover", &request_body)
    });
    while next_response(&mut native).await.2["locks"][0]["handovers"][0]["message"] != "please" {}
    native.send(&ClientMessage::Unwatch { id: 1 }).await;
    handover.join().unwrap();
    assert_eq!(exchange(&mut native, request(9, "GET", "/locks", None)).await.0, 200);
    post_ok(ports[2], "/locks/release", &json!({"resource": "arm", "client_id": "ada"}));
    for message in native.receive_for(Duration::from_millis(700)).await {
        if let Received::Text(message) = message {
            assert!(!matches!(*message, ServerMessage::Response { .. }), "{message:?}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_requests_affects_no_other_client() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let mut other = NativeClient::subscribed(port, &["/odom"]).await;
    let telemetry = tokio::spawn(async move {
        let mut samples = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(6) {
            match other.next().await {
                Received::Sample(_, header, _) => samples.push(header.id.seq),
                Received::Closed(code) => panic!("closed with {code}"),
                _ => {}
            }
        }
        samples
    });
    let mut flooder = NativeClient::connect(port).await;
    let lock = json!({"client": "z", "mode": "exclusive", "ttl_ms": 60_000, "wait_ms": 20_000});
    post_ok(port, "/locks/acquire", &json!({"resource": "arm", "client_id": "a", "lock_type": "exclusive"}));
    // As many requests as allowed wait; the others are refused immediately.
    for id in 0..1_000 {
        let mut request_body = lock.clone();
        request_body["client"] = format!("c{id}").into();
        flooder.send(&request(id, "POST", "/api/v2/locks/arm/acquire", Some(request_body))).await;
    }
    for _ in 0..1_000 - limits::SESSION_REQUESTS {
        let (_, status, options) = next_response(&mut flooder).await;
        assert_eq!(status, 503, "{options}");
    }
    // Watches have a limit of their own.
    for id in 0..100 {
        flooder.send(&watch(10_000 + id, "/locks")).await;
    }
    let (mut watched, mut refused) = (std::collections::BTreeSet::new(), 0);
    while watched.len() < limits::SESSION_WATCH_ENTRIES || refused < 100 - limits::SESSION_WATCH_ENTRIES {
        match next_response(&mut flooder).await {
            (id, 200, _) => drop(watched.insert(id)),
            (_, 503, _) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(watched.len(), limits::SESSION_WATCH_ENTRIES);
    let waiting = || body(&http::get(port, "/locks/arm"))["waiting"].as_array().unwrap().len();
    assert_eq!(waiting(), limits::SESSION_REQUESTS);
    // All waiters are removed when the session ends, including those that share one id.
    drop(flooder);
    eventually("no client waits", PATIENCE, || waiting() == 0);
    let samples = telemetry.await.unwrap();
    let lost = samples.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(samples.len() > 200 && lost == 0, "{} samples, {lost} gaps", samples.len());
    let mut again = NativeClient::connect(port).await;
    assert_eq!(exchange(&mut again, request(1, "GET", "/locks", None)).await.0, 200);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[tokio::test]
async fn large_answers_are_read_or_refused_and_close_nothing() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let large = format!("\"{}\"", "x".repeat(900 << 10));
    let sent = http::request(port, "PUT", "/api/v2/kv/large", "Content-Type: application/json\r\n", &large);
    assert_eq!(sent.status, 200);
    let mut native = NativeClient::connect(port).await;
    for id in 0..30 {
        native.send(&request(id, "GET", "/api/v2/kv/large", None)).await;
    }
    let (mut read, mut refused) = (0, 0);
    for _ in 0..30 {
        match next_response(&mut native).await.1 {
            200 => read += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(read >= 1 && read + refused == 30, "{read} read, {refused} refused");
    // A value of this size in the other direction.
    let value = json!("y".repeat(900 << 10));
    let (status, options) = exchange(&mut native, request(50, "PUT", "/api/v2/kv/other", Some(value))).await;
    assert_eq!((status, &options["version"]), (200, &1.into()));
}
