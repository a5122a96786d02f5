//! Text and binary messages of the native dialect, in both directions.
#![no_main]

mod structured_json;

use libfuzzer_sys::fuzz_target;
use roverline_protocol::native::{Binary, ClientMessage, ServerMessage};

const OPS: &[&str] = &[
    "hello",
    "auth",
    "resume",
    "subscribe",
    "unsubscribe",
    "schema",
    "time",
    "emergency_stop",
    "budget",
    "switched",
    "spans",
];
const ANSWERS: &[&str] = &[
    "hello",
    "topics",
    "subscribed",
    "resumed",
    "schema",
    "time",
    "status",
    "command",
    "drain",
    "dropped",
    "service",
    "event",
    "directory",
    "response",
];
const FIELDS: &[&str] = &[
    "client",
    "heartbeat_ms",
    "token",
    "cursors",
    "age_ms",
    "id",
    "topics",
    "max_rate_hz",
    "scopes",
    "type_name",
    "t0_ns",
    "engage",
    "reason",
    "traceparent",
    "spans",
    "context",
    "start_ns",
    "duration_ns",
    "bytes_per_s",
    "source",
    "seq",
    "from",
    "to",
    "cause",
    "level",
    "code",
    "message",
    "accepted",
    "deadline_ms",
    "body",
    "status",
    "path",
    "method",
    "up",
    "down",
    "endpoint",
    "t1_ns",
    "t2_ns",
    "matching",
    "replayed",
    "gaps",
];

fuzz_target!(|input: &[u8]| {
    if let Some(text) = structured_json::structured_json(input, "op", OPS, FIELDS)
        && let Ok(message) = serde_json::from_str::<ClientMessage>(&text)
    {
        let again = serde_json::to_string(&message).expect("our own message is not JSON");
        serde_json::from_str::<ClientMessage>(&again).expect("our own message is refused");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = serde_json::from_str::<ClientMessage>(text);
    }
    if let Some(text) = structured_json::structured_json(input, "op", ANSWERS, FIELDS)
        && let Ok(message) = serde_json::from_str::<ServerMessage>(&text)
    {
        let again = serde_json::to_string(&message).expect("an endpoint's message is not JSON");
        serde_json::from_str::<ServerMessage>(&again).expect("an endpoint's message is refused");
    }
    let _ = Binary::parse(&input.to_vec().into());
});
