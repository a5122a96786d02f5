//! The shared harness of the end-to-end tests: the real binaries, and clients that talk to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is the harness of tests: a panic is its way to report"
)]

pub mod binary;
pub mod certs;
pub mod chaos;
pub mod clock;
pub mod console;
pub mod control_client;
pub mod disk_stall;
pub mod faults;
pub mod gateway;
pub mod hostile;
pub mod http;
pub mod native;
pub mod net;
pub mod plain;
pub mod raw;
pub mod scheduler_stall;
pub mod script;
pub mod stepped_clock;
pub mod usage;

pub use roverline_test_support::{clients, etcd, process, recordings, require, skip, temp, wait};
