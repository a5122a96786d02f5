//! Decoders of a topic's messages, for the clients that get JSON.

use std::sync::Arc;

use roverline_schema::{DecodeError, Plan};
use serde_json::value::RawValue;

/// What turns a topic's messages into JSON.
#[derive(Clone, Debug)]
pub enum Decoder {
    /// The plan of a ROS type.
    Cdr(Arc<Plan>),
    /// The messages are JSON already.
    Json,
}

/// Why a message is not JSON.
#[derive(Debug, thiserror::Error)]
pub enum NotDecoded {
    /// It does not match its type.
    #[error(transparent)]
    Cdr(#[from] DecodeError),
    /// It is no JSON value.
    #[error("it is not the JSON that its recording promises: {0}")]
    Json(#[from] serde_json::Error),
}

impl Decoder {
    /// Appends a message as JSON.
    ///
    /// # Errors
    ///
    /// If the message does not match its type; `out` then has a part of it.
    pub fn write_json(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), NotDecoded> {
        match self {
            Decoder::Cdr(plan) => plan.write_json(message, out)?,
            Decoder::Json => {
                out.extend_from_slice(serde_json::from_slice::<&RawValue>(message)?.get().as_bytes())
            }
        }
        Ok(())
    }

    /// The plan of its ROS type, if it has one.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        match self {
            Decoder::Cdr(plan) => Some(plan),
            Decoder::Json => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_checked_and_passed_on() {
        let json = |message: &[u8]| {
            let mut out = Vec::new();
            Decoder::Json.write_json(message, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(json(b" {\"a\": 1.50, \"b\": [null]}\n").unwrap(), "{\"a\": 1.50, \"b\": [null]}");
        for bad in [&b""[..], b"{", b"NaN", b"{} {}", b"\"\xff\"", "[".repeat(10_000).as_bytes()] {
            assert!(json(bad).is_err(), "{bad:?}");
        }
    }
}
