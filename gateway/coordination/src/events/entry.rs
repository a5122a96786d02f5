//! Events, their stored form, and the layout of keys.

use bytes::Bytes;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::events::EventError;

/// The prefix of all keys of the log.
pub(super) const ROOT: &str = "events/";
pub(super) const LOG: &str = "events/log/";
/// The key of the signed head of the log.
pub const HEAD: &str = "events/head";
pub(super) const FLOOR: &str = "events/floor";
pub(super) const CHECKPOINT: &str = "events/checkpoint/";
pub(super) const KEYS: &str = "events/keys/";
pub(super) const PRUNE_LOCK: &str = "events/keeper";
const ID: &str = "events/id/";
const TIP: &str = "events/tip/";
/// The indexes that have several events under one name.
pub(super) const INDEXES: [&str; 3] = [STREAM, TYPE, CORRELATION];
pub(super) const STREAM: &str = "events/stream/";
pub(super) const TYPE: &str = "events/type/";
pub(super) const CORRELATION: &str = "events/corr/";
/// Ends a name within a key; names contain no control characters.
const END: char = '\u{1f}';
/// Digits of a number within a key, so that keys sort like numbers.
const DIGITS: usize = 20;

/// An event of the log; immutable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The sequence number in the log: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// The entity that it is about: `lock/arm`.
    pub stream: String,
    /// The version in its stream: 1, 2, 3, … without gaps.
    pub version: u64,
    /// The type of event: `lock.acquired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Wall-clock time of the writer, nanoseconds since the Unix epoch; for display.
    pub at_ns: i64,
    /// The node that appended it: `primary`.
    pub node: String,
    /// The identity that caused it; of earlier versions also what a client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The unverified name that the client of that identity declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The idempotency key.
    pub id: String,
    /// Shared by related events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The id of the event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The trace it belongs to (W3C `traceparent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The event's data.
    pub data: Value,
}

/// SHA-256 over the previous hash and the bytes of the event.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub(super) fn after(self, bytes: &[u8]) -> Hash {
        Hash(Sha256::new().chain_update(self.0).chain_update(bytes).finalize().into())
    }

    pub(super) fn parse(text: &str) -> Option<Hash> {
        unhex(text).map(Hash)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Hash::parse(&text).ok_or_else(|| serde::de::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let canonical = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if text.len() != N * 2 || !text.bytes().all(canonical) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// An event as stored in the log: the previous hash, its own hash, and its bytes exactly as they were
/// hashed, separated by blanks.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The event.
    pub event: Event,
    /// The hash of the previous event.
    pub prev: Hash,
    /// The event's own hash.
    pub hash: Hash,
    /// Stored size in bytes.
    pub size: usize,
}

/// The parts of a stored event, not yet verified.
pub(super) struct Parts<'a> {
    pub(super) prev: Hash,
    pub(super) hash: Hash,
    pub(super) json: &'a [u8],
}

const HASH_CHARS: usize = 64;

impl Parts<'_> {
    pub(super) fn of(value: &[u8]) -> Option<Parts<'_>> {
        let (prev, rest) = value.split_at_checked(HASH_CHARS)?;
        let (hash, rest) = rest.strip_prefix(b" ")?.split_at_checked(HASH_CHARS)?;
        let parse = |text| Hash::parse(std::str::from_utf8(text).ok()?);
        Some(Parts { prev: parse(prev)?, hash: parse(hash)?, json: rest.strip_prefix(b" ")? })
    }
}

impl Stored {
    /// Links an event to the previous hash, and returns its hash and stored form.
    pub(super) fn seal(event: &Event, prev: Hash) -> Result<(Hash, Bytes), EventError> {
        let json = serde_json::to_vec(event).map_err(|error| EventError::Bad(error.to_string()))?;
        let hash = prev.after(&json);
        let mut value = format!("{prev} {hash} ").into_bytes();
        value.extend_from_slice(&json);
        Ok((hash, value.into()))
    }

    /// Parses a stored event without verifying its hash.
    pub(super) fn read(value: &[u8]) -> Result<Stored, EventError> {
        let parts = Parts::of(value).ok_or(EventError::Damaged)?;
        let event = serde_json::from_slice(parts.json).map_err(|_| EventError::Damaged)?;
        Ok(Stored { event, prev: parts.prev, hash: parts.hash, size: value.len() })
    }
}

pub(super) fn log_key(seq: u64) -> String {
    format!("{LOG}{seq:0DIGITS$}")
}

pub(super) fn checkpoint_key(seq: u64) -> String {
    format!("{CHECKPOINT}{seq:0DIGITS$}")
}

pub(super) fn id_key(id: &str) -> String {
    format!("{ID}{id}")
}

pub(super) fn tip_key(stream: &str) -> String {
    format!("{TIP}{stream}")
}

/// The prefix of an index for a name.
pub(super) fn index_prefix(index: &str, name: &str) -> String {
    format!("{index}{name}{END}")
}

pub(super) fn index_key(index: &str, name: &str, seq: u64) -> String {
    format!("{index}{name}{END}{seq:0DIGITS$}")
}

/// The number at the end of a key.
pub(super) fn seq_of(key: &str) -> Option<u64> {
    let digits = key.get(key.len().checked_sub(DIGITS)?..)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl Event {
    /// The index entries of the event: keys and values.
    pub(super) fn index(&self) -> Vec<(String, String)> {
        let version = self.version.to_string();
        let mut keys = vec![
            (id_key(&self.id), format!("{} {version}", self.seq)),
            (index_key(STREAM, &self.stream, self.seq), version),
            (index_key(TYPE, &self.kind, self.seq), String::new()),
        ];
        if let Some(id) = &self.correlation_id {
            keys.push((index_key(CORRELATION, id, self.seq), String::new()));
        }
        keys
    }
}

/// Whether a key belongs to an index (see [`Event::index`]).
pub(super) fn is_index(key: &str) -> bool {
    key.starts_with(ID) || INDEXES.iter().any(|index| key.starts_with(index))
}

/// The stream of a key that stores a stream's newest version.
pub(super) fn tip_of(key: &str) -> Option<&str> {
    key.strip_prefix(TIP)
}

/// Rejects names that cannot be part of a key.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), EventError> {
    check_text(what, name, limits::EVENT_NAME_BYTES)
}

/// Rejects ids that cannot be part of a key.
pub(super) fn check_id(id: &str) -> Result<(), EventError> {
    check_text("an id", id, limits::EVENT_ID_BYTES)
}

fn check_text(what: &str, name: &str, most: usize) -> Result<(), EventError> {
    if name.is_empty() || name.len() > most || name.contains(char::is_control) {
        return Err(EventError::Bad(format!("{what} has 1 to {most} bytes and no control character")));
    }
    Ok(())
}
