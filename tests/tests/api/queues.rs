//! Queues over HTTP, as scripts and the console use them.

use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{eventually, observe_for};
use serde_json::{Value, json};

use super::{json as body, keys, post, post_ok, problem, serve};

const PATIENCE: Duration = Duration::from_secs(20);
/// A request that waits this long and is answered within [`AT_ONCE`] was answered by an event.
const LONG_WAIT_MS: u64 = 28_000;
const AT_ONCE: Duration = Duration::from_millis(LONG_WAIT_MS / 2);

fn enqueue(port: u16, queue: &str, message: &Value) -> Value {
    post_ok(port, "/queue/enqueue", &json!({"queue_name": queue, "message": message}))
}

fn dequeue(port: u16, queue: &str) -> Value {
    post_ok(port, "/queue/dequeue", &json!({"queue_name": queue}))
}

fn ack(port: u16, id: &Value) -> Value {
    post_ok(port, "/queue/ack", &json!({"message_id": id}))
}

fn status(port: u16, queue: &str) -> (u64, u64) {
    let seen = body(&http::get(port, &format!("/queue/status/{queue}")));
    assert_eq!(keys(&seen), ["in_flight", "node_id", "queue_name", "size"]);
    (seen["size"].as_u64().unwrap(), seen["in_flight"].as_u64().unwrap())
}

#[test]
fn work_is_done_at_other_ports_and_outlives_a_process() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    for n in 0..3 {
        let enqueued = enqueue(ports[0], "way-points", &json!({"n": n}));
        assert_eq!(keys(&enqueued), ["message_id", "node_id", "queue_name", "success"]);
        assert_eq!((&enqueued["success"], &enqueued["queue_name"]), (&true.into(), &"way-points".into()));
        assert!(enqueued["node_id"].as_str().unwrap().parse::<Tier>().is_ok(), "{enqueued}");
    }
    let first = dequeue(ports[1], "way-points");
    assert_eq!(keys(&first), ["delivery_time", "message", "message_id", "success"]);
    assert_eq!((&first["success"], &first["message"]), (&true.into(), &json!({"n": 0})));
    assert!(first["delivery_time"].as_f64().unwrap() > 1.7e9);
    // The endpoint that enqueued is killed, and so is the one that dequeued.
    for tier in [Tier::Primary, Tier::Secondary] {
        process::signal(gateway.endpoint_pid(tier), Signal::KILL);
    }
    assert_eq!(dequeue(ports[2], "way-points")["message"], json!({"n": 1}));
    assert_eq!(status(ports[3], "way-points"), (1, 2));
    eventually("the first is back", PATIENCE, || http::get(ports[0], "/health").status == 200);
    assert_eq!(status(ports[0], "way-points"), (1, 2));
    assert_eq!(ack(ports[0], &first["message_id"]), json!({"success": true}));
    let again = ack(ports[3], &first["message_id"]);
    assert_eq!((keys(&again), &again["success"]), (vec!["message", "success"], &false.into()));
    assert_eq!(dequeue(ports[0], "way-points")["message"], json!({"n": 2}));
    assert_eq!(dequeue(ports[3], "way-points"), json!({"success": false}));
    let all = body(&http::get(ports[2], "/queue/all"));
    assert_eq!(
        (&all["queues"][0]["queue_name"], &all["queues"][0]["in_flight"]),
        (&"way-points".into(), &2.into())
    );
    // The consumer is gone: its message is delivered again after the visibility timeout, and no earlier.
    let short = json!({"visibility_ms": 1_000});
    enqueue(ports[1], "short", &json!("x"));
    let start = Instant::now();
    let taken = post_ok(ports[2], "/api/v2/queues/short/dequeue", &short);
    assert_eq!(taken["messages"][0]["delivery"], 1);
    let wait = json!({"wait_ms": 20_000});
    let again = post_ok(ports[3], "/api/v2/queues/short/dequeue", &wait);
    assert!(
        again["messages"][0]["delivery"] == 2 && start.elapsed() >= Duration::from_millis(1_000),
        "{again}"
    );
    let stale = json!({"message_id": again["messages"][0]["message_id"], "delivery": 1});
    problem(&post(ports[0], "/api/v2/queues/short/ack", &stale.to_string()), 409);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn a_waiting_consumer_gets_a_message_immediately() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let port = ports[1];
    let waiting = std::thread::spawn(move || {
        let taken = post_ok(port, "/api/v2/queues/jobs/dequeue", &json!({"wait_ms": LONG_WAIT_MS}));
        (taken, Instant::now())
    });
    observe_for(Duration::from_millis(300), "the request waits; nothing shows that");
    let put_at = Instant::now();
    enqueue(ports[2], "jobs", &json!([1.10, "é"]));
    let (taken, at) = waiting.join().unwrap();
    assert_eq!(taken["messages"][0]["message"], json!([1.10, "é"]));
    assert!(at.saturating_duration_since(put_at) < AT_ONCE);
    let start = Instant::now();
    let none = post_ok(ports[3], "/api/v2/queues/jobs/dequeue", &json!({"wait_ms": 500}));
    assert_eq!(none, json!({"messages": []}));
    assert!(start.elapsed() >= Duration::from_millis(450));
    // A consumer that has disconnected gets no message.
    let options = r#"{"wait_ms":30000,"visibility_ms":3600000}"#;
    let request = format!(
        "POST /api/v2/queues/jobs/dequeue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{options}",
        options.len()
    );
    let mut gone = std::net::TcpStream::connect(("127.0.0.1", ports[0])).unwrap();
    std::io::Write::write_all(&mut gone, request.as_bytes()).unwrap();
    observe_for(Duration::from_millis(300), "the request waits; nothing shows that");
    drop(gone);
    observe_for(
        Duration::from_millis(300),
        "the endpoint notices the end of the connection; nothing shows that",
    );
    enqueue(ports[2], "jobs", &json!("for one who is there"));
    assert_eq!(dequeue(ports[0], "jobs")["message"], "for one who is there");
}

