//! Actions (ROS 2 design, "Actions"): a goal is sent, answered, followed and cancelled through three
//! services and two topics below `NAME/_action`.

mod client;
mod server;

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::sync::mpsc;

use crate::ros::RosError;
pub use crate::ros::action::server::{GoalHandler, ServedAction, ServedGoal};

/// A goal's identity, unique in the graph (unique_identifier_msgs/msg/UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GoalId(pub [u8; 16]);

impl GoalId {
    /// One that nobody else has (a UUID of version 4, RFC 9562).
    pub fn random() -> GoalId {
        // std seeds every hasher anew, at random.
        let half = || RandomState::new().build_hasher().finish().to_le_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&half());
        id[8..].copy_from_slice(&half());
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        GoalId(id)
    }
}

/// How far a goal is (action_msgs/msg/GoalStatus).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum GoalStatus {
    /// Nothing is known.
    #[default]
    Unknown = 0,
    /// Taken on.
    Accepted = 1,
    /// Being pursued.
    Executing = 2,
    /// Being cancelled.
    Canceling = 3,
    /// Reached.
    Succeeded = 4,
    /// Cancelled.
    Canceled = 5,
    /// Given up by its server.
    Aborted = 6,
}

/// What becomes of a goal. The last one is a [`GoalEvent::Result`] or a [`GoalEvent::Failed`].
#[derive(Clone, Debug, PartialEq)]
pub enum GoalEvent {
    /// The server took it on.
    Accepted,
    /// How far it is: JSON text of the action's `_Feedback`.
    Feedback(Vec<u8>),
    /// It ended: JSON text of the action's `_Result`.
    Result(GoalStatus, Vec<u8>),
    /// It was rejected, or nothing came of it; why.
    Failed(String),
}

/// A goal on its way. Dropping it follows it no longer, and does not cancel it.
pub struct Goal {
    /// Its identity.
    pub id: GoalId,
    /// What becomes of it.
    pub events: mpsc::Receiver<GoalEvent>,
}

impl GoalStatus {
    /// From the number that servers send; what is none of them is unknown.
    pub fn from_number(number: i8) -> GoalStatus {
        use GoalStatus as S;
        let all = [S::Accepted, S::Executing, S::Canceling, S::Succeeded, S::Canceled, S::Aborted];
        all.into_iter().find(|status| *status as i8 == number).unwrap_or(S::Unknown)
    }
}

/// The field of this name, which is the last one of a message that was written as JSON.
fn last_field(json: &[u8], name: &str) -> Result<Vec<u8>, RosError> {
    let key = format!("\"{name}\":");
    let at = json.windows(key.len()).position(|window| window == key.as_bytes());
    let body = at.and_then(|at| json.get(at + key.len()..)?.strip_suffix(b"}"));
    body.map(<[u8]>::to_vec).ok_or_else(|| RosError::Message(format!("the message has no {name}")))
}

#[cfg(test)]
mod tests;
