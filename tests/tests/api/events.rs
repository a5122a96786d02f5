//! The event log over HTTP.

use std::time::Duration;

use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::wait::eventually;
use serde_json::{Value, json};

use super::{json as body, post, post_ok, problem, serve};

const EVENTS: &str = "/api/v2/events";

fn read(port: u16, query: &str) -> (Vec<Value>, Value) {
    let page = body(&http::get(port, &format!("{EVENTS}{query}")));
    (page["events"].as_array().unwrap().clone(), page["next"].clone())
}

fn numbers(port: u16, query: &str) -> Vec<u64> {
    read(port, query).0.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn an_appended_event_is_readable_at_all_endpoints() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<u16> = gateway.endpoints.iter().map(|(_, port)| *port).collect();
    let append = |n: usize, more: Value| {
        let mut event =
            json!({"stream": "mission/1", "type": "mission.step", "data": {"n": n}, "correlation_id": "c 1"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(ports[n % 4], EVENTS, &event.to_string())
    };
    for n in 0..5 {
        let appended = body(&append(n, json!({"expected_version": n, "id": format!("id {n}")})));
        assert_eq!((&appended["version"], &appended["again"]), (&(n + 1).into(), &false.into()));
    }
    // A repeated append is stored once; an append that expects another version is not stored.
    let again = body(&append(3, json!({"expected_version": 3, "id": "id 3"})));
    assert_eq!((&again["version"], &again["again"]), (&4.into(), &true.into()));
    for stale in [0, 4, 6] {
        let response = problem(&append(9, json!({"expected_version": stale})), 409);
        assert!(response["detail"].as_str().unwrap().contains('5'), "{response}");
    }
    for port in &ports {
        assert_eq!(numbers(*port, "?stream=mission/1"), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(*port, "?stream=mission/1&backward=true&limit=2"), [4, 3]);
        assert_eq!(numbers(*port, "?type=mission.step"), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(*port, "?correlation_id=c+1"), [0, 1, 2, 3, 4]);
        assert_eq!(read(*port, "?stream=none").0, Vec::<Value>::new());
    }
    let (all, _) = read(ports[0], "?limit=500");
    let seqs: Vec<_> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "without a gap");
    for pair in all.windows(2) {
        assert_eq!(pair[1]["prev"], pair[0]["hash"]);
    }
    // Pages forward and backward cover the whole log.
    for (backward, mut from) in [("false", json!(1)), ("true", json!(seqs.len()))] {
        let mut found = Vec::new();
        while let Some(begin) = from.as_u64() {
            let (page, next) = read(ports[1], &format!("?limit=2&from={begin}&backward={backward}"));
            found.extend(
                page.iter()
                    .map(|event| event["seq"].as_u64().unwrap())
                    .take_while(|seq| *seq <= seqs.len() as u64),
            );
            from = if backward == "false" && begin > seqs.len() as u64 { Value::Null } else { next };
        }
        found.sort_unstable();
        assert_eq!(found, seqs, "backward: {backward}");
    }
    let step = all.iter().find(|event| event["data"]["n"] == 2).unwrap();
    assert_eq!(&body(&http::get(ports[3], &format!("{EVENTS}/{}", step["seq"]))), step);
    let verdict = body(&http::get(ports[2], "/api/v2/events/verify"));
    assert_eq!((&verdict["sound"], &verdict["findings"]), (&true.into(), &json!([])), "{verdict}");
    assert!(body(&http::get(ports[2], "/api/v2/events/head"))["head"]["seq"].as_u64().unwrap() >= 5);
}

#[test]
fn changes_of_shared_state_are_in_the_log() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let lock = json!({"resource": "arm", "client_id": "ada", "lock_type": "exclusive"});
    assert_eq!(post_ok(port, "/locks/acquire", &lock)["success"], true);
    post_ok(port, "/api/v2/locks/arm/force-release", &json!({"client": "ada", "reason": "too fast"}));
    post_ok(port, "/queue/enqueue", &json!({"queue_name": "q", "message": 1}));
    post_ok(port, "/api/v2/queues/q/settings", &json!({"max_deliveries": 1}));
    let taken = post_ok(port, "/queue/dequeue", &json!({"queue_name": "q"}));
    let nak = json!({"message_id": taken["message_id"], "reason": "no such place"});
    post_ok(port, "/api/v2/queues/q/nak", &nak);
    post_ok(port, "/api/v2/queues/q/purge", &json!({"dead": true, "reason": "a new day"}));
    for (query, words) in [
        ("?type=queue.dead_letter", ["queue/q", "no such place"]),
        ("?type=queue.purged", ["queue/q", "a new day"]),
    ] {
        eventually(query, Duration::from_secs(20), || {
            let text = serde_json::to_string(&read(port, query).0).unwrap();
            words.iter().all(|word| text.contains(word))
        });
    }
    eventually("both are recorded", Duration::from_secs(20), || {
        let (all, _) = read(port, "?stream=lock/arm");
        let text = serde_json::to_string(&all).unwrap();
        all.len() >= 2 && text.contains("ada") && text.contains("too fast")
    });
}

