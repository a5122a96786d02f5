//! Plain client messages.
#![no_main]

mod structured_json;

use libfuzzer_sys::fuzz_target;
use roverline_gateway::dialect::plain::Request;

const TYPES: &[&str] = &["request_telemetry", "subscribe", "unsubscribe", "emergency_stop", "auth", "ping"];
const FIELDS: &[&str] = &["topics", "max_rate_hz", "id", "reason", "token", "op", "type"];

fuzz_target!(|input: &[u8]| {
    let texts = [structured_json::structured_json(input, "type", TYPES, FIELDS), String::from_utf8(input.to_vec()).ok()];
    for text in texts.into_iter().flatten() {
        if let Err(error) = Request::decode(&text) {
            let why = error.to_string();
            assert!(why.contains("not understood"), "{why}");
        }
    }
});
