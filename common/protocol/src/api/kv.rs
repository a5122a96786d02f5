//! JSON documents of the key-value store and its cache. `V` is a value as JSON: decoded for
//! readers, raw text for code that passes it on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pattern (ECMA 262) of a key: no control characters; the length limit is 400 bytes.
pub const KEY_PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,400}$";

/// A value with its metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KvDocument")]
pub struct KvDocument<V = Value> {
    /// The key.
    pub key: String,
    /// Any JSON.
    pub value: V,
    /// Number of values the key has had since it was created; the first is 1.
    pub version: u64,
    /// Store revision of this value; never reused.
    pub revision: u64,
    /// Store revision at which the key was created, after its last deletion.
    pub created: u64,
    /// Identity of the author: a token's name or an address.
    pub by: String,
    /// The unverified name that the author's client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When it was written, by the writer's clock, nanoseconds since the Unix epoch.
    pub written_ns: i64,
    /// Whether it expires.
    pub expires: bool,
}

/// Values, sorted by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KvList")]
pub struct KvList<V = Value> {
    /// This page of values; shorter than requested if they are large.
    pub keys: Vec<KvDocument<V>>,
    /// Store revision of this list; read the next page at the same revision.
    pub revision: u64,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// Result of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvWritten {
    /// The key.
    pub key: String,
    /// Its new version.
    pub version: u64,
    /// Store revision of the write.
    pub revision: u64,
}

/// Body of `POST /cache`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CacheWrite", example = CacheWrite::<Value>::example())]
pub struct CacheWrite<V = Value> {
    /// The key.
    #[schemars(regex(pattern = KEY_PATTERN))]
    pub key: String,
    /// Any JSON.
    pub value: V,
}

impl CacheWrite<Value> {
    /// A valid example.
    pub fn example() -> CacheWrite<Value> {
        CacheWrite { key: "mission/goal".to_owned(), value: Value::from("north gate") }
    }
}

/// Result of a write to the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheWritten {
    /// Whether it succeeded.
    pub success: bool,
    /// What was done, or why not.
    pub message: String,
    /// The key.
    pub key: String,
    /// Its version now; null if it has none.
    pub version: Option<u64>,
}

/// A value read through the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CacheDocument")]
pub struct CacheDocument<V = Value> {
    /// The key.
    pub key: String,
    /// Any JSON.
    pub value: V,
    /// Number of values the key has had since it was created.
    pub version: u64,
    /// Whether this process had it cached; otherwise it read the store.
    pub cached: bool,
}

/// Cache state of a key, after MESI. There is no E (exclusive), since no directory of copies
/// exists; M is write-through as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CoherenceState {
    /// Modified: written through this process, and not changed since.
    M,
    /// Shared: read; others may have it, too.
    S,
    /// Invalid: changed elsewhere, or uncertain; not served.
    I,
}

/// A key in the cache of the answering process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheStatus {
    /// The key.
    pub key: String,
    /// Its cache state.
    pub state: CoherenceState,
    /// Last known version; null if the key is not cached.
    pub version: Option<u64>,
    /// Last known store revision.
    pub revision: Option<u64>,
    /// Bytes of the cached value.
    pub bytes: usize,
    /// Reads served from the cache.
    pub hits: u64,
}

/// Contents of the cache of the answering process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheList {
    /// This page of entries, sorted by key.
    pub entries: Vec<CacheStatus>,
    /// Total number of entries, all pages included.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// Metrics of the cache of the answering process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheMetricsDocument {
    /// Cached values.
    pub entries: usize,
    /// Maximum number of cached values.
    pub max_entries: usize,
    /// Bytes of all cached values.
    pub bytes: usize,
    /// Maximum bytes.
    pub max_bytes: usize,
    /// Reads served from the cache.
    pub hits: u64,
    /// Reads that had to go to the store.
    pub misses: u64,
    /// Share of reads served from the cache; null before the first.
    pub hit_ratio: Option<f64>,
    /// Values evicted to make room.
    pub evictions: u64,
    /// Values invalidated because they changed elsewhere, or might have.
    pub invalidations: u64,
    /// Age of the last confirmation that the cached values are current; null if unknown.
    pub age_ms: Option<f64>,
    /// Maximum of this age for serving from the cache.
    pub max_age_ms: f64,
    /// Whether the age is within the maximum; otherwise every read goes to the store.
    pub coherent: bool,
}
