//! Properties of the timeline, whatever is ordered.

use proptest::prelude::*;

use crate::bag::tests::support::{MS, S, T0};
use crate::bag::timeline::{Course, LOOP_GAP_NS, Leg, Order, Timeline};

const BASE: i64 = 500 * S;

fn course(looped: bool) -> Course {
    Course { base: BASE, length: Some(10 * S), looped }
}

fn order(at: i64, play: bool, speed: f64, seek: Option<i64>) -> Order {
    Order { at, play, speed, seek, request: String::new() }
}

/// Orders within half a minute, in the order of a file: not quite that of their moments.
fn orders() -> impl Strategy<Value = Vec<Order>> {
    let one = (0..30_000i64, any::<bool>(), 0.01..100.0, proptest::option::of(-2_000..12_000i64));
    let one = one
        .prop_map(|(at, play, speed, seek)| order(T0 + at * MS, play, speed, seek.map(|ms| BASE + ms * MS)));
    proptest::collection::vec(one, 0..12).prop_map(|mut orders| {
        orders.sort_by_key(|order| order.at / (100 * MS));
        orders
    })
}

fn timeline(looped: bool) -> Timeline {
    Timeline::new(course(looped), Leg::first(T0, 1.0))
}

proptest! {
    /// One hears of each order when it is given, and looks often; the other comes late and hears of
    /// all at once.
    #[test]
    fn processes_agree_whenever_they_look(
        orders in orders(), looped: bool, steps in proptest::collection::vec(1..900i64, 1..60)
    ) {
        let mut present = timeline(looped);
        orders.iter().for_each(|order| present.add(order.clone()));
        let mut now = T0;
        for step in steps {
            now += step * MS;
            present.catch_up(now);
            let mut late = timeline(looped);
            orders.iter().for_each(|order| late.add(order.clone()));
            late.catch_up(now);
            prop_assert_eq!(present.leg, late.leg);
            let (pass, offset) = present.place(now);
            let longest = if looped { 10 * S + LOOP_GAP_NS } else { 10 * S };
            prop_assert!((0..=longest).contains(&offset), "{}", offset);
            prop_assert!(pass >= present.leg.pass);
        }
    }

    /// The place follows from the speeds, so what is due at a place is due when the place is reached.
    #[test]
    fn what_is_due_comes_when_its_place_does(orders in orders(), looped: bool, ahead in 0..9_000i64) {
        let mut timeline = timeline(looped);
        orders.into_iter().for_each(|order| timeline.add(order));
        timeline.catch_up(i64::MAX);
        let leg = Leg { playing: true, ..timeline.leg };
        let offset = leg.offset.saturating_add(ahead * MS).min(10 * S);
        let due = leg.due(&timeline.course, leg.pass, offset);
        let (pass, place) = leg.place(&timeline.course, due);
        if offset < 10 * S {
            // Nanoseconds are rounded; a fast recording covers a hundred of them in one.
            prop_assert_eq!(pass, leg.pass);
            prop_assert!((place - offset).abs() <= 101, "{} for {}", place, offset);
        }
    }

    /// Every jump is to a higher pass, so numbers rise: in a pass by the file, between passes by more
    /// than a file has.
    #[test]
    fn passes_never_fall(orders in orders(), looped: bool) {
        let mut timeline = timeline(looped);
        let seeks = orders.iter().filter(|order| order.seek.is_some()).count() as u64;
        orders.into_iter().for_each(|order| timeline.add(order));
        let (mut pass, mut now) = (0, T0);
        while now < T0 + 40 * S {
            now += 50 * MS;
            let before = timeline.place(now - 1);
            timeline.catch_up(now);
            let place = timeline.place(now);
            prop_assert!(place.0 > pass || (place.0 == pass && place >= (before.0.min(pass), 0)));
            pass = place.0;
        }
        prop_assert!(pass >= seeks, "{} jumps, {}", seeks, pass);
    }
}

#[test]
fn it_stands_still_and_goes_on_where_it_stood() {
    let mut timeline = timeline(false);
    timeline.add(order(T0 + 2 * S, false, 1.0, None));
    timeline.add(order(T0 + 5 * S, true, 2.0, None));
    timeline.catch_up(T0 + 3 * S);
    assert_eq!(timeline.place(T0 + 4 * S), (0, 2 * S));
    assert_eq!(timeline.due(0, BASE + 2 * S), i64::MAX, "what is ahead waits");
    assert!(timeline.due(0, BASE + S) <= T0 + 4 * S, "what is behind does not");
    timeline.catch_up(T0 + 5 * S);
    assert_eq!(timeline.due(0, BASE + 4 * S), T0 + 6 * S);
    assert_eq!(timeline.place(T0 + 100 * S), (0, 10 * S));
    assert!(timeline.is_end(10 * S));
}

#[test]
fn what_is_due_before_an_order_comes_before_it() {
    let mut timeline = timeline(false);
    timeline.add(order(T0 + 2 * S, true, 1.0, Some(BASE + 9 * S)));
    assert_eq!(timeline.obey(T0 + S, i64::MAX), None, "not yet");
    let late = T0 + 2 * S + 500 * MS;
    assert_eq!(timeline.obey(late, T0 + 2 * S - 1), None, "something is due before");
    assert!(timeline.obey(late, T0 + 2 * S).unwrap().jumped);
    assert_eq!((timeline.leg.pass, timeline.leg.offset, timeline.leg.at), (1, 9 * S, T0 + 2 * S));
}

#[test]
fn of_jumps_in_the_past_the_last_is_made() {
    let mut timeline = timeline(false);
    for n in 1..=5 {
        timeline.add(order(T0 + n * 100 * MS, n % 2 == 0, 1.0, (n != 4).then_some(BASE + n * S)));
    }
    assert!(timeline.obey(T0 + 450 * MS, i64::MAX).unwrap().jumped);
    assert_eq!((timeline.leg.pass, timeline.leg.offset, timeline.leg.playing), (3, 3 * S, false));
    assert!(!timeline.obey(T0 + 450 * MS, i64::MAX).unwrap().jumped, "then what came after it");
    assert!(timeline.leg.playing);
    assert_eq!(timeline.obey(T0 + 450 * MS, i64::MAX), None, "the fifth is yet to come");
}

#[test]
fn who_is_hopelessly_late_jumps_at_once() {
    let mut timeline = timeline(false);
    timeline.add(order(T0 + 2 * S, true, 1.0, Some(BASE)));
    assert!(timeline.obey(T0 + 3 * S + 1, T0).unwrap().jumped);
}

#[test]
fn absurd_numbers_do_not_overflow() {
    for speed in [1e-300, 1.0, 1e300] {
        for length in [None, Some(0), Some(i64::MAX)] {
            for looped in [false, true] {
                let course = Course { base: i64::MIN, length, looped };
                let leg = Leg { pass: u64::MAX, ..Leg::first(i64::MIN, speed) };
                let _ = leg.place(&course, i64::MAX);
                let _ = (leg.due(&course, 0, i64::MAX), leg.due(&course, u64::MAX, i64::MAX));
                let mut timeline = Timeline::new(course, leg);
                timeline.add(order(i64::MAX, true, speed, Some(i64::MAX)));
                timeline.catch_up(i64::MAX);
                let _ = (timeline.place(i64::MAX), timeline.due(0, i64::MAX));
            }
        }
    }
}
