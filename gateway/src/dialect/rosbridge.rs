//! The rosbridge protocol, version 2: <https://github.com/RobotWebTools/rosbridge_suite>.
//!
//! Names are as in ROS 2. As ROS 1 clients do, a client may leave out the leading slash and use short
//! types (`std_msgs/String`). A failure is reported with a `status` or with the response that the client
//! waits for; the session goes on.

mod action_client;
mod action_server;
mod advertise_action;
mod advertise_service;
mod cbor;
mod encoding;
mod error;
mod framing;
mod goals;
mod malformed;
mod operation;
mod publications;
mod publish;
mod python_json;
mod reassembly;
mod request;
mod rosapi;
mod sample;
mod service_client;
mod service_server;
mod session;
mod status;
mod subscribe;
mod subscriptions;

use std::time::Duration;

use tungstenite::protocol::Message;

use crate::connection::dialect::Dialect;
use crate::dialect::DialectEntry;
use crate::dialect::rosbridge::session::Session;
use crate::dialect::session::driver;

/// The format in which a client receives a topic's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleFormat {
    /// The encoding.
    pub compression: Compression,
    /// Messages longer than this are sent as fragments.
    pub fragment_bytes: Option<u32>,
    /// The client writes the topic without its leading slash, and expects it that way.
    pub relative: bool,
}

/// The encoding of messages; if several subscriptions of a topic differ, the last in this order wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// JSON text.
    #[default]
    None,
    /// JSON in a PNG image, in base64, in JSON.
    Png,
    /// CBOR (RFC 8949), with typed arrays of RFC 8746.
    Cbor,
    /// CBOR around the undecoded CDR.
    CborRaw,
}

/// Whether a message is rosbridge: a JSON object with an `op`.
pub fn is_rosbridge(message: &Message) -> bool {
    #[derive(serde::Deserialize)]
    struct Op {
        #[serde(rename = "op")]
        _op: serde::de::IgnoredAny,
    }
    matches!(message, Message::Text(text) if python_json::parse::<Op>(text.as_str()).is_ok())
}

/// Decodes messages as a session does, including fragments and images, without any effect; returns how
/// many were valid. For fuzzing and benchmarks.
pub fn decode_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    let mut reassembler = reassembly::Reassembler::default();
    let mut decoded = 0;
    for text in texts {
        let whole = match request::parse(text) {
            Ok((_, request::Request::Fragment(piece))) => {
                reassembler.add(piece, Duration::ZERO).ok().flatten()
            }
            Ok((_, request::Request::Png { data, .. })) => reassembly::decode_png(&data).ok(),
            Ok(_) => Some(text.to_owned()),
            Err(_) => None,
        };
        decoded += usize::from(whole.is_some_and(|whole| request::parse(&whole).is_ok()));
    }
    decoded
}

/// The path that selects rosbridge.
pub(super) const PATH: &str = "/rosbridge";

/// rosbridge v2.
pub const DIALECT: Dialect = Dialect::new("rosbridge");

/// The dialect's entry in the table.
pub(super) const ENTRY: DialectEntry = DialectEntry {
    dialect: DIALECT,
    subprotocols: &[],
    path: Some(PATH),
    recognizes: is_rosbridge,
    serve: |context, reader, first| Box::pin(driver::drive(context, reader, Session::open(context), first)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_identifies_a_rosbridge_client() {
        assert!(is_rosbridge(&Message::text(r#"{"op":"subscribe","topic":"/a"}"#)));
        assert!(is_rosbridge(&Message::text(r#"{"op":"publish","topic":"/a","msg":{"data":NaN}}"#)));
        assert!(!is_rosbridge(&Message::text(r#"{"type":"subscribe","topics":["/a"]}"#)));
        assert!(
            !is_rosbridge(&Message::text("op")) && !is_rosbridge(&Message::binary(b"{\"op\":1}".to_vec()))
        );
    }
}
