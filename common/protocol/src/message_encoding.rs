//! The encoding of a topic's messages.

use serde::{Deserialize, Serialize};

/// A message encoding, by its name in the MCAP specification ("Well-known message encodings").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MessageEncoding {
    /// ROS 2's own, with its four bytes of encapsulation.
    #[default]
    Cdr,
    /// One JSON value as UTF-8.
    Json,
    /// Another one, which only clients that know it can read: `ros1`, `protobuf`, `flatbuffer`, `cbor`, `msgpack`.
    Other(String),
}

impl MessageEncoding {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            MessageEncoding::Cdr => "cdr",
            MessageEncoding::Json => "json",
            MessageEncoding::Other(name) => name,
        }
    }

    /// Whether this is CDR, ROS 2's encoding.
    #[must_use]
    pub fn is_cdr(&self) -> bool {
        *self == MessageEncoding::Cdr
    }
}

impl From<String> for MessageEncoding {
    fn from(name: String) -> MessageEncoding {
        match name.as_str() {
            "cdr" => MessageEncoding::Cdr,
            "json" => MessageEncoding::Json,
            _ => MessageEncoding::Other(name),
        }
    }
}

impl From<MessageEncoding> for String {
    fn from(encoding: MessageEncoding) -> String {
        encoding.name().to_owned()
    }
}
