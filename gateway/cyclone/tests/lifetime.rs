//! Entities may be dropped at any time; afterwards their closures do not run.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use roverline_cyclone::{Error, Participant, Reader, Sample, Writer, WriterQos};

/// Writes in the background until it is dropped.
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Publisher {
    fn start(domain: u16, topic: &'static str) -> Publisher {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let participant = join(domain);
            let qos = WriterQos { max_blocking: Duration::from_millis(1), ..OFFERS_LATCHED };
            let writer = participant.writer(topic, TYPE, qos).unwrap();
            while !stopped.load(Ordering::SeqCst) {
                match writer.write(&message(3_000), None, None) {
                    Ok(_) | Err(Error::WindowFull) => std::thread::sleep(Duration::from_micros(200)),
                    Err(error) => unreachable!("{error}"),
                }
            }
        });
        Publisher { stop, thread: Some(thread) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn readers_are_dropped_while_samples_arrive() {
    let publisher = Publisher::start(71, "rt/busy");
    let participant = join(71);
    let late = Arc::new(AtomicUsize::new(0));
    for round in 0..50 {
        let (dropped, woken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted, violations) = (dropped.clone(), woken.clone(), late.clone());
        let reader = participant
            .reader("rt/busy", TYPE, LATCHED, move || {
                counted.fetch_add(1, Ordering::SeqCst);
                if seen.load(Ordering::SeqCst) {
                    violations.fetch_add(1, Ordering::SeqCst);
                }
            })
            .unwrap();
        wait_until("samples", || woken.load(Ordering::SeqCst) > round % 7);
        let kept = if round % 2 == 0 { take(&reader, 1) } else { Vec::new() };
        drop(reader);
        dropped.store(true, Ordering::SeqCst);
        // A sample outlives its reader.
        assert!(kept.iter().all(|sample| sample.payload == message(3_000)));
        assert_eq!(Arc::strong_count(&dropped), 1, "the closure is gone");
    }
    assert_eq!(late.load(Ordering::SeqCst), 0, "no closure runs after its reader is dropped");
    drop(publisher);
}

#[test]
fn participants_are_dropped_while_samples_arrive() {
    let publisher = Publisher::start(72, "rt/busy");
    let mut kept = Vec::new();
    for _ in 0..10 {
        let participant = join(72);
        let discovered = Arc::new(());
        let held = discovered.clone();
        participant.on_discovery(move || drop(held.clone()));
        let reader = participant.reader("rt/busy", TYPE, LATCHED, || {}).unwrap();
        kept.extend(take(&reader, 2));
        // The reader keeps the participant.
        drop(participant);
        kept.extend(take(&reader, 2));
        drop(reader);
        assert_eq!(Arc::strong_count(&discovered), 1, "the closure is gone");
    }
    assert!(kept.iter().all(|sample| sample.payload == message(3_000)));
    drop(publisher);
}

/// Without a report on the standard error.
fn panic_silently() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

#[test]
fn a_closure_that_panics_harms_nobody() {
    let (sender, receiver) = (join(73), join(73));
    receiver.on_discovery(panic_silently);
    let writer = sender.writer("rt/panic", TYPE, OFFERS_RELIABLE).unwrap();
    let reader = receiver.reader("rt/panic", TYPE, RELIABLE, panic_silently).unwrap();
    wait_until("the match", || writer.matched_readers().contains(&reader.guid()));
    write(&writer, 5);
    assert_eq!(take(&reader, 5).len(), 5);
}

#[test]
fn everything_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Participant>();
    is_shared::<Reader>();
    is_shared::<Writer>();
    is_shared::<Sample>();
}
