//! Action servers of rosbridge clients (ROS 2 design, "Actions"): three services and two topics below
//! `NAME/_action`. The client receives `send_action_goal` and `cancel_action_goal`, and sends
//! `action_feedback` and `action_result`.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_source::clock::unix_ns;
use roverline_source::ros::{GoalStatus, Ros, RosError, ServedService};
use roverline_source::{Publication, Reply};
use serde_json::{Value, json};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::rosbridge::operation::{OpError, full_name, rejected};
use crate::dialect::rosbridge::request::Id;
use crate::dialect::rosbridge::served_goals::{ServedGoal, ServedGoals, Uuid, identity};
use crate::dialect::session::SessionContext;
use crate::limits;

const CANCEL: &str = "action_msgs/srv/CancelGoal";
const STATUS: &str = "action_msgs/msg/GoalStatusArray";
/// action_msgs/srv/CancelGoal: there is no such goal.
const UNKNOWN_GOAL: i8 = 2;

/// The actions of one session. Its active goals are aborted when it ends.
pub(super) struct ActionServers {
    pub(super) ros: Ros,
    pub(super) goals: Arc<Mutex<ServedGoals>>,
}

impl Drop for ActionServers {
    fn drop(&mut self) {
        let open = self.goals.lock().active();
        for (id, type_name) in open {
            // Callers that wait for a result learn that none will come.
            let _ = finish(&self.ros, &self.goals, &id, &type_name, GoalStatus::Aborted as i8, &json!({}));
        }
    }
}

/// One action as its client advertised it.
pub(super) struct Action {
    pub(super) ros: Ros,
    pub(super) outbox: Arc<Outbox>,
    pub(super) goals: Arc<Mutex<ServedGoals>>,
    pub(super) name: String,
    /// The name as the client wrote it, and expects it.
    pub(super) client_name: String,
    pub(super) type_name: String,
}

fn send(outbox: &Outbox, message: &Value) {
    outbox.control(frame::json(message));
}

impl Action {
    /// Handles a new goal: accepts it if there is space, and forwards it to the client.
    fn goal(&self, request: &Bytes) -> Result<Bytes, RosError> {
        let decoded = self.ros.decode(&format!("{}_SendGoal_Request", self.type_name), request)?;
        let goal = serde_json::from_slice::<Value>(&decoded).ok().and_then(|mut all| {
            Some(all.get_mut("goal")?.take()).filter(|_| decoded.len() <= limits::ROSBRIDGE_RESPONSE_BYTES)
        });
        let (uuid, now_ns) = (identity(request), unix_ns());
        let id = uuid
            .zip(goal.as_ref())
            .and_then(|(uuid, _)| self.goals.lock().add(&self.name, &self.type_name, uuid, now_ns));
        if let (Some(id), Some(goal)) = (&id, &goal) {
            send(
                &self.outbox,
                &json!({"op": "send_action_goal", "id": id, "action": self.client_name,
                    "action_type": self.type_name, "args": goal, "feedback": true}),
            );
            publish_status(&self.ros, &self.goals, &self.name);
        }
        let response =
            json!({"accepted": id.is_some(), "stamp": crate::dialect::rosbridge::operation::time(now_ns)});
        self.ros.encode(&format!("{}_SendGoal_Response", self.type_name), &response)
    }

    /// Handles a cancel request by forwarding it to the client.
    fn cancel(&self, request: &Bytes) -> Result<Bytes, RosError> {
        let uuid = identity(request).filter(|uuid| *uuid != Uuid::default());
        let goals = self.goals.lock().cancel(&self.name, uuid);
        for (id, _) in &goals {
            send(&self.outbox, &json!({"op": "cancel_action_goal", "id": id, "action": self.client_name}));
        }
        publish_status(&self.ros, &self.goals, &self.name);
        let infos: Vec<&Value> = goals.iter().map(|(_, info)| info).collect();
        let code = if goals.is_empty() && uuid.is_some() { UNKNOWN_GOAL } else { 0 };
        self.ros
            .encode(&format!("{CANCEL}_Response"), &json!({"return_code": code, "goals_canceling": infos}))
    }

    /// Handles a request for a goal's result, now or when the goal ends.
    fn result(&self, request: &Bytes, reply: Reply) {
        let Some(uuid) = identity(request) else { return };
        if let Err(reply) = self.goals.lock().reply_when_ended(&self.name, uuid, reply) {
            let unknown = json!({"status": GoalStatus::Unknown as i8});
            reply_with(reply, self.ros.encode(&format!("{}_GetResult_Response", self.type_name), &unknown));
        }
    }

    pub(super) fn serve(self: &Arc<Self>) -> Result<Vec<ServedService>, RosError> {
        let part = |part: &str| format!("{}/_action/{part}", self.name);
        let (goal, cancel, result) = (self.clone(), self.clone(), self.clone());
        Ok(vec![
            self.ros.serve(
                &part("get_result"),
                &format!("{}_GetResult", self.type_name),
                Arc::new(move |request: Bytes, reply| result.result(&request, reply)),
            )?,
            self.ros.serve(
                &part("cancel_goal"),
                CANCEL,
                Arc::new(move |request: Bytes, reply| reply_with(reply, cancel.cancel(&request))),
            )?,
            // Last: a caller that finds it also finds the others.
            self.ros.serve(
                &part("send_goal"),
                &format!("{}_SendGoal", self.type_name),
                Arc::new(move |request: Bytes, reply| reply_with(reply, goal.goal(&request))),
            )?,
        ])
    }
}

fn reply_with(reply: Reply, response: Result<Bytes, RosError>) {
    match response {
        Ok(response) => reply.send(response),
        Err(error) => tracing::info!(%error, "a request to an action was not answered"),
    }
}

/// Publishes the status of an action's goals, latched as ROS 2 actions require.
fn publish_status(ros: &Ros, goals: &Mutex<ServedGoals>, action: &str) {
    let list = goals.lock().status(action);
    let published = ros.encode(STATUS, &json!({"status_list": list})).and_then(|payload| {
        let (topic, type_name) = (format!("{action}/_action/status"), STATUS.to_owned());
        ros.publish(Publication { topic, type_name, payload, latched: true })
    });
    if let Err(error) = published {
        tracing::debug!(action, %error, "the status of goals was not published");
    }
}

/// Ends a goal and sends the result to all callers that wait for it.
pub(super) fn finish(
    ros: &Ros,
    goals: &Mutex<ServedGoals>,
    id: &str,
    type_name: &str,
    status: i8,
    result: &Value,
) -> Result<(), RosError> {
    let response =
        ros.encode(&format!("{type_name}_GetResult_Response"), &json!({"status": status, "result": result}))?;
    let Some((action, waiting)) = goals.lock().end(id, status, response.clone()) else { return Ok(()) };
    waiting.into_iter().for_each(|reply| reply.send(response.clone()));
    publish_status(ros, goals, &action);
    Ok(())
}

impl ActionServers {
    pub(super) fn new(context: &SessionContext) -> ActionServers {
        ActionServers { ros: context.endpoint.ros.clone(), goals: Arc::default() }
    }

    /// An active goal of this action, by the id that the client sent.
    pub(super) fn find(&self, id: &Id, action: &str) -> Result<(String, ServedGoal), OpError> {
        let name = full_name(action)?;
        let id = id.as_ref().and_then(Value::as_str).unwrap_or("");
        match self.goals.lock().get(id).filter(|goal| goal.action == name) {
            Some(goal) => Ok((id.to_owned(), goal)),
            None => rejected(format!("no goal of this id is under way at {name}")),
        }
    }
}
