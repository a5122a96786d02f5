//! The goals sent to the actions of one session: their states, and the callers that wait for their
//! results.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use roverline_source::Reply;
use roverline_source::ros::GoalStatus;
use serde_json::{Value, json};

use crate::dialect::rosbridge::operation::time;
use crate::limits;

/// A goal's identity (unique_identifier_msgs/msg/UUID).
pub(super) type Uuid = [u8; 16];

/// Number of callers that may wait for one goal's result.
const WAITING: usize = 8;

/// All goals, by the ids that the client receives.
#[derive(Default)]
pub(super) struct ServedGoals {
    goals: BTreeMap<String, Goal>,
    number: u64,
}

struct Goal {
    number: u64,
    action: String,
    type_name: String,
    uuid: Uuid,
    accepted_ns: i64,
    status: i8,
    waiting: Vec<Reply>,
    /// CDR of the result response, once the goal has ended.
    result: Option<Bytes>,
}

/// An active goal.
pub(super) struct ServedGoal {
    pub(super) action: String,
    pub(super) type_name: String,
    /// unique_identifier_msgs/msg/UUID.
    pub(super) goal_id: Value,
}

impl Goal {
    fn goal_id(&self) -> Value {
        json!({"uuid": STANDARD.encode(self.uuid)})
    }

    fn info(&self) -> Value {
        json!({"goal_id": self.goal_id(), "stamp": time(self.accepted_ns)})
    }
}

/// The identity at the start of every request about a goal, after the encapsulation header.
pub(super) fn identity(request: &[u8]) -> Option<Uuid> {
    request.get(4..20)?.try_into().ok()
}

impl ServedGoals {
    /// Adds a goal and names it; `None` if it exists already or there is no space.
    pub(super) fn add(&mut self, action: &str, type_name: &str, uuid: Uuid, now_ns: i64) -> Option<String> {
        let most = limits::GOALS_PER_SESSION;
        let open = self.goals.values().filter(|goal| goal.result.is_none()).count();
        if open >= most || self.goals.values().any(|goal| goal.uuid == uuid) {
            return None;
        }
        // As many ended goals are retained for late result requests.
        let ended = self.goals.iter().filter(|(_, goal)| goal.result.is_some());
        if ended.clone().count() >= most
            && let Some(oldest) = ended.min_by_key(|(_, goal)| goal.number).map(|(id, _)| id.clone())
        {
            self.goals.remove(&oldest);
        }
        self.number += 1;
        let id = format!("action_goal:{action}:{}", self.number);
        let goal = Goal {
            number: self.number,
            action: action.to_owned(),
            type_name: type_name.to_owned(),
            uuid,
            accepted_ns: now_ns,
            status: GoalStatus::Executing as i8,
            waiting: Vec::new(),
            result: None,
        };
        self.goals.insert(id.clone(), goal);
        Some(id)
    }

    /// Marks one goal of an action, or all of them, as being cancelled; returns their ids and GoalInfos.
    pub(super) fn cancel(&mut self, action: &str, uuid: Option<Uuid>) -> Vec<(String, Value)> {
        let meant = |goal: &Goal| {
            goal.action == action && goal.result.is_none() && uuid.is_none_or(|uuid| uuid == goal.uuid)
        };
        let goals = self.goals.iter_mut().filter(|(_, goal)| meant(goal));
        let cancelled = goals.map(|(id, goal)| {
            goal.status = GoalStatus::Canceling as i8;
            (id.clone(), goal.info())
        });
        cancelled.collect()
    }

    /// Replies now or when the goal has ended; returns the reply if there is no such goal.
    pub(super) fn reply_when_ended(&mut self, action: &str, uuid: Uuid, reply: Reply) -> Result<(), Reply> {
        let mut goals = self.goals.values_mut();
        match goals.find(|goal| goal.action == action && goal.uuid == uuid) {
            Some(Goal { result: Some(result), .. }) => reply.send(result.clone()),
            Some(goal) => {
                // A caller that asks again has given up its earlier request.
                if goal.waiting.len() == WAITING {
                    goal.waiting.remove(0);
                }
                goal.waiting.push(reply);
            }
            None => return Err(reply),
        }
        Ok(())
    }

