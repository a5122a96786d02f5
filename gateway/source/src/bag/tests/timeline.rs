//! Properties of the timeline under arbitrary commands.

use proptest::prelude::*;

use crate::bag::tests::support::{MS, S, T0};
use crate::bag::timeline::{LOOP_GAP_NS, PlaybackCommand, PlaybackRange, Segment, Timeline};

const BASE: i64 = 500 * S;

fn range(looped: bool) -> PlaybackRange {
    PlaybackRange { base: BASE, length: Some(10 * S), looped }
}

fn command(at: i64, play: bool, speed: f64, seek: Option<i64>) -> PlaybackCommand {
    PlaybackCommand { at, play, speed, seek, request: String::new() }
}

/// Commands within half a minute, in file order, which may differ slightly from the order of their
/// times.
fn commands() -> impl Strategy<Value = Vec<PlaybackCommand>> {
    let one = (0..30_000i64, any::<bool>(), 0.01..100.0, proptest::option::of(-2_000..12_000i64));
    let one = one.prop_map(|(at, play, speed, seek)| {
        command(T0 + at * MS, play, speed, seek.map(|ms| BASE + ms * MS))
    });
    proptest::collection::vec(one, 0..12).prop_map(|mut commands| {
        commands.sort_by_key(|command| command.at / (100 * MS));
        commands
    })
}

fn timeline(looped: bool) -> Timeline {
    Timeline::new(range(looped), Segment::first(T0, 1.0))
}

proptest! {
    /// One process polls often and sees each command when it is given; the other starts late and sees
    /// all at once.
    #[test]
    fn processes_agree_however_often_they_poll(
        commands in commands(), looped: bool, steps in proptest::collection::vec(1..900i64, 1..60)
    ) {
        let mut present = timeline(looped);
        commands.iter().for_each(|command| present.add(command.clone()));
        let mut now = T0;
        for step in steps {
            now += step * MS;
            present.catch_up(now);
            let mut late = timeline(looped);
            commands.iter().for_each(|command| late.add(command.clone()));
            late.catch_up(now);
            prop_assert_eq!(present.segment, late.segment);
            let (pass, offset) = present.position(now);
            let longest = if looped { 10 * S + LOOP_GAP_NS } else { 10 * S };
            prop_assert!((0..=longest).contains(&offset), "{}", offset);
            prop_assert!(pass >= present.segment.pass);
        }
    }

    /// A position's due time is the time at which the position is reached.
    #[test]
    fn a_position_is_reached_when_it_is_due(commands in commands(), looped: bool, ahead in 0..9_000i64) {
        let mut timeline = timeline(looped);
        commands.into_iter().for_each(|command| timeline.add(command));
        timeline.catch_up(i64::MAX);
        let segment = Segment { playing: true, ..timeline.segment };
        let offset = segment.offset.saturating_add(ahead * MS).min(10 * S);
        let due = segment.due(&timeline.range, segment.pass, offset);
        let (pass, position) = segment.position(&timeline.range, due);
        if offset < 10 * S {
            // Nanoseconds are rounded; a fast recording covers a hundred of them in one.
            prop_assert_eq!(pass, segment.pass);
            prop_assert!((position - offset).abs() <= 101, "{} for {}", position, offset);
        }
    }

    /// Every seek starts a higher pass, so numbers increase: within a pass by the file's order, between
    /// passes by more than a file's count.
    #[test]
    fn passes_never_decrease(commands in commands(), looped: bool) {
        let mut timeline = timeline(looped);
        let seeks = commands.iter().filter(|command| command.seek.is_some()).count() as u64;
        commands.into_iter().for_each(|command| timeline.add(command));
        let (mut pass, mut now) = (0, T0);
        while now < T0 + 40 * S {
            now += 50 * MS;
            let before = timeline.position(now - 1);
            timeline.catch_up(now);
            let position = timeline.position(now);
            prop_assert!(position.0 > pass || (position.0 == pass && position >= (before.0.min(pass), 0)));
            pass = position.0;
        }
        prop_assert!(pass >= seeks, "{} jumps, {}", seeks, pass);
    }
}

#[test]
fn a_pause_keeps_the_position() {
    let mut timeline = timeline(false);
    timeline.add(command(T0 + 2 * S, false, 1.0, None));
    timeline.add(command(T0 + 5 * S, true, 2.0, None));
    timeline.catch_up(T0 + 3 * S);
    assert_eq!(timeline.position(T0 + 4 * S), (0, 2 * S));
    assert_eq!(timeline.due(0, BASE + 2 * S), i64::MAX, "what is ahead waits");
    assert!(timeline.due(0, BASE + S) <= T0 + 4 * S, "what is behind does not");
    timeline.catch_up(T0 + 5 * S);
    assert_eq!(timeline.due(0, BASE + 4 * S), T0 + 6 * S);
    assert_eq!(timeline.position(T0 + 100 * S), (0, 10 * S));
    assert!(timeline.is_end(10 * S));
}

#[test]
fn messages_due_before_a_command_come_first() {
    let mut timeline = timeline(false);
    timeline.add(command(T0 + 2 * S, true, 1.0, Some(BASE + 9 * S)));
    assert_eq!(timeline.apply_due(T0 + S, i64::MAX), None, "not yet");
    let late = T0 + 2 * S + 500 * MS;
    assert_eq!(timeline.apply_due(late, T0 + 2 * S - 1), None, "something is due before");
    assert!(timeline.apply_due(late, T0 + 2 * S).unwrap().is_seek);
    assert_eq!((timeline.segment.pass, timeline.segment.offset, timeline.segment.at), (1, 9 * S, T0 + 2 * S));
}

#[test]
fn only_the_last_of_several_past_seeks_is_made() {
    let mut timeline = timeline(false);
    for n in 1..=5 {
        timeline.add(command(T0 + n * 100 * MS, n % 2 == 0, 1.0, (n != 4).then_some(BASE + n * S)));
    }
    assert!(timeline.apply_due(T0 + 450 * MS, i64::MAX).unwrap().is_seek);
    assert_eq!((timeline.segment.pass, timeline.segment.offset, timeline.segment.playing), (3, 3 * S, false));
    assert!(!timeline.apply_due(T0 + 450 * MS, i64::MAX).unwrap().is_seek, "then what came after it");
    assert!(timeline.segment.playing);
    assert_eq!(timeline.apply_due(T0 + 450 * MS, i64::MAX), None, "the fifth is yet to come");
}

#[test]
fn a_very_late_player_seeks_at_once() {
    let mut timeline = timeline(false);
    timeline.add(command(T0 + 2 * S, true, 1.0, Some(BASE)));
    assert!(timeline.apply_due(T0 + 3 * S + 1, T0).unwrap().is_seek);
}

#[test]
fn extreme_values_do_not_overflow() {
    for speed in [1e-300, 1.0, 1e300] {
        for length in [None, Some(0), Some(i64::MAX)] {
            for looped in [false, true] {
                let range = PlaybackRange { base: i64::MIN, length, looped };
                let segment = Segment { pass: u64::MAX, ..Segment::first(i64::MIN, speed) };
                let _ = segment.position(&range, i64::MAX);
                let _ = (segment.due(&range, 0, i64::MAX), segment.due(&range, u64::MAX, i64::MAX));
                let mut timeline = Timeline::new(range, segment);
                timeline.add(command(i64::MAX, true, speed, Some(i64::MAX)));
                timeline.catch_up(i64::MAX);
                let _ = (timeline.position(i64::MAX), timeline.due(0, i64::MAX));
            }
        }
    }
}
