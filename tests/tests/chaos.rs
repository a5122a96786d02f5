//! The short version of the coordination chaos tests; `scripts/chaos` runs the full one.

use roverline_tests::chaos::environment::StoreArgs;
use roverline_tests::chaos::{Report, contention, crash, disk, paused_holder, paused_writer};
use roverline_tests::skip::{Missing, skip};

fn check(report: &Report) {
    println!("{report}");
    if let Some(why) = &report.skipped {
        skip(&Missing::capability(why.as_str()));
    }
    assert!(report.violations.is_empty(), "{report}");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let store = StoreArgs::default();
    check(&crash::run(&crash::Options { kills: 12, processes: 4, seconds: 10, seed: 7, store }));
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_of_workers_and_of_the_leader_of_a_cluster() {
    let store = StoreArgs { etcd: true, ..StoreArgs::default() };
    check(&crash::run(&crash::Options { kills: 6, processes: 3, seconds: 15, seed: 7, store }));
}

#[test]
fn a_process_paused_within_a_write_does_not_block_the_others() {
    check(&paused_writer::run(&paused_writer::Options { trials: 1, seed: 3 }));
}

#[test]
fn a_paused_holder_writes_nothing() {
    check(&paused_holder::pause(&paused_holder::Options { trials: 2 }));
}

#[test]
fn a_stepped_clock_changes_nothing() {
    check(&paused_holder::clock());
}

#[test]
fn deadlocks_are_detected_and_many_waiters_are_served() {
    check(&contention::deadlock());
    check(&contention::waiters(&contention::Options { waiters: 100, seconds: 120 }));
}

#[test]
fn a_full_disk_is_survived() {
    check(&disk::on_small_disk("disk-full"));
}

#[test]
fn a_read_only_disk_is_survived() {
    check(&disk::on_small_disk("read-only"));
}

#[test]
fn corrupted_files_are_reported_and_truncated_ones_read() {
    check(&disk::corrupt());
}
