//! The quick part of the fault matrix: a trial or two of each scenario, with bounds that hold on a busy
//! machine. `scripts/faults` plays all of it; `docs/faults.md` tells what the scenarios are.

use std::sync::Mutex;

use roverline_tests::faults;
use roverline_tests::python::skipped;

/// One at a time of those that measure milliseconds; the others mostly wait, and go beside them.
static ALONE: Mutex<()> = Mutex::new(());

fn holds(name: &str, alone: bool, trials: usize) {
    let _alone = alone.then(|| ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    match faults::check(name, trials) {
        Ok(failures) => assert!(failures.is_empty(), "{name}: {}", failures.join("; ")),
        Err(why) => skipped(&format!("{name}: {why}")),
    }
}

/// One test per scenario, so that a failure carries its name.
macro_rules! scenarios {
    ($($name:ident $alone:literal $trials:literal $test:ident;)*) => {$(
        #[test]
        fn $test() {
            holds(stringify!($name), $alone, $trials);
        }
    )*};
}

// Scenario, whether it runs alone, trials, test.
scenarios! {
    kill true 1 a_killed_endpoint_costs_nothing;
    hang true 1 a_hung_endpoint_costs_nothing;
    broken_frame true 1 a_connection_that_ends_inside_a_frame_costs_nothing;
    all_dead true 1 all_four_come_back_on_the_same_ports;
    slow_reader false 1 slow_readers_harm_nobody;
    thawed_client false 1 a_thawed_client_is_told_nothing_old;
    lying_peer false 1 a_lying_peer_harms_nobody;
    port_blocked true 1 a_blocked_port_costs_nothing;
}
