//! Shared values over HTTP.

use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, Response};
use serde_json::{Value, json};

use super::{json as body, problem, serve};

fn send(gateway: &Gateway, method: &str, path: &str, value: &str) -> Response {
    http::request(gateway.first_port(), method, path, "Content-Type: application/json\r\n", value)
}

fn get(gateway: &Gateway, path: &str) -> Response {
    http::get(gateway.first_port(), path)
}

#[test]
fn values_have_versions_and_a_history() {
    let gateway = serve(&[]);
    const GOAL: &str = "/api/v2/kv/mission/goal";
    assert_eq!(body(&send(&gateway, "PUT", &format!("{GOAL}?version=0"), "[1.10]"))["version"], 1);
    problem(&send(&gateway, "PUT", &format!("{GOAL}?version=0"), "2"), 409);
    problem(&send(&gateway, "PUT", &format!("{GOAL}?version=1&revision=0"), "2"), 409);
    let first = get(&gateway, GOAL);
    assert!(first.body.contains("\"value\":[1.10]"), "as it was written: {}", first.body);
    let document = body(&first);
    assert_eq!((&document["key"], &document["by"]), (&"mission/goal".into(), &"127.0.0.1".into()));
    let tag = first.header("etag").unwrap().to_owned();
    let same = http::request(gateway.first_port(), "GET", GOAL, &format!("If-None-Match: {tag}\r\n"), "");
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    assert_eq!(body(&send(&gateway, "PUT", &format!("{GOAL}?version=1"), "\"north\""))["version"], 2);
    assert_eq!(body(&get(&gateway, &format!("{GOAL}?linearizable=true")))["value"], "north");
    let then = &document["revision"];
    assert_eq!(body(&get(&gateway, &format!("{GOAL}?at={then}")))["value"], json!([1.10]));
    problem(&get(&gateway, &format!("{GOAL}?at=999999")), 404);
    assert_eq!(send(&gateway, "DELETE", &format!("{GOAL}?version=2"), "").status, 204);
    problem(&get(&gateway, GOAL), 404);
    problem(&send(&gateway, "DELETE", GOAL, ""), 404);
}

#[test]
fn lists_come_in_pages() {
    let gateway = serve(&[]);
    let long = "x".repeat(398);
    for key in ["b", "a%2F1", "a/2", "a/3", &long] {
        body(&send(&gateway, "PUT", &format!("/api/v2/kv/{key}"), "{}"));
    }
    let keys = |path: &str| {
        let list = body(&get(&gateway, path));
        let keys: Vec<_> = list["keys"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect();
        (keys, list["next"].clone())
    };
    assert_eq!(keys("/api/v2/kv?prefix=a/&limit=2"), (vec!["a/1".into(), "a/2".into()], "a/2".into()));
    assert_eq!(keys("/api/v2/kv?prefix=a/&limit=2&after=a/2"), (vec!["a/3".into()], Value::Null));
    assert_eq!(keys(&format!("/api/v2/kv?after={long}")), (vec![], Value::Null));
    problem(&get(&gateway, "/api/v2/kv?limit=0"), 400);
}

#[test]
fn bad_values_change_nothing() {
    let gateway = serve(&[]);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    for (path, value, status) in [
        ("/api/v2/kv/a", "{", 400),
        ("/api/v2/kv/a", deep.as_str(), 422),
        ("/api/v2/kv/a", large.as_str(), 413),
        ("/api/v2/kv/a%0Ab", "1", 422),
        ("/api/v2/kv/a%ff", "1", 400),
        ("/api/v2/kv/a?ttl_ms=0", "1", 400),
        ("/api/v2/kv/a?ttl_ms=31536000000", "1", 400),
        ("/api/v2/kv/a?version=-1", "1", 400),
    ] {
        problem(&send(&gateway, "PUT", path, value), status);
    }
    problem(&send(&gateway, "PUT", &format!("/api/v2/kv/{}", "é".repeat(300)), "1"), 422);
    assert_eq!(body(&get(&gateway, "/api/v2/kv"))["keys"], json!([]));
    let most = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    body(&send(&gateway, "PUT", "/api/v2/kv/a?ttl_ms=3600000", &most));
    assert_eq!(body(&get(&gateway, "/api/v2/kv/a"))["expires"], true);
}

#[test]
fn the_cache_answers_as_scripts_expect() {
    let gateway = serve(&[]);
    problem(&get(&gateway, "/cache/arm"), 404);
    let written = body(&send(&gateway, "POST", "/cache", r#"{"key":"arm","value":{"joint":1}}"#));
    assert_eq!((&written["success"], &written["version"]), (&true.into(), &1.into()));
    let read = body(&get(&gateway, "/cache/arm"));
    assert_eq!((&read["key"], &read["value"]), (&"arm".into(), &json!({"joint": 1})));
    assert_eq!(body(&get(&gateway, "/cache/status/arm"))["state"], "M");
    assert_eq!(body(&get(&gateway, "/cache/status/none"))["state"], "I");
    assert_eq!(body(&get(&gateway, "/cache/all"))["total"], 1);
    let metrics = body(&get(&gateway, "/cache/metrics"));
    assert!(metrics["misses"].as_u64().unwrap() >= 1 && metrics["max_age_ms"] == 1_000.0, "{metrics}");
    problem(&send(&gateway, "POST", "/cache", r#"{"key":"","value":1}"#), 422);
    problem(&send(&gateway, "POST", "/cache", r#"{"value":1}"#), 422);
    // A key with the name of a route is reachable by the other path.
    body(&send(&gateway, "PUT", "/api/v2/kv/all", "7"));
    assert_eq!(body(&get(&gateway, "/api/v2/kv/all"))["value"], 7);
    for success in [true, false] {
        assert_eq!(body(&send(&gateway, "DELETE", "/cache/arm", ""))["success"], success);
    }
}

#[test]
fn values_have_a_quota_that_deletion_gives_back() {
    let gateway = serve(&[]);
    let value = format!("\"{}\"", "x".repeat((1 << 20) - 100));
    let put = |n: usize| send(&gateway, "PUT", &format!("/api/v2/kv/large/{n}"), &value);
    for n in 0..16 {
        body(&put(n));
    }
    let refused = put(16);
    let why = problem(&refused, 507)["detail"].as_str().unwrap().to_owned();
    let refused = problem(&put(17), 507);
    assert!(why.contains("16777216 bytes") && why.contains("delete"), "{why}: {refused}");
    assert_eq!(send(&gateway, "DELETE", "/api/v2/kv/large/0", "").status, 204);
    body(&put(16));
    // Over what is there it is the pace that has a limit.
    let mut statuses = (0..20).map(|_| put(1)).filter(|answer| answer.status != 200);
    let slowed = statuses.next().unwrap();
    assert!(problem(&slowed, 429)["detail"].as_str().unwrap().contains("in a minute"), "{slowed:?}");
    assert!(slowed.header("retry-after").is_some(), "{slowed:?}");
    let metrics = get(&gateway, "/metrics").body;
    for line in
        ["stored_entries{kind=\"values\"} 16", "quota_refused_total{kind=\"values\",quota=\"stored\"} 2"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
