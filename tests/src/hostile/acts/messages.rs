//! Sessions that send small messages with a high processing cost.

use std::io::{Read, Write};

use base64::Engine as _;

use super::{NATIVE, frame, png, repeat, session, text};
use crate::hostile::target::Target;

fn subscribe(pattern: impl Fn(usize) -> String) -> Vec<u8> {
    let topics: Vec<_> = (0..1_024).map(pattern).collect();
    text(&serde_json::json!({"type": "subscribe", "topics": topics}))
}

pub(super) fn patterns(target: &Target) {
    let message = subscribe(|n| format!("{}{n:04}", "{[!a],*,**/}".repeat(20)));
    repeat(target, "/telemetry", "", &message);
}

pub(super) fn names(target: &Target) {
    let names: Vec<_> = (0..1_024).map(|n| format!("/a/{n}")).collect();
    let leave = text(&serde_json::json!({"type": "unsubscribe", "topics": names}));
    let message = [subscribe(|n| format!("/a/{n}")), leave].concat();
    repeat(target, "/telemetry", "", &message);
}

pub(super) fn resumes(target: &Target) {
    let cursor = |n: usize| serde_json::json!({"source": format!("{n:032x}"), "seq": 1});
    let cursors: Vec<_> = (0..8_192).map(cursor).collect();
    let resume = text(&serde_json::json!({"op": "resume", "cursors": cursors, "age_ms": 5_000}));
    let all = text(&serde_json::json!({"op": "subscribe", "topics": ["**"]}));
    repeat(target, "/", NATIVE, &[resume, all].concat());
}

pub(super) fn switched(target: &Target) {
    let report = serde_json::json!({"op": "switched", "cause": "x".repeat(250), "blackout_ms": 1e9});
    repeat(target, "/", NATIVE, &text(&report).repeat(20));
}

pub(super) fn stop_attempts(target: &Target) {
    let command = |engage: bool| serde_json::json!({"op": "emergency_stop", "id": "x", "engage": engage});
    repeat(target, "/", NATIVE, &[text(&command(true)), text(&command(false))].concat().repeat(20));
}

pub(super) fn bad_messages(target: &Target) {
    repeat(target, "/telemetry", "", &frame(1, "[".repeat(900_000).as_bytes()));
}

pub(super) fn bad_frames(target: &Target) {
    repeat(target, "/telemetry", "", &[0xff; 64]);
}

/// A text frame of 2^40 bytes, and as much of it as the endpoint takes.
pub(super) fn huge_frames(target: &Target) {
    let head = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    repeat(target, "/telemetry", "", &[head, vec![b'x'; 256 << 10]].concat());
}

/// A bomb of permessage-deflate, which was not negotiated.
pub(super) fn compressed(target: &Target) {
    let mut bomb = frame(1, &[0; 60_000]);
    bomb[0] |= 0x40;
    repeat(target, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n", &bomb);
}

pub(super) fn fragments(target: &Target) {
    let mut begin = frame(1, b"[");
    begin[0] &= 0x7f;
    let mut piece = frame(0, b"[");
    piece[0] &= 0x7f;
    repeat(target, "/telemetry", "", &[begin, piece.repeat(5_000), frame(0, b"]")].concat());
}

pub(super) fn reassembly(target: &Target) {
    let piece = |n: usize| {
        let data = "x".repeat(60_000);
        text(
            &serde_json::json!({"op": "fragment", "id": format!("{n}"), "data": data, "num": 0, "total": 1_000}),
        )
    };
    repeat(target, "/rosbridge", "", &(0..8).flat_map(piece).collect::<Vec<_>>());
}

pub(super) fn pings(target: &Target) {
    repeat(target, "/telemetry", "", &frame(9, &[0; 125]).repeat(200));
}

pub(super) fn close_codes(target: &Target) {
    let mut buffer = [0; 4_096];
    for code in (0..u16::MAX).step_by(7).cycle() {
        if !target.is_running() {
            return;
        }
        let Some(mut stream) = session(target.port(), "/telemetry", "") else { continue };
        let _ = stream.write_all(&frame(8, &code.to_be_bytes()));
        let _ = stream.read(&mut buffer);
        target.add_operations(1);
    }
}

pub(super) fn images(target: &Target) {
    let message = |topic: &str| {
        text(&serde_json::json!({"op": "subscribe", "topic": topic, "compression": "png",
            "fragment_size": 1_000 + std::process::id() % 1_000}))
    };
    let Some(mut stream) = session(target.port(), "/rosbridge", "") else { return };
    let _ = stream.write_all(&[message("/camera/front/compressed"), message("/map")].concat());
    let mut buffer = vec![0; 256 << 10];
    while target.is_running() {
        if matches!(stream.read(&mut buffer), Ok(0)) {
            return;
        }
    }
}

/// Nested, and with many keys, in each dialect that reads JSON.
fn repeat_in_all(target: &Target, message: &str) {
    let message = frame(1, message.as_bytes());
    let dialects = [("/telemetry", ""), ("/", NATIVE), ("/rosbridge", "")];
    let (path, fields) = dialects[target.next_number() % dialects.len()];
    repeat(target, path, fields, &message);
}

pub(super) fn nested(target: &Target) {
    let depth = 100_000;
    repeat_in_all(
        target,
        &format!(r#"{{"op":"subscribe","topic":{}{}}}"#, r#"{"a":["#.repeat(depth), "]}".repeat(depth)),
    );
}

pub(super) fn many_keys(target: &Target) {
    let keys: Vec<_> = (0..70_000).map(|n| format!(r#""key{n:06}":0"#)).collect();
    repeat_in_all(target, &format!(r#"{{"op":"publish","topic":"/a","msg":{{{}}}}}"#, keys.join(",")));
}

/// An image of 750 kB, which as text is the largest message that the endpoint takes; and one whose header has a size
/// beyond any memory.
pub(super) fn png_bombs(target: &Target) {
    let message = |image: &[u8]| {
        let data = base64::engine::general_purpose::STANDARD.encode(image);
        text(&serde_json::json!({"op": "png", "data": data}))
    };
    let bombs =
        [message(&png::image(2_000, 2_000, 700_000)), message(&png::image(u32::MAX >> 1, u32::MAX >> 1, 0))];
    repeat(target, "/rosbridge", "", &bombs.concat());
}
