//! Helpers of the tests: participants on loopback, messages, and waiting with a deadline.

#![allow(dead_code, reason = "no test uses all of them")]

use std::time::{Duration, Instant};

use roverline_cyclone::{Options, Participant, Reader, ReaderQos, Sample, Writer, WriterQos};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TYPE: &str = "std_msgs::msg::dds_::String_";

pub(crate) fn options(domain_id: u16) -> Options {
    Options { domain_id, localhost_only: true, ..Options::default() }
}

pub(crate) fn join(domain_id: u16) -> Participant {
    Participant::join(&options(domain_id)).unwrap()
}

pub(crate) const RELIABLE: ReaderQos = ReaderQos { reliable: true, transient_local: false, depth: 64 };
pub(crate) const BEST_EFFORT: ReaderQos = ReaderQos { reliable: false, ..RELIABLE };
pub(crate) const LATCHED: ReaderQos = ReaderQos { transient_local: true, ..RELIABLE };

pub(crate) const OFFERS_RELIABLE: WriterQos = WriterQos {
    reliable: true,
    transient_local: false,
    depth: 8,
    window: 256,
    max_blocking: Duration::from_secs(5),
};
pub(crate) const OFFERS_BEST_EFFORT: WriterQos = WriterQos { reliable: false, ..OFFERS_RELIABLE };
pub(crate) const OFFERS_LATCHED: WriterQos = WriterQos { transient_local: true, ..OFFERS_RELIABLE };

/// Polls until something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a reader and waits until it and the writer know each other.
pub(crate) fn matched_reader(
    participant: &Participant,
    topic: &str,
    qos: ReaderQos,
    writer: &Writer,
) -> Reader {
    let reader = participant.reader(topic, TYPE, qos, || {}).unwrap();
    wait_until("the match", || {
        reader.matched_writers().contains(&writer.guid()) && writer.matched_readers().contains(&reader.guid())
    });
    reader
}

/// Writes messages of 0, 1, 2, … bytes.
pub(crate) fn write(writer: &Writer, count: usize) {
    for bytes in 0..count {
        writer.write(&message(bytes), None, None).unwrap();
    }
}

/// Takes samples until there are so many.
pub(crate) fn take(reader: &Reader, count: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    wait_until("the samples", || {
        reader.take(count - samples.len(), &mut |sample| samples.push(sample)).unwrap();
        samples.len() >= count
    });
    samples
}

/// A message with so many bytes behind its header.
pub(crate) fn message(bytes: usize) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0];
    message.extend((0..bytes).map(|at| (at * 7 + bytes) as u8));
    message
}
