//! The emergency stop's matrix: each way to press it under each condition. A row has the operator's view after
//! 100 ms, after 1 s and at the end, and the rover's state. `cargo test --test stop_matrix -- --nocapture` prints it.
//!
//! The same with conditions of more than ten seconds, an observation after 10 s, and a terminal that stalls for 30 s:
//! `cargo test --test stop_matrix -- --ignored --nocapture --test-threads 2`, about ten minutes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod conditions;
mod fixture;
mod ids;
mod operator_ui;
mod operators;
mod page;
mod press;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// When the operator's view is read after the press, and how long a condition lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    observe_at: &'static [Duration],
    /// How long nothing answers after the last observation.
    outage: Duration,
    /// How long a terminal takes no output before the press.
    stall: Duration,
    /// Whether each way is pressed under hostile load too, where a press takes seconds, or one way of each kind.
    every_way_under_load: bool,
}

const SHORT: Timing = Timing {
    observe_at: &[Duration::from_millis(100), Duration::from_secs(1)],
    outage: Duration::from_secs(2),
    stall: Duration::from_secs(6),
    every_way_under_load: false,
};
const LONG: Timing = Timing {
    observe_at: &[Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)],
    outage: Duration::from_secs(2),
    stall: Duration::from_secs(30),
    every_way_under_load: true,
};

static PROCESSORS: RwLock<()> = RwLock::new(());

/// The hostile load runs alone, so that it does not disturb the measurements of the other tests.
enum ProcessorLock {
    Exclusive { _guard: RwLockWriteGuard<'static, ()> },
    Shared { _guard: RwLockReadGuard<'static, ()> },
}

impl ProcessorLock {
    /// Acquires the lock for a test. A test that failed while it held it does not hold up the others.
    fn acquire(test: &str) -> ProcessorLock {
        if test == "under_hostile_load" {
            ProcessorLock::Exclusive { _guard: PROCESSORS.write().unwrap_or_else(PoisonError::into_inner) }
        } else {
            ProcessorLock::Shared { _guard: PROCESSORS.read().unwrap_or_else(PoisonError::into_inner) }
        }
    }
}

/// Two tests of each condition: a short one, and a long one that is not run by default.
macro_rules! matrix {
    ($($condition:path => $name:ident;)*) => {
        $(#[test]
        fn $name() {
            let _lock = ProcessorLock::acquire(stringify!($name));
            $condition(SHORT);
        })*

        mod ten_seconds {
            use super::*;

            $(#[test]
            #[ignore = "takes minutes"]
            fn $name() {
                let _lock = ProcessorLock::acquire(stringify!($name));
                $condition(LONG);
            })*
        }
    };
}

matrix! {
    conditions::all_serve => normal_operation;
    conditions::all_hang => all_endpoints_hang_and_come_back;
    conditions::primary_hangs => the_primary_hangs;
    conditions::full => all_slots_are_taken;
    conditions::full_before => all_slots_were_taken_before;
    conditions::hostile_load => under_hostile_load;
    conditions::nothing_listens => nothing_listens_at_first;
    conditions::damaged_latch => the_latch_is_damaged;
    conditions::disk_full => the_disk_is_full;
    operator_ui::terminal_stalls => the_terminal_takes_no_output;
    operator_ui::pasted_text => text_is_pasted;
}

#[test]
fn each_order_of_ids_over_each_way() {
    ids::every_order();
}

#[test]
fn a_page_prompts_before_closing_with_an_unacknowledged_stop() {
    page::prompts_before_closing();
}
