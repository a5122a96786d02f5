//! What is believed of HEARTBEAT and GAP submessages: damaged ones skip no sample, those of a writer that has gone on
//! while nobody heard it are believed soon.

use proptest::prelude::*;
use roverline_cyclone::position::Position;

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_heartbeat_that_skips_nothing_is_believed_at_once() {
    let mut position = Position::default();
    assert_eq!(position.heartbeat(10, 9, 0, (5, 14)), (5, 14));
    assert_eq!(position.heartbeat(10, 9, 0, (10, 9)), (10, 9), "nothing is available");
}

#[test]
fn a_skip_that_the_data_confirms_is_believed_at_once() {
    let mut position = Position::default();
    position.data(500);
    assert_eq!(position.heartbeat(10, 500, 0, (491, 500)), (10, 500), "one sample is no proof");
    position.data(501);
    assert_eq!(position.heartbeat(10, 501, 0, (492, 501)), (492, 501));
}

#[test]
fn a_skip_without_data_is_believed_after_a_second_without_contradiction() {
    let mut position = Position::default();
    for ms in [0, 100, 300, 999] {
        assert_eq!(position.heartbeat(10, 1000, ms * 1_000_000, (991, 1000)), (10, 1000), "after {ms} ms");
    }
    assert_eq!(position.heartbeat(10, 1000, SECOND, (991, 1000)), (991, 1000));
}

#[test]
fn a_contradiction_starts_the_second_anew() {
    let mut position = Position::default();
    assert_eq!(position.heartbeat(10, 9, 0, (1 << 40, 1 << 41)), (10, 9), "the lie");
    assert_eq!(position.heartbeat(10, 9, SECOND / 2, (5, 12)), (5, 12), "the writer");
    assert_eq!(position.heartbeat(10, 12, 2 * SECOND, (1 << 40, 1 << 41)), (10, 12));
    assert_eq!(position.heartbeat(10, 12, 3 * SECOND - 1, (1 << 40, 1 << 41)), (10, 12));
}

#[test]
fn an_end_far_ahead_is_not_believed_either() {
    let mut position = Position::default();
    assert_eq!(position.heartbeat(10, 12, 0, (5, 1 << 33)), (5, 12));
    assert_eq!(position.heartbeat(10, 12, 0, (5, 65_000)), (5, 65_000));
}

#[test]
fn a_gap_is_believed_up_to_a_limit_beyond_the_confirmed_data() {
    let mut position = Position::default();
    assert!(position.gap(10, 10 + 65_536) && !position.gap(10, 10 + 65_537) && !position.gap(10, u64::MAX));
    position.data(1 << 20);
    position.data((1 << 20) + 1);
    assert!(position.gap(10, 1 << 20));
}

proptest! {
    /// A writer at `100 Hz` whose heartbeats are damaged in nine of ten packets loses nothing.
    #[test]
    fn random_heartbeats_skip_nothing(lies in prop::collection::vec((any::<u64>(), any::<u64>()), 100..400)) {
        let mut position = Position::default();
        let mut next = 1;
        for (at, (first, last)) in lies.into_iter().enumerate() {
            let now = at as i64 * SECOND / 1000;
            if at % 10 == 0 {
                position.data(next);
                next += 1;
                let true_one = (next.saturating_sub(5), next - 1);
                prop_assert_eq!(position.heartbeat(next, next - 1, now, true_one), true_one);
            }
            let (first, last) = (first.max(1), last.max(first).max(1));
            let believed = position.heartbeat(next, next - 1, now, (first, last));
            prop_assert!(believed.0 <= next && believed.1 <= last.min(next + 65_536), "{:?}", believed);
        }
    }
}
