//! `/metrics`, read by a parser that forgives nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roverline_protocol::documents::HealthStatus;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::plain::Plain;
use roverline_tests::wait::eventually;

/// A sample: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Families by name: kind and samples.
type Families = BTreeMap<String, (String, Vec<Sample>)>;

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// `name="value",…}` and what follows.
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
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
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
        assert!(seen.insert((name.to_owned(), labels.clone())), "twice: {line}");
        samples.push((name.to_owned(), labels, value));
    }
    families
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
    let mut client = Plain::connect(port).await;
    client.next_of("telemetry").await;
    let answer = http::get(port, "/metrics");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let families = parse(&answer.body);
    for name in families.keys() {
        assert!(name.starts_with("roverline_") || name.starts_with("process_"), "{name}");
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
    let events: f64 = families["roverline_events_total"].1.iter().map(|sample| sample.2).sum();
    assert!(events >= 3.0, "{events}");
    let (kind, blackouts) = &families["roverline_client_failover_blackout_seconds"];
    assert_eq!((kind.as_str(), blackouts.len()), ("histogram", 14));
    // Counters do not fall.
    let later = parse(&http::get(port, "/metrics").body);
    for (name, (_, samples)) in families.iter().filter(|(_, (kind, _))| kind == "counter") {
        for (before, after) in samples.iter().zip(&later[name].1) {
            assert!(before.2 <= after.2, "{name}: {before:?} {after:?}");
        }
    }
}
