//! Corrupt and truncated files: an error message, never a panic, never a wrong message.

use mcap::{Compression, WriteOptions};
use proptest::prelude::*;

use crate::SourceState;
use crate::bag::BagSource;
use crate::bag::tests::support::*;

/// The opcodes of two records, which differ in one bit.
const MESSAGE: u8 = 0x05;
const MESSAGE_INDEX: u8 = 0x07;

fn compressions() -> [WriteOptions; 6] {
    let new = WriteOptions::new;
    [
        new().compression(None),
        new().compression(Some(Compression::Lz4)),
        new().compression(Some(Compression::Zstd)),
        new().use_chunks(false),
        bare(new().compression(None)),
        bare(new().compression(Some(Compression::Zstd))),
    ]
}

/// Opens and plays a file; returns the samples, and the error if there was one. The clock does not wait,
/// because a flipped bit in a log time is a gap of a century.
fn attempt(path: &std::path::Path) -> (Vec<ReceivedSample>, Option<String>) {
    if let Err(error) = BagSource::open(options(path)) {
        return (Vec::new(), Some(error.0));
    }
    let (sink, result) = play_fake(options(path), CollectingSink::default(), 0, 0);
    (sink.received(), result.err().map(|error| error.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_truncated_mcap_plays_up_to_its_end(make in 0..6usize, part in 0.0..1.0f64) {
        let dir = TestDir::new();
        let plan = plan(60);
        let whole = mcap_bytes(&plan, compressions()[make].clone());
        let cut = (whole.len() as f64 * part) as usize;
        let path = dir.file("cut.mcap", &whole[..cut]);
        let (received, error) = attempt(&path);
        prop_assert!(expected(&plan).starts_with(&received), "{} messages are no prefix", received.len());
        match error {
            Some(error) => {
                prop_assert!(error.contains("cut.mcap"), "{}", error);
                if cut > 8 {
                    prop_assert!(error.contains(" at byte "), "{}", error);
                    let n = format!("; {} messages before it were played", received.len());
                    prop_assert!(error.ends_with(&n), "{}", error);
                }
            }
            // A cut after the data loses nothing.
            None => prop_assert_eq!(received.len(), plan.len()),
        }
    }

    #[test]
    fn flipped_bits_never_panic_or_change_a_verified_message(
        make in 0..6usize,
        flips in prop::collection::vec((0.0..1.0f64, 0..8u8), 1..4),
    ) {
        let dir = TestDir::new();
        let plan = plan(60);
        let mut bytes = mcap_bytes(&plan, compressions()[make].clone());
        for (part, bit) in flips {
            let at = (bytes.len() as f64 * part) as usize;
            let before = bytes[at];
            bytes[at] ^= 1 << bit;
            // An index record that turns into a message outside the chunks is undetectable: only chunks have
            // checksums.
            prop_assume!((before, bytes[at]) != (MESSAGE_INDEX, MESSAGE));
        }
        let (received, error) = attempt(&dir.file("flip.mcap", &bytes));
        prop_assert!(received.len() <= plan.len());
        // A chunk whose length grew beyond the file is played as one that was cut off: its checksum is never compared.
        let cut = error.is_some_and(|error| error.contains("the file ends in the middle of it"));
        if make != 3 && !cut {
            let payloads: Vec<_> = plan.iter().map(|(_, _, payload)| payload).collect();
            prop_assert!(received.iter().all(|(_, _, _, payload)| payloads.contains(&payload)));
        }
    }

    #[test]
    fn flipped_bits_in_a_database_never_panic(flips in prop::collection::vec((0.0..1.0f64, 0..8u8), 1..6)) {
        let dir = TestDir::new();
        let path = dir.path().join("a.db3");
        write_db3(&path, &plan(60));
        let mut bytes = std::fs::read(&path).unwrap();
        for (part, bit) in flips {
            let at = (bytes.len() as f64 * part) as usize;
            bytes[at] ^= 1 << bit;
        }
        let (received, _) = attempt(&dir.file("flip.db3", &bytes));
        prop_assert!(received.len() <= 60);
    }

    #[test]
    fn random_bytes_never_panic(head in 0..4usize, body in prop::collection::vec(any::<u8>(), 0..2000)) {
        let dir = TestDir::new();
        let mut bytes = [&b""[..], mcap::MAGIC, b"SQLite format 3\0", b"\x89MCAP0\r\n\x06\x40\0\0\0\0\0\0\0"][head].to_vec();
        bytes.extend(body);
        let (received, error) = attempt(&dir.file("x.mcap", &bytes));
        prop_assert!(received.is_empty());
        prop_assert!(error.is_some_and(|error| error.contains("x.mcap")));
    }
}

#[test]
fn a_checksum_error_names_its_position_and_the_messages_played() {
    let dir = TestDir::new();
    let plan = plan(200);
    for options in [WriteOptions::new().compression(None), bare(WriteOptions::new().compression(None))] {
        let mut bytes = mcap_bytes(&plan, options);
        let victim = &plan[120].2;
        let at = bytes.windows(victim.len()).position(|window| window == victim).unwrap();
        bytes[at + 5] ^= 0x10;
        let path = dir.file("file.mcap", &bytes);
        let (sink, result) = play(crate::bag::tests::support::options(&path));
        let (received, text) = (sink.received(), result.unwrap_err().0);
        assert!(
            received.len() > 80 && received.len() <= 120 && expected(&plan).starts_with(&received),
            "{}",
            received.len()
        );
        let position = text.strip_prefix("file.mcap: chunk at byte ").unwrap();
        let (offset, rest) = position.split_once(": ").unwrap();
        assert_eq!(bytes[offset.parse::<usize>().unwrap()], mcap::records::op::CHUNK);
        assert!(rest.starts_with("CRC mismatch"), "{text}");
        assert!(rest.ends_with(&format!("; {} messages before it were played", received.len())), "{text}");
        assert_eq!(sink.last_state(), SourceState::Failed(text.clone()));
    }
}

#[test]
fn records_that_overrun_their_chunk_do_not_panic() {
    let dir = TestDir::new();
    let plan = plan(40);
    let options = WriteOptions::new().compression(None).calculate_chunk_crcs(false);
    let whole = mcap_bytes(&plan, options);
    // The length field of the first message record in the first chunk.
    let chunk = whole
        .windows(9)
        .position(|w| w[0] == 6 && u64::from_le_bytes(w[1..].try_into().unwrap()) < 5000)
        .unwrap();
    let message = chunk + 9 + 40;
    assert!(matches!(whole[message], 3 | 4), "a schema or channel comes first");
    for len in [u64::MAX, u64::MAX - 9, 1 << 40, 1 << 27, 3000, 0] {
        let mut bytes = whole.clone();
        bytes[message + 1..message + 9].copy_from_slice(&len.to_le_bytes());
        let (received, _) = attempt(&dir.file("x.mcap", &bytes));
        assert!(received.len() <= 40);
    }
}

#[test]
fn files_that_are_no_recordings_get_an_explanation() {
    let dir = TestDir::new();
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty.mcap", b"", "is empty"),
        ("text.mcap", b"hello, this is text", "is not a recording"),
        ("short.mcap", b"\x89MCA", "is not a recording"),
        ("ros1.bag", b"#ROSBAG V2.0\n...", "ROS 1"),
        ("packed.db3.zstd", b"\x28\xb5\x2f\xfd....", "cannot unpack"),
        ("short.db3", b"SQLite format 3\0", "short.db3"),
    ];
    for (name, bytes, expected) in cases {
        let error = BagSource::open(options(&dir.file(name, bytes))).err().unwrap().0;
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
    let error = BagSource::open(options(&dir.path().join("none.mcap"))).err().unwrap().0;
    assert!(error.contains("there is no") && error.contains("none.mcap"), "{error}");
    let path = dir.file("no_messages.mcap", &mcap_bytes(&Vec::new(), WriteOptions::new()));
    let error = BagSource::open(options(&path)).err().unwrap().0;
    assert!(error.contains("without messages"), "{error}");

    let path = dir.file("good.mcap", &mcap_bytes(&plan(10), WriteOptions::new()));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut options = options(&path);
        options.rate = rate;
        assert!(BagSource::open(options).err().unwrap().0.contains("rate"));
    }
    let mut options = options(&path);
    options.start = std::time::Duration::from_secs(100);
    assert!(BagSource::open(options).err().unwrap().0.contains("past the end"));
}
