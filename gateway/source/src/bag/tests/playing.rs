//! Tests of pace, loops, joining in the middle, waiting and stopping.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mcap::WriteOptions;

use crate::bag::tests::support::*;
use crate::bag::timeline::LOOP_GAP_NS;
use crate::bag::{BagOptions, BagSource};
use crate::{Publication, PublishError, Sink, Source, SourceState, StopFlag};

/// One recording per kind of seeking and counting.
fn recordings(dir: &TestDir, plan: &Plan) -> Vec<BagOptions> {
    let db3 = dir.path().join("c.db3");
    write_db3(&db3, plan);
    let indexed = dir.file("a.mcap", &mcap_bytes(plan, WriteOptions::new()));
    let bare = dir.file("b.mcap", &mcap_bytes(plan, bare(WriteOptions::new())));
    [indexed, bare, db3].iter().map(|path| BagOptions { rate: 1.0, ..options(path) }).collect()
}

/// A sink that stops playback after `n` samples.
fn until(n: usize) -> CollectingSink {
    CollectingSink { stop_after: Some((n, StopFlag::default())), ..CollectingSink::default() }
}

#[test]
fn playback_keeps_the_recorded_pace_without_drift() {
    let dir = TestDir::new();
    let plan = plan(500);
    for options in recordings(&dir, &plan) {
        for rate in [0.5, 1.0, 4.0] {
            let late = 300_000; // every wait ends 0.3 ms late
            let (sink, result) =
                play_fake(BagOptions { rate, ..options.clone() }, CollectingSink::default(), 0, late);
            assert!(result.is_ok());
            for (i, at) in sink.arrivals.lock().unwrap().iter().enumerate() {
                let due = (i as f64 * 10.0 * MS as f64 / rate) as i64;
                assert!((0..=late).contains(&(at - due)), "message {i}: {} ns late", at - due);
            }
        }
    }
}

#[test]
fn sequence_numbers_continue_through_loops() {
    let dir = TestDir::new();
    let plan = plan(50);
    for options in recordings(&dir, &plan) {
        let (sink, result) = play_fake(BagOptions { looped: true, ..options }, until(150), 0, 0);
        assert!(result.is_ok());
        let (received, one) = (sink.received(), expected(&plan));
        assert_eq!(received.len(), 150);
        for (i, (topic, seq, time, _)) in received.iter().enumerate() {
            let (first, per_round) = (&one[i % 50], one.iter().filter(|message| message.0 == *topic).count());
            assert_eq!((topic, *seq, *time), (&first.0, first.1 + (i / 50 * per_round) as u64, first.2));
        }
        let arrivals = sink.arrivals.lock().unwrap();
        assert_eq!(arrivals[50] - arrivals[49], LOOP_GAP_NS);
        assert_eq!(arrivals[149], 2 * (490 * MS + LOOP_GAP_NS) + 490 * MS);
    }
}

#[test]
fn processes_with_the_same_epoch_are_in_step() {
    let dir = TestDir::new();
    let plan = plan(50);
    let cycle = 490 * MS + LOOP_GAP_NS;
    for options in recordings(&dir, &plan) {
        let options = BagOptions { looped: true, epoch_unix_ns: Some(T0), ..options };
        let (first, _) = play_fake(options.clone(), until(400), T0, 0);
        let all: Vec<_> = first.received().into_iter().zip(first.arrivals.lock().unwrap().clone()).collect();
        // In the middle, between passes, and before anything was latched in a pass.
        for age in [1, 105 * MS, cycle - 50 * MS, cycle + 5 * MS, 3 * cycle + 255 * MS] {
            let (joined, _) = play_fake(options.clone(), until(60), T0 + age, 0);
            let mine: Vec<_> =
                joined.received().into_iter().zip(joined.arrivals.lock().unwrap().clone()).collect();
            let (held, live): (Vec<_>, Vec<_>) =
                mine.into_iter().partition(|(message, at)| *at == 0 && message.0 == "/map");
            assert!(
                held.iter().all(|(message, _)| all.iter().any(|(other, _)| other == message)),
                "latched at {age}"
            );
            let at = all.iter().position(|(message, _)| *message == live[0].0).unwrap();
            assert!(at == 0 || all[at - 1].1 < age, "{age}: an earlier message was missed");
            for ((mine, mine_at), (theirs, theirs_at)) in live.iter().zip(&all[at..]) {
                assert_eq!(mine, theirs);
                assert_eq!(mine_at + age, *theirs_at, "out of step at {age}");
            }
        }
    }
}

