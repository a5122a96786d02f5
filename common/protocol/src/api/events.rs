//! JSON documents of `/api/v2/events`: the event log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event in the log. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogEvent {
    /// Position in the log; the first is 1, without gaps.
    pub seq: u64,
    /// Stream it belongs to: `lock/arm`.
    pub stream: String,
    /// Position in its stream; the first is 1, without gaps.
    pub version: u64,
    /// Type of the event: `lock.acquired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened, by the writing node's clock, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Node that wrote it.
    pub node: String,
    /// Identity that caused it: a token's name, or the address of a client without one; null if there is
    /// none.
    pub by: Option<String>,
    /// The unverified name that the client of that identity declares; null if it declares none.
    #[serde(default)]
    pub client: Option<String>,
    /// Idempotency id: `by/IDENTITY/ID` with the id that a client gave.
    pub id: String,
    /// Correlation id: related events share it.
    pub correlation_id: Option<String>,
    /// Id of the event that caused it.
    pub causation_id: Option<String>,
    /// Trace context (W3C `traceparent`).
    pub trace: Option<String>,
    /// Event data.
    pub data: Value,
    /// Hash of the previous event, 64 hexadecimal digits.
    pub prev: String,
    /// SHA-256 over that hash and the event as written.
    pub hash: String,
}

/// Events in the requested order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// This page of events.
    pub events: Vec<LogEvent>,
    /// Value of `from` for the next page; null at the end.
    pub next: Option<u64>,
}

/// Body of `POST /api/v2/events`. Names have 1 to 200 bytes and no control characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = NewEventRequest::example())]
pub struct NewEventRequest {
    /// Stream of the event. `lock/...`, `queue/...`, `lifecycle/...`, `endpoint/...`, `command/...` and
    /// `alarm/...` are reserved for the gateway.
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub stream: String,
    /// Type of the event. `lock....`, `queue....`, `lifecycle....`, `endpoint....`, `command....` and
    /// `alarm....` are reserved for the gateway.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub kind: String,
    /// Event data; at most 64 KiB.
    #[serde(default)]
    pub data: Value,
    /// Required current version of the stream; 0: no event yet. Absent: any.
    #[serde(default)]
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub expected_version: Option<u64>,
    /// Idempotency id: an event that one identity sends twice is appended once. The log shows it as
    /// `by/IDENTITY/ID`.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub id: Option<String>,
    /// Correlation id: related events share it.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub correlation_id: Option<String>,
    /// Id of the event that caused it.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub causation_id: Option<String>,
    /// Trace context (W3C `traceparent`).
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::LABEL_PATTERN))]
    pub trace: Option<String>,
}

impl NewEventRequest {
    /// A valid example.
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

/// Position of an appended event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppendedDocument {
    /// Position in the log.
    pub seq: u64,
    /// Position in its stream.
    pub version: u64,
    /// Whether an event with this id existed already; the positions are then those of that event.
    pub again: bool,
}

/// A signed head of the log, or a signed floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealDocument {
    /// `head` or `floor`.
    pub kind: String,
    /// Id of the log: 64 hexadecimal digits, chosen at random.
    pub log: String,
    /// Last event covered.
    pub seq: u64,
    /// Hash of that event.
    pub hash: String,
    /// Bytes of all events up to it, since the log began.
    pub bytes: u64,
    /// When that event happened, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Node that signed it.
    pub node: String,
    /// Key id: a prefix of the key's hash.
    pub key: String,
    /// Ed25519 signature, 128 hexadecimal digits.
    pub signature: String,
}

/// Head and floor of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogHeadDocument {
    /// The head; null while nothing has been appended.
    pub head: Option<SealDocument>,
    /// End of the part removed by retention; null while nothing has been removed.
    pub floor: Option<SealDocument>,
}

/// Result of verifying the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerificationDocument {
    /// Whether there are no findings.
    pub sound: bool,
    /// First event; 0 if there is none.
    pub first: u64,
    /// Last event; 0 if there is none.
    pub last: u64,
    /// Events checked.
    pub events: u64,
    /// Valid seals.
    pub seals: u64,
    /// Whether the keys come from outside the log.
    pub trusted: bool,
    /// Problems found.
    pub findings: Vec<FindingDocument>,
}

/// A problem found in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingDocument {
    /// The event, or the first of several; 0: the log as a whole.
    pub seq: u64,
    /// `edited`, `deleted`, `reordered`, `truncated`, `spliced`, `bad_signature`, `unknown_key` or
    /// `index`.
    pub fault: String,
    /// Description.
    pub what: String,
}
