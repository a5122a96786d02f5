//! Actions that clients serve (ROS 2 design, "Actions"): three services and two topics below
//! `NAME/_action`, of which a client sees `send_action_goal` and `cancel_action_goal`, and says
//! `action_feedback` and `action_result`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;
use roverline_source::ros::{GoalStatus, Ros, RosError, Served};
use roverline_source::{Publication, Reply};
use serde_json::{Value, json};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::rosbridge::request::Id;
use crate::dialect::rosbridge::served_goals::{Pursuit, Pursuits, Uuid, identity};
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type, refused};
use crate::dialect::session::Context;

const CANCEL: &str = "action_msgs/srv/CancelGoal";
const STATUS: &str = "action_msgs/msg/GoalStatusArray";
/// action_msgs/srv/CancelGoal: there is no such goal.
const UNKNOWN_GOAL: i8 = 2;

/// The actions of one session. What is under way when it ends is aborted.
pub(super) struct ActionServers {
    ros: Ros,
    pursuits: Arc<Mutex<Pursuits>>,
}

impl Drop for ActionServers {
    fn drop(&mut self) {
        let open = lock(&self.pursuits).open();
        for (id, type_name) in open {
            // Those who wait for a result are told that none will come.
            let _ = finish(&self.ros, &self.pursuits, &id, &type_name, GoalStatus::Aborted as i8, &json!({}));
        }
    }
}

/// One action as its client offers it.
struct Action {
    ros: Ros,
    outbox: Arc<Outbox>,
    pursuits: Arc<Mutex<Pursuits>>,
    name: String,
    /// As the client wrote it, and listens for it.
    spelt: String,
    type_name: String,
}

fn lock(pursuits: &Mutex<Pursuits>) -> MutexGuard<'_, Pursuits> {
    pursuits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(outbox: &Outbox, message: &Value) {
    outbox.control(frame::json(message));
}

impl Action {
    /// A goal comes: it is accepted if there is room for it, and goes to the client.
    fn goal(&self, request: &Bytes) -> Result<Bytes, RosError> {
        let decoded = self.ros.decode(&format!("{}_SendGoal_Request", self.type_name), request)?;
        let goal = serde_json::from_slice::<Value>(&decoded).ok().and_then(|mut all| {
            Some(all.get_mut("goal")?.take()).filter(|_| decoded.len() <= limits::ROSBRIDGE_ANSWER_BYTES)
        });
        let (uuid, now_ns) = (identity(request), unix_ns());
        let id = uuid
            .zip(goal.as_ref())
            .and_then(|(uuid, _)| lock(&self.pursuits).begin(&self.name, &self.type_name, uuid, now_ns));
        if let (Some(id), Some(goal)) = (&id, &goal) {
            say(
                &self.outbox,
                &json!({"op": "send_action_goal", "id": id, "action": self.spelt,
                    "action_type": self.type_name, "args": goal, "feedback": true}),
            );
            tell_status(&self.ros, &self.pursuits, &self.name);
        }
        let response =
            json!({"accepted": id.is_some(), "stamp": crate::dialect::rosbridge::publications::time(now_ns)});
        self.ros.encode(&format!("{}_SendGoal_Response", self.type_name), &response)
    }

    /// Somebody wants goals cancelled: the client is asked to.
    fn cancel(&self, request: &Bytes) -> Result<Bytes, RosError> {
        let uuid = identity(request).filter(|uuid| *uuid != Uuid::default());
        let goals = lock(&self.pursuits).cancel(&self.name, uuid);
        for (id, _) in &goals {
            say(&self.outbox, &json!({"op": "cancel_action_goal", "id": id, "action": self.spelt}));
        }
        tell_status(&self.ros, &self.pursuits, &self.name);
        let infos: Vec<&Value> = goals.iter().map(|(_, info)| info).collect();
        let code = if goals.is_empty() && uuid.is_some() { UNKNOWN_GOAL } else { 0 };
        self.ros
            .encode(&format!("{CANCEL}_Response"), &json!({"return_code": code, "goals_canceling": infos}))
    }

    /// Somebody wants to know what a goal came to, now or when it does.
    fn result(&self, request: &Bytes, reply: Reply) {
        let Some(uuid) = identity(request) else { return };
        if let Err(reply) = lock(&self.pursuits).wait(&self.name, uuid, reply) {
            let unknown = json!({"status": GoalStatus::Unknown as i8});
            answer(reply, self.ros.encode(&format!("{}_GetResult_Response", self.type_name), &unknown));
        }
    }

    fn serve(self: &Arc<Self>) -> Result<Vec<Served>, RosError> {
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
                Arc::new(move |request: Bytes, reply| answer(reply, cancel.cancel(&request))),
            )?,
            // Last: who finds it finds the others.
            self.ros.serve(
                &part("send_goal"),
                &format!("{}_SendGoal", self.type_name),
                Arc::new(move |request: Bytes, reply| answer(reply, goal.goal(&request))),
            )?,
        ])
    }
}

