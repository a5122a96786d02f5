//! Goals that clients send to action servers of the graph.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_source::ros::{GoalEvent, GoalId, GoalStatus};
use serde_json::{Value, json};

use crate::dialect::rosbridge::request::{Id, SendGoal, key};
use crate::dialect::rosbridge::service_client::{answer_form, joined, name, quoted};
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type, refused};
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::rosbridge::{Form, framing};

/// The goals of one session that are under way, by the client's ids.
#[derive(Default)]
pub(super) struct Goals(Arc<Mutex<HashMap<String, (String, GoalId)>>>);

impl Goals {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, GoalId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To whom a goal's news go.
struct Sender {
    id: Id,
    /// As the client wrote it.
    action: String,
    form: Form,
}

impl Sender {
    fn frame(&self, event: GoalEvent) -> Option<Bytes> {
        let head = |op: &str| json!({"op": op, "action": self.action, "id": self.id});
        let result = |status: GoalStatus, result: bool| {
            json!({"op": "action_result", "action": self.action, "id": self.id,
                "status": status as i8, "result": result})
        };
        let (head, values) = match event {
            GoalEvent::Accepted => return None,
            GoalEvent::Feedback(values) => (head("action_feedback"), values),
            GoalEvent::Result(status, values) => (result(status, true), values),
            GoalEvent::Failed(why) => (result(GoalStatus::Unknown, false), quoted(&why)),
        };
        let values = match values.len() > limits::ROSBRIDGE_ANSWER_BYTES {
            true => quoted("it is too large to be told"),
            false => values,
        };
        Some(framing::frames(self.form, &name(&self.id, &self.action), joined(&head, "values", &values)))
    }
}

impl Session<'_> {
    /// Sends a goal. Whatever happens, the client gets an `action_result`.
    pub(super) fn send_goal(&mut self, id: &Id, goal: SendGoal) -> Done {
        let SendGoal { action, action_type, args, feedback, fragment_size, compression } = goal;
        let form = answer_form(compression.as_deref(), fragment_size)?;
        let sender = Sender { id: id.clone(), action, form };
        if let Err(fault) = self.pursue(&sender, &action_type, &args, feedback) {
            sender.frame(GoalEvent::Failed(fault.why())).into_iter().for_each(|frame| self.send(frame));
        }
        Ok(())
    }

    fn pursue(&mut self, sender: &Sender, action_type: &str, args: &Value, feedback: bool) -> Done {
        let action = full_name(&sender.action)?;
        let type_name = long_type(action_type, "action")?;
        let Some(key) = key(&sender.id) else { return refused("a goal needs an id") };
        let most = limits::GOALS_PER_SESSION;
        if self.goals.lock().contains_key(&key) {
            return refused("a goal of this id is under way");
        } else if self.goals.lock().len() >= most {
            return refused(format!("{most} goals are under way already"));
        }
        self.context.may_call(&action, &type_name).map_err(|denied| Fault::Refused(denied.to_string()))?;
        let empty = json!({});
        let args = if args.is_null() || *args == json!([]) { &empty } else { args };
        let sent = self.context.endpoint.ros.send_goal(&action, &type_name, args, feedback);
        let mut goal = sent.map_err(|error| Fault::Refused(error.to_string()))?;
        self.goals.lock().insert(key.clone(), (action, goal.id));
        let goals = Goals(self.goals.0.clone());
        let outbox = self.context.info.outbox().clone();
        let sender = Sender { id: sender.id.clone(), action: sender.action.clone(), form: sender.form };
        self.calls.spawn(async move {
            let mut ended = false;
            while let Some(event) = goal.events.recv().await {
                ended = matches!(event, GoalEvent::Result(..) | GoalEvent::Failed(_));
                if ended {
                    // Before the client hears of it: it may use the id again.
                    goals.lock().remove(&key);
                }
                sender.frame(event).into_iter().for_each(|frame| outbox.control(frame));
            }
            if !ended {
                goals.lock().remove(&key);
                let lost = sender.frame(GoalEvent::Failed("the goal was lost sight of".to_owned()));
                lost.into_iter().for_each(|frame| outbox.control(frame));
            }
        });
        Ok(())
    }

    /// Asks the server to cancel a goal.
    pub(super) fn cancel_goal(&mut self, id: &Id, action: &str) -> Done {
        let action = full_name(action)?;
        let known = key(id).and_then(|key| self.goals.lock().get(&key).cloned());
        let Some((_, goal)) = known.filter(|(name, _)| *name == action) else {
            return refused(format!("no goal of this id is under way at {action}"));
        };
        if self.calls.len() >= limits::CALLS_PER_SESSION + limits::GOALS_PER_SESSION {
            return refused("too many calls wait for their answers already");
        }
        let (ros, outbox, id) =
            (self.context.endpoint.ros.clone(), self.context.info.outbox().clone(), id.clone());
        self.calls.spawn(async move {
            if let Err(error) = ros.cancel_goal(&action, goal).await {
                outbox.control(status(Level::Error, &id, error.to_string()));
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::rosbridge::framing::tests::messages;

    #[test]
    fn a_goals_news_are_as_clients_expect_them() {
        let sender = Sender { id: Some(json!("g")), action: "/fib".to_owned(), form: Form::default() };
        let said =
            |event| -> Value { serde_json::from_slice(&messages(&sender.frame(event).unwrap())[0]).unwrap() };
        assert!(sender.frame(GoalEvent::Accepted).is_none());
        let feedback = said(GoalEvent::Feedback(b"{\"n\":1}".to_vec()));
        assert_eq!(
            feedback,
            json!({"op": "action_feedback", "action": "/fib", "id": "g", "values": {"n": 1}})
        );
        let result = said(GoalEvent::Result(GoalStatus::Succeeded, b"{}".to_vec()));
        assert_eq!((&result["status"], &result["result"]), (&json!(4), &json!(true)));
        let failed = said(GoalEvent::Failed("rejected".to_owned()));
        assert_eq!((&failed["result"], &failed["values"]), (&json!(false), &json!("rejected")));
    }
}