#[test]
fn bad_requests_are_explained_and_change_nothing() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let long = "x".repeat(201);
    let large = "x".repeat(65 << 10);
    for (event, status) in [
        (r#"{"stream":"","type":"t"}"#.to_owned(), 422),
        (r#"{"stream":"s","type":""}"#.to_owned(), 422),
        (r#"{"stream":"s"}"#.to_owned(), 422),
        (format!(r#"{{"stream":"{long}","type":"t"}}"#), 422),
        (format!(r#"{{"stream":"s","type":"t","id":"{long}"}}"#), 422),
        (r#"{"stream":"s\n","type":"t"}"#.to_owned(), 422),
        (r#"{"stream":"s","type":"t","expected_version":-1}"#.to_owned(), 422),
        (r#"{"stream":"s","type":"t","when":"now"}"#.to_owned(), 422),
        (r#"{"stream":"s","type":"t","expected_version":7}"#.to_owned(), 409),
        (r#"{"stream":"#.to_owned(), 400),
        (format!(r#"{{"stream":"s","type":"t","data":"{large}"}}"#), 413),
        (format!(r#"{{"stream":"s","type":"t","data":"{}"}}"#, large.repeat(6)), 413),
    ] {
        let answer = post(port, EVENTS, &event);
        assert_eq!(answer.status, status, "{event:.80} {answer:?}");
        problem(&answer, status);
    }
    for query in [
        "?from=0",
        "?limit=0",
        "?limit=501",
        "?backward=1",
        "?stream=a&type=b",
        "?streem=a",
        "?from=1&from=2",
    ] {
        problem(&http::get(port, &format!("{EVENTS}{query}")), 400);
    }
    for (one, status) in
        [("0", 404), ("99999999", 404), ("x", 404), ("-1", 404), ("99999999999999999999", 404)]
    {
        problem(&http::get(port, &format!("{EVENTS}/{one}")), status);
    }
    assert_eq!(read(port, "?stream=s").0, Vec::<Value>::new());
}

#[test]
fn an_author_appends_at_a_bounded_pace() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let event = json!({"stream": "flood", "type": "flood.noted", "data": "x".repeat(250_000)}).to_string();
    // A body that is too long counts as well, because it was read.
    let refused = (0..200).map(|_| post(port, EVENTS, &event)).find(|answer| answer.status != 413).unwrap();
    let what = problem(&refused, 429);
    assert!(what["detail"].as_str().unwrap().contains("16777216 bytes of events in a minute"), "{what}");
    assert!(
        (1..=60).contains(&refused.header("retry-after").unwrap().parse::<u64>().unwrap()),
        "{refused:?}"
    );
    let metrics = http::get(port, "/metrics").body;
    assert!(metrics.contains(r#"roverline_quota_refused_total{kind="events",quota="pace"} 1"#), "{metrics}");
    // A lock is recorded all the same.
    post_ok(port, "/api/v2/locks/arm/acquire", &json!({"client": "a", "mode": "exclusive", "ttl_ms": 5_000}));
    eventually("the lock is recorded", Duration::from_secs(20), || {
        !read(port, "?stream=lock/arm").0.is_empty()
    });
}
