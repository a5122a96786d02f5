//! Readers and writers of other participants are discovered with what they announce.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use roverline_cyclone::{DiscoveredEndpoint, Options, Participant, ReaderQos, WriterQos};

#[test]
fn endpoints_are_discovered_with_their_qos_and_leave() {
    let (ours, theirs) = (join(68), join(68));
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = changes.clone();
    ours.on_discovery(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let own = ours.writer("rt/own", TYPE, OFFERS_RELIABLE).unwrap();
    let writers = [
        theirs.writer("rt/a", TYPE, OFFERS_RELIABLE).unwrap(),
        theirs.writer("rt/b", TYPE, OFFERS_BEST_EFFORT).unwrap(),
        theirs.writer("rt/c", TYPE, WriterQos { depth: 5, window: 1, ..OFFERS_LATCHED }).unwrap(),
    ];
    let readers = [
        theirs.reader("rt/d", TYPE, BEST_EFFORT, || {}).unwrap(),
        theirs.reader("rt/e", TYPE, ReaderQos { depth: 1, ..LATCHED }, || {}).unwrap(),
    ];
    wait_until("discovery", || ours.discovered_writers().len() == 3 && ours.discovered_readers().len() == 2);
    let endpoint = |guid, topic: &str, reliable, transient_local, depth| DiscoveredEndpoint {
        guid,
        topic: topic.to_owned(),
        type_name: TYPE.to_owned(),
        reliable,
        transient_local,
        history_depth: Some(depth),
    };
    let mut found = ours.discovered_writers();
    found.sort_by(|a, b| a.topic.cmp(&b.topic));
    let expected = [
        endpoint(writers[0].guid(), "rt/a", true, false, 256),
        endpoint(writers[1].guid(), "rt/b", false, false, 8),
        endpoint(writers[2].guid(), "rt/c", true, true, 5),
    ];
    assert_eq!(found, expected);
    let mut found = ours.discovered_readers();
    found.sort_by(|a, b| a.topic.cmp(&b.topic));
    let expected = [
        endpoint(readers[0].guid(), "rt/d", false, false, 64),
        endpoint(readers[1].guid(), "rt/e", true, true, 1),
    ];
    assert_eq!(found, expected);
    wait_until("the reports", || changes.load(Ordering::SeqCst) >= 5);
    wait_until("discovery by the others", || theirs.discovered_writers().len() == 1);
    assert_eq!(theirs.discovered_writers()[0].guid, own.guid());
    drop((own, writers, readers));
    wait_until("leaving", || ours.discovered_writers().is_empty() && ours.discovered_readers().is_empty());
}

#[test]
fn a_reader_that_requests_more_than_is_offered_does_not_match() {
    let (sender, receiver) = (join(69), join(69));
    let writer = sender.writer("rt/weak", TYPE, OFFERS_BEST_EFFORT).unwrap();
    let strict = receiver.reader("rt/weak", TYPE, RELIABLE, || {}).unwrap();
    let other_type = receiver.reader("rt/weak", "other::Type_", BEST_EFFORT, || {}).unwrap();
    let matched = Arc::new(AtomicUsize::new(0));
    let counted = matched.clone();
    writer.on_matched(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let reader = matched_reader(&receiver, "rt/weak", BEST_EFFORT, &writer);
    wait_until("the report", || matched.load(Ordering::SeqCst) > 0);
    assert_eq!(writer.matched_readers(), [reader.guid()]);
    assert!(strict.matched_writers().is_empty() && other_type.matched_writers().is_empty());
    let writers = receiver.discovered_writers();
    assert!(writers.iter().any(|found| found.guid == writer.guid() && !found.reliable), "{writers:?}");
}

#[test]
fn multicast_is_not_needed_on_loopback() {
    meet(&Options { multicast: false, ..options(70) });
}

#[test]
fn peers_meet_without_multicast() {
    let networks = vec!["127.0.0.1".parse().unwrap()];
    let peers = vec!["localhost".to_owned()];
    meet(&Options { domain_id: 79, networks, peers, multicast: false, ..Options::default() });
}

/// Two participants with the same options exchange a sample.
fn meet(options: &Options) {
    let [sender, receiver] = [(); 2].map(|()| Participant::join(options).unwrap());
    let writer = sender.writer("rt/unicast", TYPE, OFFERS_RELIABLE).unwrap();
    let reader = matched_reader(&receiver, "rt/unicast", RELIABLE, &writer);
    writer.write(&message(1), None, None).unwrap();
    take(&reader, 1);
}
