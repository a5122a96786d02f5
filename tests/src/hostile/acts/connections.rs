//! Connections: many, slow, silent, or without end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{NATIVE, connect, repeat, session, text, wait};
use crate::hostile::target::Target;

/// Requests that one client sends before it reads the answers.
const PIPELINED: u64 = 50;

fn hold_sessions(target: &Target, ports: &[u16], count: usize, path: &str, fields: &str) {
    let open = |port: u16| session(port, path, fields).map(|stream| (port, stream));
    let mut held: Vec<_> =
        ports.iter().flat_map(|port| (0..count).filter_map(move |_| open(*port))).collect();
    let mut buffer = vec![0; 64 << 10];
    while target.is_running() {
        for (port, stream) in &mut held {
            let _ = stream.set_nonblocking(true);
            if matches!(stream.read(&mut buffer), Ok(0))
                && let Some((_, anew)) = open(*port)
            {
                *stream = anew;
                target.add_operations(1);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn all_slots(target: &Target) {
    hold_sessions(target, &target.ports, 60, "/telemetry", "");
}

pub(super) fn standbys(target: &Target) {
    hold_sessions(target, &target.ports, 210, "/?session=standby", NATIVE);
}

pub(super) fn unread(target: &Target) {
    let message = text(&serde_json::json!({"type": "subscribe", "topics": ["**"]}));
    let mut held: Vec<_> = (0..60).filter_map(|_| session(target.port(), "/telemetry", "")).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(&message)));
    wait(target);
}

/// Clients that stay connected, read nothing and answer no ping.
pub(super) fn upgrade_silence(target: &Target) {
    let mut held = Vec::new();
    while target.is_running() {
        held.extend(session(target.port(), "/", NATIVE));
        target.add_operations(1);
        if held.len() > 200 {
            held.drain(..100);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Connections that send `begin`, and then a byte now and then; they are opened anew when they are closed.
fn drip(target: &Target, count: usize, begin: &[u8]) {
    let open = || {
        let mut stream = connect(target.port())?;
        stream.write_all(begin).ok()?;
        target.add_operations(1);
        Some(stream)
    };
    let mut held: Vec<_> = (0..count).map(|_| open()).collect();
    while target.is_running() {
        for slot in &mut held {
            if slot.as_mut().is_none_or(|stream| stream.write_all(b"a").is_err()) {
                *slot = open();
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

pub(super) fn slow_heads(target: &Target) {
    drip(target, 170, b"GET /health HTTP/1.1\r\nHost: x\r\nX: ");
}

pub(super) fn drip_peers(target: &Target) {
    drip(target, 400, b"GET /health HTTP/1.1\r\nHost: x\r\nX: ");
}

pub(super) fn slow_bodies(target: &Target) {
    let head = "POST /api/v2/emergency-stop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    drip(target, 170, format!("{head}Content-Length: 4000\r\n\r\n").as_bytes());
}

pub(super) fn silent(target: &Target) {
    let _held: Vec<_> = (0..300).map(|_| connect(target.port())).collect();
    wait(target);
}

pub(super) fn churn(target: &Target) {
    while target.is_running() {
        drop(session(target.port(), "/telemetry", ""));
        target.add_operations(1);
    }
}

pub(super) fn long_heads(target: &Target) {
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(60_000));
    while target.is_running() {
        if let Some(mut stream) = connect(target.port()) {
            let _ = stream.write_all(head.as_bytes());
            target.add_operations(1);
        }
    }
}

fn hold_requests(target: &Target, count: usize, request: &[u8]) {
    let mut held: Vec<_> = (0..count).filter_map(|_| connect(target.port())).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(request)));
    wait(target);
}

pub(super) fn long_polls(target: &Target) {
    let request = "GET /api/v2/locks?after_revision=1000000&wait_ms=20000 HTTP/1.1\r\nHost: x\r\n\r\n";
    hold_requests(target, 160, request.as_bytes());
}

pub(super) fn unread_http(target: &Target) {
    let request = "GET /api/v2/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    hold_requests(target, 100, request.repeat(50).as_bytes());
}

/// Requests in a row on one connection after another, as fast as they are answered.
pub(super) fn requests(target: &Target) {
    let requests = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(PIPELINED as usize);
    while target.is_running() {
        let Some(mut stream) = connect(target.port()) else { continue };
        while target.is_running() && stream.write_all(&requests).is_ok() {
            let answered = answers(&mut stream);
            target.add_operations(answered);
            if answered < PIPELINED {
                break;
            }
        }
    }
}

/// The answers to a row of requests, by their status lines.
fn answers(stream: &mut TcpStream) -> u64 {
    const STATUS: &[u8] = b"HTTP/1.1 ";
    let (mut count, mut matched, mut quiet) = (0, 0, 0);
    let mut buffer = vec![0; 64 << 10];
    while count < PIPELINED && quiet < 20 {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                for byte in &buffer[..length] {
                    matched = if *byte == STATUS[matched] { matched + 1 } else { usize::from(*byte == b'H') };
                    if matched == STATUS.len() {
                        (count, matched) = (count + 1, 0);
                    }
                }
            }
            Err(_) => quiet += 1,
        }
    }
    count
}

pub(super) fn wrong_tokens(target: &Target) {
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123\r\n\r\n";
    repeat(target, "/?token=wrong", "", request);
}