#[test]
fn bad_requests_are_explained_and_change_nothing() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let id = enqueue(port, "q", &json!("kept"))["message_id"].clone();
    let long = "x".repeat(201);
    problem(&http::get(port, "/queue/status/none"), 404);
    problem(&http::get(port, "/queue/status/%ff"), 400);
    problem(&http::get(port, "/api/v2/queues/none"), 404);
    let plain =
        |queue: &str, message: &str| format!(r#"{{"queue_name":{},"message":{message}}}"#, json!(queue));
    let large = format!("\"{}\"", "x".repeat((1 << 20) + (4 << 10)));
    let huge = format!("\"{}\"", "x".repeat(3 << 20));
    for (path, request, status) in [
        ("/queue/enqueue", plain("", "1"), 422),
        ("/queue/enqueue", plain(&long, "1"), 422),
        ("/queue/enqueue", plain("a/b", "1"), 422),
        ("/queue/enqueue", plain("a\u{7}", "1"), 422),
        ("/queue/enqueue", plain("q", &large), 413),
        ("/queue/enqueue", plain("q", &huge), 413),
        ("/queue/enqueue", plain("q", "{"), 400),
        ("/queue/enqueue", r#"{"queue_name":"q"}"#.to_owned(), 422),
        ("/queue/dequeue", r#"{"queue_name":""}"#.to_owned(), 422),
        ("/queue/dequeue", "{}".to_owned(), 422),
        ("/queue/ack", r#"{"message_id":7}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"visibility_ms":0}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"visibility_ms":31536000000}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"wait_ms":30001}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"max":0}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"max":21}"#.to_owned(), 422),
        ("/api/v2/queues/q/dequeue", r#"{"max":-1}"#.to_owned(), 422),
        ("/api/v2/queues/q/enqueue", r#"{"messages":[]}"#.to_owned(), 422),
        (
            "/api/v2/queues/q/enqueue",
            r#"{"messages":[{"message":1},{"message":2,"priority":10}]}"#.to_owned(),
            422,
        ),
        ("/api/v2/queues/q/enqueue", r#"{"messages":[{"message":1,"delay_ms":0}]}"#.to_owned(), 422),
        ("/api/v2/queues/q/enqueue", format!(r#"{{"messages":[{{"message":1,"dedup_id":"{long}"}}]}}"#), 422),
        ("/api/v2/queues/other/ack", json!({"message_id": id}).to_string(), 404),
        ("/api/v2/queues/q/nak", json!({"message_id": id, "reason": "x"}).to_string(), 409),
        ("/api/v2/queues/q/extend", json!({"message_id": id, "visibility_ms": 5000}).to_string(), 409),
        ("/api/v2/queues/q/redrive", r#"{"max":10001}"#.to_owned(), 422),
        ("/api/v2/queues/q/settings", r#"{"max_deliveries":0}"#.to_owned(), 422),
        ("/api/v2/queues/q/settings", r#"{"visibility_ms":1}"#.to_owned(), 422),
    ] {
        let answer = post(port, path, &request);
        assert_eq!(answer.status, status, "{path} {:.100} {answer:?}", request);
        problem(&answer, status);
        assert_eq!(status_of(port), (1, 0), "{path} {request:.100}");
    }
    // Not a message id, as opposed to a malformed request.
    for none in ["", "q", "q:0:1:00000000000000ab", &"x".repeat(5_000)] {
        assert_eq!(ack(port, &none.into())["success"], false);
    }
    let most = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    body(&post(port, "/queue/enqueue", &plain("q", &most)));
    assert_eq!(status(port, "q"), (2, 0));
}

#[test]
fn the_list_of_queues_is_complete() {
    const QUEUES: usize = 230;
    let gateway = serve(&[]);
    let port = gateway.first_port();
    for n in 0..QUEUES {
        enqueue(port, &format!("q{n:03}"), &json!(n));
    }
    let all = body(&http::get(port, "/queue/all"));
    let all = all["queues"].as_array().unwrap();
    assert_eq!((all.len(), &all[QUEUES - 1]["queue_name"]), (QUEUES, &"q229".into()));
    let part = body(&http::get(port, "/api/v2/queues"));
    assert_eq!((part["queues"].as_array().unwrap().len(), &part["total"]), (200, &QUEUES.into()));
}

fn status_of(port: u16) -> (u64, u64) {
    let all = body(&http::get(port, "/queue/all"));
    assert_eq!(all["queues"].as_array().unwrap().len(), 1, "{all}");
    status(port, "q")
}
