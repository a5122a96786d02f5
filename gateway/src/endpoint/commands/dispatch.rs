//! The dispatch of a command to the rover, and what verifies it.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::api::commands::{CommandDocument, CommandState};
use roverline_source::Publication;
use roverline_source::clock::unix_ns;
use roverline_source::ros::{GoalEvent, GoalStatus, Parameter};
use serde_json::{Map, Value};

use crate::endpoint::authority::{Commander, Published};
use crate::endpoint::commands::check::{CheckedCommand, CommandBody, goal_id, goal_text, json_value};
use crate::endpoint::commands::{Commands, to_value};

/// How long the result of a goal is awaited.
const GOAL_WAIT: Duration = Duration::from_secs(600);

/// What became of a command.
pub(super) struct Outcome {
    state: CommandState,
    reason: Option<String>,
    verified_by: Option<String>,
    result: Option<Value>,
}

impl Outcome {
    /// Its time to live has ended.
    pub(super) fn expired(ttl: Duration) -> Outcome {
        let reason = format!("it was not dispatched within {} ms, and was not done", ttl.as_millis());
        Outcome { reason: Some(reason), ..Outcome::of(CommandState::Expired) }
    }

    fn of(state: CommandState) -> Outcome {
        Outcome { state, reason: None, verified_by: None, result: None }
    }

    fn failed(reason: impl Into<String>) -> Outcome {
        Outcome { reason: Some(reason.into()), ..Outcome::of(CommandState::Failed) }
    }

    fn verified(by: impl Into<String>, result: Option<Value>) -> Outcome {
        Outcome { verified_by: Some(by.into()), result, ..Outcome::of(CommandState::Verified) }
    }

    /// Puts it into the document.
    pub(super) fn record(self, document: &mut CommandDocument) {
        document.state = self.state;
        document.reason = self.reason;
        document.verified_by = self.verified_by;
        document.result = self.result;
    }
}

impl Commands {
    /// Dispatches a command that is in the journal, and waits for what verifies it.
    pub(super) async fn dispatch(
        &self,
        command: &CheckedCommand,
        commander: Commander,
        token: Option<u64>,
        document: &mut CommandDocument,
    ) -> Outcome {
        document.state = CommandState::Dispatched;
        document.dispatched_ns = Some(unix_ns());
        match &command.body {
            CommandBody::Publish(payload) => self.publish(command, commander, token, payload.clone()),
            CommandBody::Call(request) => self.call(command, request.clone()).await,
            CommandBody::Goal(goal) => self.follow_goal(command, goal, document).await,
            CommandBody::Cancel(id) => self.cancel(&command.target, id).await,
            CommandBody::Parameter(parameters) => self.set_parameters(parameters).await,
        }
    }

    fn publish(
        &self,
        command: &CheckedCommand,
        commander: Commander,
        token: Option<u64>,
        payload: Bytes,
    ) -> Outcome {
        let (topic, type_name) = (command.target.clone(), command.type_name.clone());
        let publication = Publication { topic, type_name, payload, latched: false };
        let published = match self.guards.of_topic(&command.target) {
            Some(guard) => self.rover.publish(guard, Commander { token, ..commander }, publication),
            None => self.rover.ros.publish(publication).map(|()| Published::Sent(0)).map_err(Into::into),
        };
        match published {
            Err(error) => Outcome::failed(error.to_string()),
            Ok(Published::Pending) => Outcome::failed("the authority was lost meanwhile"),
            Ok(Published::Sent(_)) => {
                let graph = self.rover.ros.graph();
                match graph.topic(&command.target).map_or(0, |topic| topic.subscribers.len()) {
                    0 => Outcome {
                        reason: Some(
                            "it was handed to the writer; no node subscribes to the topic".to_owned(),
                        ),
                        ..Outcome::of(CommandState::Dispatched)
                    },
                    subscribers => Outcome::verified(format!("matched subscribers: {subscribers}"), None),
                }
            }
        }
    }

