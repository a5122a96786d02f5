//! Locks over HTTP: who may use what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether others may hold a lock as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockType {
    /// Nobody else holds it.
    Exclusive,
    /// Others that share hold it too.
    Shared,
}

/// Asks for a lock; does not wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquireLock {
    /// What is locked.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub resource: String,
    /// Who wants it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client_id: String,
    /// How.
    pub lock_type: LockType,
    /// The lock, or the place in the queue, ends so long after the last time it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.5, max = 3600))]
    pub timeout_seconds: Option<f64>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquiredLock {
    /// Whether it is held.
    pub success: bool,
    /// What happened, for people.
    pub message: String,
    /// The fencing token in decimal digits, when it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<String>,
    /// Whether the client waits for it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<bool>,
    /// Its place among those who wait; the next is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// Gives a lock back, or gives up waiting for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseLock {
    /// What.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub resource: String,
    /// Who had it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client_id: String,
}

/// Whether something was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Whether it was.
    pub success: bool,
    /// What happened, for people.
    pub message: String,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockState {
    /// What is locked.
    pub resource: String,
    /// How it is held.
    #[serde(rename = "type")]
    pub lock_type: LockType,
    /// Who holds it.
    pub holders: Vec<String>,
    /// When this was said, seconds since the Unix epoch.
    pub timestamp: f64,
    /// Who waits, first the next.
    pub waiting: Vec<String>,
}

/// All locks that are held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockStates {
    /// By resource.
    pub locks: Vec<LockState>,
}

/// Clients that wait for each other in circles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deadlocks {
    /// How many circles there are.
    pub deadlocks_found: usize,
    /// Each of them.
    pub cycles: Vec<DeadlockCycle>,
}

/// Clients that wait for each other in a circle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadlockCycle {
    /// Its number in this answer, from 1.
    pub cycle_id: usize,
    /// Who is in it.
    pub clients: Vec<String>,
    /// The same, from one client around to itself: each waits for the next.
    pub path: Vec<String>,
}

/// A lock in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockDocument {
    /// What is locked.
    pub resource: String,
    /// How it is held.
    pub mode: LockType,
    /// Who holds it, in the order in which they asked.
    pub holders: Vec<LockHolder>,
    /// Who waits, first the next.
    pub waiting: Vec<LockWaiter>,
    /// Who asks to have it handed over.
    pub handovers: Vec<HandoverRequest>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockHolder {
    /// Who.
    pub client: String,
    /// Its fencing token: whoever holds the resource later has a higher one.
    pub token: u64,
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWaiter {
    /// Who.
    pub client: String,
    /// For which.
    pub mode: LockType,
}

/// Who asks a holder for its lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverRequest {
    /// Who asks.
    pub client: String,
    /// What it says.
    pub message: String,
    /// The holder's refusal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// All locks that are held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockList {
    /// When this was so, in the order of all changes.
    pub revision: u64,
    /// By resource.
    pub locks: Vec<LockDocument>,
}

/// Asks for a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWish {
    /// Who wants it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// How.
    pub mode: LockType,
    /// The lock, or the place in the queue, ends so long after the last sign of life, milliseconds.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub ttl_ms: u64,
    /// Wait so long for it, and then give up; without it, the client is queued and answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 30_000))]
    pub wait_ms: Option<u64>,
}

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "standing", rename_all = "lowercase")]
pub enum LockStanding {
    /// It has the lock.
    Held {
        /// Its fencing token.
        token: u64,
    },
    /// It waits.
    Waiting {
        /// Its place; the next is 1.
        place: usize,
    },
    /// It waited in vain, and does not wait any more.
    Gone {
        /// The place that it had.
        place: usize,
    },
}

/// A client of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockClient {
    /// Who.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
}

/// Takes a lock from whoever has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForceRelease {
    /// From whom.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Why; the client is told.
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
pub struct HandoverWish {
    /// Who asks.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// What the holder is told.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub message: String,
    /// The lock, or the place in the queue, ends so long after the last sign of life, milliseconds.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub ttl_ms: u64,
    /// The holder has so long to answer, milliseconds.
    #[schemars(range(min = 500, max = 30_000))]
    pub wait_ms: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum HandoverOutcome {
    /// The asker has it now.
    Granted {
        /// Its fencing token.
        token: u64,
    },
    /// The holder keeps it; the asker waits in its place.
    Refused {
        /// Why.
        reason: String,
    },
    /// The holder did not answer; the asker waits in its place.
    Unanswered,
}

/// A holder's answer to who asks for its lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverAnswer {
    /// Who holds it.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub holder: String,
    /// Who asks.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub client: String,
    /// Whether it is handed over.
    pub grant: bool,
    /// Why not.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub reason: String,
}
