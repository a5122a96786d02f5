//! Correct and incorrect histories: the checker detects every kind of violation.

use proptest::prelude::*;

use super::RegisterOp::{Read, Swap, Write};
use super::*;

fn op(called: u64, returned: u64, effect: RegisterOp) -> Op {
    Op { called, returned, effect, certain: true }
}

fn maybe(called: u64, returned: u64, effect: RegisterOp) -> Op {
    Op { certain: false, ..op(called, returned, effect) }
}

#[test]
fn correct_histories_are_accepted() {
    check(&[]).unwrap();
    check(&[op(1, 2, Read(None)), op(3, 4, Write(1)), op(5, 6, Read(Some(1)))]).unwrap();
    // Concurrent with a write either value is correct, and the order of two writes is free.
    check(&[op(1, 9, Write(1)), op(2, 3, Read(None)), op(4, 5, Read(Some(1)))]).unwrap();
    check(&[op(1, 9, Write(1)), op(1, 9, Write(2)), op(10, 11, Read(Some(1)))]).unwrap();
    check(&[op(1, 9, Write(1)), op(1, 9, Write(2)), op(10, 11, Read(Some(2)))]).unwrap();
    check(&[op(1, 2, Swap(None, 1)), op(3, 9, Swap(Some(1), 2)), op(4, 8, Swap(Some(2), 3))]).unwrap();
}

#[test]
fn a_stale_read_is_found() {
    let stale = [op(1, 2, Write(1)), op(3, 4, Write(2)), op(5, 6, Read(Some(1)))];
    assert_eq!(check(&stale), Err(NotLinearizable::At(2)));
    // Once the new value was observed, the old one is gone, even while the write is pending.
    let back = [op(1, 2, Write(1)), op(3, 20, Write(2)), op(4, 5, Read(Some(2))), op(6, 7, Read(Some(1)))];
    assert_eq!(check(&back), Err(NotLinearizable::At(3)));
}

#[test]
fn a_lost_write_is_found() {
    assert_eq!(check(&[op(1, 2, Write(1)), op(3, 4, Read(None))]), Err(NotLinearizable::At(1)));
    let swapped = [op(1, 2, Write(1)), op(3, 4, Swap(Some(1), 2)), op(5, 6, Read(Some(1)))];
    assert_eq!(check(&swapped), Err(NotLinearizable::At(2)));
}

#[test]
fn a_value_that_was_never_written_is_found() {
    assert_eq!(check(&[op(1, 2, Write(1)), op(3, 4, Read(Some(7)))]), Err(NotLinearizable::At(1)));
    // It is read before it is written.
    assert_eq!(check(&[op(1, 2, Read(Some(7))), op(3, 4, Write(7))]), Err(NotLinearizable::At(0)));
}

#[test]
fn two_swaps_of_the_same_value_are_found() {
    let both = [op(1, 2, Write(1)), op(3, 9, Swap(Some(1), 2)), op(3, 9, Swap(Some(1), 3))];
    assert!(matches!(check(&both), Err(NotLinearizable::At(_))));
}

#[test]
fn a_pending_operation_of_a_dead_process_may_have_taken_effect_or_not() {
    for seen in [1, 2] {
        check(&[op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(seen)))]).unwrap();
    }
    // But it cannot be undone, and cannot take effect after its end.
    let undone =
        [op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(2))), op(12, 13, Read(Some(1)))];
    assert_eq!(check(&undone), Err(NotLinearizable::At(3)));
    let late =
        [op(1, 2, Write(1)), maybe(3, 9, Write(2)), op(10, 11, Read(Some(1))), op(12, 13, Read(Some(2)))];
    assert_eq!(check(&late), Err(NotLinearizable::At(3)));
}

#[test]
fn too_many_concurrent_operations_are_undecided() {
    let many: Vec<Op> = (0..65).map(|n| op(1, 9, Write(n))).collect();
    assert_eq!(check(&many), Err(NotLinearizable::Undecided));
}

/// The same decision by trying all orders.
fn brute_force(ops: &[Op], value: Option<u64>, done: u32) -> bool {
    let left: Vec<usize> = (0..ops.len()).filter(|index| done & (1 << index) == 0).collect();
    if left.iter().all(|index| !ops[*index].certain) {
        return true;
    }
    left.iter().any(|&index| {
        let op = &ops[index];
        let first = left.iter().all(|other| ops[*other].returned >= op.called);
        let next = match op.effect {
            Read(seen) if seen == value => Some(value),
            Write(to) => Some(Some(to)),
            Swap(from, to) if from == value => Some(Some(to)),
            _ => None,
        };
        let rest = done | (1 << index);
        first
            && (next.is_some_and(|next| brute_force(ops, next, rest))
                || (!op.certain && brute_force(ops, value, rest)))
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let seen = prop_oneof![Just(None), (0..7_u64).prop_map(Some)];
    let kind = (0..3, seen, 0..20_u64, 1..8_u64, prop::bool::weighted(0.8));
    prop::collection::vec(kind, 1..7).prop_map(|kinds| {
        let each = |(index, (kind, seen, called, long, certain))| {
            // Each value is written once, as the clients do.
            let own = index as u64;
            let effect = match kind {
                0 => Read(seen),
                1 => Write(own),
                _ => Swap(seen, own),
            };
            Op { called, returned: called + long, effect, certain: certain || kind == 0 }
        };
        kinds.into_iter().enumerate().map(each).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn it_agrees_with_brute_force(ops in ops()) {
        prop_assert_eq!(check(&ops).is_ok(), brute_force(&ops, None, 0));
    }
}
