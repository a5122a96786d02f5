//! rosbridge client messages: a few at a time, whose fragments may belong together.
#![no_main]

mod structured_json;

use libfuzzer_sys::fuzz_target;
use roverline_gateway::dialect::rosbridge;

const OPS: &[&str] = &[
    "subscribe",
    "unsubscribe",
    "advertise",
    "unadvertise",
    "publish",
    "call_service",
    "advertise_service",
    "unadvertise_service",
    "service_response",
    "send_action_goal",
    "cancel_action_goal",
    "advertise_action",
    "unadvertise_action",
    "action_feedback",
    "action_result",
    "fragment",
    "png",
    "set_level",
    "auth",
];
const FIELDS: &[&str] = &[
    "op",
    "id",
    "topic",
    "type",
    "throttle_rate",
    "queue_length",
    "fragment_size",
    "compression",
    "msg",
    "latch",
    "service",
    "args",
    "timeout",
    "values",
    "result",
    "action",
    "action_type",
    "feedback",
    "status",
    "data",
    "num",
    "total",
    "level",
    "token",
];

fuzz_target!(|input: &[u8]| {
    let mut texts: Vec<String> = input
        .chunks(input.len() / 4 + 1)
        .filter_map(|part| structured_json::structured_json(part, "op", OPS, FIELDS))
        .collect();
    texts.extend(input.split(|byte| *byte == b'\n').filter_map(|line| String::from_utf8(line.to_vec()).ok()));
    let decoded = rosbridge::decode_all(texts.iter().map(String::as_str));
    assert!(decoded <= texts.len());
});
