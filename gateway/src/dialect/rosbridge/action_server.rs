//! Action servers of rosbridge clients (ROS 2 design, "Actions"). The client receives `send_action_goal`
//! and `cancel_action_goal`, and sends `action_feedback` and `action_result`; the source's action server
//! does the rest.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use roverline_source::ros::{GoalHandler, GoalId, GoalStatus, RosError, ServedGoal};
use serde_json::{Value, json};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::rosbridge::error::Unknown;
use crate::dialect::rosbridge::operation::{OpResult, full_name, joined};
use crate::dialect::rosbridge::request::Id;
use crate::limits;

/// The active goals at the actions of one session.
#[derive(Clone, Default)]
pub(super) struct ServedGoals(Arc<Mutex<ActiveGoals>>);

#[derive(Default)]
struct ActiveGoals {
    /// By the ids that the client receives.
    goals: HashMap<String, ActiveGoal>,
    number: u64,
}

struct ActiveGoal {
    action: String,
    goal: ServedGoal,
}

impl ServedGoals {
    /// Adds a goal and returns the id for the client.
    fn add(&self, action: &str, goal: ServedGoal) -> String {
        let mut active = self.0.lock();
        active.number += 1;
        let id = format!("action_goal:{action}:{}", active.number);
        active.goals.insert(id.clone(), ActiveGoal { action: action.to_owned(), goal });
        id
    }

    fn is_full(&self) -> bool {
        self.0.lock().goals.len() >= limits::GOALS_PER_SESSION
    }

    fn find(&self, goal: GoalId) -> Option<String> {
        let active = self.0.lock();
        active.goals.iter().find(|(_, one)| one.goal.id == goal).map(|(id, _)| id.clone())
    }

    /// Does something with an active goal of this action, by the id that the client sent.
    fn with(
        &self,
        id: &Id,
        action: &str,
        act: impl FnOnce(&mut ServedGoal) -> Result<(), RosError>,
    ) -> OpResult {
        let name = full_name(action)?;
        let id = id.as_ref().and_then(Value::as_str).unwrap_or("");
        match self.0.lock().goals.get_mut(id).filter(|goal| goal.action == name) {
            Some(active) => Ok(act(&mut active.goal)?),
            None => Err(Unknown::Goal(name).into()),
        }
    }

    /// Publishes a goal's feedback.
    pub(super) fn feedback(&self, id: &Id, action: &str, values: &Value) -> OpResult {
        self.with(id, action, |goal| goal.feedback(values))
    }

    /// Ends a goal. It goes on if the result does not fit its type.
    pub(super) fn finish(&self, id: &Id, action: &str, status: GoalStatus, result: &Value) -> OpResult {
        self.with(id, action, |goal| goal.finish(status, result))?;
        let ended = id.as_ref().and_then(Value::as_str).and_then(|id| self.0.lock().goals.remove(id));
        drop(ended);
        Ok(())
    }

    /// Aborts all goals: callers that wait for a result learn that none will come.
    fn abort_all(&self) {
        // Dropped outside of the lock, because each goal publishes its end.
        let goals = std::mem::take(&mut self.0.lock().goals);
        drop(goals);
    }
}

/// The goals as the session owns them: they are aborted when it ends.
#[derive(Default)]
pub(super) struct SessionGoals(ServedGoals);

impl Deref for SessionGoals {
    type Target = ServedGoals;

    fn deref(&self) -> &ServedGoals {
        &self.0
    }
}

impl Drop for SessionGoals {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}

/// One action as its client advertised it.
pub(super) struct ClientAction {
    pub(super) outbox: Arc<Outbox>,
    pub(super) goals: ServedGoals,
    pub(super) name: String,
    /// The name as the client wrote it, and expects it.
    pub(super) client_name: String,
    pub(super) type_name: String,
}

impl GoalHandler for ClientAction {
    fn accepts(&self, goal: &[u8]) -> bool {
        goal.len() <= limits::ROSBRIDGE_RESPONSE_BYTES && !self.goals.is_full()
    }

