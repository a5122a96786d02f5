//! What the end-to-end tests share: the real binaries, and clients to talk to them with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is the harness of tests: a panic is its way to report"
)]

pub mod binary;
pub mod console;
pub mod coordination;
pub mod etcd;
pub mod faults;
pub mod gateway;
pub mod good;
pub mod http;
pub mod native;
pub mod node;
pub mod plain;
pub mod process;
pub mod python;
pub mod raw;
pub mod scratch;
pub mod shared;
pub mod wait;
