//! The JSON of robots' and endpoints' lives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lifecycle::State;

/// Robots and endpoints by kind and name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LifeList {
    /// This page of them.
    pub entries: Vec<LifeDocument>,
    /// How many there are in all, this page and all others.
    pub total: usize,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
    /// The revision of the team's store at which this holds.
    pub revision: u64,
}

/// The life of one robot or endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LifeDocument {
    /// `robot` or `endpoint`.
    pub kind: String,
    /// Its name among those of its kind.
    pub id: String,
    /// What sort of robot or endpoint it is.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// Where it was before the newest fact; the same where that moved nothing.
    pub previous: State,
    /// Where it may be led from here.
    pub possible: Vec<State>,
    /// Since when it is in its state, nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// The newest fact: `discovered`, `described`, `moved`, `failure` or `recovered`.
    pub fact: String,
    /// When that came about, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Why.
    pub reason: String,
    /// Who brought it about.
    pub by: String,
    /// Whether a person put it into its state: then it is left there, unless it is prepared or in use.
    pub manual: bool,
    /// Failures in a row.
    pub failures: u32,
    /// The failure in a row that is one too many; null: it has failed.
    pub fails_at: Option<u32>,
    /// Whether it can be used or is used, and nothing is wrong with it.
    pub healthy: bool,
    /// Whether it can be given something to do: ready, and not failing.
    pub deployable: bool,
    /// How it is heard of; null: it need not be.
    pub heartbeat: Option<HeartbeatDocument>,
    /// The revision of the newest fact.
    pub revision: u64,
}

/// How one is heard of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatDocument {
    /// It is missed when it was not heard of for so long.
    pub missed_after_ms: u64,
    /// Whether it is not missed now.
    pub alive: bool,
    /// Seconds since this endpoint spoke for it last; null: others do, or nobody.
    pub age_s: Option<f64>,
    /// Who speaks for it.
    pub speakers: Vec<String>,
}

/// The body of `POST /api/v2/robots/{id}/fail`: the robot failed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = FailRequest::example())]
pub struct FailRequest {
    /// Why.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

impl FailRequest {
    /// One that can be sent.
    pub fn example() -> FailRequest {
        FailRequest { reason: "the left rear wheel is stuck".to_owned() }
    }
}

/// The body of `POST /api/v2/robots/{id}/transition`: the robot is led to a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = TransitionRequest::example())]
pub struct TransitionRequest {
    /// Where to.
    pub to: State,
    /// Why.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

impl TransitionRequest {
    /// One that can be sent.
    pub fn example() -> TransitionRequest {
        TransitionRequest { to: State::Maintenance, reason: "a new battery".to_owned() }
    }
}
