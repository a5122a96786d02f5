//! Action client for rosbridge: goals that clients send to action servers of the graph.

use bytes::Bytes;
use roverline_protocol::api::commands::CommandKind;
use roverline_source::ros::{GoalEvent, GoalStatus};
use serde_json::{Value, json};

use crate::dialect::rosbridge::error::{Conflict, Limit, RequestError, Unknown};
use crate::dialect::rosbridge::operation::{OpResult, full_name, joined, long_type, quoted};
use crate::dialect::rosbridge::request::{Id, SendGoal, key};
use crate::dialect::rosbridge::service_client::{name, response_format};
use crate::dialect::rosbridge::session::Session;
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::rosbridge::{SampleFormat, framing};
use crate::limits;

/// Formats a goal's feedback and result for the client.
struct GoalReporter {
    id: Id,
    /// The name as the client wrote it.
    action: String,
    format: SampleFormat,
}

impl GoalReporter {
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
        let values = match values.len() > limits::ROSBRIDGE_RESPONSE_BYTES {
            true => quoted("it is too large to be told"),
            false => values,
        };
        Some(framing::frames(self.format, &name(&self.id, &self.action), joined(&head, "values", &values)))
    }
}

/// Why a goal has failed, once it has ended; `None` as long as it goes on.
fn failure(event: &GoalEvent) -> Option<Option<String>> {
    match event {
        GoalEvent::Accepted | GoalEvent::Feedback(_) => None,
        GoalEvent::Failed(why) => Some(Some(why.clone())),
        GoalEvent::Result(GoalStatus::Succeeded, _) => Some(None),
        GoalEvent::Result(other, _) => Some(Some(format!("the goal ended as {other:?}"))),
    }
}

impl Session<'_> {
    /// Sends a goal. In any case the client gets an `action_result`.
    pub(super) fn send_goal(&mut self, id: &Id, goal: SendGoal) -> OpResult {
        let SendGoal { action, action_type, args, feedback, fragment_size, compression } = goal;
        let format = response_format(compression.as_deref(), fragment_size)?;
        let reporter = GoalReporter { id: id.clone(), action, format };
        if let Err(error) = self.start_goal(&reporter, &action_type, &args, feedback) {
            reporter
                .frame(GoalEvent::Failed(error.to_string()))
                .into_iter()
                .for_each(|frame| self.send(frame));
        }
        Ok(())
    }

    fn start_goal(
        &mut self,
        reporter: &GoalReporter,
        action_type: &str,
        args: &Value,
        feedback: bool,
    ) -> OpResult {
        let action = full_name(&reporter.action)?;
        let type_name = long_type(action_type, "action")?;
        let key = key(&reporter.id).ok_or(RequestError::Incomplete("a goal needs an id"))?;
        if self.goals.lock().contains_key(&key) {
            return Err(Conflict::Goal.into());
        } else if self.goals.lock().len() >= limits::GOALS_PER_SESSION {
            return Err(Limit::Goals.into());
        }
        self.context.authorize_call(&action, &type_name)?;
        let empty = json!({});
        let args = if args.is_null() || *args == json!([]) { &empty } else { args };
        let command = self.context.record_command(CommandKind::Goal, &action, &type_name);
        let mut goal = match self.context.endpoint.ros.send_goal(&action, &type_name, args, feedback) {
            Ok(goal) => goal,
            Err(error) => {
                command.finish(Some(error.to_string()));
                return Err(error.into());
            }
        };
        self.goals.lock().insert(key.clone(), (action, goal.id));
        let goals = self.goals.clone();
        let outbox = self.context.info.outbox().clone();
        let reporter = GoalReporter {
            id: reporter.id.clone(),
            action: reporter.action.clone(),
            format: reporter.format,
        };
        self.calls.spawn(async move {
            let (mut ended, mut command) = (false, Some(command));
            while let Some(event) = goal.events.recv().await {
                if let Some(failure) = failure(&event) {
                    command.take().into_iter().for_each(|command| command.finish(failure.clone()));
                }
                ended = matches!(event, GoalEvent::Result(..) | GoalEvent::Failed(_));
                if ended {
                    // Removed before the client is told, since it may then use the id again.
                    goals.lock().remove(&key);
                }
                reporter.frame(event).into_iter().for_each(|frame| outbox.control(frame));
            }
            if !ended {
                goals.lock().remove(&key);
                let lost = reporter.frame(GoalEvent::Failed("the goal was lost sight of".to_owned()));
                lost.into_iter().for_each(|frame| outbox.control(frame));
            }
        });
        Ok(())
    }

    /// Requests the action server to cancel a goal.
    pub(super) fn cancel_goal(&mut self, id: &Id, action: &str) -> OpResult {
        let action = full_name(action)?;
        let known = key(id).and_then(|key| self.goals.lock().get(&key).cloned());
        let Some((_, goal)) = known.filter(|(name, _)| *name == action) else {
            return Err(Unknown::Goal(action).into());
        };
        if self.calls.len() >= limits::CALLS_PER_SESSION + limits::GOALS_PER_SESSION {
            return Err(Limit::Tasks.into());
        }
        let command = self.context.record_command(CommandKind::Cancel, &action, "");
        let (ros, outbox, id) =
            (self.context.endpoint.ros.clone(), self.context.info.outbox().clone(), id.clone());
        self.calls.spawn(async move {
            let cancelled = ros.cancel_goal(&action, goal).await;
            command.finish_with(&cancelled);
            if let Err(error) = cancelled {
                outbox.control(status(Level::Error, &id, &error));
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
        let reporter =
            GoalReporter { id: Some(json!("g")), action: "/fib".to_owned(), format: SampleFormat::default() };
        let sent = |event| -> Value {
            serde_json::from_slice(&messages(&reporter.frame(event).unwrap())[0]).unwrap()
        };
        assert!(reporter.frame(GoalEvent::Accepted).is_none());
        let feedback = sent(GoalEvent::Feedback(b"{\"n\":1}".to_vec()));
        assert_eq!(
            feedback,
            json!({"op": "action_feedback", "action": "/fib", "id": "g", "values": {"n": 1}})
        );
        let result = sent(GoalEvent::Result(GoalStatus::Succeeded, b"{}".to_vec()));
        assert_eq!((&result["status"], &result["result"]), (&json!(4), &json!(true)));
        let failed = sent(GoalEvent::Failed("rejected".to_owned()));
        assert_eq!((&failed["result"], &failed["values"]), (&json!(false), &json!("rejected")));
    }
}
