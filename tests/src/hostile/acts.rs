//! The hostile acts. Each one is some threads with raw sockets that act until they are told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::raw::{frame, handshake};

/// How one attacker acts on its port until the flag says stop.
type Attack = fn(u16, &AtomicBool);

/// One act.
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    attackers: usize,
    attack: Attack,
}

impl Act {
    /// Starts the attackers.
    pub(super) fn start(&self, port: u16, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
        let attack = self.attack;
        let start = |_| {
            let stop = stop.clone();
            std::thread::spawn(move || attack(port, &stop))
        };
        (0..self.attackers).map(start).collect()
    }
}

const fn act(name: &'static str, what: &'static str, attackers: usize, attack: Attack) -> Act {
    Act { name, what, attackers, attack }
}

/// All acts.
pub(super) const ACTS: &[Act] = &[
    act("nothing", "nobody attacks", 0, |_, _| {}),
    act("patterns", "sessions subscribe to 1024 costly patterns again and again", 4, patterns),
    act("names", "sessions subscribe to 1024 names and leave them again", 4, names),
    act("places", "observers take all places", 1, |port, stop| hold(port, stop, 60, "/telemetry")),
    act("unread", "observers take all places and never read", 1, unread),
    act("slow_heads", "170 connections send a byte now and then", 1, slow_heads),
    act("silent", "300 connections send nothing", 1, silent),
    act("churn", "connections come and go", 4, churn),
    act("long_polls", "160 long polls of strangers", 1, long_polls),
    act("unread_http", "responses are requested and never read", 1, unread_http),
    act("store_values", "sessions read the store", 20, |port, stop| {
        request_all(port, stop, "/api/v2/kv?limit=1000")
    }),
    act("store_events", "sessions read the event log", 20, |port, stop| {
        request_all(port, stop, "/api/v2/events?limit=500");
    }),
    act("store_locks", "sessions list locks", 20, |port, stop| request_all(port, stop, "/api/v2/locks")),
    act("switched", "sessions report switches", 3, switched),
    act("wrong_tokens", "tokens are guessed", 4, wrong_tokens),
    act("bad_messages", "sessions send messages that nobody understands", 4, bad_messages),
    act("bad_frames", "sessions send broken frames", 4, bad_frames),
    act("long_heads", "requests with heads that are too long", 4, long_heads),
    act("images", "an image as PNG, each client with other fragments", 12, images),
];

fn runs(stop: &AtomicBool) -> bool {
    !stop.load(Ordering::Relaxed)
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
    Some(stream)
}

/// A session; what the endpoint answers is not checked.
fn session(port: u16, path: &str, native: bool) -> Option<TcpStream> {
    let mut stream = connect(port)?;
    let field = if native { "\r\nSec-WebSocket-Protocol: roverline.v1\r\n\r\n" } else { "\r\n\r\n" };
    stream.write_all(handshake(path).replace("\r\n\r\n", field).as_bytes()).ok()?;
    Some(stream)
}

