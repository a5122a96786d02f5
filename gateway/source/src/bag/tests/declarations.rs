//! Tests of what a recording's topics are declared as, and when.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mcap::WriteOptions;

use crate::bag::BagSource;
use crate::bag::tests::support::*;
use crate::{Sink, Source, SourceState, StopFlag};

/// Topic, sequence number and first byte of everything that is played.
fn played(file: &std::path::Path) -> Vec<(String, u64, u8)> {
    let (sink, result) = play(options(file));
    assert!(result.is_ok(), "{result:?}");
    let samples = sink.received().into_iter();
    samples.map(|(topic, seq, _, payload)| (topic, seq, payload[0])).collect()
}

#[test]
fn relative_names_are_those_that_nodes_see() {
    let dir = TestDir::new();
    let messages = vec![(0, T0, vec![1]), (1, T0 + MS, vec![2]), (2, T0 + 2 * MS, vec![3])];
    let channels = [
        ("cmd_vel", "p/msg/A", "int32 x", ""),
        ("/cmd_vel", "p/msg/A", "int32 x", ""),
        ("rover/tf_static", "p/msg/B", "int32 x", ""),
    ];
    let path = dir.file("a.mcap", &mcap_of(&channels, &messages, WriteOptions::new()));
    let cmd_vel = "/cmd_vel".to_owned();
    let expected = [(cmd_vel.clone(), 1, 1), (cmd_vel, 1, 2), ("/rover/tf_static".to_owned(), 1, 3)];
    assert_eq!(played(&path), expected);
    let (sink, _) = play(options(&path));
    let topics = sink.topics.lock().unwrap();
    assert_eq!(topics.len(), 2);
    assert!(topics[1].qos.transient_local);

    let path = dir.path().join("a.db3");
    write_db3(&path, &plan(4));
    let change = "UPDATE topics SET name = ltrim(name, '/'), type = 'sensor_msgs/Imu' WHERE id = 1";
    rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
    let (sink, _) = play(options(&path));
    let topics = sink.topics.lock().unwrap();
    assert_eq!((&*topics[0].name, &*topics[0].type_name), ("/imu", "sensor_msgs/msg/Imu"));
}

#[test]
fn a_topic_has_one_type_and_one_definition() {
    let dir = TestDir::new();
    let messages =
        vec![(0, T0, vec![1]), (1, T0 + MS, vec![2]), (2, T0 + 2 * MS, vec![3]), (0, T0 + 3 * MS, vec![4])];
    let first = ("/led", "p/msg/A", "int32 x\nint32 y", "");
    for (other, is_played) in [
        (("/led", "p/msg/B", "string x", ""), false),
        (("/led", "p/msg/A", "int32 y\nint32 x", ""), false),
        (("led", "p/msg/A", "int32 x", ""), false),
        (("/led", "p/msg/A", "int32 x\nint32 y", "- durability: 1"), true),
        // A recorder that knew no definition.
        (("/led", "p/msg/A", "", ""), true),
        (("/other", "p/msg/B", "string x", ""), true),
    ] {
        for options in [WriteOptions::new(), bare(WriteOptions::new()), WriteOptions::new().use_chunks(false)]
        {
            let channels = [first, other, ("/last", "p/msg/C", "", "")];
            let path = dir.file("a.mcap", &mcap_of(&channels, &messages, options));
            let bytes: Vec<u8> = played(&path).into_iter().map(|(_, _, byte)| byte).collect();
            let expected: &[u8] = if is_played { &[1, 2, 3, 4] } else { &[1, 3, 4] };
            assert_eq!(bytes, expected, "{other:?}");
        }
    }
}

#[test]
fn a_topic_of_a_database_has_one_type() {
    let dir = TestDir::new();
    let messages =
        vec![(0, T0, vec![1]), (1, T0 + MS, vec![2]), (2, T0 + 2 * MS, vec![3]), (0, T0 + 3 * MS, vec![4])];
    for (n, (first, other, is_played)) in [
        (("/led", "p/msg/A", "", ""), ("/led", "p/msg/B", "", ""), false),
        // The names of one topic, as a node sees it.
        (("/led", "p/msg/A", "", ""), ("led", "p/msg/B", "", ""), false),
        // The names of one type.
        (("/led", "p/msg/A", "", ""), ("/led", "p/A", "", ""), true),
        (("/led", "p/msg/A", "", ""), ("/led", "p/msg/A", "", "- durability: 1"), true),
        (("/led", "p/msg/A", "", ""), ("/LED", "p/msg/B", "", ""), true),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{n}.db3"));
        write_db3_of(&path, &[first, other, ("/last", "p/msg/C", "", "")], &messages);
        let bytes: Vec<u8> = played(&path).into_iter().map(|(_, _, byte)| byte).collect();
        let expected: &[u8] = if is_played { &[1, 2, 3, 4] } else { &[1, 3, 4] };
        assert_eq!(bytes, expected, "{other:?}");
    }
}

