//! Resume: a client that switches to another endpoint gets the samples it missed, or the gaps are reported.

use std::time::Duration;

use roverline_protocol::native::{ClientMessage, Cursor, FLAG_REPLAYED, Gap, SampleHeader, ServerMessage};
use roverline_protocol::{Guid, Tier};
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::eventually;

/// A topic on the primary only, at 50 Hz.
const IMU: &str = "/imu/data";
const ODOM: &str = "/odom";
/// A topic on primary and tertiary, at 10 Hz.
const GPS: &str = "/gps/fix";

/// Reads `count` samples of a topic.
async fn read(client: &mut NativeClient, topic: &str, count: usize) -> Vec<SampleHeader> {
    let mut headers = Vec::new();
    while headers.len() < count {
        if let Received::Sample(name, header, _) = client.next().await
            && name == topic
        {
            headers.push(header);
        }
    }
    headers
}

/// Resumes with this cursor; the number of replayed samples, and the gaps.
async fn resume(port: u16, topic: &str, cursor: Cursor) -> (NativeClient, u64, Vec<Gap>) {
    let mut client = NativeClient::connect(port).await;
    client.send(&ClientMessage::Resume { cursors: vec![cursor], age_ms: 0, traceparent: None }).await;
    let topics = vec![topic.to_owned()];
    client.send(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
    loop {
        if let Received::Text(message) = client.next().await
            && let ServerMessage::Resumed { replayed, gaps } = *message
        {
            return (client, replayed, gaps);
        }
    }
}

fn cursor(source: Guid, seq: u64) -> Cursor {
    Cursor { source, seq }
}

/// A client leaves the first endpoint; the second one replays everything since then.
async fn switch(from: u16, to: u16, topic: &str) {
    let mut first = NativeClient::subscribed(from, &[topic]).await;
    let last = read(&mut first, topic, 5).await[4].id;
    drop(first);
    // Let some samples pass in the meantime; another client counts them.
    let mut other = NativeClient::subscribed(to, &[topic]).await;
    while read(&mut other, topic, 1).await[0].id.seq < last.seq + 10 {}
    let (mut client, replayed, gaps) = resume(to, topic, cursor(last.source, last.seq)).await;
    assert_eq!(gaps, []);
    assert!(replayed >= 10, "{replayed}");
    let headers = read(&mut client, topic, replayed as usize + 10).await;
    let seqs: Vec<u64> = headers.iter().map(|header| header.id.seq).collect();
    let expected: Vec<u64> = (last.seq + 1..).take(seqs.len()).collect();
    assert_eq!(seqs, expected, "in order, none lost and none twice");
    let flagged = headers.iter().filter(|header| header.flags & FLAG_REPLAYED != 0).count();
    assert_eq!(flagged as u64, replayed);
    assert_eq!(tokio::task::block_in_place(|| http::status(to)).counters.replayed, replayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_replays_what_was_missed() {
    let gateway = Gateway::up(&["--source", "sim"]);
    switch(gateway.port(Tier::Primary), gateway.port(Tier::Tertiary), GPS).await;
    switch(gateway.port(Tier::Tertiary), gateway.port(Tier::Primary), GPS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_endpoint_replays_and_reports_gaps() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let port = gateway.port(Tier::Primary);
    switch(port, port, ODOM).await;
    // Older than the ring of a sensor, of which five seconds are kept.
    let mut first = NativeClient::subscribed(port, &[IMU]).await;
    let id = read(&mut first, IMU, 700).await[0].id;
    let (mut client, replayed, gaps) = resume(port, IMU, cursor(id.source, id.seq)).await;
    let headers = read(&mut client, IMU, replayed as usize + 1).await;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].after, gaps[0].before), (id.seq, headers[0].id.seq));
    assert!(headers.is_sorted_by(|a, b| a.id.seq + 1 == b.id.seq));
    let counters = tokio::task::block_in_place(|| http::status(port)).counters;
    assert_eq!(counters.replay_missing, gaps[0].count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_endpoint_reports_gaps() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let port = gateway.port(Tier::Primary);
    let mut first = NativeClient::subscribed(port, &[ODOM]).await;
    let last = read(&mut first, ODOM, 5).await[4].id;
    let pid = tokio::task::block_in_place(|| http::status(port).pid);
    process::signal(pid, Signal::KILL);
    tokio::task::block_in_place(|| {
        eventually("the old process to be gone", Duration::from_secs(5), || !process::is_running(pid));
        // The new process has received the topic: it has no information about an unknown writer.
        eventually("a new process in its place", Duration::from_secs(20), || {
            http::status(port).topics.iter().any(|topic| topic.name == ODOM && topic.samples > 0)
        });
    });
    let (mut client, replayed, gaps) = resume(port, ODOM, cursor(last.source, last.seq)).await;
    let headers = read(&mut client, ODOM, replayed as usize + 5).await;
    // If the new process was ready in time, nothing is missing.
    match gaps.iter().find(|gap| gap.source == last.source) {
        Some(gap) => assert_eq!((gap.after, gap.before), (last.seq, headers[0].id.seq)),
        None => assert_eq!(headers[0].id.seq, last.seq + 1),
    }
    assert!(headers.is_sorted_by(|a, b| a.id.seq + 1 == b.id.seq));
}
