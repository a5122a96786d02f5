//! The size of `/metrics` with many topics, and names that nobody should give a topic: a recording of 1,000 topics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcap::records::MessageHeader;
use roverline_protocol::api::MetricsDocument;
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_protocol::status::SourceDocument;
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::wait::eventually;
use roverline_tests::{http, temp};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPICS: usize = 1_000;
/// Bounds of the page, as docs/metrics.md has them.
const PAGE_BYTES: usize = 200 << 10;
const PAGE_SERIES: usize = 1_500;

/// Half of the topics are heartbeats; some have names that ROS refuses.
fn topics() -> Vec<String> {
    let mut names: Vec<String> = (0..TOPICS / 2).map(|n| format!("/node_{n:04}/heartbeat")).collect();
    names.extend((names.len()..TOPICS - 3).map(|n| format!("/a/rather/long/name/as/of/a/robot/{n:04}")));
    names.extend(
        ["/quote\"back\\slash", "/control\u{1}\r\u{1b}[2J", "/line\nbreak{a=\"b\"} 1"].map(str::to_owned),
    );
    names
}

/// A recording of ten seconds with one message of each topic in each.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("many.mcap");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut writer = mcap::WriteOptions::new().create(&mut file).unwrap();
    let schema = writer.add_schema("std_msgs/msg/Bool", "ros2msg", b"bool data\n").unwrap();
    let ids: Vec<u16> = topics()
        .iter()
        .map(|topic| writer.add_channel(schema, topic, "cdr", &BTreeMap::new()).unwrap())
        .collect();
    for second in 0..10 {
        for channel_id in &ids {
            let time = 1_700_000_000_000_000_000 + second * 1_000_000_000;
            let (channel_id, sequence) = (*channel_id, second as u32);
            let header = MessageHeader { channel_id, sequence, log_time: time, publish_time: time };
            writer.write_to_known_channel(&header, &[0, 1, 0, 0, 1]).unwrap();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    file.flush().unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_topics_cost_a_scrape_no_more_than_a_hundred() {
    let folder = temp::dir();
    let file = recording(folder.path());
    let config = "[[route]]\ntopic = \"/a/rather/long/name/as/of/a/robot/09*\"\nscopes = [\"sensors\"]\n\
                  expected_rate_hz = 1.0\n";
    let config = temp::write(&folder, "roverline.toml", config);
    let args = ["--source", "bag", "--loop", "--file", file.to_str().unwrap(), "--config"];
    let gateway = Gateway::serve(&[&args[..], &[config.to_str().unwrap()]].concat());
    let port = gateway.first_port();
    let mut client = NativeClient::subscribed(port, &["**"]).await;
    let reading =
        tokio::spawn(async move { while !client.receive_for(Duration::from_secs(1)).await.is_empty() {} });
    let all = |source: SourceDocument| source.topics >= TOPICS && source.samples >= 2 * TOPICS as u64;
    eventually("two samples of all topics", PATIENCE, || all(http::health(port).source));

    let page = http::get(port, "/metrics").body;
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("{TOPICS} topics: {series} series, {} bytes", page.len());
    assert!(series <= PAGE_SERIES && page.len() <= PAGE_BYTES, "{series} series, {} bytes", page.len());
    assert!(!page.bytes().any(|byte| byte < b' ' && byte != b'\n'), "no control character");
    let shown: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("roverline_topic_rate_hz{topic=\""))
        .filter_map(|line| line.rsplit_once('"').map(|(topic, _)| topic))
        .collect();
    assert_eq!(shown.len(), 100);
    let expected = shown.iter().filter(|topic| topic.starts_with("/a/rather/long/name/as/of/a/robot/09"));
    assert_eq!(expected.count(), 97, "topics with an expected rate come first");
    assert!(page.contains(&format!("\nroverline_topics_without_series {}\n", TOPICS - 100)));
    let beats = page.matches("roverline_node_heartbeat_age_seconds{").count();
    assert!((1..=64).contains(&beats), "{beats}");

    let summary = http::get(port, "/api/v2/metrics").body;
    let metrics: MetricsDocument = serde_json::from_str(&summary).unwrap();
    println!("as JSON: {} bytes", summary.len());
    assert!(summary.len() <= PAGE_BYTES && metrics.topics_left_out == TOPICS - 100);
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_session_watches_the_metrics_of_its_own_link() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let mut client = NativeClient::connect(gateway.first_port()).await;
    client.send(&ClientMessage::Watch { id: 7, path: "/api/v2/metrics".to_owned() }).await;
    let mut documents: Vec<MetricsDocument> = Vec::new();
    let measured = |all: &[MetricsDocument]| {
        all.iter().any(|one| one.links.iter().any(|link| link.dialect == "native" && link.rtt_ms.is_some()))
    };
    while documents.len() < 2 || !measured(&documents) {
        assert!(documents.len() < 60, "{documents:?}");
        if let Received::Text(message) = client.next().await
            && let ServerMessage::Response { id: 7, status, body, .. } = *message
        {
            assert_eq!(status, 200, "{body}");
            documents.push(serde_json::from_value(body).unwrap());
        }
    }
    let last = documents.last().unwrap();
    assert!(last.process.open_fds > Some(3) && last.computer.memory_total_bytes.is_some(), "{last:?}");
    assert!(last.nodes.iter().any(|node| node.present) && !last.heartbeats.is_empty(), "{last:?}");
    assert!(last.topics.iter().any(|topic| topic.rate_hz > 0.0), "{last:?}");
    let bounded = |link: &roverline_protocol::api::metrics::LinkDocument| {
        link.rtt_ms.is_none_or(|rtt| (0.0..60_000.0).contains(&rtt))
            && link.loss.is_none_or(|loss| loss <= 1.0)
    };
    assert!(last.links.iter().all(bounded), "{:?}", last.links);
}
