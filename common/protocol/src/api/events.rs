//! The JSON of `/api/v2/events`: the log of what happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventDocument {
    /// Its number in the log; the first is 1, and none is left out.
    pub seq: u64,
    /// What it is about: `lock/arm`.
    pub stream: String,
    /// Its number in its stream; the first is 1, and none is left out.
    pub version: u64,
    /// What happened: `lock.acquired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, by the clock of who wrote it, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Which node wrote it.
    pub node: String,
    /// Who wanted it written; null where nobody did.
    pub by: Option<String>,
    /// By which the one who appended it knows it again.
    pub id: String,
    /// What belongs together has the same.
    pub correlation_id: Option<String>,
    /// What led to it.
    pub causation_id: Option<String>,
    /// The trace it belongs to (W3C `traceparent`).
    pub trace: Option<String>,
    /// What is to be known of it.
    pub data: Value,
    /// The hash of the event before it, 64 hexadecimal digits.
    pub prev: String,
    /// SHA-256 over that hash and the event as it was written.
    pub hash: String,
}

/// Events in the order that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// This page of them.
    pub events: Vec<EventDocument>,
    /// Where the next page begins: ask again with it as `from`; null at the end.
    pub next: Option<u64>,
}

/// The body of `POST /api/v2/events`: something that happened. Names have 1 to 200 bytes and no
/// control characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = NewEventRequest::example())]
pub struct NewEventRequest {
    /// What it is about. `lock/...`, `queue/...`, `lifecycle/...`, `endpoint/...` and `command/...`
    /// are the gateway's own.
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub stream: String,
    /// What happened. `lock....`, `queue....`, `lifecycle....`, `endpoint....` and `command....` are
    /// the gateway's own.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub kind: String,
    /// What is to be known of it; at most 64 KiB.
    #[serde(default)]
    pub data: Value,
    /// The version that the stream must have; 0: no event yet. Without it, whichever it has.
    #[serde(default)]
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub expected_version: Option<u64>,
    /// By which the log knows it again: sent twice, it is appended once. The log shows it as
    /// `client/ID`.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub id: Option<String>,
    /// What belongs together has the same.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub correlation_id: Option<String>,
    /// What led to it.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub causation_id: Option<String>,
    /// The trace it belongs to (W3C `traceparent`).
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub trace: Option<String>,
}

impl NewEventRequest {
    /// One that can be sent.
    pub fn example() -> NewEventRequest {
        NewEventRequest {
            stream: "mission/alpha".to_owned(),
            kind: "sample.collected".to_owned(),
            data: serde_json::json!({"tube": 3}),
            expected_version: None,
            id: None,
            correlation_id: None,
            causation_id: None,
            trace: None,
        }
    }
}

/// Where an event has come to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppendedDocument {
    /// Its number in the log.
    pub seq: u64,
    /// Its number in its stream.
    pub version: u64,
    /// Whether an event with its id was there already; then that one is meant.
    pub again: bool,
}

/// A signed end of the log, or a signed beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealDocument {
    /// `head` or `floor`.
    pub kind: String,
    /// Which log: 64 hexadecimal digits, made at random.
    pub log: String,
    /// The last event that is meant.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// Bytes of all events up to it, since the log began.
    pub bytes: u64,
    /// When that event happened, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Which node signed it.
    pub node: String,
    /// By which key: the beginning of its hash.
    pub key: String,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

/// Where the log ends and begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogHeadDocument {
    /// Its end; null while nothing has been appended.
    pub head: Option<SealDocument>,
    /// What has been removed from its beginning, as too old or too much; null while nothing has.
    pub floor: Option<SealDocument>,
}

/// Whether the log is what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictDocument {
    /// Whether nothing was found.
    pub sound: bool,
    /// The first event; 0 where there is none.
    pub first: u64,
    /// The last event; 0 where there is none.
    pub last: u64,
    /// Events that were looked at.
    pub events: u64,
    /// Signed statements that hold.
    pub seals: u64,
    /// Whether the keys are kept elsewhere than in the log.
    pub trusted: bool,
    /// What is wrong.
    pub findings: Vec<FindingDocument>,
}

/// Something that is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingDocument {
    /// The event, or the first of several; 0: the log as a whole.
    pub seq: u64,
    /// `edited`, `deleted`, `reordered`, `truncated`, `spliced`, `bad_signature`, `unknown_key` or
    /// `index`.
    pub fault: String,
    /// A sentence.
    pub what: String,
}
