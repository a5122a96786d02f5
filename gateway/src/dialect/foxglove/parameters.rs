//! Parameters of the graph's nodes for one client: reading, setting, and subscriptions to changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roverline_protocol::api::commands::CommandKind;
use roverline_source::ros::{Parameter, Ros, RosError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::access::Permission;
use crate::dialect::foxglove::background_tasks::{BackgroundTasks, Responder};
use crate::dialect::foxglove::client_message::ParameterInput;
use crate::dialect::foxglove::error::{Limit, RequestError};
use crate::dialect::foxglove::server_message::{Level, ParameterJson, ServerMessage};
use crate::dialect::foxglove::status::StatusReporter;
use crate::dialect::foxglove::{check_length, parameter_value};
use crate::dialect::session::SessionContext;
use crate::endpoint::Endpoint;
use crate::limits;

/// Nodes queried in parallel for one request.
const NODES_AT_ONCE: usize = 8;

const RESUBSCRIBE_INTERVAL: Duration = Duration::from_secs(2);

/// Parameter names by node.
type NamesByNode = BTreeMap<String, Vec<String>>;

/// The parameter subscriptions of one client.
#[derive(Default)]
pub(super) struct Parameters {
    all: bool,
    names: HashSet<String>,
    events: Option<broadcast::Receiver<Arc<Parameter>>>,
    tried_at: Duration,
}

/// Whether this endpoint serves a node's parameters: only if it serves the node's parameter service.
fn serves(endpoint: &Endpoint, node: &str) -> bool {
    endpoint.is_in_scope(&format!("{node}/get_parameters"), "rcl_interfaces/srv/GetParameters")
}

/// Groups names by node; names that cannot be served are left out and reported.
fn group_by_node(endpoint: &Endpoint, names: &[String], reporter: &mut StatusReporter) -> NamesByNode {
    let mut by_node = NamesByNode::new();
    for name in names {
        let shown: String = name.chars().take(128).collect();
        match parameter_value::split(name) {
            Some((node, parameter)) if serves(endpoint, node) => {
                by_node.entry(node.to_owned()).or_default().push(parameter.to_owned());
            }
            Some(_) => {
                let why = format!("{shown} is not in the scope of the {} endpoint", endpoint.tier);
                reporter.report(Level::Warning, why);
            }
            None => reporter.report(Level::Warning, format!("{shown}: a parameter is named /node.parameter")),
        }
    }
    by_node
}

/// Reads parameters; no names means all. The response contains those that exist.
pub(super) fn get(
    context: &SessionContext,
    tasks: &mut BackgroundTasks,
    names: &[String],
    id: Option<String>,
    reporter: &mut StatusReporter,
) -> Result<(), RequestError> {
    let bytes = names.iter().map(String::len).sum::<usize>() + id.as_ref().map_or(0, String::len);
    check_length(names)?;
    let by_node = (!names.is_empty()).then(|| group_by_node(&context.endpoint, names, reporter));
    let endpoint = context.endpoint.clone();
    tasks.start(bytes, |responder| async move {
        let (parameters, errors) = match by_node {
            Some(by_node) => read(&responder, &endpoint.ros, by_node).await,
            None => {
                let _permit = responder.acquire_query_permit().await;
                let (mut parameters, errors) = endpoint.ros.all_parameters().await;
                parameters.retain(|parameter| serves(&endpoint, &parameter.node));
                (parameters, errors)
            }
        };
        report_errors(&responder, &errors);
        send_parameters(&responder, &parameters, id.as_deref()).await;
    })?;
    Ok(())
}

async fn read(responder: &Responder, ros: &Ros, by_node: NamesByNode) -> (Vec<Parameter>, Vec<RosError>) {
    let _permit = if by_node.len() > 1 { responder.acquire_query_permit().await } else { None };
    let reading = stream::iter(by_node)
        .map(|(node, names)| async move { ros.get_parameters(&node, &names).await })
        .buffered(NODES_AT_ONCE);
    let answers: Vec<_> = reading.collect().await;
    let (mut parameters, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(read) => parameters.extend(read),
            Err(error) => errors.push(error),
        }
    }
    (parameters, errors)
}

fn report_errors(responder: &Responder, errors: &[impl ToString]) {
    let mut texts: Vec<String> = errors.iter().take(4).map(ToString::to_string).collect();
    if errors.len() > texts.len() {
        texts.push(format!("and {} more", errors.len() - texts.len()));
    }
    if !texts.is_empty() {
        let message: String = texts.join("; ").chars().take(limits::FOXGLOVE_STATUS_CHARS).collect();
        responder
            .send(ServerMessage::Status { level: Level::Warning as u8, message: &message, id: None }.frame());
    }
}

async fn send_parameters(responder: &Responder, parameters: &[Parameter], id: Option<&str>) {
    let shown: Vec<ParameterJson> = parameters.iter().map(parameter_value::to_json).collect();
    let frame = ServerMessage::ParameterValues { parameters: &shown, id }.frame();
    if frame.len() > limits::FOXGLOVE_RESPONSE_BYTES {
        let message = "these are too many parameters at a time; ask for some of them";
        responder.send(ServerMessage::Status { level: Level::Error as u8, message, id: None }.frame());
    } else {
        responder.respond(frame).await;
    }
}