/// Sends a message again and again and reads what comes, in sessions that are opened anew when they end.
fn repeat(port: u16, stop: &AtomicBool, path: &str, native: bool, message: &[u8]) {
    let mut buffer = vec![0; 256 << 10];
    while runs(stop) {
        let Some(mut stream) = session(port, path, native) else { continue };
        while runs(stop) && stream.write_all(message).is_ok() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
}

fn text(message: &str) -> Vec<u8> {
    frame(1, message.as_bytes())
}

fn subscribe(pattern: impl Fn(usize) -> String) -> Vec<u8> {
    let topics: Vec<_> = (0..1_024).map(pattern).collect();
    text(&serde_json::json!({"type": "subscribe", "topics": topics}).to_string())
}

fn patterns(port: u16, stop: &AtomicBool) {
    let message = subscribe(|n| format!("{}{n:04}", "{[!a],*,**/}".repeat(20)));
    repeat(port, stop, "/telemetry", false, &message);
}

fn names(port: u16, stop: &AtomicBool) {
    let names: Vec<_> = (0..1_024).map(|n| format!("/a/{n}")).collect();
    let leave = text(&serde_json::json!({"type": "unsubscribe", "topics": names}).to_string());
    let message = [subscribe(|n| format!("/a/{n}")), leave].concat();
    repeat(port, stop, "/telemetry", false, &message);
}

fn hold(port: u16, stop: &AtomicBool, count: usize, path: &str) {
    let mut held: Vec<_> = (0..count).filter_map(|_| session(port, path, false)).collect();
    let mut buffer = vec![0; 64 << 10];
    while runs(stop) {
        for stream in &mut held {
            let _ = stream.set_nonblocking(true);
            if matches!(stream.read(&mut buffer), Ok(0))
                && let Some(anew) = session(port, path, false)
            {
                *stream = anew;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn unread(port: u16, stop: &AtomicBool) {
    let message = text(r#"{"type":"subscribe","topics":["**"]}"#);
    let mut held: Vec<_> = (0..60).filter_map(|_| session(port, "/telemetry", false)).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(&message)));
    wait(stop);
}

fn wait(stop: &AtomicBool) {
    while runs(stop) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn slow_heads(port: u16, stop: &AtomicBool) {
    let open = || {
        let mut stream = connect(port)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ").ok()?;
        Some(stream)
    };
    let mut held: Vec<_> = (0..170).map(|_| open()).collect();
    while runs(stop) {
        for place in &mut held {
            if place.as_mut().is_none_or(|stream| stream.write_all(b"a").is_err()) {
                *place = open();
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn silent(port: u16, stop: &AtomicBool) {
    let _held: Vec<_> = (0..300).map(|_| connect(port)).collect();
    wait(stop);
}

fn churn(port: u16, stop: &AtomicBool) {
    while runs(stop) {
        drop(session(port, "/telemetry", false));
    }
}

fn long_polls(port: u16, stop: &AtomicBool) {
    let request = b"GET /api/v2/locks?after_revision=1000000&wait_ms=20000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held: Vec<_> = (0..160).filter_map(|_| connect(port)).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(request)));
    wait(stop);
}

fn unread_http(port: u16, stop: &AtomicBool) {
    let requests = b"GET /api/v2/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let mut held: Vec<_> = (0..100).filter_map(|_| connect(port)).collect();
    held.iter_mut().for_each(|stream| drop(stream.write_all(&requests)));
    wait(stop);
}

fn request_all(port: u16, stop: &AtomicBool, path: &str) {
    let request = |id| text(&serde_json::json!({"op": "request", "id": id, "path": path}).to_string());
    let message: Vec<u8> = (0..32).flat_map(request).collect();
    repeat(port, stop, "/", true, &message);
}

fn switched(port: u16, stop: &AtomicBool) {
    let report = serde_json::json!({"op": "switched", "cause": "x".repeat(250), "blackout_ms": 1e9});
    repeat(port, stop, "/", true, &text(&report.to_string()).repeat(20));
}

fn wrong_tokens(port: u16, stop: &AtomicBool) {
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123\r\n\r\n";
    repeat(port, stop, "/?token=wrong", false, request);
}

fn bad_messages(port: u16, stop: &AtomicBool) {
    repeat(port, stop, "/telemetry", false, &text(&"[".repeat(900_000)));
}

fn bad_frames(port: u16, stop: &AtomicBool) {
    repeat(port, stop, "/telemetry", false, &[0xff; 64]);
}

fn long_heads(port: u16, stop: &AtomicBool) {
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(60_000));
    while runs(stop) {
        if let Some(mut stream) = connect(port) {
            let _ = stream.write_all(head.as_bytes());
        }
    }
}

fn images(port: u16, stop: &AtomicBool) {
    let topic = "/camera/front/compressed";
    let message = |topic: &str| {
        text(
            &serde_json::json!({"op": "subscribe", "topic": topic, "compression": "png",
            "fragment_size": 1_000 + std::process::id() % 1_000})
            .to_string(),
        )
    };
    let Some(mut stream) = session(port, "/rosbridge", false) else { return };
    let _ = stream.write_all(&[message(topic), message("/map")].concat());
    let mut buffer = vec![0; 256 << 10];
    while runs(stop) {
        if matches!(stream.read(&mut buffer), Ok(0)) {
            return;
        }
    }
}
