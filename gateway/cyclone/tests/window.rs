//! A writer's window: no more samples are unacknowledged than it allows.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use roverline_cyclone::{Error, WriterQos};

const WINDOW: u32 = 8;

#[test]
fn a_full_window_refuses_a_sample_and_sends_nothing() {
    let (sender, receiver) = (join(74), join(74));
    let max_blocking = Duration::from_millis(100);
    let qos = WriterQos { depth: 1, window: WINDOW, max_blocking, ..OFFERS_RELIABLE };
    let writer = sender.writer("rt/slow", TYPE, qos).unwrap();
    // The closure runs on the thread that receives and acknowledges; while it waits, nothing is acknowledged.
    let blocked = Arc::new(parking_lot::Mutex::new(()));
    let waited = blocked.clone();
    let reader = receiver.reader("rt/slow", TYPE, RELIABLE, move || drop(waited.lock())).unwrap();
    wait_until("the match", || writer.matched_readers().contains(&reader.guid()));
    let held = blocked.lock();
    let mut written = 0;
    let error = loop {
        let start = Instant::now();
        match writer.write(&message(100), None, None) {
            Ok(identity) => {
                written += 1;
                assert_eq!(identity.sequence_number, written);
                assert!(written < 100, "the window has no end");
            }
            Err(error) => {
                assert!(start.elapsed() >= max_blocking, "{:?}", start.elapsed());
                break error;
            }
        }
    };
    assert_eq!(error, Error::WindowFull);
    assert!(written >= i64::from(WINDOW), "{written}");
    drop(held);
    wait_until("a place in the window", || match writer.write(&message(1), None, None) {
        Ok(identity) => {
            written += 1;
            assert_eq!(identity.sequence_number, written, "the refused ones have no number");
            true
        }
        Err(error) => {
            assert_eq!(error, Error::WindowFull);
            false
        }
    });
    let numbers: Vec<_> =
        take(&reader, written as usize).iter().map(|sample| sample.identity.sequence_number).collect();
    assert_eq!(numbers, (1..=written).collect::<Vec<_>>(), "nothing that was accepted is lost");
}

#[test]
fn a_window_of_one_is_quick_enough() {
    let (sender, receiver) = (join(75), join(75));
    let qos = WriterQos { window: 1, ..OFFERS_RELIABLE };
    let writer = sender.writer("rt/one", TYPE, qos).unwrap();
    let reader = matched_reader(&receiver, "rt/one", RELIABLE, &writer);
    let start = Instant::now();
    write(&writer, 50);
    // Without asking for acknowledgements, each sample would wait for the next heartbeat: 100 ms.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    take(&reader, 50);
}

#[test]
fn writes_of_many_threads_share_the_window() {
    let (sender, receiver) = (join(76), join(76));
    let qos = WriterQos { depth: 1, window: 4, ..OFFERS_RELIABLE };
    let writer = sender.writer("rt/threads", TYPE, qos).unwrap();
    let deep = roverline_cyclone::ReaderQos { depth: 1_000, ..RELIABLE };
    let reader = matched_reader(&receiver, "rt/threads", deep, &writer);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&writer, 50));
        }
    });
    let numbers: Vec<_> = take(&reader, 200).iter().map(|sample| sample.identity.sequence_number).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
}
