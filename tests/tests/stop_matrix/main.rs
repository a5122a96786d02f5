//! The emergency stop's matrix: each way to press it in each bad moment; what the operator sees after 100 ms, 1 s
//! and in the end, and what the rover did. `cargo test --test stop_matrix -- --nocapture` prints it.
//!
//! The same with moments of more than ten seconds, a look after 10 s, and a terminal that stalls for 30 s:
//! `cargo test --test stop_matrix -- --ignored --nocapture --test-threads 2`, about ten minutes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod hands;
mod ids;
mod moments;
mod operators;
mod page;
mod press;
mod stage;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// When the operator looks after the press, and how long a moment lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    looks: &'static [Duration],
    /// How long nothing answers after the last look.
    outage: Duration,
    /// How long a terminal takes no output before the press.
    stall: Duration,
}

const SHORT: Pace = Pace {
    looks: &[Duration::from_millis(100), Duration::from_secs(1)],
    outage: Duration::from_secs(2),
    stall: Duration::from_secs(6),
};
const LONG: Pace = Pace {
    looks: &[Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)],
    outage: Duration::from_secs(2),
    stall: Duration::from_secs(30),
};

static PROCESSORS: RwLock<()> = RwLock::new(());

/// The hostile load has the processors for itself, so that the others do not measure it as well.
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

/// Two tests of each moment: a short one, and a long one that is not run by default.
macro_rules! matrix {
    ($($moment:path => $name:ident;)*) => {
        $(#[test]
        fn $name() {
            let _lock = ProcessorLock::acquire(stringify!($name));
            $moment(SHORT);
        })*

        mod ten_seconds {
            use super::*;

            $(#[test]
            #[ignore = "takes minutes"]
            fn $name() {
                let _lock = ProcessorLock::acquire(stringify!($name));
                $moment(LONG);
            })*
        }
    };
}

matrix! {
    moments::all_serve => a_good_moment;
    moments::all_hang => all_endpoints_hang_and_come_back;
    moments::primary_hangs => the_primary_hangs;
    moments::full => all_places_are_taken;
    moments::full_before => all_places_were_taken_before;
    moments::hostile_load => under_hostile_load;
    moments::nothing_listens => nothing_listens_at_first;
    moments::damaged_latch => the_latch_is_damaged;
    moments::disk_full => the_disk_is_full;
    hands::terminal_stalls => the_terminal_takes_no_output;
    hands::pasted_text => text_is_pasted;
}

#[test]
fn each_order_of_ids_over_each_way() {
    ids::each_order();
}

#[test]
fn a_page_with_an_unheard_stop_is_not_closed_unasked() {
    page::asks_before_it_closes();
}
