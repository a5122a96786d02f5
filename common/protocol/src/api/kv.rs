//! Values that a team shares. `V` is a value as JSON: decoded for who reads it, as it was written for
//! who passes it on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a key looks like (ECMA 262): no control characters. It has 400 bytes at most, too.
pub const KEY_PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,400}$";

/// A shared value and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KvDocument")]
pub struct KvDocument<V = Value> {
    /// Its name.
    pub key: String,
    /// Any JSON.
    pub value: V,
    /// How many values the key has had since it was created; the first is 1.
    pub version: u64,
    /// When it got this value, in the order of all changes; it never comes again.
    pub revision: u64,
    /// When it was created, after it was last deleted.
    pub created: u64,
    /// Who wrote it.
    pub by: String,
    /// When, by the writer's clock: nanoseconds since 1970.
    pub written_ns: i64,
    /// Whether it goes by itself when its time has come.
    pub expires: bool,
}

/// Shared values by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KvList")]
pub struct KvList<V = Value> {
    /// This page of them; shorter than asked for where they are large.
    pub keys: Vec<KvDocument<V>>,
    /// When all of it was so: ask for the next page as of then.
    pub revision: u64,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
}

/// A value that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvWritten {
    /// Its name.
    pub key: String,
    /// How many values it has had.
    pub version: u64,
    /// When this was, in the order of all changes.
    pub revision: u64,
}

/// The body of `POST /cache`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CacheWrite", example = CacheWrite::<Value>::example())]
pub struct CacheWrite<V = Value> {
    /// Its name.
    #[schemars(regex(pattern = KEY_PATTERN))]
    pub key: String,
    /// Any JSON.
    pub value: V,
}

impl CacheWrite<Value> {
    /// One that can be sent.
    pub fn example() -> CacheWrite<Value> {
        CacheWrite { key: "mission/goal".to_owned(), value: Value::from("north gate") }
    }
}

/// What became of a write to the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheWritten {
    /// Whether it was done.
    pub success: bool,
    /// What was done, or why not.
    pub message: String,
    /// The key.
    pub key: String,
    /// The version that it has now; null where it has none.
    pub version: Option<u64>,
}

/// A value read by way of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CacheDocument")]
pub struct CacheDocument<V = Value> {
    /// Its name.
    pub key: String,
    /// Any JSON.
    pub value: V,
    /// How many values the key has had since it was created.
    pub version: u64,
    /// Whether this process held it; else it asked the store.
    pub cached: bool,
}

/// What a process knows of a key: MESI, as far as it applies. Nothing is E, "nobody else has it",
/// since nobody keeps a directory of copies; and M is written through, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CoherenceState {
    /// Written through this process, and by nobody since.
    M,
    /// Read; others may have it, too.
    S,
    /// Changed elsewhere, or not known: it is not served.
    I,
}

/// A key in the cache of the process that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheStatus {
    /// Its name.
    pub key: String,
    /// What is known of it.
    pub state: CoherenceState,
    /// The version that was known last; null for a key that is not here.
    pub version: Option<u64>,
    /// And its revision.
    pub revision: Option<u64>,
    /// Bytes of the value that is held.
    pub bytes: usize,
    /// How often it was served from here.
    pub hits: u64,
}

/// What the cache of the process that answers holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheList {
    /// This page of it, by name.
    pub entries: Vec<CacheStatus>,
    /// How many there are in all, this page and all others.
    pub total: usize,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
}

/// How the cache of the process that answers is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheMetricsDocument {
    /// Values that are held.
    pub entries: usize,
    /// The most of them.
    pub max_entries: usize,
    /// Bytes of all that is held.
    pub bytes: usize,
    /// The most of them.
    pub max_bytes: usize,
    /// Reads that were served from here.
    pub hits: u64,
    /// Reads that had to ask the store.
    pub misses: u64,
    /// The part of all reads that were served from here; null before the first.
    pub hit_ratio: Option<f64>,
    /// Values that made room for others.
    pub evictions: u64,
    /// Values that were changed elsewhere, or might have been.
    pub invalidations: u64,
    /// How long ago all that is held is known to have been true; null while that is not known.
    pub age_ms: Option<f64>,
    /// The most that this may be for what is served from here.
    pub max_age_ms: f64,
    /// Whether it is little enough: else every read asks the store.
    pub coherent: bool,
}
