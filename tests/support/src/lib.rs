//! Test support for every crate of the workspace. It depends on none of them, so each can use it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test harness a panic is the report"
)]

pub mod clients;
pub mod etcd;
pub mod process;
pub mod recordings;
pub mod skip;
pub mod temp;
pub mod wait;
