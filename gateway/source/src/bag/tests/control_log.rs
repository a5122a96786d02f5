//! Tests of the control log: concurrent writers and invalid lines.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bag::control_log::{ControlLog, ControlLogReader, control_log_file, remove_control_log};
use crate::bag::tests::support::{T0, TestDir};
use crate::bag::timeline::PlaybackCommand;
use crate::limits;

fn command(n: i64) -> PlaybackCommand {
    PlaybackCommand {
        at: T0 + n,
        play: n % 2 == 0,
        speed: 1.5,
        seek: (n % 3 == 0).then_some(n),
        request: format!("\"{n}\n"),
    }
}

fn log(file: PathBuf) -> Arc<ControlLog> {
    Arc::new(ControlLog::new(Some(file)))
}

#[test]
fn all_processes_read_the_same_commands() {
    let dir = TestDir::new();
    let file = control_log_file(dir.path(), T0);
    let (a, b) = (log(file.clone()), log(file));
    let mut early = ControlLogReader::new(a.clone());
    assert!(early.read().is_empty(), "there is no file before the first of them");
    let mut received = Vec::new();
    let start = |control_log: Arc<ControlLog>| {
        std::thread::spawn(move || (0..200).for_each(|n| control_log.append(|| command(n)).unwrap()))
    };
    let writers = [start(a), start(b.clone())];
    while received.len() < 100 {
        received.extend(early.read());
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    received.extend(early.read());
    assert_eq!(received.len(), 400);
    assert_eq!(ControlLogReader::new(b).read(), received);
    assert!((0..200).all(|n| received.iter().filter(|received| **received == command(n)).count() == 2));
}

#[test]
fn invalid_lines_are_ignored() {
    let dir = TestDir::new();
    let path = dir.file("commands", b"");
    let control_log = log(path.clone());
    let mut reader = ControlLogReader::new(control_log.clone());
    let write = |bytes: &[u8]| {
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    };
    write(b"\n{}\n[1]\n\xff\xfe\n{\"at\":1,\"play\":true,\"speed\":1e9}\n{\"at\":1,\"play\":true,\"speed\":-1}\n");
    write(&vec![b'x'; 200_000]);
    assert!(reader.read().is_empty());
    write(b"\n{\"at\":1,\"play\":true,");
    assert!(reader.read().is_empty(), "half a line");
    write(b"\"speed\":1}\n");
    assert_eq!(reader.read().len(), 1);
    control_log.append(|| command(7)).unwrap();
    assert_eq!(reader.read(), [command(7)]);
}

#[test]
fn a_log_is_bounded_and_belongs_to_one_run() {
    let dir = TestDir::new();
    let path = control_log_file(dir.path(), T0);
    let control_log = log(path.clone());
    control_log.append(|| command(1)).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(limits::PLAYBACK_FILE_BYTES).unwrap();
    assert!(control_log.append(|| command(2)).unwrap_err().to_string().contains("full"));
    let other = control_log_file(dir.path(), T0 + 1);
    log(other.clone()).append(|| command(1)).unwrap();
    remove_control_log(dir.path(), T0);
    assert!(!path.exists() && other.exists(), "another run may be going on");
}