/// Sets parameters one after the other. With an `id`, the client receives the resulting values. `bytes`
/// is the size of the request.
pub(super) fn set(
    context: &SessionContext,
    tasks: &mut BackgroundTasks,
    (inputs, bytes): (Vec<ParameterInput>, usize),
    id: Option<String>,
    reporter: &mut StatusReporter,
) -> Result<(), RequestError> {
    check_length(&inputs)?;
    let names: Vec<String> = inputs.iter().map(|parameter| parameter.name.clone()).collect();
    let by_node = group_by_node(&context.endpoint, &names, reporter);
    let mut allowed: HashSet<&str> = HashSet::new();
    for node in by_node.keys() {
        match context.authorize(Permission::Set(node)) {
            Ok(()) => drop(allowed.insert(node)),
            Err(denied) => reporter.report(Level::Error, denied),
        }
    }
    let is_allowed = |input: &ParameterInput| {
        parameter_value::split(&input.name).is_some_and(|(node, _)| allowed.contains(node))
    };
    let command = |input: ParameterInput| {
        let node = parameter_value::split(&input.name).map(|(node, _)| node).unwrap_or_default();
        (context.record_command(CommandKind::Parameter, node, ""), input)
    };
    let inputs: Vec<_> = inputs.into_iter().filter(is_allowed).map(command).collect();
    let ros = context.endpoint.ros.clone();
    tasks.start(bytes, |responder| async move {
        let mut errors = Vec::new();
        for (command, input) in inputs {
            let result = set_one(&ros, &input).await;
            command.finish_with(&result);
            errors.extend(result.err());
        }
        report_errors(&responder, &errors);
        if let Some(id) = id {
            let (parameters, _) = read(&responder, &ros, by_node).await;
            send_parameters(&responder, &parameters, Some(&id)).await;
        }
    })?;
    Ok(())
}

async fn set_one(ros: &Ros, input: &ParameterInput) -> Result<(), RequestError> {
    let Some((node, name)) = parameter_value::split(&input.name) else { return Ok(()) };
    let was = match parameter_value::is_ambiguous(input) {
        true => {
            ros.get_parameters(node, &[name.to_owned()]).await.ok().and_then(|was| was.into_iter().next())
        }
        false => None,
    };
    let value = parameter_value::from_input(input, was.as_ref().map(|was| &was.value))?;
    let parameter = Parameter { node: node.to_owned(), name: name.to_owned(), value };
    let refused =
        |error: RosError| RequestError::Parameter { name: input.name.clone(), source: error.into() };
    ros.set_parameter(&parameter).await.map_err(refused)
}

impl Parameters {
    /// Subscribes to changes of parameters; no names means all.
    pub(super) fn subscribe(
        &mut self,
        context: &SessionContext,
        names: Vec<String>,
    ) -> Result<(), RequestError> {
        if self.names.len() + names.len() > limits::FOXGLOVE_REQUEST_ENTRIES {
            return Err(Limit::Parameters.into());
        }
        self.all |= names.is_empty();
        self.names.extend(names);
        if self.events.is_none() {
            self.events = Some(context.endpoint.ros.parameter_events()?);
        }
        Ok(())
    }

    /// Subscribes again if the source was missing or has been replaced.
    pub(super) fn resubscribe(&mut self, endpoint: &Endpoint, now: Duration) {
        let wants = self.all || !self.names.is_empty();
        if wants && self.events.is_none() && now.saturating_sub(self.tried_at) >= RESUBSCRIBE_INTERVAL {
            self.tried_at = now;
            self.events = endpoint.ros.parameter_events().ok();
        }
    }

    /// Ends subscriptions; no names means all.
    pub(super) fn unsubscribe(&mut self, names: &[String]) {
        match names.is_empty() {
            true => (self.all, self.names) = (false, HashSet::new()),
            false => names.iter().for_each(|name| {
                self.names.remove(name);
            }),
        }
        if !self.all && self.names.is_empty() {
            self.events = None;
        }
    }

    /// The next change that the client has subscribed to.
    pub(super) async fn changed(&mut self, endpoint: &Endpoint) -> ParameterJson {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            match events.recv().await {
                Ok(parameter) => {
                    let shown = parameter_value::to_json(&parameter);
                    let is_subscribed = self.all || self.names.contains(&shown.name);
                    if is_subscribed && serves(endpoint, &parameter.node) {
                        return shown;
                    }
                }
                // The receiver lagged: the parameters change again or can be read.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => self.events = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsubscribing_a_great_many_unknown_names_does_not_search_a_list() {
        let name = |n: usize| format!("/a.{n:04}");
        let names: HashSet<String> = (0..limits::FOXGLOVE_REQUEST_ENTRIES).map(name).collect();
        let mut parameters = Parameters { names, ..Parameters::default() };
        // More than a message can hold. A linear search per name would take minutes.
        let unknown = vec!["/a.none".to_owned(); limits::INBOUND_MESSAGE_BYTES / 2];
        parameters.unsubscribe(&unknown);
        parameters.unsubscribe(&[name(0)]);
        assert_eq!(parameters.names.len(), limits::FOXGLOVE_REQUEST_ENTRIES - 1);
    }
}
