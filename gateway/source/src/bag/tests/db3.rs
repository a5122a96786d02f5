//! rosbag2's SQLite files.

use std::time::Duration;

use crate::SourceState;
use crate::bag::BagSource;
use crate::bag::tests::support::*;

#[test]
fn a_humble_file_plays_completely_and_leaves_no_traces() {
    let dir = TempDir::new();
    // More than two pages, equal times, and rows that are not in order of time.
    let mut plan = plan(3000);
    plan[100].1 = plan[200].1;
    plan.swap(5, 50);
    let path = dir.0.join("a #1%?.db3");
    write_db3(&path, &plan);
    let (sink, result) = play(options(&path));
    assert!(result.is_ok(), "{result:?}");
    assert!(sink.seen() == expected(&plan));
    assert_eq!(sink.last_state(), SourceState::Finished);
    let topics = sink.topics.lock().unwrap();
    assert!(topics[1].qos.transient_local && topics[1].qos.reliable && topics[1].schema.is_none());
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
}

#[test]
fn a_start_in_the_middle_counts_what_it_leaves_out() {
    let dir = TempDir::new();
    let (path, plan) = (dir.0.join("a.db3"), plan(3000));
    write_db3(&path, &plan);
    let mut options = options(&path);
    options.start = Duration::from_secs(15);
    let mut wanted = expected(&plan);
    let map = wanted.iter().rfind(|(topic, ..)| topic == "/map").cloned();
    wanted.drain(..1500);
    wanted.splice(0..0, map);
    let (sink, result) = play(options);
    assert!(result.is_ok());
    assert!(sink.seen() == wanted);
}

#[test]
fn without_an_index_pages_are_sorted() {
    let dir = TempDir::new();
    let (path, mut plan) = (dir.0.join("a.db3"), plan(1500));
    plan.swap(5, 50);
    write_db3(&path, &plan);
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP INDEX timestamp_idx").unwrap();
    let (sink, result) = play(options(&path));
    assert!(result.is_ok());
    assert!(sink.seen() == expected(&plan));
}

#[test]
fn definitions_and_foreign_formats_are_seen() {
    let dir = TempDir::new();
    let (path, plan) = (dir.0.join("a.db3"), plan(20));
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
    let mut wanted = expected(&plan);
    wanted.retain(|(topic, ..)| topic != "/odom");
    assert!(sink.seen() == wanted);
    let topics = sink.topics.lock().unwrap();
    assert_eq!(&*topics[0].schema.as_ref().unwrap().text, "int8 a");
}

#[test]
fn a_write_ahead_log_is_neither_read_nor_touched() {
    let dir = TempDir::new();
    let (path, plan) = (dir.0.join("a.db3"), plan(50));
    write_db3(&path, &plan);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; INSERT INTO messages VALUES(999, 1, 5, x'00')",
    )
    .unwrap();
    let before = std::fs::read(dir.0.join("a.db3-wal")).unwrap();
    assert!(!before.is_empty());
    let (sink, result) = play(options(&path));
    assert!(result.is_ok(), "{result:?}");
    assert!(sink.seen() == expected(&plan));
    assert_eq!(std::fs::read(dir.0.join("a.db3-wal")).unwrap(), before);
}

#[test]
fn a_cut_file_is_played_up_to_the_cut() {
    let dir = TempDir::new();
    let (path, plan) = (dir.0.join("a.db3"), plan(3000));
    write_db3(&path, &plan);
    let (whole, wanted) = (std::fs::read(&path).unwrap(), expected(&plan));
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
        let seen = sink.seen();
        assert!(wanted.starts_with(&seen), "{permille}: {} played", seen.len());
        if permille >= 900 {
            assert!(seen.len() > 2000, "{permille}: {}", seen.len());
        }
    }
}

#[test]
fn other_databases_are_refused() {
    let dir = TempDir::new();
    let path = dir.0.join("a.db3");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    let error = BagSource::open(options(&path)).err().unwrap().0;
    assert!(error.contains("without rosbag2's tables"), "{error}");
    std::fs::remove_file(&path).unwrap();
    write_db3(&path, &Vec::new());
    let error = BagSource::open(options(&path)).err().unwrap().0;
    assert!(error.contains("without messages"), "{error}");
}
