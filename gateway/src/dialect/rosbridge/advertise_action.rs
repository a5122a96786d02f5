//! The operations of a client that serves actions: advertise, feedback, result.

use std::sync::Arc;

use roverline_source::Publication;
use roverline_source::ros::GoalStatus;
use serde_json::{Value, json};

use crate::dialect::rosbridge::action_server::{Action, ActionServers, finish};
use crate::dialect::rosbridge::operation::{OpResult, full_name, long_type, rejected};
use crate::dialect::rosbridge::request::Id;
use crate::dialect::rosbridge::served_goals::ServedGoal;
use crate::dialect::rosbridge::session::Session;

impl Session<'_> {
    /// Advertises an action to the graph.
    pub(super) fn advertise_action(&mut self, action: String, type_name: &str) -> OpResult {
        let name = full_name(&action)?;
        let type_name = long_type(type_name, "action")?;
        let endpoint = &self.context.endpoint;
        endpoint.hub.registry().plan(&format!("{type_name}_GetResult_Response"))?;
        let key = format!("{name}/_action");
        endpoint.advertised.remove(self.context.info.id, &key);
        self.authorize_advertise(&name, &type_name)?;
        let action = Arc::new(Action {
            ros: endpoint.ros.clone(),
            outbox: self.context.info.outbox().clone(),
            goals: self.actions.goals.clone(),
            name,
            client_name: action,
            type_name,
        });
        Ok(self.context.advertise(&key, || action.serve())?)
    }

    /// Withdraws an action.
    pub(super) fn unadvertise_action(&mut self, action: &str) -> OpResult {
        let name = full_name(action)?;
        match self.context.endpoint.advertised.remove(self.context.info.id, &format!("{name}/_action")) {
            true => Ok(()),
            false => rejected(format!("you do not offer {name}")),
        }
    }

    /// Publishes a goal's feedback.
    pub(super) fn action_feedback(&mut self, id: &Id, action: &str, values: &Value) -> OpResult {
        let (_, goal) = self.actions.find(id, action)?;
        let ServedGoal { action, type_name, goal_id } = goal;
        let type_name = format!("{type_name}_FeedbackMessage");
        let ros = &self.actions.ros;
        let message = json!({"goal_id": goal_id, "feedback": values});
        let payload = ros.encode(&type_name, &message)?;
        let topic = format!("{action}/_action/feedback");
        Ok(ros.publish(Publication { topic, type_name, payload, latched: false })?)
    }

    /// Ends a goal with the client's result.
    pub(super) fn action_result(
        &mut self,
        id: &Id,
        action: &str,
        values: &Value,
        status: i8,
        result: bool,
    ) -> OpResult {
        let (id, goal) = self.actions.find(id, action)?;
        let ended = GoalStatus::Succeeded as i8..=GoalStatus::Aborted as i8;
        let status = match result {
            true if ended.contains(&status) => status,
            true => GoalStatus::Succeeded as i8,
            false => GoalStatus::Aborted as i8,
        };
        // A client's failure text has no field in an action's result.
        let none = json!({});
        let values = if values.is_object() { values } else { &none };
        let ActionServers { ros, goals } = &self.actions;
        Ok(finish(ros, goals, &id, &goal.type_name, status, values)?)
    }
}