#[test]
fn playback_waits_for_an_epoch_in_the_future() {
    let dir = TestDir::new();
    for options in recordings(&dir, &plan(5)) {
        let options = BagOptions { epoch_unix_ns: Some(T0 + 3 * S), wait: true, ..options };
        let (sink, _) = play_fake(options, CollectingSink::default(), T0, 0);
        assert_eq!(sink.arrivals.lock().unwrap()[0], 3 * S);
    }
}

#[test]
fn a_late_player_catches_up_without_dropping() {
    let dir = TestDir::new();
    let plan = plan(100);
    for options in recordings(&dir, &plan) {
        // Joined 300 ms in with everything before it left out, then each wait ends 55 ms late.
        let (sink, result) = play_fake(options, CollectingSink::default(), 0, 55 * MS);
        assert!(result.is_ok());
        assert!(sink.received() == expected(&plan));
        let last = *sink.arrivals.lock().unwrap().last().unwrap();
        assert!(last < 990 * MS + 60 * MS, "{last}");
    }
}

#[test]
fn it_waits_for_a_listener_on_request() {
    let dir = TestDir::new();
    let path = dir.file("a.mcap", &mcap_bytes(&plan(10), WriteOptions::new()));
    let sink = Arc::new(CollectingSink::default());
    let source = BagSource::open(BagOptions { wait: true, ..options(&path) }).unwrap();
    let thread = {
        let sink = Arc::clone(&sink) as Arc<dyn Sink>;
        std::thread::spawn(move || Box::new(source).run(sink, StopFlag::default()))
    };
    eventually("waiting", || sink.states.lock().unwrap().len() == 2);
    assert_eq!(*sink.states.lock().unwrap(), [SourceState::Starting, SourceState::Waiting]);
    sink.listener.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
    assert_eq!(sink.received().len(), 10);
    assert_eq!(sink.states.lock().unwrap()[2..], [SourceState::Running, SourceState::Finished]);
}

#[test]
fn it_stops_on_request() {
    let dir = TestDir::new();
    let mut plan = plan(10);
    plan[9].1 += 3600 * S;
    for wait in [true, false] {
        let path = dir.file("a.mcap", &mcap_bytes(&plan, WriteOptions::new()));
        let source = BagSource::open(BagOptions { rate: 1.0, wait, ..options(&path) }).unwrap();
        let (sink, stop) = (Arc::new(CollectingSink::default()), StopFlag::default());
        let thread = {
            let (sink, stop) = (Arc::clone(&sink) as Arc<dyn Sink>, stop.clone());
            std::thread::spawn(move || Box::new(source).run(sink, stop))
        };
        // It waits for a listener, or an hour for the last message.
        eventually("waiting", || match wait {
            true => sink.states.lock().unwrap().last() == Some(&SourceState::Waiting),
            false => sink.samples.lock().unwrap().len() == 9,
        });
        stop.set();
        eventually("stopping", || thread.is_finished());
        thread.join().unwrap().unwrap();
        assert!(!matches!(sink.last_state(), SourceState::Finished | SourceState::Failed(_)));
    }
}

#[test]
fn nothing_can_be_published_into_it() {
    let dir = TestDir::new();
    let path = dir.file("a.mcap", &mcap_bytes(&plan(1), WriteOptions::new()));
    let source = BagSource::open(options(&path)).unwrap();
    assert_eq!(source.name(), "bag");
    let publication = Publication {
        topic: "/x".into(),
        type_name: "std_msgs/msg/Bool".into(),
        payload: vec![].into(),
        latched: false,
    };
    assert_eq!(source.control().publish(publication), Err(PublishError::ReadOnly("bag")));
}
