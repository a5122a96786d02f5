//! The quick part of the proof of coordination. `scripts/coordination` plays all of it.

use roverline_tests::coordination::ground::Where;
use roverline_tests::coordination::{Report, asleep, crowd, disk, kills, stall};
use roverline_tests::python::skipped;

fn holds(report: &Report) {
    println!("{report}");
    if let Some(why) = &report.skipped {
        skipped(why);
    }
    assert!(report.violations.is_empty(), "{report}");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let over = Where::default();
    holds(&kills::run(&kills::Options { kills: 12, processes: 4, seconds: 10, seed: 7, over }));
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_of_workers_and_of_the_leader_of_a_cluster() {
    let over = Where { etcd: true, ..Where::default() };
    holds(&kills::run(&kills::Options { kills: 6, processes: 3, seconds: 15, seed: 7, over }));
}

#[test]
fn a_process_that_stands_still_within_a_write_keeps_nobody_waiting() {
    holds(&stall::run(&stall::Options { trials: 1, seed: 3 }));
}

#[test]
fn a_sleeper_writes_nothing() {
    holds(&asleep::sleep(&asleep::Options { trials: 2 }));
}

#[test]
fn a_stepped_clock_changes_nothing() {
    holds(&asleep::clock());
}

#[test]
fn circles_are_found_and_crowds_are_served() {
    holds(&crowd::deadlock());
    holds(&crowd::waiters(&crowd::Options { waiters: 100, seconds: 120 }));
}

#[test]
fn a_full_disk_is_survived() {
    holds(&disk::on_small_disk("disk-full"));
}

#[test]
fn a_disk_that_cannot_be_written_is_survived() {
    holds(&disk::on_small_disk("read-only"));
}

#[test]
fn broken_files_are_named_and_half_written_ones_read() {
    holds(&disk::corrupt());
}
