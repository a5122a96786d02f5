//! Pause, speed and jumps, by processes that are there all the time, or come later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcap::WriteOptions;

use crate::bag::tests::support::*;
use crate::bag::timeline::Order;
use crate::bag::{BagOptions, Steering};
use crate::{PlaybackStatus, Stop};

fn order(at_ms: i64, play: bool, speed: f64, seek_ms: Option<i64>) -> Order {
    let seek = seek_ms.map(|ms| T0 + ms * MS);
    Order { at: T0 + at_ms * MS, play, speed, seek, request: format!("at {at_ms}") }
}

/// Recordings whose times are known beforehand, of 3 s.
fn recordings(dir: &TempDir) -> Vec<BagOptions> {
    let db3 = dir.0.join("c.db3");
    write_db3(&db3, &plan(300));
    let indexed = dir.file("a.mcap", &mcap_bytes(&plan(300), WriteOptions::new()));
    let steered = |path| BagOptions {
        rate: 1.0,
        epoch_unix_ns: Some(T0),
        steering: Some(Steering::Alone),
        ..options(path)
    };
    [indexed, db3].iter().map(|path| steered(path)).collect()
}

/// What comes, and when after the epoch, by a process that begins `age` ms after it.
fn run(options: &BagOptions, age: i64, n: usize, orders: &[Order]) -> (Arc<Collect>, Vec<(i64, Seen)>) {
    let sink = Collect { stop_after: Some((n, Stop::default())), ..Collect::default() };
    let (sink, result) = play_steered(options.clone(), sink, (T0 + age * MS, 0), orders);
    assert!(result.is_ok());
    let arrivals = sink.arrivals.lock().unwrap().clone();
    let seen = arrivals.into_iter().map(|at| at / MS + age).zip(sink.seen()).collect();
    (sink, seen)
}

fn log_ms(seen: &Seen) -> i64 {
    (seen.2 - T0) / MS
}

#[test]
fn it_pauses_plays_at_another_speed_and_jumps() {
    let dir = TempDir::new();
    let orders = [
        order(500, false, 1.0, None),
        order(800, true, 2.0, None),
        order(1_000, true, 1.0, Some(100)),
        order(1_200, false, 1.0, Some(2_000)),
        order(1_500, true, 1.0, None),
    ];
    for options in recordings(&dir) {
        let (sink, seen) = run(&options, 0, 210, &orders);
        for (at, seen) in &seen {
            let expected = match log_ms(seen) {
                log if seen_pass(seen) == 0 && log < 500 => log,
                log if seen_pass(seen) == 0 => 800 + (log - 500) / 2,
                // What lies just before a place that is jumped to comes at once.
                log if seen_pass(seen) == 1 => 1_000 + (log - 100).max(0),
                log if log < 2_000 => 1_200,
                log => 1_500 + log - 2_000,
            };
            assert_eq!(*at, expected, "{} ms in: {seen:?}", log_ms(seen));
        }
        let told = sink.playbacks.lock().unwrap();
        let told: Vec<_> = told.iter().map(|told| (told.status, told.pass, told.request.as_str())).collect();
        use PlaybackStatus::{Paused, Playing};
        assert_eq!(
            told,
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

/// Which pass a sample is of, by its number: a file of 300 has 149 of /imu and of /odom and 2 of /map.
fn seen_pass((topic, seq, _, _): &Seen) -> u64 {
    let counts: BTreeMap<&str, u64> =
        expected(&plan(300)).iter().fold(BTreeMap::new(), |mut counts, seen| {
            let name = TOPICS.iter().find(|topic| topic.0 == seen.0).unwrap().0;
            *counts.entry(name).or_default() += 1;
            counts
        });
    (seq - 1) / counts[topic.as_str()]
}

#[test]
fn who_comes_later_gives_everything_the_same_number_at_the_same_time() {
    let dir = TempDir::new();
    let orders = [
        order(700, true, 4.0, Some(1_500)),
        order(900, true, 0.5, Some(200)),
        order(1_300, false, 1.0, None),
        order(1_600, true, 1.0, None),
        order(2_000, true, 1.0, Some(0)),
        order(2_400, true, 10.0, None),
    ];
    for (options, looped) in recordings(&dir).into_iter().flat_map(|o| [(o.clone(), false), (o, true)]) {
        let options = BagOptions { looped, ..options };
        // Of one that does not begin again, all that there is: it ends 2.66 s in.
        let n = if looped { 1_500 } else { 446 };
        let (_, all) = run(&options, 0, n, &orders);
        rises(&all);
        let known: BTreeSet<_> = all.iter().cloned().map(|(_, seen)| seen).collect();
        for age in [350, 720, 1_000, 1_400, 1_700, 2_100, 2_500] {
            let (_, mine) = run(&options, age, 40, &orders);
            rises(&mine);
            let unknown = mine.iter().find(|(_, seen)| !known.contains(seen) && looped);
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

fn rises(all: &[(i64, Seen)]) {
    let mut last = BTreeMap::new();
    for (_, (topic, seq, ..)) in all {
        let before = last.insert(topic.clone(), *seq);
        assert!(before.is_none_or(|before| before < *seq), "{topic}: {seq} after {before:?}");
    }
}

#[test]
fn after_its_end_it_can_be_played_again() {
    let dir = TempDir::new();
    let orders = [order(3_500, true, 1.0, None), order(4_000, true, 1.0, Some(2_500))];
    for options in recordings(&dir) {
        let (sink, seen) = run(&options, 0, 340, &orders);
        assert!(seen[..300].iter().all(|(at, seen)| *at == log_ms(seen)));
        let again = seen.iter().filter(|(_, seen)| seen_pass(seen) == 1 && log_ms(seen) >= 2_500);
        assert!(again.clone().count() >= 30);
        again.for_each(|(at, seen)| assert_eq!(*at, 4_000 + log_ms(seen) - 2_500));
        rises(&seen);
        let told = sink.playbacks.lock().unwrap();
        assert_eq!(told[1].status, PlaybackStatus::Ended);
        assert_eq!(told[1].position_ns, T0 + 2_990 * MS);
        assert_eq!((told[2].status, told[3].status), (PlaybackStatus::Ended, PlaybackStatus::Playing));
    }
}

#[test]
fn jumps_stay_in_the_recording() {
    let dir = TempDir::new();
    let orders = [order(100, false, 1.0, Some(-9_000)), order(200, true, 1.0, Some(9_000_000))];
    for options in recordings(&dir) {
        let (sink, _) = run(&options, 0, 12, &orders);
        let told = sink.playbacks.lock().unwrap();
        assert_eq!(told[0].range_ns, (T0, T0 + 2_990 * MS));
        assert_eq!((told[1].position_ns, told[2].position_ns), told[0].range_ns);
        assert_eq!(told[2].status, PlaybackStatus::Ended);
    }
}
