//! The short version of the hostile acts: two seconds of some, without bounds on time.
//! `scripts/hostile` runs all of them and prints the table.

use std::sync::Mutex;

use roverline_tests::hostile;

/// Serializes the acts: each of them uses the whole computer.
static SERIAL: Mutex<()> = Mutex::new(());

fn check(name: &str) {
    let _serial = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let failures = hostile::check(name).failures();
    assert!(failures.is_empty(), "{name}: {}", failures.join("; "));
}

/// One test per act, so that a failure carries its name.
macro_rules! acts {
    ($($name:ident $test:ident;)*) => {$(
        #[test]
        fn $test() {
            check(stringify!($name));
        }
    )*};
}

acts! {
    patterns costly_patterns_cost_no_one_else;
    places full_places_cost_no_operator;
    slow_heads slow_heads_cost_no_one_else;
    long_polls long_polls_cost_no_one_else;
    store_locks requests_to_the_store_cost_no_one_else;
    switched reports_cost_no_one_else;
    drip_peers dripping_connections_make_no_peer_believe_the_primary_down;
    impostor an_impostor_costs_no_one_else;
    port_scan registrations_cost_no_one_else;
    values values_cost_no_one_else;
    resumes resumes_cost_no_one_else;
    events events_cost_no_one_else;
    long_heads long_heads_cost_no_one_else;
    tls_handshakes tls_handshakes_cost_no_one_else;
}
