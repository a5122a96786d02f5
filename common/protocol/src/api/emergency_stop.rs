//! JSON documents of the emergency stop.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /api/v2/emergency-stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = EmergencyStopRequest::example())]
pub struct EmergencyStopRequest {
    /// True engages, false releases.
    pub engage: bool,
    /// Id of the command; without one it gets one. A repeated release is done once; an engage always
    /// engages. The id of an engage releases nothing.
    #[serde(default)]
    pub id: String,
    /// Reason, for the log and for the team.
    #[serde(default)]
    pub reason: String,
}

impl EmergencyStopRequest {
    fn example() -> EmergencyStopRequest {
        EmergencyStopRequest {
            engage: true,
            id: "3f2a-1".to_owned(),
            reason: "someone stands in front of it".to_owned(),
        }
    }
}

/// Answer to an accepted command of the emergency stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmergencyStopAnswer {
    /// What happened.
    pub message: String,
    /// Whether the stop is engaged now; null if a relay cannot tell.
    pub engaged: Option<bool>,
}

/// State of the emergency stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmergencyStopDocument {
    /// Whether it is engaged; null at a relay, which does not keep it.
    pub engaged: Option<bool>,
    /// Command that set this state; empty if none did.
    pub id: String,
    /// Its reason, or why the stop is engaged without a command.
    pub reason: String,
    /// Time of the command, nanoseconds since the Unix epoch; 0 without one.
    pub at_ns: i64,
    /// Whether the state is on disk, so that it survives a restart.
    pub stored: bool,
    /// Whether the source has taken the state, so that the rover gets it.
    pub published: bool,
    /// What is wrong with the latch and what to do; null if nothing is.
    pub problem: Option<String>,
}
