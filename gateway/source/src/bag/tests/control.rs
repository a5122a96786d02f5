//! Tests of pause, speed and seeking, in processes that run from the start or join later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcap::WriteOptions;

use crate::bag::tests::support::*;
use crate::bag::timeline::PlaybackCommand;
use crate::bag::{BagOptions, ControlScope};
use crate::{PlaybackStatus, StopFlag};

fn command(at_ms: i64, play: bool, speed: f64, seek_ms: Option<i64>) -> PlaybackCommand {
    let seek = seek_ms.map(|ms| T0 + ms * MS);
    PlaybackCommand { at: T0 + at_ms * MS, play, speed, seek, request: format!("at {at_ms}") }
}

/// Recordings of 3 s with known start and end times.
fn recordings(dir: &TestDir) -> Vec<BagOptions> {
    let db3 = dir.path().join("c.db3");
    write_db3(&db3, &plan(300));
    let indexed = dir.file("a.mcap", &mcap_bytes(&plan(300), WriteOptions::new()));
    let with_control_log = |path| BagOptions {
        rate: 1.0,
        epoch_unix_ns: Some(T0),
        control: Some(ControlScope::ThisProcess),
        ..options(path)
    };
    [indexed, db3].iter().map(|path| with_control_log(path)).collect()
}

/// The samples, each with its arrival in ms after the epoch, of a process that starts `age` ms after it.
fn run(
    options: &BagOptions,
    age: i64,
    n: usize,
    commands: &[PlaybackCommand],
) -> (Arc<CollectingSink>, Vec<(i64, ReceivedSample)>) {
    let sink = CollectingSink { stop_after: Some((n, StopFlag::default())), ..CollectingSink::default() };
    let (sink, result) = play_controlled(options.clone(), sink, (T0 + age * MS, 0), commands);
    assert!(result.is_ok());
    let arrivals = sink.arrivals.lock().unwrap().clone();
    let received = arrivals.into_iter().map(|at| at / MS + age).zip(sink.received()).collect();
    (sink, received)
}

fn log_ms(received: &ReceivedSample) -> i64 {
    (received.2 - T0) / MS
}

#[test]
fn it_pauses_changes_speed_and_seeks() {
    let dir = TestDir::new();
    let commands = [
        command(500, false, 1.0, None),
        command(800, true, 2.0, None),
        command(1_000, true, 1.0, Some(100)),
        command(1_200, false, 1.0, Some(2_000)),
        command(1_500, true, 1.0, None),
    ];
    for options in recordings(&dir) {
        let (sink, received) = run(&options, 0, 210, &commands);
        for (at, received) in &received {
            let expected = match log_ms(received) {
                log if pass_of(received) == 0 && log < 500 => log,
                log if pass_of(received) == 0 => 800 + (log - 500) / 2,
                // Messages just before a seek target come at once.
                log if pass_of(received) == 1 => 1_000 + (log - 100).max(0),
                log if log < 2_000 => 1_200,
                log => 1_500 + log - 2_000,
            };
            assert_eq!(*at, expected, "{} ms in: {received:?}", log_ms(received));
        }
        let statuses = sink.playbacks.lock().unwrap();
        let statuses: Vec<_> = statuses
            .iter()
            .map(|statuses| (statuses.status, statuses.pass, statuses.request.as_str()))
            .collect();
        use PlaybackStatus::{Paused, Playing};
        assert_eq!(
            statuses,
            [
                (Playing, 0, ""),
                (Paused, 0, "at 500"),
                (Playing, 0, "at 800"),
                (Playing, 1, "at 1000"),
                (Paused, 2, "at 1200"),
                (Playing, 2, "at 1500")
            ]
        );
    }
}

/// The pass of a sample, from its sequence number: a file of 300 has 149 of /imu and of /odom and 2 of
/// /map.
fn pass_of((topic, seq, _, _): &ReceivedSample) -> u64 {
    let counts: BTreeMap<&str, u64> =
        expected(&plan(300)).iter().fold(BTreeMap::new(), |mut counts, received| {
            let name = TOPICS.iter().find(|topic| topic.0 == received.0).unwrap().0;
            *counts.entry(name).or_default() += 1;
            counts
        });
    (seq - 1) / counts[topic.as_str()]
}

