//! The library's log reaches the sink, and a flood of damaged packets does not flood it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::net::UdpSocket;
use std::time::Instant;

use common::*;
use parking_lot::Mutex;
use roverline_cyclone::{LogLevel, set_log};

static LINES: Mutex<Vec<(LogLevel, String)>> = Mutex::new(Vec::new());

/// A DATA submessage that is too short.
const DAMAGED: &[u8] = b"RTPS\x02\x01\x01\x10participant1\x15\x01\x04\x00\0\0\0\0";

#[test]
fn damaged_packets_are_logged_ten_times_per_second() {
    set_log(|level, line| LINES.lock().push((level, line.to_owned())));
    set_log(|_, _| unreachable!("the first sink stays"));
    let _participant = join(77);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    // The port of the first participant of the domain.
    let port = 7400 + 250 * 77 + 10;
    let start = Instant::now();
    wait_until("the count of lines that were left out", || {
        for _ in 0..50 {
            socket.send_to(DAMAGED, ("127.0.0.1", port)).unwrap();
        }
        LINES.lock().iter().any(|(_, line)| line.contains("lines before it were left out"))
    });
    let lines = LINES.lock();
    assert!(
        lines.iter().all(|(level, line)| *level == LogLevel::Warning && line.contains("malformed")),
        "{lines:?}"
    );
    let seconds = start.elapsed().as_secs() as usize + 1;
    assert!((11..=10 * (seconds + 1)).contains(&lines.len()), "{} lines in {seconds} s", lines.len());
}
