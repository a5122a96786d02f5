//! Recordings of real robots through the whole gateway, compared with an independent reader of the files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roverline_protocol::Delivery;
use roverline_protocol::native::ServerMessage;
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::recordings::recording;
use roverline_tests::require;
use roverline_tests::skip::Missing;

/// Log time and payload.
type Message = (i64, Vec<u8>);

/// The recording's messages by topic, in order.
type Recording = BTreeMap<String, Vec<Message>>;

fn hexapod() -> Result<(PathBuf, Recording), Missing> {
    let path = recording("crab_gait/adya_gait.bag_0.mcap")?;
    let bytes = std::fs::read(&path).unwrap();
    let mut recording = Recording::new();
    let mut all: Vec<_> = mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap).collect();
    all.sort_by_key(|message| message.log_time);
    for message in all {
        let entry = recording.entry(message.channel.topic.clone()).or_default();
        entry.push((message.log_time.cast_signed(), message.data.to_vec()));
    }
    Ok((path, recording))
}

fn car() -> Result<(PathBuf, Recording), Missing> {
    let path = recording("selfdriving_test/test_bag_0.db3")?;
    let db = rusqlite::Connection::open(format!("file:{}?immutable=1", path.display())).unwrap();
    let query = "SELECT t.name, m.timestamp, m.data FROM messages m JOIN topics t ON t.id = m.topic_id \
                 ORDER BY m.timestamp, m.id";
    let mut statement = db.prepare(query).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut recording = Recording::new();
    while let Some(row) = rows.next().unwrap() {
        let message: Message = (row.get(1).unwrap(), row.get(2).unwrap());
        recording.entry(row.get(0).unwrap()).or_default().push(message);
    }
    Ok((path, recording))
}

/// Plays a recording to a native client and compares. Returns the relative error of the pace.
async fn plays_as_recorded(path: &Path, recording: &Recording, rate: f64) -> f64 {
    let total: usize = recording.values().map(Vec::len).sum();
    let times = || recording.values().flatten().map(|(time, _)| *time);
    let (first, last) = (times().min().unwrap(), times().max().unwrap());
    let expected = (last - first) as f64 / 1e9 / rate;

    let rate_text = rate.to_string();
    let args = ["--source", "bag", "--file", path.to_str().unwrap(), "--rate", &rate_text];
    let gateway = Gateway::serve(&args);
    let mut client = NativeClient::subscribed(gateway.first_port(), &["**"]).await;
    let mut received: Recording = BTreeMap::new();
    let mut not_sent: BTreeMap<String, u64> = BTreeMap::new();
    let (mut count, mut reported) = (0, 0);
    let mut start = None;
    let mut end = Instant::now();
    let deadline = Instant::now() + Duration::from_secs_f64(expected * 1.2 + 20.0);
    while count + reported < total {
        assert!(Instant::now() < deadline, "{count} of {total} and no more; {reported} are known to be lost");
        match client.next().await {
            Received::Sample(topic, header, payload) => {
                start.get_or_insert_with(Instant::now);
                end = Instant::now();
                count += 1;
                received.entry(topic).or_default().push((header.receive_time_ns, payload.to_vec()));
            }
            Received::Text(message) => {
                if let ServerMessage::Dropped { topics } = *message {
                    for drop in topics {
                        reported += drop.count as usize;
                        *not_sent.entry(client.topics[&drop.id].name.clone()).or_default() += drop.count;
                    }
                }
            }
            Received::Heartbeat(_) => {}
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }
    for info in client.topics.values() {
        let (got, expected_messages) = (&received[&info.name], &recording[&info.name]);
        let lost = not_sent.get(&info.name).copied().unwrap_or(0) as usize;
        if info.delivery == Delivery::Every {
            assert_eq!(got.len(), expected_messages.len(), "{}", info.name);
        }
        assert_eq!(got.len() + lost, expected_messages.len(), "{}: every loss is reported", info.name);
        let mut rest = expected_messages.iter();
        assert!(
            got.iter().all(|message| rest.any(|other| other == message)),
            "{}: bytes or order",
            info.name
        );
    }
    assert_eq!(received.len(), recording.len(), "topics");
    let took = (end - start.unwrap()).as_secs_f64();
    let error = took / expected - 1.0;
    println!(
        "{}: {count} of {total} messages, {reported} replaced by newer ones, in {took:.3} s for {expected:.3} s: {:+.3} %",
        path.file_name().unwrap().display(),
        error * 100.0
    );
    error
}

#[tokio::test]
async fn a_hexapod_at_its_own_pace() {
    let (path, recording) = require!(hexapod());
    let error = plays_as_recorded(&path, &recording, 1.0).await;
    assert!(error.abs() < 0.03, "{error}");
}

#[tokio::test]
async fn a_car_at_twenty_times_its_pace() {
    let (path, recording) = require!(car());
    plays_as_recorded(&path, &recording, 20.0).await;
}

#[tokio::test]
#[ignore = "plays three minutes in real time"]
async fn a_car_at_its_own_pace() {
    let (path, recording) = require!(car());
    let error = plays_as_recorded(&path, &recording, 1.0).await;
    assert!(error.abs() < 0.01, "{error}");
}
