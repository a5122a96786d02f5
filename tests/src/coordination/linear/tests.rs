//! Histories that are right, and histories that are not: each way a store can lie is found.

use proptest::prelude::*;

use super::Does::{Read, Swap, Write};
use super::*;

fn op(called: u64, returned: u64, does: Does) -> Op {
    Op { called, returned, does, sure: true }
}

fn maybe(called: u64, returned: u64, does: Does) -> Op {
    Op { sure: false, ..op(called, returned, does) }
}

#[test]
fn what_a_register_does_is_right() {
    check(&[]).unwrap();
    check(&[op(1, 2, Read(None)), op(3, 4, Write(1)), op(5, 6, Read(Some(1)))]).unwrap();
    // Beside a write either value is right, and the order of two writes is free.
    check(&[op(1, 9, Write(1)), op(2, 3, Read(None)), op(4, 5, Read(Some(1)))]).unwrap();
    check(&[op(1, 9, Write(1)), op(1, 9, Write(2)), op(10, 11, Read(Some(1)))]).unwrap();
    check(&[op(1, 9, Write(1)), op(1, 9, Write(2)), op(10, 11, Read(Some(2)))]).unwrap();
    check(&[op(1, 2, Swap(None, 1)), op(3, 9, Swap(Some(1), 2)), op(4, 8, Swap(Some(2), 3))]).unwrap();
}

#[test]
fn a_stale_read_is_found() {
    let stale = [op(1, 2, Write(1)), op(3, 4, Write(2)), op(5, 6, Read(Some(1)))];
    assert_eq!(check(&stale), Err(Wrong::At(2)));
    // Once the new value was seen, the old one is gone, also while the write is under way.
    let back = [op(1, 2, Write(1)), op(3, 20, Write(2)), op(4, 5, Read(Some(2))), op(6, 7, Read(Some(1)))];
    assert_eq!(check(&back), Err(Wrong::At(3)));
}

#[test]
fn a_lost_write_is_found() {
    assert_eq!(check(&[op(1, 2, Write(1)), op(3, 4, Read(None))]), Err(Wrong::At(1)));
    let swapped = [op(1, 2, Write(1)), op(3, 4, Swap(Some(1), 2)), op(5, 6, Read(Some(1)))];
    assert_eq!(check(&swapped), Err(Wrong::At(2)));
}

#[test]
fn a_value_from_nowhere_is_found() {
    assert_eq!(check(&[op(1, 2, Write(1)), op(3, 4, Read(Some(7)))]), Err(Wrong::At(1)));
    // Read before it was written.
    assert_eq!(check(&[op(1, 2, Read(Some(7))), op(3, 4, Write(7))]), Err(Wrong::At(0)));
}

#[test]
fn two_that_swapped_the_same_value_are_found() {
    let both = [op(1, 2, Write(1)), op(3, 9, Swap(Some(1), 2)), op(3, 9, Swap(Some(1), 3))];
    assert!(matches!(check(&both), Err(Wrong::At(_))));
}

#[test]
fn what_was_under_way_at_the_end_of_a_process_may_have_happened_or_not() {
    for seen in [1, 2] {
        check(&[op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(seen)))]).unwrap();
    }
    // But not first happened and then not, and not after its end.
    let undone =
        [op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(2))), op(12, 13, Read(Some(1)))];
    assert_eq!(check(&undone), Err(Wrong::At(3)));
    let late =
        [op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(1))), op(12, 13, Read(Some(2)))];
    assert_eq!(check(&late), Err(Wrong::At(3)));
}

#[test]
fn more_at_once_than_can_be_decided_is_not_called_right() {
    let many: Vec<Op> = (0..65).map(|n| op(1, 9, Write(n))).collect();
    assert_eq!(check(&many), Err(Wrong::TooMuch));
}

/// The same by trying all orders.
fn by_force(ops: &[Op], value: Option<u64>, done: u32) -> bool {
    let left: Vec<usize> = (0..ops.len()).filter(|place| done & (1 << place) == 0).collect();
    if left.iter().all(|place| !ops[*place].sure) {
        return true;
    }
    left.iter().any(|&place| {
        let op = &ops[place];
        let first = left.iter().all(|other| ops[*other].returned >= op.called);
        let next = match op.does {
            Read(seen) if seen == value => Some(value),
            Write(to) => Some(Some(to)),
            Swap(from, to) if from == value => Some(Some(to)),
            _ => None,
        };
        let rest = done | (1 << place);
        first
            && (next.is_some_and(|next| by_force(ops, next, rest))
                || (!op.sure && by_force(ops, value, rest)))
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let seen = prop_oneof![Just(None), (0..7_u64).prop_map(Some)];
    let kind = (0..3, seen, 0..20_u64, 1..8_u64, prop::bool::weighted(0.8));
    prop::collection::vec(kind, 1..7).prop_map(|kinds| {
        let each = |(place, (kind, seen, called, long, sure))| {
            // Each value is written once, as the clients do it.
            let own = place as u64;
            let does = match kind {
                0 => Read(seen),
                1 => Write(own),
                _ => Swap(seen, own),
            };
            Op { called, returned: called + long, does, sure: sure || kind == 0 }
        };
        kinds.into_iter().enumerate().map(each).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn it_says_what_trying_all_orders_says(ops in ops()) {
        prop_assert_eq!(check(&ops).is_ok(), by_force(&ops, None, 0));
    }
}
