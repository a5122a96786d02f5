//! The quick part of the fault matrix: a trial or two of each scenario, with bounds that hold on a busy
//! machine. `scripts/faults` plays all of it; `docs/faults.md` tells what the scenarios are.

use std::sync::Mutex;

use roverline_tests::faults;
use roverline_tests::python::skipped;

/// One scenario at a time: they measure milliseconds.
static ONE: Mutex<()> = Mutex::new(());

fn holds(name: &str, trials: usize) {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match faults::check(name, trials) {
        Ok(failures) => assert!(failures.is_empty(), "{name}: {}", failures.join("; ")),
        Err(why) => skipped(&format!("{name}: {why}")),
    }
}

/// One test per scenario, so that a failure carries its name.
macro_rules! scenarios {
    ($($name:ident $trials:literal $test:ident;)*) => {$(
        #[test]
        fn $test() {
            holds(stringify!($name), $trials);
        }
    )*};
}

scenarios! {
    kill 1 a_killed_endpoint_costs_nothing;
    hang 1 a_hung_endpoint_costs_nothing;
    broken_frame 1 a_connection_that_ends_inside_a_frame_costs_nothing;
    all_dead 1 all_four_come_back_on_the_same_ports;
    slow_reader 1 slow_readers_harm_nobody;
    thawed_client 1 a_thawed_client_is_told_nothing_old;
    lying_peer 1 a_lying_peer_harms_nobody;
    port_blocked 1 a_blocked_port_costs_nothing;
}
