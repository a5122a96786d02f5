//! The operations of a client that serves actions: advertise, feedback, result.

use std::sync::Arc;

use roverline_source::ros::{GoalStatus, ServedAction};
use serde_json::{Value, json};

use crate::dialect::rosbridge::action_server::ClientAction;
use crate::dialect::rosbridge::error::Unknown;
use crate::dialect::rosbridge::operation::{OpResult, full_name, long_type};
use crate::dialect::rosbridge::request::Id;
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
        self.authorize_advertise(&name, &key, &type_name)?;
        let action = Arc::new(ClientAction {
            outbox: self.context.info.outbox().clone(),
            goals: self.served_goals.clone(),
            name: name.clone(),
            client_name: action,
            type_name: type_name.clone(),
        });
        let serve = || endpoint.ros.serve_action(&name, &type_name, action).map(ServedAction::into_services);
        Ok(self.context.advertise(&key, serve)?)
    }

    /// Withdraws an action.
    pub(super) fn unadvertise_action(&mut self, action: &str) -> OpResult {
        let name = full_name(action)?;
        match self.context.endpoint.advertised.remove(self.context.info.id, &format!("{name}/_action")) {
            true => Ok(()),
            false => Err(Unknown::Advertised(name).into()),
        }
    }

    /// Publishes a goal's feedback.
    pub(super) fn action_feedback(&mut self, id: &Id, action: &str, values: &Value) -> OpResult {
        self.served_goals.feedback(id, action, values)
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
        let status = match GoalStatus::from_number(status) {
            ended @ (GoalStatus::Succeeded | GoalStatus::Canceled | GoalStatus::Aborted) if result => ended,
            _ if result => GoalStatus::Succeeded,
            _ => GoalStatus::Aborted,
        };
        // A client's failure text has no field in an action's result.
        let none = json!({});
        let values = if values.is_object() { values } else { &none };
        self.served_goals.finish(id, action, status, values)
    }
}
