//! Locks over HTTP, as scripts and the console use them.

use std::time::{Duration, Instant};

use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::wait::{eventually, observe_for};
use serde_json::{Value, json};

use super::{json as body, keys, post, post_ok, problem, serve};

const PATIENCE: Duration = Duration::from_secs(20);
/// A request that waits this long and is answered within [`AT_ONCE`] was answered by an event.
const LONG_WAIT_MS: u64 = 28_000;
const AT_ONCE: Duration = Duration::from_millis(LONG_WAIT_MS / 2);

fn acquire(port: u16, resource: &str, client: &str, kind: &str) -> Value {
    let request = json!({"resource": resource, "client_id": client, "lock_type": kind});
    post_ok(port, "/locks/acquire", &request)
}

fn release(port: u16, resource: &str, client: &str) -> Value {
    post_ok(port, "/locks/release", &json!({"resource": resource, "client_id": client}))
}

fn token(held: &Value) -> u64 {
    held["lock_id"].as_str().unwrap().parse().unwrap()
}

fn all_locks(port: u16) -> Value {
    body(&http::get(port, "/api/v2/locks"))["locks"].clone()
}

#[test]
fn scripts_lock_on_any_port() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let first = acquire(ports[0], "arm", "ada", "exclusive");
    assert_eq!((keys(&first), &first["success"]), (vec!["lock_id", "message", "success"], &true.into()));
    let second = acquire(ports[1], "arm", "ben", "exclusive");
    assert_eq!(keys(&second), ["message", "position", "queued", "success"]);
    assert_eq!(
        (&second["success"], &second["queued"], &second["position"]),
        (&false.into(), &true.into(), &1.into())
    );
    assert_eq!(acquire(ports[2], "arm", "cem", "shared")["position"], 2);
    for port in &ports {
        let seen = body(&http::get(*port, "/locks/arm"));
        assert_eq!(keys(&seen), ["holders", "resource", "timestamp", "type", "waiting"]);
        assert_eq!((&seen["resource"], &seen["type"]), (&"arm".into(), &"exclusive".into()));
        assert_eq!((&seen["holders"], &seen["waiting"]), (&json!(["ada"]), &json!(["ben", "cem"])));
        assert!(seen["timestamp"].as_f64().unwrap() > 1.7e9, "{seen}");
        assert_eq!(body(&http::get(*port, "/locks"))["locks"].as_array().unwrap().len(), 1);
    }
    // A release by a client that does not hold the lock changes nothing.
    let foreign = release(ports[3], "arm", "dan");
    assert_eq!((keys(&foreign), &foreign["success"]), (vec!["message", "success"], &false.into()));
    assert_eq!(body(&http::get(ports[0], "/locks/arm"))["holders"], json!(["ada"]));
    assert_eq!(release(ports[3], "arm", "ada")["success"], true);
    let ben = acquire(ports[0], "arm", "ben", "exclusive");
    assert!(ben["success"] == true && token(&ben) > token(&first), "{ben}");
    // Each waits for a lock that the other holds.
    assert_eq!(acquire(ports[1], "mast", "cem", "exclusive")["success"], true);
    let refused = acquire(ports[2], "mast", "ben", "exclusive");
    assert_eq!((&refused["success"], refused.get("queued")), (&false.into(), None));
    assert!(refused["message"].as_str().unwrap().contains("deadlock"), "{refused}");
    for none in ["", "{}"] {
        let found = body(&post(ports[3], "/detect-deadlock", none));
        assert_eq!(found, json!({"deadlocks_found": 0, "cycles": []}));
    }
    // Shared locks are held side by side.
    release(ports[0], "arm", "ben");
    assert_eq!(acquire(ports[3], "arm", "cem", "shared")["success"], true);
    assert_eq!(acquire(ports[0], "arm", "eva", "shared")["success"], true);
    assert_eq!(body(&http::get(ports[1], "/locks/arm"))["holders"], json!(["cem", "eva"]));
    // A lock acquired twice must be released twice, and the response says so.
    acquire(ports[1], "arm", "eva", "shared");
    let once = release(ports[2], "arm", "eva");
    assert!(once["message"].as_str().unwrap().contains("held still: it was asked for 1 more"), "{once}");
    assert_eq!(body(&http::get(ports[3], "/locks/arm"))["holders"], json!(["cem", "eva"]));
    let upgrade = acquire(ports[1], "arm", "eva", "exclusive");
    assert!(upgrade["success"] == false && upgrade["message"].as_str().unwrap().contains("shared"));
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn bad_requests_are_explained_and_change_nothing() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let held = acquire(port, "arm", "ada", "exclusive");
    let before = all_locks(port);
    problem(&http::get(port, "/locks/nothing"), 404);
    problem(&http::get(port, "/api/v2/locks/nothing"), 404);
    problem(&http::get(port, "/locks/%ff"), 400);
    let long = "x".repeat(201);
    let plain = |resource: &str, client: &str, timeout: Value| {
        json!({"resource": resource, "client_id": client, "lock_type": "exclusive", "timeout_seconds": timeout})
            .to_string()
    };
    for (request, status) in [
        (plain("", "a", Value::Null), 422),
        (plain(&long, "a", Value::Null), 422),
        (plain("a/b", "a", Value::Null), 422),
        (plain("arm", "", Value::Null), 422),
        (plain("arm", &long, Value::Null), 422),
        (plain("arm", "a\nb", Value::Null), 422),
        // From a new client, from the holder, and from a client that would wait.
        (plain("mast", "a", 0.into()), 422),
        (plain("arm", "ada", 0.into()), 422),
        (plain("arm", "ada", 31_536_000.into()), 422),
        (plain("arm", "ben", 31_536_000.into()), 422),
        (plain("arm", "ben", (-1).into()), 422),
        (plain("arm", "ben", json!(1e300)), 422),
        (plain("arm", "ben", "soon".into()), 422),
        (r#"{"resource":"arm","client_id":"ben","lock_type":"mine"}"#.to_owned(), 422),
        (r#"{"resource":"arm"}"#.to_owned(), 422),
        (r#"["arm","ben","exclusive"]"#.to_owned(), 422),
        ("{".to_owned(), 400),
        (plain(&"x".repeat(1 << 20), "a", Value::Null), 413),
    ] {
        problem(&post(port, "/locks/acquire", &request), status);
        assert_eq!(all_locks(port), before, "{}", request.chars().take(100).collect::<String>());
    }
    for (request, reason) in
        [(plain("mast", "a", 0.into()), "timeout_seconds is 0.5 to 3600"), ("[]".to_owned(), "a JSON object")]
    {
        let response = problem(&post(port, "/locks/acquire", &request), 422);
        assert!(response["detail"].as_str().unwrap().contains(reason), "{response}");
    }
    // Not even Latin-1 is accepted.
    let bytes = b"{\"resource\":\"\xe9\",\"client_id\":\"a\",\"lock_type\":\"shared\"}";
    let head = format!(
        "POST /locks/acquire HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    problem(&http::exchange(port, &[head.as_bytes(), bytes].concat()), 400);
    const ARM: &str = "/api/v2/locks/arm";
    for (path, request, status) in [
        ("acquire", json!({"client": "ben", "mode": "exclusive", "ttl_ms": 0}), 422),
        ("acquire", json!({"client": "ada", "mode": "exclusive", "ttl_ms": 0}), 422),
        ("acquire", json!({"client": "ben", "mode": "exclusive", "ttl_ms": 5000, "wait_ms": 30_001}), 422),
        ("release", json!({"client": "ben"}), 404),
        ("keep-alive", json!({"client": "ben"}), 404),
        ("check", json!({"token": token(&held) + 1}), 409),
        ("check", json!({"token": 0}), 409),
        ("force-release", json!({"client": "ben", "reason": "x"}), 404),
        ("force-release", json!({"client": "ada", "reason": "x".repeat(201)}), 422),
        ("force-release", json!({"client": "ada", "reason": ""}), 422),
        ("handover", json!({"client": "ben", "ttl_ms": 5000, "wait_ms": 0}), 422),
        ("handover", json!({"client": "ben", "ttl_ms": 0, "wait_ms": 5000}), 422),
        (
            "handover",
            json!({"client": "ben", "ttl_ms": 5000, "wait_ms": 1000, "message": "x".repeat(201)}),
            422,
        ),
        ("handover/answer", json!({"holder": "ada", "client": "ben", "grant": true}), 404),
        ("handover/answer", json!({"holder": "ben", "client": "ada", "grant": true}), 404),
    ] {
        problem(&post(port, &format!("{ARM}/{path}"), &request.to_string()), status);
        assert_eq!(all_locks(port), before, "{path} {request}");
    }
    assert_eq!(post_ok(port, &format!("{ARM}/check"), &json!({"token": token(&held)}))["success"], true);
    // It was held once: none of these requests acquired it again.
    assert_eq!(release(port, "arm", "ada")["success"], true);
    assert_eq!(all_locks(port), json!([]));
}

#[test]
fn a_lock_is_handed_over_and_released_by_force() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let first = token(&acquire(ports[0], "drive", "ada", "exclusive"));
    assert_eq!(acquire(ports[0], "drive", "zoe", "exclusive")["position"], 1);
    let request_handover = |port: u16| {
        std::thread::spawn(move || {
            let options = json!({"client": "ben", "message": "my turn", "ttl_ms": 30_000, "wait_ms": 20_000});
            post_ok(port, "/api/v2/locks/drive/handover", &options)
        })
    };
    let answer = |grant: bool| {
        eventually("the holder sees who asks", PATIENCE, || {
            let lock = body(&http::get(ports[2], "/api/v2/locks/drive"));
            lock["handovers"][0]["client"] == "ben" && lock["handovers"][0]["message"] == "my turn"
        });
        let answer = json!({"holder": "ada", "client": "ben", "grant": grant, "reason": "not on this slope"});
        post_ok(ports[3], "/api/v2/locks/drive/handover/answer", &answer)
    };
    let handover = request_handover(ports[1]);
    answer(false);
    let refused = handover.join().unwrap();
    assert_eq!(refused, json!({"outcome": "refused", "reason": "not on this slope"}));
    let handover = request_handover(ports[1]);
    answer(true);
    let granted = handover.join().unwrap();
    assert!(granted["outcome"] == "granted" && granted["token"].as_u64().unwrap() > first, "{granted}");
    problem(&post(ports[0], "/api/v2/locks/drive/check", &json!({"token": first}).to_string()), 409);
    // Released by force: the former holder learns it at its next request, at any endpoint.
    let force = json!({"client": "ben", "reason": "into the crater"});
    post_ok(ports[0], "/api/v2/locks/drive/force-release", &force);
    for path in ["keep-alive", "release"] {
        let response = post(ports[2], &format!("/api/v2/locks/drive/{path}"), r#"{"client":"ben"}"#);
        let response = problem(&response, 404);
        assert!(response["detail"].as_str().unwrap().contains("into the crater"), "{response}");
    }
    let failed = release(ports[1], "drive", "ben");
    assert!(failed["success"] == false && failed["message"].as_str().unwrap().contains("into the crater"));
    let next = body(&http::get(ports[1], "/api/v2/locks/drive"));
    assert_eq!(next["holders"][0]["client"], "zoe", "{next}");
}

#[test]
fn a_lock_is_held_as_long_as_it_is_kept_alive() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let ttl = Duration::from_secs(4);
    let options =
        |client: &str| json!({"client": client, "mode": "exclusive", "ttl_ms": ttl.as_millis() as u64});
    for (resource, client) in [("arm", "ada"), ("drill", "ben")] {
        post_ok(ports[0], &format!("/api/v2/locks/{resource}/acquire"), &options(client));
    }
    let start = Instant::now();
    let mut kept = 0;
    // Longer than the lease, with a margin for a machine that stalls.
    while start.elapsed() < ttl + ttl / 2 {
        observe_for(ttl / 10, "the interval of the keep-alives");
        let seen = post_ok(ports[kept % 4], "/api/v2/locks/arm/keep-alive", &json!({"client": "ada"}));
        assert_eq!(seen["standing"], "held", "{seen}");
        kept += 1;
    }
    problem(&post(ports[1], "/api/v2/locks/drill/keep-alive", r#"{"client":"ben"}"#), 404);
    assert_eq!(all_locks(ports[2]).as_array().unwrap().len(), 1);
}

#[test]
fn waiting_requests_are_answered_as_soon_as_something_changes() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    acquire(ports[0], "arm", "ada", "exclusive");
    let list = body(&http::get(ports[1], "/api/v2/locks"));
    let seen = list["revision"].as_u64().unwrap();
    // Nothing changes: the request returns when its wait ends, with the current state.
    let start = Instant::now();
    let same = body(&http::get(ports[1], &format!("/api/v2/locks?after_revision={seen}&wait_ms=500")));
    assert_eq!(same["locks"], list["locks"]);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450) && took < PATIENCE, "{took:?}");
    let long = format!("/api/v2/locks?after_revision={seen}&wait_ms=30000");
    let port = ports[1];
    let poll = std::thread::spawn(move || (body(&http::get(port, &long)), Instant::now()));
    let options = json!({"client": "ben", "mode": "exclusive", "ttl_ms": 60_000, "wait_ms": LONG_WAIT_MS});
    let port = ports[2];
    let waiter = std::thread::spawn(move || post_ok(port, "/api/v2/locks/arm/acquire", &options));
    let (changed, _) = poll.join().unwrap();
    assert_eq!(changed["locks"][0]["waiting"][0]["client"], "ben", "{changed}");
    // A hand-over request wakes the watcher as well, although holder and waiters do not change.
    let seen = changed["revision"].as_u64().unwrap();
    let port = ports[3];
    let handover = std::thread::spawn(move || {
        let options =
            json!({"client": "ben", "message": "please", "ttl_ms": 60_000, "wait_ms": LONG_WAIT_MS});
        post_ok(port, "/api/v2/locks/arm/handover", &options)
    });
    let start = Instant::now();
    let changed =
        body(&http::get(ports[1], &format!("/api/v2/locks?after_revision={seen}&wait_ms={LONG_WAIT_MS}")));
    assert_eq!(changed["locks"][0]["handovers"][0]["message"], "please", "{changed}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    release(ports[3], "arm", "ada");
    handover.join().unwrap();
    let released = Instant::now();
    let held = waiter.join().unwrap();
    assert!(held["standing"] == "held" && released.elapsed() < AT_ONCE, "{held}");
    // An unsuccessful request leaves no waiter behind, and neither does one whose connection is closed.
    let vain = json!({"client": "cem", "mode": "exclusive", "ttl_ms": 20_000, "wait_ms": 100});
    assert_eq!(
        post_ok(ports[0], "/api/v2/locks/arm/acquire", &vain),
        json!({"standing": "gone", "place": 1})
    );
    let options =
        json!({"client": "dan", "mode": "exclusive", "ttl_ms": 3_600_000, "wait_ms": 30_000}).to_string();
    let request = format!(
        "POST /api/v2/locks/arm/acquire HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{options}",
        options.len()
    );
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", ports[0])).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let waiting = |count: usize| {
        eventually("those who wait", PATIENCE, || {
            let lock = body(&http::get(ports[3], "/api/v2/locks/arm"));
            lock["waiting"].as_array().unwrap().len() == count
        })
    };
    waiting(1);
    drop(stream);
    waiting(0);
}