#[test]
fn topics_are_listed_before_anybody_listens() {
    let dir = TestDir::new();
    let whole = mcap_bytes(&plan(200), bare(WriteOptions::new()));
    // Up to its last third, as a recorder that lost its power leaves it.
    let cut = &whole[..whole.len() * 2 / 3];
    for (name, bytes, options) in [
        ("no statistics", None, WriteOptions::new().emit_statistics(false)),
        ("no summary", None, bare(WriteOptions::new())),
        ("no channels in the summary", None, WriteOptions::new().repeat_channels(false)),
        ("unchunked", None, bare(WriteOptions::new().use_chunks(false))),
        ("cut short", Some(cut), WriteOptions::new()),
        ("complete", None, WriteOptions::new()),
    ] {
        let bytes = bytes.map_or_else(|| mcap_bytes(&plan(200), options), <[u8]>::to_vec);
        let path = dir.file("a.mcap", &bytes);
        let mut options = crate::bag::tests::support::options(&path);
        options.wait = true;
        let (sink, stop) = (Arc::new(CollectingSink::default()), StopFlag::default());
        let source = BagSource::open(options).unwrap();
        let (theirs, flag) = (Arc::clone(&sink) as Arc<dyn Sink>, stop.clone());
        let run = std::thread::spawn(move || Box::new(source).run(theirs, flag));
        eventually(name, || sink.topics.lock().unwrap().len() == TOPICS.len());
        assert!(sink.samples.lock().unwrap().is_empty(), "{name}: nobody listens");
        assert_eq!(sink.last_state(), SourceState::Waiting, "{name}");
        sink.listener.store(true, Ordering::Relaxed);
        let result = run.join().unwrap();
        assert_eq!(result.is_ok(), name != "cut short", "{name}: {result:?}");
        let received = sink.received();
        let expected = expected(&plan(200));
        assert!(received.len() > 100 && received[..] == expected[..received.len()], "{name}");
        assert_eq!(received.len() == 200, name != "cut short", "{name}");
    }
}

#[test]
fn the_last_message_of_each_latching_publisher_is_kept() {
    const LATCHING: &str = "- reliability: 1\n  durability: 1\n";
    let dir = TestDir::new();
    let profiles = LATCHING.repeat(3);
    let channels = [("/tf_static", "p/msg/A", "", profiles.as_str()), ("/a", "p/msg/B", "", "")];
    // Four at first, one of them much later; the other topic goes on.
    let mut messages: Plan = (0..4).map(|n| (0, T0 + i64::from(n) * MS, vec![n])).collect();
    messages.extend((1..50_u8).map(|n| (1, T0 + i64::from(n) * S / 10, vec![100 + n; 300])));
    messages.push((0, T0 + 3 * S, vec![4]));
    messages.sort_by_key(|(_, time, _)| *time);
    let db3 = dir.path().join("a.db3");
    write_db3_of(&db3, &channels, &messages);
    let mut files = vec![db3];
    for (n, options) in
        [WriteOptions::new(), bare(WriteOptions::new()), WriteOptions::new().emit_message_indexes(false)]
            .into_iter()
            .enumerate()
    {
        files.push(dir.file(&format!("{n}.mcap"), &mcap_of(&channels, &messages, options)));
    }
    for file in files {
        let latched = |start_ms: u64| {
            let mut options = options(&file);
            options.start = std::time::Duration::from_millis(start_ms);
            let (sink, result) = play(options);
            assert!(result.is_ok(), "{result:?}");
            let samples = sink.samples.lock().unwrap();
            let mut last = std::collections::BTreeMap::new();
            let mut all = Vec::new();
            for (_, sample) in samples.iter().filter(|(_, sample)| sample.payload[0] < 100) {
                let before = last.insert(sample.id.source, (sample.id.seq, sample.payload[0]));
                assert!(before.is_none_or(|(seq, _)| seq + 1 == sample.id.seq), "{file:?}");
                all.push(sample.payload[0]);
            }
            let mut retained: Vec<u8> = last.into_values().map(|(_, payload)| payload).collect();
            retained.sort_unstable();
            (all, retained)
        };
        assert_eq!(latched(0), (vec![0, 1, 2, 3, 4], vec![2, 3, 4]), "{file:?}");
        assert_eq!(latched(2_000), (vec![1, 2, 3, 4], vec![2, 3, 4]), "{file:?}");
        assert_eq!(latched(3_500), (vec![2, 3, 4], vec![2, 3, 4]), "{file:?}");
    }
}

#[test]
fn as_many_messages_are_kept_as_the_publishers_keep() {
    const DEEP: &str = "- depth: 2\n  durability: 1\n- depth: 3\n  durability: 1\n";
    let dir = TestDir::new();
    let channels = [("/deep", "p/msg/A", "", DEEP), ("/other", "p/msg/B", "", "")];
    let mut messages: Plan = (0..20).map(|n| (0, T0 + i64::from(n) * MS, vec![n])).collect();
    messages.extend((0..50_u8).map(|n| (1, T0 + i64::from(n) * S / 10, vec![100 + n; 300])));
    messages.sort_by_key(|(_, time, _)| *time);
    let db3 = dir.path().join("a.db3");
    write_db3_of(&db3, &channels, &messages);
    let indexed = dir.file("a.mcap", &mcap_of(&channels, &messages, WriteOptions::new()));
    let linear = dir.file("b.mcap", &mcap_of(&channels, &messages, bare(WriteOptions::new())));
    for file in [db3, indexed, linear] {
        let mut options = options(&file);
        options.start = std::time::Duration::from_millis(3_000);
        let (sink, result) = play(options);
        assert!(result.is_ok(), "{result:?}");
        let deep = sink.topics.lock().unwrap().iter().find(|topic| topic.name == "/deep").cloned().unwrap();
        assert_eq!(deep.history_depth, 3);
        let samples = sink.samples.lock().unwrap();
        let played: Vec<u8> =
            samples.iter().map(|(_, sample)| sample.payload[0]).filter(|first| *first < 100).collect();
        // Two publishers, three messages of each.
        assert_eq!(played, [14, 15, 16, 17, 18, 19], "{}", file.display());
    }
}
