//! What becomes of commands while processes, the network, a relay and the store fail: each is done at most once, its clients
//! learn what became of it, and nothing is done after its time to live. The rover is a node on CycloneDDS that records which
//! command arrived when, by the clock that its clients use for their deadlines.
//!
//! `scripts/faults commands` prints the whole table; the tests here are a short version.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod campaign;
mod fault;
mod rover;
mod table;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roverline_tests::clients::python;
use roverline_tests::require;
use roverline_tests::skip::{Missing, skip};

use crate::campaign::campaign;
use crate::fault::{ALL, Fault};
use crate::rover::CommandedRover;
use crate::table::Row;

/// Commands of a short run.
const FEW: usize = 40;
/// How much later than its deadline a command may reach the rover's clock: the way through DDS, the scheduler, and Python.
const TOLERANCE: Duration = Duration::from_millis(50);
/// The same of binaries that are not optimized, on a computer that runs other tests.
const SHORT_TOLERANCE: Duration = Duration::from_millis(500);
/// Campaigns measure, and do not disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

/// Sends commands while a fault comes again and again; `None` if this computer cannot produce it.
fn run(fault: Fault, count: usize, tolerance: Duration) -> Result<Row, Missing> {
    let python = python()?;
    let rover = CommandedRover::start(&python, fault).map_err(Missing::capability)?;
    let (commands, faults) = campaign(&rover, fault, count);
    let row = Row::new(fault, faults, &commands, &rover.arrivals(), tolerance);
    Ok(row)
}

fn check(fault: Fault) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let row = require!(run(fault, FEW, SHORT_TOLERANCE));
    println!("{}\n{row}", table::HEAD);
    assert_eq!(row.violations(), Vec::<String>::new());
    assert!(row.done_once >= FEW / 3, "{row}");
}

#[test]
fn killed_endpoints_do_nothing_twice() {
    check(Fault::Kill);
}

#[test]
fn a_cut_radio_does_nothing_twice_and_nothing_late() {
    check(Fault::Cut);
}

#[test]
fn a_store_that_is_away_does_nothing_twice() {
    check(Fault::StoreAway);
}

#[test]
fn a_killed_relay_does_nothing_twice() {
    check(Fault::RelayKilled);
}

/// Prints the whole table. `scripts/faults commands` runs it; `COMMANDS=1000` commands under each fault.
#[test]
#[ignore = "takes a quarter of an hour"]
fn figures_of_commands() {
    let count = std::env::var("COMMANDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let only = std::env::var("FAULT").unwrap_or_default();
    println!("{}", table::HEAD);
    let mut violations = Vec::new();
    for fault in ALL.iter().copied().filter(|fault| fault.name().contains(&only)) {
        match run(fault, count, TOLERANCE) {
            Ok(row) => {
                println!("{row}");
                violations.extend(row.violations());
            }
            Err(missing) => {
                println!("{:<16} skipped: {missing}", fault.name());
                skip(&missing);
            }
        }
    }
    println!("{}", table::LEGEND);
    assert_eq!(violations, Vec::<String>::new());
}