    /// Ends a goal; returns its action and the callers that wait for the result.
    pub(super) fn end(&mut self, id: &str, status: i8, result: Bytes) -> Option<(String, Vec<Reply>)> {
        let goal = self.goals.get_mut(id).filter(|goal| goal.result.is_none())?;
        (goal.status, goal.result) = (status, Some(result));
        Some((goal.action.clone(), std::mem::take(&mut goal.waiting)))
    }

    /// An active goal.
    pub(super) fn get(&self, id: &str) -> Option<ServedGoal> {
        let goal = self.goals.get(id).filter(|goal| goal.result.is_none())?;
        let (action, type_name) = (goal.action.clone(), goal.type_name.clone());
        Some(ServedGoal { action, type_name, goal_id: goal.goal_id() })
    }

    /// The active goals with their types.
    pub(super) fn active(&self) -> Vec<(String, String)> {
        let open = self.goals.iter().filter(|(_, goal)| goal.result.is_none());
        open.map(|(id, goal)| (id.clone(), goal.type_name.clone())).collect()
    }

    /// An action's list of action_msgs/msg/GoalStatus.
    pub(super) fn status(&self, action: &str) -> Vec<Value> {
        let of = self.goals.values().filter(|goal| goal.action == action);
        of.map(|goal| json!({"goal_info": goal.info(), "status": goal.status})).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    fn recording(replies: &Arc<Mutex<Vec<Bytes>>>) -> Reply {
        let replies = replies.clone();
        Reply::new(move |answer| replies.lock().push(answer))
    }

    #[test]
    fn results_reach_waiting_and_late_callers() {
        let mut all = ServedGoals::default();
        let replies = Arc::default();
        let id = all.add("/fib", "e/action/F", [1; 16], 5).unwrap();
        assert!(all.add("/fib", "e/action/F", [1; 16], 5).is_none(), "an identity is one goal");
        assert!(all.reply_when_ended("/fib", [1; 16], recording(&replies)).is_ok());
        assert!(all.reply_when_ended("/fib", [2; 16], recording(&replies)).is_err());
        assert_eq!(all.status("/fib")[0]["status"], 2);
        assert_eq!(all.cancel("/fib", Some([2; 16])).len(), 0);
        assert_eq!(all.cancel("/fib", None)[0].0, id);
        let (action, waiting) = all.end(&id, 5, Bytes::from_static(b"r")).unwrap();
        waiting.into_iter().for_each(|reply| reply.send(Bytes::from_static(b"r")));
        assert!(all.reply_when_ended(&action, [1; 16], recording(&replies)).is_ok());
        assert_eq!(replies.lock().len(), 2);
        assert!(all.end(&id, 4, Bytes::new()).is_none() && all.get(&id).is_none() && all.active().is_empty());
    }

    #[test]
    fn repeated_result_requests_are_answered_in_the_end() {
        let mut all = ServedGoals::default();
        let id = all.add("/fib", "e/action/F", [1; 16], 5).unwrap();
        let replies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        for _ in 0..WAITING {
            assert!(all.reply_when_ended("/fib", [1; 16], Reply::new(|_| {})).is_ok());
        }
        assert!(all.reply_when_ended("/fib", [1; 16], recording(&replies)).is_ok());
        let (_, waiting) = all.end(&id, 4, Bytes::from_static(b"r")).unwrap();
        assert_eq!(waiting.len(), WAITING);
        waiting.into_iter().for_each(|reply| reply.send(Bytes::from_static(b"r")));
        assert_eq!(replies.lock().len(), 1);
    }

    #[test]
    fn goals_are_bounded_and_ended_ones_go_first() {
        let mut all = ServedGoals::default();
        let uuid = |n: u64| {
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&n.to_le_bytes());
            uuid
        };
        for n in 0..1_000 {
            let id = all.add("/a", "t", uuid(n), 0).unwrap();
            all.end(&id, 4, Bytes::new());
        }
        assert_eq!(all.goals.len(), limits::GOALS_PER_SESSION);
        let taken = (1_000..2_000).filter(|n| all.add("/a", "t", uuid(*n), 0).is_some()).count();
        assert_eq!(taken, limits::GOALS_PER_SESSION);
        assert!(all.goals.len() <= 2 * limits::GOALS_PER_SESSION);
    }
}
