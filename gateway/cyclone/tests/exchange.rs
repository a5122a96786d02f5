//! Samples go from one participant to another, over the network, with their identity.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use common::*;
use roverline_cyclone::SampleIdentity;

#[test]
fn a_sample_has_the_same_identity_on_both_sides() {
    let (sender, receiver) = (join(60), join(60));
    let writer = sender.writer("rt/chatter", TYPE, OFFERS_RELIABLE).unwrap();
    let reader = matched_reader(&receiver, "rt/chatter", RELIABLE, &writer);
    assert_eq!(writer.guid()[..12], sender.guid()[..12]);
    for number in 1..=20_i64 {
        let time = 1_700_000_000_000_000_000 + number;
        let written = writer.write(&message(10), Some(time), None).unwrap();
        assert_eq!(written, SampleIdentity { writer: writer.guid(), sequence_number: number });
        let sample = take(&reader, 1).remove(0);
        assert_eq!((sample.identity, sample.related), (written, None));
        // RTPS carries fractions of 2^-32 seconds.
        assert!((sample.source_time_ns - time).abs() < 2, "{} {time}", sample.source_time_ns);
        assert!(sample.receive_time_ns > time);
        assert_eq!(sample.payload, message(10));
    }
}

#[test]
fn every_size_arrives_as_it_was_written() {
    let sizes = [
        0, 1, 2, 3, 4, 5, 6, 7, 62, 1_335, 1_336, 1_337, 1_338, 1_339, 1_340, 1_341, 8_191, 14_720, 65_503,
        65_536, 65_537, 131_070, 199_998, 199_999, 200_000,
    ];
    let (sender, receiver) = (join(61), join(61));
    let writer = sender.writer("rt/sizes", TYPE, OFFERS_RELIABLE).unwrap();
    let reader = matched_reader(&receiver, "rt/sizes", RELIABLE, &writer);
    for bytes in sizes {
        let written = writer.write(&message(bytes), None, None).unwrap();
        let sample = take(&reader, 1).remove(0);
        assert_eq!(sample.identity, written);
        assert!(sample.payload == message(bytes), "{bytes} bytes became {}", sample.payload.len());
    }
    for bytes in sizes {
        writer.write(&message(bytes), None, None).unwrap();
    }
    for (sample, bytes) in take(&reader, sizes.len()).iter().zip(sizes) {
        assert!(sample.payload == message(bytes), "{bytes} bytes became {}", sample.payload.len());
    }
}

#[test]
fn the_related_sample_arrives_also_with_samples_that_are_sent_again() {
    let (sender, receiver) = (join(62), join(62));
    let writer = sender.writer("rr/addReply", TYPE, OFFERS_LATCHED).unwrap();
    let related = |number: i64| SampleIdentity { writer: [number as u8; 16], sequence_number: number << 20 };
    let numbers = [1, -1, i64::MAX >> 20, 5_000];
    let written: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| writer.write(&message(at * 50_000), None, Some(related(*number))).unwrap())
        .collect();
    writer.write(&message(1), None, None).unwrap();
    // The reader is late, so all of these are sent again, in fragments and whole.
    let reader = matched_reader(&receiver, "rr/addReply", LATCHED, &writer);
    let samples = take(&reader, 5);
    for ((sample, number), written) in samples.iter().zip(numbers).zip(written) {
        assert_eq!((sample.identity, sample.related), (written, Some(related(number))));
    }
    assert_eq!(samples[4].related, None);
    // And this one is new.
    writer.write(&message(70_000), None, Some(related(9))).unwrap();
    assert_eq!(take(&reader, 1)[0].related, Some(related(9)));
}

#[test]
fn a_late_reader_gets_the_history_that_is_kept() {
    let (sender, receiver) = (join(63), join(63));
    let qos = roverline_cyclone::WriterQos { depth: 3, ..OFFERS_LATCHED };
    let writer = sender.writer("rt/map", TYPE, qos).unwrap();
    write(&writer, 10);
    let reader = matched_reader(&receiver, "rt/map", LATCHED, &writer);
    let numbers: Vec<_> = take(&reader, 3).iter().map(|sample| sample.identity.sequence_number).collect();
    assert_eq!(numbers, [8, 9, 10]);
    let volatile = matched_reader(&receiver, "rt/map", RELIABLE, &writer);
    writer.write(&message(11), None, None).unwrap();
    assert_eq!(take(&volatile, 1)[0].identity.sequence_number, 11);
}

#[test]
fn a_participant_does_not_receive_its_own_samples() {
    let (both, other) = (join(64), join(64));
    let writer = both.writer("rt/own", TYPE, OFFERS_RELIABLE).unwrap();
    let own = both.reader("rt/own", TYPE, RELIABLE, || {}).unwrap();
    let reader = matched_reader(&other, "rt/own", RELIABLE, &writer);
    let foreign = other.writer("rt/own", TYPE, OFFERS_RELIABLE).unwrap();
    wait_until("the match", || own.matched_writers().contains(&foreign.guid()));
    write(&writer, 5);
    take(&reader, 5);
    let written = foreign.write(&message(1), None, None).unwrap();
    // The sample of the other participant is the first: ours, which were written before, did not come.
    assert_eq!(take(&own, 1)[0].identity, written);
    assert_eq!(own.matched_writers(), [foreign.guid()]);
}

#[test]
fn participants_of_one_process_meet_in_their_domain_only() {
    let (first, second, third, stranger) = (join(65), join(65), join(65), join(66));
    let writer = first.writer("rt/many", TYPE, OFFERS_RELIABLE).unwrap();
    let readers =
        [&second, &third].map(|participant| matched_reader(participant, "rt/many", RELIABLE, &writer));
    let written = writer.write(&message(3), None, None).unwrap();
    for reader in &readers {
        assert_eq!(take(reader, 1)[0].identity, written);
    }
    assert!(stranger.discovered_writers().is_empty() && stranger.discovered_readers().is_empty());
    let guids = [&first, &second, &third, &stranger].map(|participant| participant.guid());
    assert!(guids.iter().enumerate().all(|(at, guid)| !guids[..at].contains(guid)), "{guids:?}");
}

#[test]
fn a_reader_may_keep_more_later() {
    let (sender, receiver) = (join(67), join(67));
    let writer = sender.writer("rt/deep", TYPE, OFFERS_RELIABLE).unwrap();
    let shallow = roverline_cyclone::ReaderQos { depth: 2, ..RELIABLE };
    let reader = matched_reader(&receiver, "rt/deep", shallow, &writer);
    let witness = matched_reader(&receiver, "rt/deep", RELIABLE, &writer);
    let numbers = |count| -> Vec<i64> {
        write(&writer, count);
        take(&witness, count);
        let mut numbers = Vec::new();
        reader.take(usize::MAX, &mut |sample| numbers.push(sample.identity.sequence_number)).unwrap();
        numbers
    };
    assert_eq!(numbers(6), [5, 6]);
    reader.deepen(4).unwrap();
    assert_eq!(numbers(6), [9, 10, 11, 12]);
    reader.deepen(1).unwrap();
    assert_eq!(numbers(6), [15, 16, 17, 18]);
}
