//! JSON documents of the lock API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lock mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockType {
    /// A single holder.
    Exclusive,
    /// Shared with other holders in this mode.
    Shared,
}

/// Requests a lock without waiting for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquireLock {
    /// Resource to lock.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub resource: String,
    /// Client that requests it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client_id: String,
    /// Lock mode.
    pub lock_type: LockType,
    /// Seconds after the last request until the lock, or the place in the queue, expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.5, max = 3600))]
    pub timeout_seconds: Option<f64>,
}

/// Result of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquiredLock {
    /// Whether the lock is held.
    pub success: bool,
    /// Message for people.
    pub message: String,
    /// Fencing token in decimal digits, if the lock is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<String>,
    /// Whether the client is now waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<bool>,
    /// Position in the wait queue; the next is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// Releases a lock, or stops waiting for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseLock {
    /// The resource.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub resource: String,
    /// Its client.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client_id: String,
}

/// Whether the operation did anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeDocument {
    /// Whether it did.
    pub success: bool,
    /// Message for people.
    pub message: String,
}

/// A held lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockState {
    /// The resource.
    pub resource: String,
    /// Lock mode.
    #[serde(rename = "type")]
    pub lock_type: LockType,
    /// Its holders.
    pub holders: Vec<String>,
    /// Time of this answer, seconds since the Unix epoch.
    pub timestamp: f64,
    /// Waiting clients, next first.
    pub waiting: Vec<String>,
}

/// All held locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockStates {
    /// Sorted by resource.
    pub locks: Vec<LockState>,
}

/// Deadlocks: clients that wait for each other in cycles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deadlocks {
    /// Number of cycles.
    pub deadlocks_found: usize,
    /// The cycles.
    pub cycles: Vec<DeadlockCycle>,
}

/// One cycle of waiting clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadlockCycle {
    /// Number in this answer, from 1.
    pub cycle_id: usize,
    /// Clients in the cycle.
    pub clients: Vec<String>,
    /// The cycle as a path that returns to its first client: each client waits for the next.
    pub path: Vec<String>,
}

/// A lock with all its clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockDocument {
    /// The resource.
    pub resource: String,
    /// Lock mode.
    pub mode: LockType,
    /// Holders, in the order of their requests.
    pub holders: Vec<LockHolder>,
    /// Waiting clients, next first.
    pub waiting: Vec<LockWaiter>,
    /// Pending handover requests.
    pub handovers: Vec<HandoverRequest>,
}

/// Holder of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockHolder {
    /// The unverified name that the client declares.
    pub client: String,
    /// Identity to which the lock belongs: a token's name, or the address of a client without one; null if
    /// an earlier version granted it.
    #[serde(default)]
    pub by: Option<String>,
    /// Fencing token: later holders of the resource have higher ones.
    pub token: u64,
}

/// A waiting client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWaiter {
    /// The unverified name that the client declares.
    pub client: String,
    /// Its identity; null if an earlier version took the request.
    #[serde(default)]
    pub by: Option<String>,
    /// Requested mode.
    pub mode: LockType,
}

/// Request to a holder to hand over its lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverRequest {
    /// The requesting client.
    pub client: String,
    /// Its identity; null if an earlier version took the request.
    #[serde(default)]
    pub by: Option<String>,
    /// Its message.
    pub message: String,
    /// The holder's refusal, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// All held locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockList {
    /// Store revision of this list.
    pub revision: u64,
    /// Sorted by resource.
    pub locks: Vec<LockDocument>,
}

/// Requests a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquireBody {
    /// Client that requests it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Lock mode.
    pub mode: LockType,
    /// Milliseconds after the last sign of life until the lock, or the place in the queue, expires.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub ttl_ms: u64,
    /// How long to wait for it, milliseconds, before giving up; absent: enqueue and answer at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 30_000))]
    pub wait_ms: Option<u64>,
}

/// Status of a client at a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "standing", rename_all = "lowercase")]
pub enum LockClientStatus {
    /// It holds the lock.
    Held {
        /// Fencing token.
        token: u64,
    },
    /// It is waiting.
    Waiting {
        /// Position in the wait queue; the next is 1.
        place: usize,
    },
    /// It gave up waiting.
    Gone {
        /// Its last position.
        place: usize,
    },
}

/// A client of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockClient {
    /// The client.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
}

/// Releases a lock against its holder's will.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForceRelease {
    /// The holder, or a client that waits.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Its identity, if clients of several identities use this name; absent: the first of them in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Reason, which the holder gets to see.
    #[schemars(length(min = 1, max = 200))]
    pub reason: String,
}

/// A fencing token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCheck {
    /// The token.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub token: u64,
}

/// Asks the holder of a lock to hand it over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverBody {
    /// The requesting client.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Message to the holder.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub message: String,
    /// Milliseconds after the last sign of life until the lock, or the place in the queue, expires.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub ttl_ms: u64,
    /// Time the holder has to answer, milliseconds.
    #[schemars(range(min = 500, max = 30_000))]
    pub wait_ms: u64,
}

/// Result of a handover request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum HandoverOutcome {
    /// The requesting client has the lock now.
    Granted {
        /// Fencing token.
        token: u64,
    },
    /// The holder keeps it; the requesting client keeps its place in the queue.
    Refused {
        /// Reason.
        reason: String,
    },
    /// The holder did not answer; the requesting client keeps its place in the queue.
    Unanswered,
}

/// A holder's answer to a handover request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverAnswer {
    /// The holder; the lock has to belong to the caller's identity.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub holder: String,
    /// The requesting client.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Its identity, if clients of several identities ask under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whether the lock is handed over.
    pub grant: bool,
    /// Reason of a refusal.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub reason: String,
}
