//! `/metrics`, checked by a strict parser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roverline_protocol::status::HealthStatus;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::plain::PlainClient;
use roverline_tests::wait::eventually;

/// A sample: name, labels and value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Metric families by name: type and samples.
type Families = BTreeMap<String, (String, Vec<Sample>)>;

/// Beginnings of names: ours, and those that others know.
const PREFIXES: [&str; 5] = ["roverline_", "process_", "node_", "cache_", "robot_"];

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Parses `name="value",…}`; the labels and the rest of the line.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut all = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert!(is_name(name) && !name.contains(':'), "{text}");
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    other => panic!("\\{other} in {text}"),
                }),
                (_, other) => value.push(other),
            }
        };
        assert!(all.insert(name.to_owned(), value).is_none(), "{name} twice: {text}");
        text = &rest[end + 1..];
        match text.as_bytes()[0] {
            b',' => text = &text[1..],
            b'}' => return (all, &text[1..]),
            other => panic!("{other} in {text}"),
        }
    }
}

fn parse(text: &str) -> Families {
    assert!(text.ends_with('\n'));
    let mut families = Families::new();
    let (mut current, mut seen) = (String::new(), BTreeSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, what) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !what.is_empty(), "{line}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            check_name(name, kind);
            assert!(
                families.insert(name.to_owned(), (kind.to_owned(), Vec::new())).is_none(),
                "{name} twice"
            );
            name.clone_into(&mut current);
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (BTreeMap::new(), rest),
        };
        let value = value.strip_prefix(' ').unwrap();
        let value: f64 = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        let (kind, samples) = families.get_mut(&current).unwrap_or_else(|| panic!("no family: {line}"));
        let suffix =
            name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{name} is not of {current}"));
        let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(allowed.contains(&suffix), "{line}");
        assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line}");
        assert!(seen.insert((name.to_owned(), labels.clone())), "twice: {line}");
        samples.push((name.to_owned(), labels, value));
    }
    families
}

/// The naming rules of `promtool check metrics`: base units in full at the end, no types in names.
fn check_name(name: &str, kind: &str) {
    let base = name.strip_suffix("_total").unwrap_or(name);
    let words: Vec<&str> = base.split('_').collect();
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
    for reserved in ["bucket", "count", "sum"] {
        assert_ne!(words.last(), Some(&reserved), "{name} ends like a part of a histogram");
    }
    let wrong = [
        "gauge",
        "counter",
        "histogram",
        "summary",
        "s",
        "ms",
        "us",
        "ns",
        "sec",
        "min",
        "kb",
        "mb",
        "kib",
        "mib",
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "kilobytes",
        "megabytes",
        "bits",
        "percent",
    ];
    assert!(words.iter().all(|word| !wrong.contains(word)), "{name}: no type, and base units in full");
    for unit in ["seconds", "bytes"] {
        let at = words.iter().position(|word| *word == unit);
        assert!(at.is_none_or(|at| at + 1 == words.len()), "{name}: the unit belongs at the end");
    }
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
}

