//! The API over a native session: the same answers with the session's rights, and watches.

use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{Native, Said};
use roverline_tests::wait::eventually;
use serde_json::{Value, json};

use super::writing::{Careful, careful};
use super::{done, json as body, serve};

const PATIENCE: Duration = Duration::from_secs(20);

fn request(id: u64, method: &str, path: &str, body: Option<Value>) -> ClientMessage {
    ClientMessage::Request { id, method: method.to_owned(), path: path.to_owned(), body }
}

fn watch(id: u64, path: &str) -> ClientMessage {
    ClientMessage::Watch { id, path: path.to_owned() }
}

/// The next answer to any request or watch.
async fn answer(native: &mut Native) -> (u64, u16, Value) {
    loop {
        match native.next().await {
            Said::Text(said) => {
                if let ServerMessage::Response { id, status, body } = *said {
                    return (id, status, body);
                }
            }
            Said::Closed(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
}

async fn ask(native: &mut Native, message: ClientMessage) -> (u16, Value) {
    let wanted = match &message {
        ClientMessage::Request { id, .. } | ClientMessage::Watch { id, .. } => *id,
        other => panic!("{other:?}"),
    };
    native.say(&message).await;
    loop {
        let (id, status, body) = answer(native).await;
        if id == wanted {
            return (status, body);
        }
    }
}

#[tokio::test]
async fn a_session_asks_with_its_rights() {
    let Careful { gateway, observer, operator, commander, .. } = &careful();
    let mut native = Native::connect(gateway.first_port()).await;
    let lock = json!({"resource": "arm", "client_id": "ada", "lock_type": "exclusive"});
    let force = json!({"client": "ada", "reason": "late"});
    const FORCE: &str = "/api/v2/locks/arm/force-release";
    let may = |acquire: u16, force: u16, who: Option<String>| (acquire, force, who);
    for (acquires, forces, token) in [
        may(403, 403, None),
        may(403, 403, Some(observer.clone())),
        may(200, 403, Some(operator.clone())),
        may(200, 200, Some(commander.clone())),
    ] {
        if let Some(token) = token {
            native.say(&ClientMessage::Auth { token }).await;
        }
        assert_eq!(ask(&mut native, request(1, "GET", "/locks", None)).await.0, 200);
        let (status, said) = ask(&mut native, request(2, "POST", "/locks/acquire", Some(lock.clone()))).await;
        assert_eq!(status, acquires, "{said}");
        let (status, said) = ask(&mut native, request(3, "POST", FORCE, Some(force.clone()))).await;
        assert_eq!(status, forces, "{said}");
    }
    assert_eq!(ask(&mut native, request(4, "GET", "/locks", None)).await.1, json!({"locks": []}));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_named() {
    let gateway = serve(&[]);
    let mut native = Native::connect(gateway.first_port()).await;
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
        let (got, said) = ask(&mut native, request(1, method, path, sent)).await;
        assert_eq!(got, status, "{method} {path} {said}");
        if status != 200 {
            assert_eq!(said["status"], status, "{said}");
        }
    }
    for (path, status) in [("/nothing", 404), ("", 404), ("/health", 400), ("/locks/acquire", 400)] {
        let (got, said) = ask(&mut native, watch(2, path)).await;
        assert_eq!((got, &said["status"]), (status, &status.into()), "{path} {said}");
    }
    // What is no more than a number too many: the session goes on.
    native.say(&ClientMessage::Unwatch { id: 77 }).await;
    assert_eq!(ask(&mut native, request(3, "GET", "/locks", None)).await.0, 200);
}

#[tokio::test]
async fn what_is_watched_is_told_wherever_it_changes() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let mut native = Native::connect(ports[0]).await;
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
    assert_eq!(ask(&mut native, watch(1, "/api/v2/kv/goal")).await.1["value"], 0);
    // The last word is always the newest, however fast they come.
    for round in 1..=30 {
        put(ports[1 + round as usize % 3], round);
        if round % 3 == 0 {
            loop {
                let (id, status, said) = answer(&mut native).await;
                assert_eq!((id, status), (1, 200));
                if said["value"] == round {
                    break;
                }
            }
        }
    }
    // Another path under the same number; the first is told no more.
    let (_, mut locks) = ask(&mut native, watch(1, "/api/v2/locks")).await;
    while !locks["locks"].is_array() {
        // A last word of the other was on its way.
        locks = answer(&mut native).await.2;
    }
    assert_eq!(locks["locks"], json!([]));
    put(ports[1], 99);
    let lock = json!({"resource": "arm", "client_id": "ada", "lock_type": "exclusive"});
    assert_eq!(done(ports[2], "/locks/acquire", &lock)["success"], true);
    loop {
        let (id, _, said) = answer(&mut native).await;
        assert!(id == 1 && said["locks"].is_array(), "{said}");
        if said["locks"][0]["holders"][0]["client"] == "ada" {
            break;
        }
    }
    // Also who asks to have it, which changes nothing for who holds it.
    let wish = json!({"client": "ben", "mode": "exclusive", "ttl_ms": 60_000});
    super::post(ports[3], "/api/v2/locks/arm/acquire", &wish.to_string());
    let port = ports[3];
    let asking = std::thread::spawn(move || {
        let wish = json!({"client": "ben", "message": "please", "ttl_ms": 60_000, "wait_ms": 3_000});
        done(port, "/api/v2/locks/arm/handover", &wish)
    });
    while answer(&mut native).await.2["locks"][0]["handovers"][0]["message"] != "please" {}
    native.say(&ClientMessage::Unwatch { id: 1 }).await;
    asking.join().unwrap();
    assert_eq!(ask(&mut native, request(9, "GET", "/locks", None)).await.0, 200);
    done(ports[2], "/locks/release", &json!({"resource": "arm", "client_id": "ada"}));
    for said in native.listen(Duration::from_millis(700)).await {
        if let Said::Text(said) = said {
            assert!(!matches!(*said, ServerMessage::Response { .. }), "{said:?}");
        }
    }
}

#[tokio::test]
async fn who_asks_a_thousand_times_harms_nobody() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let mut other = Native::subscribed(port, &["/odom"]).await;
    let telemetry = tokio::spawn(async move {
        let mut samples = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(6) {
            match other.next().await {
                Said::Sample(_, header, _) => samples.push(header.id.seq),
                Said::Closed(code) => panic!("closed with {code}"),
                _ => {}
            }
        }
        samples
    });
    let mut hostile = Native::connect(port).await;
    let lock = json!({"client": "z", "mode": "exclusive", "ttl_ms": 60_000, "wait_ms": 20_000});
    done(port, "/locks/acquire", &json!({"resource": "arm", "client_id": "a", "lock_type": "exclusive"}));
    // As many as may wait do so; what is more is refused at once.
    for id in 0..1_000 {
        let mut wish = lock.clone();
        wish["client"] = format!("c{id}").into();
        hostile.say(&request(id, "POST", "/api/v2/locks/arm/acquire", Some(wish))).await;
    }
    for _ in 0..1_000 - limits::SESSION_REQUESTS {
        let (_, status, said) = answer(&mut hostile).await;
        assert_eq!(status, 503, "{said}");
    }
    // Watches are apart from them, and as many.
    for id in 0..100 {
        hostile.say(&watch(10_000 + id, "/locks")).await;
    }
    let (mut watched, mut refused) = (std::collections::BTreeSet::new(), 0);
    while watched.len() < limits::SESSION_WATCH_ENTRIES || refused < 100 - limits::SESSION_WATCH_ENTRIES {
        match answer(&mut hostile).await {
            (id, 200, _) => drop(watched.insert(id)),
            (_, 503, _) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(watched.len(), limits::SESSION_WATCH_ENTRIES);
    let waiting = || body(&http::get(port, "/locks/arm"))["waiting"].as_array().unwrap().len();
    assert_eq!(waiting(), limits::SESSION_REQUESTS);
    // All places are given up when it goes, also what it waits for under one number many times.
    drop(hostile);
    eventually("nobody waits", PATIENCE, || waiting() == 0);
    let samples = telemetry.await.unwrap();
    let lost = samples.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(samples.len() > 200 && lost == 0, "{} samples, {lost} gaps", samples.len());
    let mut again = Native::connect(port).await;
    assert_eq!(ask(&mut again, request(1, "GET", "/locks", None)).await.0, 200);
    assert!(!gateway.end().contains("panicked"));
}

#[tokio::test]
async fn large_answers_are_read_or_refused_and_close_nothing() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let large = format!("\"{}\"", "x".repeat(900 << 10));
    let sent = http::request(port, "PUT", "/api/v2/kv/large", "Content-Type: application/json\r\n", &large);
    assert_eq!(sent.status, 200);
    let mut native = Native::connect(port).await;
    for id in 0..30 {
        native.say(&request(id, "GET", "/api/v2/kv/large", None)).await;
    }
    let (mut read, mut refused) = (0, 0);
    for _ in 0..30 {
        match answer(&mut native).await.1 {
            200 => read += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(read >= 1 && read + refused == 30, "{read} read, {refused} refused");
    // A value of this size, the other way.
    let value = json!("y".repeat(900 << 10));
    let (status, said) = ask(&mut native, request(50, "PUT", "/api/v2/kv/other", Some(value))).await;
    assert_eq!((status, &said["version"]), (200, &1.into()));
}
