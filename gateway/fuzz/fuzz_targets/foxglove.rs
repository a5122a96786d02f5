//! Foxglove client messages, text and binary.
#![no_main]

mod structured_json;

use libfuzzer_sys::fuzz_target;
use roverline_gateway::dialect::foxglove::client_message::{self, ClientMessage};

const OPS: &[&str] = &[
    "subscribe",
    "unsubscribe",
    "advertise",
    "unadvertise",
    "getParameters",
    "setParameters",
    "subscribeParameterUpdates",
    "unsubscribeParameterUpdates",
    "subscribeConnectionGraph",
    "unsubscribeConnectionGraph",
    "fetchAsset",
];
const FIELDS: &[&str] = &[
    "subscriptions",
    "id",
    "channelId",
    "subscriptionIds",
    "channels",
    "topic",
    "encoding",
    "schemaName",
    "schema",
    "schemaEncoding",
    "channelIds",
    "parameterNames",
    "parameters",
    "name",
    "value",
    "type",
    "uri",
    "requestId",
    "op",
];

fuzz_target!(|input: &[u8]| {
    for text in [structured_json::structured_json(input, "op", OPS, FIELDS), String::from_utf8(input.to_vec()).ok()]
        .into_iter()
        .flatten()
    {
        if let Err(error) = client_message::text(&text) {
            assert!(!error.to_string().is_empty());
        }
    }
    match client_message::binary(&input.to_vec().into()) {
        Ok(ClientMessage::Publish { payload, .. }) => assert_eq!(payload.len() + 5, input.len()),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
