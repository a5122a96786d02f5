//! The quick part of the proof of coordination. `scripts/coordination` plays all of it.

use roverline_tests::coordination::kills;

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let options = kills::Options { kills: 12, processes: 4, seconds: 10, seed: 7, store: None };
    let report = kills::run(&options);
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
}
