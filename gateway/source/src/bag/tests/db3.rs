//! Tests of reading rosbag2's SQLite files.

use std::time::Duration;

use crate::SourceState;
use crate::bag::BagSource;
use crate::bag::tests::support::*;

#[test]
fn a_humble_file_plays_completely_and_stays_unchanged() {
    let dir = TestDir::new();
    // More than two pages, equal times, and rows that are not in time order.
    let mut plan = plan(3000);
    plan[100].1 = plan[200].1;
    plan.swap(5, 50);
    let path = dir.path().join("a #1%?.db3");
    write_db3(&path, &plan);
    let (sink, result) = play(options(&path));
    assert!(result.is_ok(), "{result:?}");
    assert!(sink.received() == expected(&plan));
    assert_eq!(sink.last_state(), SourceState::Finished);
    let topics = sink.topics.lock().unwrap();
    assert!(topics[1].qos.transient_local && topics[1].qos.reliable && topics[1].schema.is_none());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_start_in_the_middle_counts_skipped_messages() {
    let dir = TestDir::new();
    let (path, plan) = (dir.path().join("a.db3"), plan(3000));
    write_db3(&path, &plan);
    let mut options = options(&path);
    options.start = Duration::from_secs(15);
    let mut expected_samples = expected(&plan);
    let map = expected_samples.iter().rfind(|(topic, ..)| topic == "/map").cloned();
    expected_samples.drain(..1500);
    expected_samples.splice(0..0, map);
    let (sink, result) = play(options);
    assert!(result.is_ok());
    assert!(sink.received() == expected_samples);
}

#[test]
fn without_an_index_pages_are_sorted() {
    let dir = TestDir::new();
    let (path, mut plan) = (dir.path().join("a.db3"), plan(1500));
    plan.swap(5, 50);
    write_db3(&path, &plan);
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP INDEX timestamp_idx").unwrap();
    let (sink, result) = play(options(&path));
    assert!(result.is_ok());
    assert!(sink.received() == expected(&plan));
}

#[test]
fn definitions_and_foreign_formats_are_recognized() {
    let dir = TestDir::new();
    let (path, plan) = (dir.path().join("a.db3"), plan(20));
    write_db3(&path, &plan);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL,
                 encoding TEXT NOT NULL, encoded_message_definition TEXT NOT NULL,
                 type_description_hash TEXT NOT NULL);
             INSERT INTO message_definitions VALUES(1, 'sensor_msgs/msg/Imu', 'ros2msg', 'int8 a', '');
             UPDATE topics SET serialization_format = 'cbor' WHERE name = '/odom';",
        )
        .unwrap();
    let (sink, result) = play(options(&path));
    assert!(result.is_ok());
    let mut expected_samples = expected(&plan);
    expected_samples.retain(|(topic, ..)| topic != "/odom");
    assert!(sink.received() == expected_samples);
    let topics = sink.topics.lock().unwrap();
    assert_eq!(&*topics[0].schema.as_ref().unwrap().text, "int8 a");
}

#[test]
fn a_write_ahead_log_is_neither_read_nor_touched() {
    let dir = TestDir::new();
    let (path, plan) = (dir.path().join("a.db3"), plan(50));
    write_db3(&path, &plan);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; INSERT INTO messages VALUES(999, 1, 5, x'00')",
    )
    .unwrap();
    let before = std::fs::read(dir.path().join("a.db3-wal")).unwrap();
    assert!(!before.is_empty());
    let (sink, result) = play(options(&path));
    assert!(result.is_ok(), "{result:?}");
    assert!(sink.received() == expected(&plan));
    assert_eq!(std::fs::read(dir.path().join("a.db3-wal")).unwrap(), before);
}

#[test]
fn a_truncated_file_plays_up_to_its_end() {
    let dir = TestDir::new();
    let (path, plan) = (dir.path().join("a.db3"), plan(3000));
    write_db3(&path, &plan);
    let (whole, expected_samples) = (std::fs::read(&path).unwrap(), expected(&plan));
    for permille in [0, 1, 10, 100, 300, 500, 700, 900, 950, 990, 999] {
        let cut = dir.file("cut.db3", &whole[..whole.len() * permille / 1000]);
        let sink = match BagSource::open(options(&cut)) {
            Ok(_) => {
                let (sink, result) = play(options(&cut));
                let text = result.unwrap_err().0;
                assert!(text.starts_with("cut.db3: ") && text.contains("row"), "{text}");
                sink
            }
            Err(error) => {
                assert!(error.0.contains("cut.db3"), "{error}");
                continue;
            }
        };
        let received = sink.received();
        assert!(expected_samples.starts_with(&received), "{permille}: {} played", received.len());
        if permille >= 900 {
            assert!(received.len() > 2000, "{permille}: {}", received.len());
        }
    }
}

#[test]
fn other_databases_are_refused() {
    let dir = TestDir::new();
    let path = dir.path().join("a.db3");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    let error = BagSource::open(options(&path)).err().unwrap().0;
    assert!(error.contains("without rosbag2's tables"), "{error}");
    std::fs::remove_file(&path).unwrap();
    write_db3(&path, &Vec::new());
    let error = BagSource::open(options(&path)).err().unwrap().0;
    assert!(error.contains("without messages"), "{error}");
}
