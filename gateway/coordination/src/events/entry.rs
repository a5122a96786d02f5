//! An event, how it is kept, and under which keys.

use bytes::Bytes;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::events::EventError;

/// All keys of the log begin with this.
pub(super) const ROOT: &str = "events/";
pub(super) const LOG: &str = "events/log/";
/// The key of the signed end of the log.
pub const HEAD: &str = "events/head";
pub(super) const FLOOR: &str = "events/floor";
pub(super) const CHECKPOINT: &str = "events/checkpoint/";
pub(super) const KEYS: &str = "events/keys/";
pub(super) const SNAPSHOT: &str = "events/snapshot/";
pub(super) const KEEPER: &str = "events/keeper";
const ID: &str = "events/id/";
const TIP: &str = "events/tip/";
/// The indexes of the log that have several events under one name.
pub(super) const INDEXES: [&str; 3] = [STREAM, TYPE, CORRELATION];
pub(super) const STREAM: &str = "events/stream/";
pub(super) const TYPE: &str = "events/type/";
pub(super) const CORRELATION: &str = "events/corr/";
/// Ends a name within a key: names have no control characters.
const END: char = '\u{1f}';
/// Digits of a number within a key, so that keys have the order of numbers.
const DIGITS: usize = 20;

/// Something that happened. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in the log; the first is 1, and none is left out.
    pub seq: u64,
    /// What it is about: `lock/arm`.
    pub stream: String,
    /// Its number in its stream; the first is 1, and none is left out.
    pub version: u64,
    /// What happened: `lock.acquired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, by the clock of who wrote it, nanoseconds since the Unix epoch; only to be shown.
    pub at_ns: i64,
    /// Who wrote it: `primary`.
    pub node: String,
    /// Who wanted it written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// By which the one who appends it knows it again.
    pub id: String,
    /// What belongs together has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The trace it belongs to (W3C `traceparent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What is to be known of it.
    pub data: Value,
}

/// SHA-256 over the hash before and the bytes of an event.
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

/// An event as it lies in the log: the hash before, its own, and its bytes exactly as they were
/// hashed, with a blank between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The event.
    pub event: Event,
    /// The hash of the one before.
    pub prev: Hash,
    /// Its own.
    pub hash: Hash,
    /// Bytes that it takes in the log.
    pub size: usize,
}

/// The parts of a stored event, not yet believed.
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
    /// Seals an event behind the one with this hash; its value in the store.
    pub(super) fn seal(event: &Event, prev: Hash) -> Result<(Hash, Bytes), EventError> {
        let json = serde_json::to_vec(event).map_err(|error| EventError::Bad(error.to_string()))?;
        let hash = prev.after(&json);
        let mut value = format!("{prev} {hash} ").into_bytes();
        value.extend_from_slice(&json);
        Ok((hash, value.into()))
    }

    /// Reads one; whether it is what was written is for `verify` to say.
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

/// What an index has under a name.
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
    /// The keys that lead to it, besides that of the log, and what is under them.
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

/// Whether a key is one of those of [`Event::index`].
pub(super) fn is_index(key: &str) -> bool {
    key.starts_with(ID) || INDEXES.iter().any(|index| key.starts_with(index))
}

/// The stream whose newest version a key holds.
pub(super) fn tip_of(key: &str) -> Option<&str> {
    key.strip_prefix(TIP)
}

/// Refuses names that keys cannot have.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), EventError> {
    check_text(what, name, limits::EVENT_NAME_BYTES)
}

/// Refuses ids that keys cannot have.
pub(super) fn check_id(id: &str) -> Result<(), EventError> {
    check_text("an id", id, limits::EVENT_ID_BYTES)
}

fn check_text(what: &str, name: &str, most: usize) -> Result<(), EventError> {
    if name.is_empty() || name.len() > most || name.contains(char::is_control) {
        return Err(EventError::Bad(format!("{what} has 1 to {most} bytes and no control character")));
    }
    Ok(())
}
