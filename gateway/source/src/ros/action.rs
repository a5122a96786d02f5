//! ROS 2 actions: a goal is sent, accepted, followed and cancelled through three services and two topics
//! below `NAME/_action` (ROS 2 design article "Actions").

mod client;
mod server;

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::sync::mpsc;

use crate::ros::RosError;
pub use crate::ros::action::server::{GoalHandler, ServedAction, ServedGoal};

/// A goal id, unique in the graph (unique_identifier_msgs/msg/UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GoalId(pub [u8; 16]);

impl GoalId {
    /// A random id (UUID version 4, RFC 9562).
    pub fn random() -> GoalId {
        // std seeds every hasher randomly.
        let half = || RandomState::new().build_hasher().finish().to_le_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&half());
        id[8..].copy_from_slice(&half());
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        GoalId(id)
    }
}

/// State of a goal (action_msgs/msg/GoalStatus).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum GoalStatus {
    /// Not known.
    #[default]
    Unknown = 0,
    /// Accepted, but not executing yet.
    Accepted = 1,
    /// Executing.
    Executing = 2,
    /// Being cancelled.
    Canceling = 3,
    /// Succeeded.
    Succeeded = 4,
    /// Cancelled.
    Canceled = 5,
    /// Aborted by its server.
    Aborted = 6,
}

/// An event of a goal. The last one is a [`GoalEvent::Result`] or a [`GoalEvent::Failed`].
#[derive(Clone, Debug, PartialEq)]
pub enum GoalEvent {
    /// The server accepted the goal.
    Accepted,
    /// Feedback: JSON text of the action's `_Feedback`.
    Feedback(Vec<u8>),
    /// The goal ended: JSON text of the action's `_Result`.
    Result(GoalStatus, Vec<u8>),
    /// The goal was rejected or failed, with the reason.
    Failed(String),
}

/// A goal in progress. Dropping it stops following the goal but does not cancel it.
pub struct Goal {
    /// The goal's id.
    pub id: GoalId,
    /// The goal's events.
    pub events: mpsc::Receiver<GoalEvent>,
}

impl GoalStatus {
    /// Converts the number in a message; other numbers are [`GoalStatus::Unknown`].
    pub fn from_number(number: i8) -> GoalStatus {
        use GoalStatus as S;
        let all = [S::Accepted, S::Executing, S::Canceling, S::Succeeded, S::Canceled, S::Aborted];
        all.into_iter().find(|status| *status as i8 == number).unwrap_or(S::Unknown)
    }
}

/// Extracts the last field of a message's JSON text, which must have this name.
fn last_field(json: &[u8], name: &str) -> Result<Vec<u8>, RosError> {
    let key = format!("\"{name}\":");
    let at = json.windows(key.len()).position(|window| window == key.as_bytes());
    let body = at.and_then(|at| json.get(at + key.len()..)?.strip_suffix(b"}"));
    body.map(<[u8]>::to_vec).ok_or_else(|| RosError::Message(format!("the message has no {name}")))
}

#[cfg(test)]
mod tests;
