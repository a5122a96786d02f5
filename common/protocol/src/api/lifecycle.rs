//! JSON documents of the lifecycle of robots and endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lifecycle::State;

/// Robots and endpoints, sorted by kind and name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleList {
    /// This page of entries.
    pub entries: Vec<LifecycleDocument>,
    /// Total number of entries, all pages included.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
    /// Store revision of this list.
    pub revision: u64,
}

/// Lifecycle of one robot or endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleDocument {
    /// `robot` or `endpoint`.
    pub kind: String,
    /// Its name, unique within its kind.
    pub id: String,
    /// Type of robot or endpoint.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Address.
    pub address: Option<String>,
    /// Current state.
    pub state: State,
    /// State before the newest transition; the same if that did not change the state.
    pub previous: State,
    /// States it can be moved to from here.
    pub possible: Vec<State>,
    /// When it entered its state, nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// Newest transition: `discovered`, `described`, `moved`, `failure` or `recovered`.
    pub fact: String,
    /// When that happened, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Its reason.
    pub reason: String,
    /// The identity that caused it: a token's name, an address, or an endpoint.
    pub by: String,
    /// The unverified name that the client that caused it declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whether a person set the state: it is then left alone, unless it is being provisioned or in
    /// use.
    pub manual: bool,
    /// Consecutive failures.
    pub failures: u32,
    /// Number of consecutive failures that leads to `failed`; null if it has failed.
    pub fails_at: Option<u32>,
    /// Whether it is ready or active without failures.
    pub healthy: bool,
    /// Whether it can be given work: ready and not failing.
    pub deployable: bool,
    /// Heartbeat monitoring; null if it needs none.
    pub heartbeat: Option<HeartbeatDocument>,
    /// Store revision of the newest transition.
    pub revision: u64,
}

/// Heartbeat monitoring of a robot or endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatDocument {
    /// Time without a heartbeat after which it counts as missing, milliseconds.
    pub missed_after_ms: u64,
    /// Whether it is alive now.
    pub alive: bool,
    /// Seconds since this endpoint last sent its heartbeat; null: others send it, or none.
    pub age_s: Option<f64>,
    /// Nodes that send its heartbeat.
    pub speakers: Vec<String>,
}

/// Body of `POST /api/v2/robots/{id}/fail`: reports one failure of the robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = FailRequest::example())]
pub struct FailRequest {
    /// Reason.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

impl FailRequest {
    /// A valid example.
    pub fn example() -> FailRequest {
        FailRequest { reason: "the left rear wheel is stuck".to_owned() }
    }
}

/// Body of `POST /api/v2/robots/{id}/transition`: moves the robot to a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = TransitionRequest::example())]
pub struct TransitionRequest {
    /// Target state.
    pub to: State,
    /// Reason.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

impl TransitionRequest {
    /// A valid example.
    pub fn example() -> TransitionRequest {
        TransitionRequest { to: State::Maintenance, reason: "a new battery".to_owned() }
    }
}
