//! Tests of complete MCAP files, with every combination of write options.

use mcap::{Compression, WriteOptions};

use crate::SourceState;
use crate::bag::tests::support::*;

fn makes() -> Vec<(&'static str, WriteOptions)> {
    let new = WriteOptions::new;
    vec![
        ("zstd", new().compression(Some(Compression::Zstd))),
        ("lz4", new().compression(Some(Compression::Lz4))),
        ("uncompressed", new().compression(None)),
        ("unchunked", new().use_chunks(false)),
        ("zstd, bare", bare(new().compression(Some(Compression::Zstd)))),
        ("lz4, bare", bare(new().compression(Some(Compression::Lz4)))),
        ("uncompressed, bare", bare(new().compression(None))),
        ("unchunked, bare", bare(new().use_chunks(false))),
        ("no chunk index", new().emit_chunk_indexes(false)),
        ("no message index", new().emit_message_indexes(false)),
        ("no statistics", new().emit_statistics(false)),
        ("no channels in the summary", new().repeat_channels(false).repeat_schemas(false)),
        ("no checksums", new().calculate_chunk_crcs(false).calculate_summary_section_crc(false)),
    ]
}

#[test]
fn every_kind_of_file_plays_completely_and_identically() {
    let dir = TestDir::new();
    let plan = plan(200);
    for (make, options) in makes() {
        let path = dir.file("a.mcap", &mcap_bytes(&plan, options));
        let (sink, result) = play(crate::bag::tests::support::options(&path));
        assert!(result.is_ok(), "{make}: {result:?}");
        assert!(sink.received() == expected(&plan), "{make}");
        assert_eq!(sink.last_state(), SourceState::Finished, "{make}");
        let samples = sink.samples.lock().unwrap();
        assert!(samples.iter().all(|(_, s)| s.source_time_ns == s.receive_time_ns - MS), "{make}");
        let topics = sink.topics.lock().unwrap();
        let map = topics.iter().find(|topic| topic.name == "/map").unwrap();
        assert!(map.qos.transient_local && map.qos.reliable, "{make}");
        assert_eq!(map.type_name, "nav_msgs/msg/OccupancyGrid");
        assert_eq!(&*map.schema.as_ref().unwrap().text, "int32 x");
    }
}

#[test]
fn a_start_in_the_middle_counts_skipped_messages() {
    let dir = TestDir::new();
    let plan = plan(200);
    for (make, options) in makes() {
        for (start, latched) in
            [(15, Some(2)), (50, Some(2)), (1200, Some(2)), (1990, Some(2)), (95, Some(2))]
        {
            let path = dir.file("a.mcap", &mcap_bytes(&plan, options.clone()));
            let mut expected_samples = expected(&plan);
            expected_samples.retain(|(_, _, time, _)| *time >= T0 + start * MS);
            let before = expected(&plan)
                .into_iter()
                .filter(|(topic, _, time, _)| topic == "/map" && *time < T0 + start * MS);
            let held = before.max_by_key(|(_, _, time, _)| *time);
            assert!(latched.is_some() || held.is_none());
            expected_samples.splice(0..0, held);
            let mut options = crate::bag::tests::support::options(&path);
            options.start = std::time::Duration::from_millis(start as u64);
            let (sink, result) = play(options);
            assert!(result.is_ok(), "{make}: {result:?}");
            assert!(sink.received() == expected_samples, "{make} from {start}");
        }
    }
}

#[test]
fn overlapping_chunks_are_merged_and_unindexed_chunks_sorted() {
    let dir = TestDir::new();
    // Each message is displaced by up to 150 ms, which spans several chunks.
    let mut shuffled = plan(200);
    for (i, message) in shuffled.iter_mut().enumerate() {
        message.1 += ((i * 7919) % 16) as i64 * 10 * MS + i as i64;
    }
    let path = dir.file("a.mcap", &mcap_bytes(&shuffled, WriteOptions::new()));
    let (sink, result) = play(options(&path));
    assert!(result.is_ok());
    assert!(sink.received() == expected(&shuffled));

    let path = dir.file("b.mcap", &mcap_bytes(&shuffled, bare(WriteOptions::new())));
    let (sink, result) = play(options(&path));
    assert!(result.is_ok());
    let mut received = sink.received();
    assert_eq!(received.len(), 200);
    received.sort_by_key(|(_, _, time, _)| *time);
    let plain =
        |all: Vec<ReceivedSample>| -> Vec<_> { all.into_iter().map(|(a, _, b, c)| (a, b, c)).collect() };
    assert!(plain(received) == plain(expected(&shuffled)));
}

#[test]
fn unwanted_topics_are_skipped_without_other_effects() {
    let dir = TestDir::new();
    let plan = plan(100);
    let path = dir.file("a.mcap", &mcap_bytes(&plan, WriteOptions::new()));
    let sink = CollectingSink { unwanted: Some("/imu".to_owned()), ..CollectingSink::default() };
    let (sink, result) = play_fake(options(&path), sink, 0, 0);
    assert!(result.is_ok());
    let mut expected_samples = expected(&plan);
    expected_samples.retain(|(topic, ..)| topic != "/imu");
    assert!(sink.received() == expected_samples);
}