fn answer(reply: Reply, response: Result<Bytes, RosError>) {
    match response {
        Ok(response) => reply.send(response),
        Err(error) => tracing::info!(%error, "a request to an action was not answered"),
    }
}

/// Publishes how far an action's goals are; latched, as actions have it.
fn tell_status(ros: &Ros, pursuits: &Mutex<Pursuits>, action: &str) {
    let list = lock(pursuits).status(action);
    let published = ros.encode(STATUS, &json!({"status_list": list})).and_then(|payload| {
        let (topic, type_name) = (format!("{action}/_action/status"), STATUS.to_owned());
        ros.publish(Publication { topic, type_name, payload, latched: true })
    });
    if let Err(error) = published {
        tracing::debug!(action, %error, "the status of goals was not published");
    }
}

/// Ends a goal and tells all who wait for it.
fn finish(
    ros: &Ros,
    pursuits: &Mutex<Pursuits>,
    id: &str,
    type_name: &str,
    status: i8,
    result: &Value,
) -> Result<(), RosError> {
    let response =
        ros.encode(&format!("{type_name}_GetResult_Response"), &json!({"status": status, "result": result}))?;
    let Some((action, waiting)) = lock(pursuits).end(id, status, response.clone()) else { return Ok(()) };
    waiting.into_iter().for_each(|reply| reply.send(response.clone()));
    tell_status(ros, pursuits, &action);
    Ok(())
}

impl ActionServers {
    pub(super) fn new(context: &Context) -> ActionServers {
        ActionServers { ros: context.endpoint.ros.clone(), pursuits: Arc::default() }
    }

    /// A goal of this action that is under way, by what the client says.
    fn find(&self, id: &Id, action: &str) -> Result<(String, Pursuit), Fault> {
        let name = full_name(action)?;
        let id = id.as_ref().and_then(Value::as_str).unwrap_or("");
        match lock(&self.pursuits).get(id).filter(|pursuit| pursuit.action == name) {
            Some(pursuit) => Ok((id.to_owned(), pursuit)),
            None => refused(format!("no goal of this id is under way at {name}")),
        }
    }
}

impl Session<'_> {
    /// Offers an action to the graph.
    pub(super) fn advertise_action(&mut self, action: String, type_name: &str) -> Done {
        let name = full_name(&action)?;
        let type_name = long_type(type_name, "action")?;
        let endpoint = &self.context.endpoint;
        let known = endpoint.hub.registry().plan(&format!("{type_name}_GetResult_Response"));
        known.map_err(|error| Fault::Refused(error.to_string()))?;
        let key = format!("{name}/_action");
        endpoint.offered.take(self.context.info.id, &key);
        self.may_offer(&name, &type_name)?;
        let action = Arc::new(Action {
            ros: endpoint.ros.clone(),
            outbox: self.context.info.outbox().clone(),
            pursuits: self.actions.pursuits.clone(),
            name,
            spelt: action,
            type_name,
        });
        let served = endpoint.offered.put(self.context, &key, || action.serve());
        served.map_err(|error| Fault::Refused(error.to_string()))
    }

    /// Offers it no longer.
    pub(super) fn unadvertise_action(&mut self, action: &str) -> Done {
        let name = full_name(action)?;
        match self.context.endpoint.offered.take(self.context.info.id, &format!("{name}/_action")) {
            true => Ok(()),
            false => refused(format!("you do not offer {name}")),
        }
    }

    /// The client tells how far a goal is.
    pub(super) fn action_feedback(&mut self, id: &Id, action: &str, values: &Value) -> Done {
        let (_, pursuit) = self.actions.find(id, action)?;
        let Pursuit { action, type_name, goal_id } = pursuit;
        let type_name = format!("{type_name}_FeedbackMessage");
        let ros = &self.actions.ros;
        let message = json!({"goal_id": goal_id, "feedback": values});
        let payload = ros.encode(&type_name, &message).map_err(|error| Fault::Refused(error.to_string()))?;
        let topic = format!("{action}/_action/feedback");
        let published = ros.publish(Publication { topic, type_name, payload, latched: false });
        published.map_err(|error| Fault::Refused(error.to_string()))
    }

    /// The client tells what a goal came to.
    pub(super) fn action_result(
        &mut self,
        id: &Id,
        action: &str,
        values: &Value,
        status: i8,
        result: bool,
    ) -> Done {
        let (id, pursuit) = self.actions.find(id, action)?;
        let ended = GoalStatus::Succeeded as i8..=GoalStatus::Aborted as i8;
        let status = match result {
            true if ended.contains(&status) => status,
            true => GoalStatus::Succeeded as i8,
            false => GoalStatus::Aborted as i8,
        };
        // What a client says of a failure is words, for which an action has no place.
        let none = json!({});
        let values = if values.is_object() { values } else { &none };
        let ActionServers { ros, pursuits } = &self.actions;
        let finished = finish(ros, pursuits, &id, &pursuit.type_name, status, values);
        finished.map_err(|error| Fault::Refused(error.to_string()))
    }
}