    fn execute(&self, mut goal: ServedGoal) {
        let args = std::mem::take(&mut goal.goal);
        let id = self.goals.add(&self.name, goal);
        let head = json!({"op": "send_action_goal", "id": id, "action": self.client_name,
            "action_type": self.type_name, "feedback": true});
        self.outbox.control(frame::text(&joined(&head, "args", &args)));
    }

    fn cancel(&self, id: GoalId) {
        if let Some(id) = self.goals.find(id) {
            let message = json!({"op": "cancel_action_goal", "id": id, "action": self.client_name});
            self.outbox.control(frame::json(&message));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_schema::Registry;
    use roverline_source::ros::Ros;
    use roverline_source::{Reply, Service, SourceControl};
    use tokio::sync::watch;

    use super::*;

    const FIBONACCI: &str = "example_interfaces/action/Fibonacci";

    /// Keeps the services that are offered.
    #[derive(Default)]
    struct Offered(Mutex<Vec<Service>>);

    impl SourceControl for Offered {
        fn publish(&self, _: roverline_source::Publication) -> Result<(), roverline_source::PublishError> {
            Ok(())
        }

        fn offer(&self, service: Service) -> Result<(), roverline_source::PublishError> {
            self.0.lock().push(service);
            Ok(())
        }
    }

    fn request(ros: &Ros, source: &Offered, part: &str, kind: &str, request: &Value) -> Option<Value> {
        let services = source.0.lock();
        let service = services.iter().find(|service| service.name.ends_with(part)).unwrap();
        let body = ros.encode(&format!("{kind}_Request"), request).unwrap();
        let (answer, response) = (Arc::new(Mutex::new(None)), format!("{kind}_Response"));
        let (received, decoder) = (answer.clone(), ros.clone());
        let reply = Reply::new(move |body: Bytes| {
            let json = decoder.decode(&response, &body).unwrap();
            *received.lock() = serde_json::from_slice(&json).ok();
        });
        (service.handler)(body, reply);
        answer.lock().take()
    }

    #[test]
    fn goals_are_bounded_and_end_with_the_session() {
        let source: Arc<Offered> = Arc::default();
        let ros = Ros::new(source.clone(), Registry::bundled(), watch::Sender::default().subscribe());
        let (session, outbox) = (SessionGoals::default(), Outbox::new());
        let action = Arc::new(ClientAction {
            outbox,
            goals: session.clone(),
            name: "/fib".to_owned(),
            client_name: "fib".to_owned(),
            type_name: FIBONACCI.to_owned(),
        });
        let served = ros.serve_action("/fib", FIBONACCI, action).unwrap();
        let send = |id: u8| {
            let goal = json!({"goal_id": {"uuid": vec![id; 16]}, "goal": {"order": 7}});
            let kind = format!("{FIBONACCI}_SendGoal");
            request(&ros, &source, "send_goal", &kind, &goal).unwrap()["accepted"] == true
        };
        let result = |id: u8| {
            let goal = json!({"goal_id": {"uuid": vec![id; 16]}});
            request(&ros, &source, "get_result", &format!("{FIBONACCI}_GetResult"), &goal)
        };
        let most = limits::GOALS_PER_SESSION as u8;
        assert!((1..=most).all(send) && !send(most + 1));
        let id = |number: u8| Some(json!(format!("action_goal:/fib:{number}")));
        let misfit = session.finish(&id(1), "fib", GoalStatus::Succeeded, &json!({"sequence": "x"}));
        assert!(misfit.is_err() && result(1).is_none(), "the client may try again");
        session.finish(&id(1), "fib", GoalStatus::Succeeded, &json!({"sequence": [3]})).unwrap();
        assert_eq!(result(1).unwrap()["status"], 4);
        assert!(session.feedback(&id(1), "fib", &json!({})).is_err(), "it has ended");
        assert!(session.feedback(&id(2), "other", &json!({})).is_err(), "it is another action's");
        assert!(session.feedback(&id(2), "fib", &json!({"sequence": [1]})).is_ok());
        assert!(send(most + 1), "an ended goal makes space");
        drop(session);
        assert_eq!(result(2).unwrap()["status"], 6);
        drop(served);
    }
}