#[test]
fn a_late_process_plays_the_same_numbers_at_the_same_times() {
    let dir = TestDir::new();
    let commands = [
        command(700, true, 4.0, Some(1_500)),
        command(900, true, 0.5, Some(200)),
        command(1_300, false, 1.0, None),
        command(1_600, true, 1.0, None),
        command(2_000, true, 1.0, Some(0)),
        command(2_400, true, 10.0, None),
    ];
    for (options, looped) in recordings(&dir).into_iter().flat_map(|o| [(o.clone(), false), (o, true)]) {
        let options = BagOptions { looped, ..options };
        // All of a recording that does not loop: it ends 2.66 s in.
        let n = if looped { 1_500 } else { 446 };
        let (_, all) = run(&options, 0, n, &commands);
        rises(&all);
        let known: BTreeSet<_> = all.iter().cloned().map(|(_, received)| received).collect();
        for age in [350, 720, 1_000, 1_400, 1_700, 2_100, 2_500] {
            let (_, mine) = run(&options, age, 40, &commands);
            rises(&mine);
            let unknown = mine.iter().find(|(_, received)| !known.contains(received) && looped);
            assert_eq!(unknown, None, "{age}");
            let live: Vec<_> = mine.iter().filter(|(at, _)| *at > age).collect();
            let at = all.iter().position(|other| other == live[0]).unwrap();
            assert!(all[..at].iter().all(|(at, _)| *at <= age), "{age}: something was left out");
            let both = live.iter().zip(&all[at..]).take_while(|(mine, _)| mine.0 < 2_600);
            assert!(both.clone().count() > 5);
            both.for_each(|(mine, theirs)| assert_eq!(*mine, theirs, "{age}"));
        }
    }
}

fn rises(all: &[(i64, ReceivedSample)]) {
    let mut last = BTreeMap::new();
    for (_, (topic, seq, ..)) in all {
        let before = last.insert(topic.clone(), *seq);
        assert!(before.is_none_or(|before| before < *seq), "{topic}: {seq} after {before:?}");
    }
}

#[test]
fn after_its_end_it_can_be_played_again() {
    let dir = TestDir::new();
    let commands = [command(3_500, true, 1.0, None), command(4_000, true, 1.0, Some(2_500))];
    for options in recordings(&dir) {
        let (sink, received) = run(&options, 0, 340, &commands);
        assert!(received[..300].iter().all(|(at, received)| *at == log_ms(received)));
        let again =
            received.iter().filter(|(_, received)| pass_of(received) == 1 && log_ms(received) >= 2_500);
        assert!(again.clone().count() >= 30);
        again.for_each(|(at, received)| assert_eq!(*at, 4_000 + log_ms(received) - 2_500));
        rises(&received);
        let statuses = sink.playbacks.lock().unwrap();
        assert_eq!(statuses[1].status, PlaybackStatus::Ended);
        assert_eq!(statuses[1].position_ns, T0 + 2_990 * MS);
        assert_eq!(
            (statuses[2].status, statuses[3].status),
            (PlaybackStatus::Ended, PlaybackStatus::Playing)
        );
    }
}

#[test]
fn seeks_stay_within_the_recording() {
    let dir = TestDir::new();
    let commands = [command(100, false, 1.0, Some(-9_000)), command(200, true, 1.0, Some(9_000_000))];
    for options in recordings(&dir) {
        let (sink, _) = run(&options, 0, 12, &commands);
        let statuses = sink.playbacks.lock().unwrap();
        assert_eq!(statuses[0].range_ns, (T0, T0 + 2_990 * MS));
        assert_eq!((statuses[1].position_ns, statuses[2].position_ns), statuses[0].range_ns);
        assert_eq!(statuses[2].status, PlaybackStatus::Ended);
    }
}
