//! Directories of rosbag2: split, compressed, with and without their metadata.

use mcap::WriteOptions;

use crate::bag::BagSource;
use crate::bag::tests::support::*;

fn refusal(dir: &TestDir) -> String {
    BagSource::open(options(dir.path())).err().unwrap().0
}

fn played(dir: &TestDir) -> Vec<ReceivedSample> {
    let (sink, result) = play(options(dir.path()));
    assert!(result.is_ok(), "{result:?}");
    sink.received()
}

/// A metadata file that names these.
fn metadata(mode: &str, format: &str, files: &[&str]) -> String {
    let files: String = files.iter().map(|file| format!("    - {file}\n")).collect();
    format!(
        "rosbag2_bagfile_information:\n  version: 5\n  compression_mode: {mode}\n  \
         compression_format: \"{format}\"\n  relative_file_paths:\n{files}"
    )
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

#[test]
fn directories_are_opened_as_split_recordings() {
    let dir = TestDir::new();
    let error = BagSource::open(options(dir.path())).err().unwrap().0;
    assert!(error.contains("no .mcap or .db3"), "{error}");
    let plan = plan(90);
    // Split as recorders do: alphabetically, the third part sorts before the second.
    for (part, range) in [("r_1", 0..30), ("r_2", 30..60), ("r_10", 60..90)] {
        let some = plan[range].to_vec();
        let make = if part == "r_2" { bare(WriteOptions::new()) } else { WriteOptions::new() };
        dir.file(&format!("{part}.mcap"), &mcap_bytes(&some, make));
    }
    dir.file("metadata.yaml", b"");
    let (sink, result) = play(options(dir.path()));
    assert!(result.is_ok(), "{result:?}");
    assert!(sink.received() == expected(&plan));

    // All parts are indexed: the first is skipped, the second joined in the middle.
    dir.file("r_2.mcap", &mcap_bytes(&plan[30..60].to_vec(), WriteOptions::new()));
    let mut middle = options(dir.path());
    middle.start = std::time::Duration::from_millis(455);
    let (sink, result) = play(middle);
    assert!(result.is_ok(), "{result:?}");
    let mut expected_samples = expected(&plan);
    expected_samples
        .retain(|(topic, _, time, _)| *time >= T0 + 455 * MS || (topic == "/map" && *time == T0 + 90 * MS));
    assert!(sink.received() == expected_samples);

    dir.file("x.db3", b"");
    let error = BagSource::open(options(dir.path())).err().unwrap().0;
    assert!(error.contains("both"), "{error}");
}

#[test]
fn metadata_says_which_files_are_played_in_which_order() {
    let dir = TestDir::new();
    let plan = plan(90);
    let part = |range: std::ops::Range<usize>| mcap_bytes(&plan[range].to_vec(), WriteOptions::new());
    // By name they would come in another order, and one does not belong to the recording.
    for (name, range) in [("z.mcap", 0..30), ("m.mcap", 30..60), ("a.mcap", 60..90), ("other.mcap", 10..20)] {
        dir.file(name, &part(range));
    }
    let folder = dir.path().file_name().unwrap().to_str().unwrap();
    // Early versions wrote the directory in front.
    let files = ["z.mcap", "m.mcap", &format!("{folder}/a.mcap")];
    dir.file("metadata.yaml", metadata("\"\"", "", &files).as_bytes());
    assert!(played(&dir) == expected(&plan));

    let files = ["z.mcap", "gone.mcap"];
    dir.file("metadata.yaml", metadata("\"\"", "", &files).as_bytes());
    let error = refusal(&dir);
    assert!(error.contains("metadata.yaml names gone.mcap, which is not there"), "{error}");

    // Metadata that nobody can read is as good as none.
    std::fs::remove_file(dir.path().join("other.mcap")).unwrap();
    for (text, order) in [("a: [", "amz"), ("", "amz"), ("rosbag2_bagfile_information: ~", "amz")] {
        dir.file("metadata.yaml", text.as_bytes());
        let received = played(&dir);
        assert_eq!(received.len(), 90, "{order}");
        assert_eq!(received[0].2, plan[60].1, "a.mcap is the first by name");
    }
}

#[test]
fn compressed_files_are_unpacked() {
    let (dir, plan) = (TestDir::new(), plan(60));
    let first = mcap_bytes(&plan[..30].to_vec(), WriteOptions::new());
    let second = mcap_bytes(&plan[30..].to_vec(), WriteOptions::new());
    dir.file("r_0.mcap.zstd", &zstd(&first));
    dir.file("r_1.mcap.zstd", &zstd(&second));
    assert!(played(&dir) == expected(&plan), "without metadata");
    let names = ["r_0.mcap.zstd", "r_1.mcap.zstd"];
    dir.file("metadata.yaml", metadata("FILE", "zstd", &names).as_bytes());
    assert!(played(&dir) == expected(&plan));

    // One is unpacked already, beside the packed one or in its place.
    dir.file("r_1.mcap", &second);
    assert!(played(&dir) == expected(&plan));
    std::fs::remove_file(dir.path().join("r_1.mcap.zstd")).unwrap();
    assert!(played(&dir) == expected(&plan));
    std::fs::remove_file(dir.path().join("metadata.yaml")).unwrap();
    assert!(played(&dir) == expected(&plan));
    let left = std::fs::read_dir(dir.path().join("scratch")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "unpacked files are removed");

    let single = TestDir::new();
    write_db3(&single.path().join("r.db3"), &plan);
    let packed = zstd(&std::fs::read(single.path().join("r.db3")).unwrap());
    let (sink, result) = play(options(&single.file("r.db3.zstd", &packed)));
    assert!(result.is_ok() && sink.received() == expected(&plan), "{result:?}");
}

#[test]
fn compressed_messages_are_unpacked() {
    let (dir, plan) = (TestDir::new(), plan(60));
    let packed: Plan = plan.iter().map(|(topic, time, payload)| (*topic, *time, zstd(payload))).collect();
    let path = dir.path().join("r_0.db3");
    write_db3(&path, &packed);
    dir.file("metadata.yaml", metadata("MESSAGE", "zstd", &["r_0.db3"]).as_bytes());
    assert!(played(&dir) == expected(&plan));
    for file in [path, dir.file("r.mcap", &mcap_bytes(&packed, WriteOptions::new()))] {
        let mut options = options(&file);
        options.start = std::time::Duration::from_millis(300);
        let (sink, result) = play(options);
        assert!(result.is_ok(), "{result:?}");
        let mut from_there = expected(&plan);
        from_there.retain(|(topic, _, time, _)| {
            *time >= T0 + 300 * MS || (topic == "/map" && *time == T0 + 90 * MS)
        });
        assert!(sink.received() == from_there, "{}", file.display());
    }
    // A damaged one is left out, and the rest is played.
    let mut damaged = packed;
    damaged[7].2.truncate(10);
    let (sink, result) = play(options(&dir.file("d.mcap", &mcap_bytes(&damaged, WriteOptions::new()))));
    assert!(result.is_ok(), "{result:?}");
    let mut others = expected(&plan);
    others.remove(7);
    assert!(sink.received() == others);

    dir.file("metadata.yaml", metadata("MESSAGE", "lz4", &["r_0.db3"]).as_bytes());
    assert!(refusal(&dir).contains("compressed with lz4"), "{}", refusal(&dir));
}

#[test]
fn empty_parts_are_passed_over() {
    let (dir, plan) = (TestDir::new(), plan(30));
    dir.file("r_0.mcap", &mcap_bytes(&plan, WriteOptions::new()));
    dir.file("r_1.mcap", &mcap_bytes(&Vec::new(), WriteOptions::new()));
    dir.file("r_2.mcap", b"");
    assert!(played(&dir) == expected(&plan));
    std::fs::remove_file(dir.path().join("r_0.mcap")).unwrap();
    assert!(refusal(&dir).contains("without messages"), "{}", refusal(&dir));
}
