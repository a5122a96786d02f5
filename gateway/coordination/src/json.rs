//! JSON values of keys.

use bytes::Bytes;
use serde::Serialize;

/// Serializes a stored record.
pub(crate) fn encode(record: &impl Serialize) -> Bytes {
    // Our own types always serialize.
    Bytes::from(serde_json::to_vec(record).unwrap_or_default())
}
