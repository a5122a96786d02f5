//! The short version of the fault matrix: a trial or two of each scenario, with bounds for a busy machine.
//! `scripts/faults` runs all of it; `docs/faults.md` describes the scenarios.

use std::sync::Mutex;

use roverline_tests::faults;
use roverline_tests::skip::{Missing, skip};

/// Serializes scenarios that measure milliseconds; the others mostly wait and run in parallel.
static ALONE: Mutex<()> = Mutex::new(());

fn check(name: &str, alone: bool, trials: usize) {
    let _alone = alone.then(|| ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    match faults::check(name, trials) {
        Ok(failures) => assert!(failures.is_empty(), "{name}: {}", failures.join("; ")),
        Err(why) => skip(&Missing::capability(why)),
    }
}

/// One test per scenario, so that a failure carries its name.
macro_rules! scenarios {
    ($($name:ident $alone:literal $trials:literal $test:ident;)*) => {$(
        #[test]
        fn $test() {
            check(stringify!($name), $alone, $trials);
        }
    )*};
}

// Scenario, whether it runs alone, trials, test name.
scenarios! {
    kill true 1 a_killed_endpoint_costs_nothing;
    hang true 1 a_hung_endpoint_costs_nothing;
    kill_tls true 1 a_killed_endpoint_costs_nothing_over_tls;
    hang_tls true 1 a_hung_endpoint_costs_nothing_over_tls;
    broken_frame true 1 a_connection_that_ends_inside_a_frame_costs_nothing;
    all_dead true 1 all_four_come_back_on_the_same_ports;
    slow_reader false 1 slow_readers_affect_no_other_client;
    thawed_client false 1 a_thawed_client_receives_nothing_stale;
    lying_peer false 1 a_lying_peer_affects_no_client;
    port_blocked true 1 a_blocked_port_costs_nothing;
}