fn one(families: &Families, name: &str) -> f64 {
    let samples = &families[name].1;
    assert_eq!((samples.len(), samples[0].1.len()), (1, 0), "{name}: {samples:?}");
    samples[0].2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_what_prometheus_reads() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let port = gateway.first_port();
    eventually("the other three", Duration::from_secs(15), || {
        http::status(port).peers.iter().all(|peer| peer.endpoint.status == HealthStatus::Healthy)
    });
    let mut client = PlainClient::connect(port).await;
    client.next_of("telemetry").await;
    let answer = http::get(port, "/metrics");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let families = parse(&answer.body);
    for name in families.keys() {
        assert!(PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
    assert_eq!(one(&families, "roverline_clients"), 1.0);
    assert!(
        one(&families, "roverline_samples_total") > 0.0 && one(&families, "roverline_delivered_total") > 0.0
    );
    assert!(
        one(&families, "process_resident_memory_bytes") > 1e6
            && one(&families, "process_cpu_seconds_total") > 0.0
    );
    assert!(families["roverline_scope_freshness_seconds"].1.len() > 5);
    let healthy = |sample: &&Sample| sample.1["status"] == "healthy" && sample.2 == 1.0;
    assert_eq!(families["roverline_peer_status"].1.iter().filter(healthy).count(), 3);
    assert_eq!(families["roverline_peer_rtt_seconds"].1.len(), 3);
    let plain = |sample: &&Sample| sample.1["dialect"] == "plain" && sample.1["service"] == "full";
    assert_eq!(families["roverline_sessions"].1.iter().find(plain).unwrap().2, 1.0);
    let sample_of = |name: &str, of: &str| {
        let sample = families[name].1.iter().find(|sample| sample.1.values().any(|value| value == of));
        sample.unwrap_or_else(|| panic!("{name} of {of}")).2
    };
    assert_eq!(sample_of("roverline_dialect_sessions", "plain"), 1.0);
    assert!(sample_of("roverline_dialect_delivered_total", "plain") >= 1.0);
    assert!(sample_of("roverline_dialect_delivered_bytes_total", "plain") > 100.0);
    assert_eq!(sample_of("roverline_dialect_delivered_total", "foxglove"), 0.0);
    assert!(sample_of("roverline_topic_samples_total", "/odom") > 0.0);
    assert!(sample_of("roverline_topic_age_seconds", "/odom") < 10.0);
    assert_eq!(one(&families, "roverline_topics_without_series"), 0.0);
    let events: f64 = families["roverline_events_total"].1.iter().map(|sample| sample.2).sum();
    assert!(events >= 3.0, "{events}");
    let (kind, blackouts) = &families["roverline_client_failover_blackout_seconds"];
    assert_eq!((kind.as_str(), blackouts.len()), ("histogram", 14));
    // Counters never decrease.
    let later = parse(&http::get(port, "/metrics").body);
    for (name, (_, samples)) in families.iter().filter(|(_, (kind, _))| kind == "counter") {
        for (before, after) in samples.iter().zip(&later[name].1) {
            assert!(before.2 <= after.2, "{name}: {before:?} {after:?}");
        }
    }
}

/// The documentation of the HTTP API.
const PAGE: &str = include_str!("../../docs/http.md");

/// The documentation of metrics.
const METRICS_PAGE: &str = include_str!("../../docs/metrics.md");

/// The keys of a JSON object, and of the objects in its lists.
fn keys(value: &serde_json::Value) -> BTreeSet<String> {
    match value {
        serde_json::Value::Object(map) => map.keys().cloned().collect(),
        serde_json::Value::Array(list) => list.iter().flat_map(keys).collect(),
        _ => BTreeSet::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_and_every_key_of_the_status_is_documented() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let port = gateway.first_port();
    let mut client = PlainClient::connect(port).await;
    client.next_of("telemetry").await;
    for name in parse(&http::get(port, "/metrics").body).keys() {
        assert!(METRICS_PAGE.contains(&format!("`{name}`")), "docs/metrics.md does not name {name}");
    }
    let (_, section) = PAGE.split_once("## `GET /status`").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let status: serde_json::Value = serde_json::from_str(&http::get(port, "/status").body).unwrap();
    let nested = ["memory", "topics", "sessions", "counters"].map(|key| keys(&status[key]));
    for key in keys(&status).iter().chain(nested.iter().flatten()) {
        assert!(section.contains(&format!("`{key}`")), "docs/http.md, GET /status, does not name {key}");
    }
}

/// The names of our metrics in an expression.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

#[test]
fn the_grafana_dashboard_shows_existing_metrics() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../scripts/grafana-dashboard.json")).unwrap();
    let gateway = Gateway::serve(&["--source", "sim", "--base-port", "0"]);
    let families = parse(&http::get(gateway.first_port(), "/metrics").body);
    let exists = |name: &str| {
        let whole = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let of_histogram = |whole| families.get(whole).is_some_and(|(kind, _)| kind == "histogram");
        families.contains_key(name) || whole.is_some_and(of_histogram)
    };
    let (mut ids, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()));
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let brackets =
                |open, close| expression.matches(open).count() == expression.matches(close).count();
            assert!(brackets('(', ')') && brackets('{', '}') && brackets('[', ']'), "{expression}");
            let metrics = metrics_in(expression);
            assert!(!metrics.is_empty(), "{expression}");
            for name in metrics {
                assert!(exists(&name), "{}: there is no metric {name}", panel["title"]);
                // A counter is shown as a rate only, and nothing else has a rate.
                let counted = name.ends_with("_total") || name.ends_with("_bucket");
                let rated = expression.contains(&format!("rate({name}"))
                    || expression.contains(&format!("increase({name}"));
                assert_eq!(counted, rated, "{expression}");
                shown.insert(name);
            }
        }
    }
    assert!(shown.len() >= 20, "{shown:?}");
}
