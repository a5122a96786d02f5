//! Fairness: clients without rights do not slow down clients with rights.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod connections;
mod slots;
mod store;

use std::time::Duration;

use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::temp::{self, TempDir};

/// A gateway whose clients are observers unless they present a token, and an operator's token.
fn gateway_with_token(args: &[&str]) -> (Gateway, String, TempDir) {
    let scratch = temp::dir();
    let file = scratch.path().join("tokens");
    let file = file.to_str().unwrap();
    let (code, token, _) = gateway::run(&["token", "add", "--tokens", file, "ada"], Duration::from_secs(10));
    assert_eq!(code, 0);
    let guard = ["--source", "sim", "--loopback-role", "observer", "--tokens", file];
    (Gateway::serve(&[&guard, args].concat()), token.trim().to_owned(), scratch)
}

/// The value of a counter without labels.
fn counter(port: u16, name: &str) -> u64 {
    let page = http::get(port, "/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}