    async fn call(&self, command: &CheckedCommand, request: Bytes) -> Outcome {
        let (service, type_name) = (&command.target, &command.type_name);
        let ros = &self.rover.ros;
        let response = match ros.call(service, type_name, request, command.timeout).await {
            Ok(response) => response,
            Err(error) => return Outcome::failed(error.to_string()),
        };
        match ros.decode(&format!("{type_name}_Response"), &response) {
            Ok(json) => Outcome::verified("service response", serde_json::from_slice(&json).ok()),
            Err(error) => {
                Outcome::failed(format!("it has answered, and its response cannot be read: {error}"))
            }
        }
    }

    async fn follow_goal(
        &self,
        command: &CheckedCommand,
        goal: &Value,
        document: &mut CommandDocument,
    ) -> Outcome {
        let mut goal = match self.rover.ros.send_goal(&command.target, &command.type_name, goal, false) {
            Ok(goal) => goal,
            Err(error) => return Outcome::failed(error.to_string()),
        };
        document.goal_id = Some(goal_text(goal.id));
        // Whoever cancels it may do so at another endpoint.
        let journal = &self.rover.coordination.commands;
        let (id, fingerprint) = (&command.id, &command.fingerprint);
        if let Err(error) = journal.update(id, fingerprint, to_value(document), false).await {
            tracing::warn!(id, %error, "the goal of a command is not in the journal");
        }
        let following = async {
            while let Some(event) = goal.events.recv().await {
                match event {
                    GoalEvent::Accepted | GoalEvent::Feedback(_) => {}
                    GoalEvent::Failed(why) => return Outcome::failed(why),
                    GoalEvent::Result(status, json) => {
                        let result = serde_json::from_slice(&json).ok();
                        return match status {
                            GoalStatus::Succeeded => Outcome::verified("action result", result),
                            other => {
                                Outcome { result, ..Outcome::failed(format!("the goal ended as {other:?}")) }
                            }
                        };
                    }
                }
            }
            Outcome::failed("the goal was lost sight of")
        };
        let late = format!("the goal has not ended within {} s, and goes on", GOAL_WAIT.as_secs());
        tokio::time::timeout(GOAL_WAIT, following).await.unwrap_or_else(|_| Outcome::failed(late))
    }

    async fn cancel(&self, action: &str, id: &str) -> Outcome {
        let entry = match self.rover.coordination.commands.get(id).await {
            Ok(Some(entry)) => entry,
            Ok(None) => return Outcome::failed(format!("there is no command {id}")),
            Err(error) => return Outcome::failed(error.to_string()),
        };
        let goal = entry.document["goal_id"].as_str().and_then(goal_id);
        let is_of_action = entry.document["target"] == action;
        let Some(goal) = goal.filter(|_| is_of_action) else {
            return Outcome::failed(format!("the command {id} has sent no goal to {action}"));
        };
        match self.rover.ros.cancel_goal(action, goal).await {
            Ok(()) => Outcome::verified("cancel response", None),
            Err(error) => Outcome::failed(error.to_string()),
        }
    }

    async fn set_parameters(&self, parameters: &[Parameter]) -> Outcome {
        for parameter in parameters {
            if let Err(error) = self.rover.ros.set_parameter(parameter).await {
                return Outcome::failed(format!("{}: {error}", parameter.name));
            }
        }
        let names: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let node = parameters.first().map(|parameter| parameter.node.clone()).unwrap_or_default();
        match self.rover.ros.get_parameters(&node, &names).await {
            Err(error) => Outcome::failed(format!("they were set, and cannot be read back: {error}")),
            Ok(read) => {
                let values: Map<String, Value> = read
                    .iter()
                    .map(|parameter| (parameter.name.clone(), json_value(&parameter.value)))
                    .collect();
                let is_set = |wanted: &Parameter| {
                    read.iter().any(|read| read.name == wanted.name && read.value == wanted.value)
                };
                match parameters.iter().find(|wanted| !is_set(wanted)) {
                    None => Outcome::verified("parameter read back", Some(Value::Object(values))),
                    Some(other) => Outcome {
                        result: Some(Value::Object(values)),
                        ..Outcome::failed(format!(
                            "{} has another value than the one that was set",
                            other.name
                        ))
                    },
                }
            }
        }
    }
}
