//! Parameters of the graph's nodes, for a client: read, set, and told when they change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roverline_protocol::limits;
use roverline_source::ros::{Parameter, Ros, RosError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::access::Deed;
use crate::dialect::foxglove::background_tasks::{Desk, Errands};
use crate::dialect::foxglove::client_message::GivenParameter;
use crate::dialect::foxglove::server_message::{Answer, Level, ShownParameter};
use crate::dialect::foxglove::status::Notices;
use crate::dialect::foxglove::{check_length, parameter_value};
use crate::dialect::session::Context;
use crate::endpoint::Endpoint;

/// Nodes asked at a time, for one request.
const NODES_AT_ONCE: usize = 8;

const RENEW: Duration = Duration::from_secs(2);

/// Names by their node.
type Wanted = BTreeMap<String, Vec<String>>;

/// What one client wants to hear of parameters.
#[derive(Default)]
pub(super) struct Parameters {
    all: bool,
    names: HashSet<String>,
    events: Option<broadcast::Receiver<Arc<Parameter>>>,
    tried_at: Duration,
}

/// Whether this endpoint serves the parameters of a node: as it does with the service for it.
fn serves(endpoint: &Endpoint, node: &str) -> bool {
    endpoint.is_in_scope(&format!("{node}/get_parameters"), "rcl_interfaces/srv/GetParameters")
}

/// Names by node, those that cannot be asked for left out and told.
fn sort_out(endpoint: &Endpoint, names: &[String], notices: &mut Notices) -> Wanted {
    let mut wanted = Wanted::new();
    for name in names {
        let shown: String = name.chars().take(128).collect();
        match parameter_value::split(name) {
            Some((node, parameter)) if serves(endpoint, node) => {
                wanted.entry(node.to_owned()).or_default().push(parameter.to_owned());
            }
            Some(_) => {
                let why = format!("{shown} is not in the scope of the {} endpoint", endpoint.tier);
                notices.tell(Level::Warning, why);
            }
            None => notices.tell(Level::Warning, format!("{shown}: a parameter is named /node.parameter")),
        }
    }
    wanted
}

/// Reads parameters; none named: all. The answer has those that are there.
pub(super) fn get(
    context: &Context,
    errands: &mut Errands,
    names: &[String],
    id: Option<String>,
    notices: &mut Notices,
) -> Result<(), String> {
    let bytes = names.iter().map(String::len).sum::<usize>() + id.as_ref().map_or(0, String::len);
    check_length(names)?;
    let wanted = (!names.is_empty()).then(|| sort_out(&context.endpoint, names, notices));
    let endpoint = context.endpoint.clone();
    errands.start(bytes, |desk| async move {
        let (parameters, errors) = match wanted {
            Some(wanted) => read(&desk, &endpoint.ros, wanted).await,
            None => {
                let _turn = desk.turn_to_ask().await;
                let (mut parameters, errors) = endpoint.ros.all_parameters().await;
                parameters.retain(|parameter| serves(&endpoint, &parameter.node));
                (parameters, errors)
            }
        };
        tell_errors(&desk, &errors);
        tell(&desk, &parameters, id.as_deref()).await;
    })
}

async fn read(desk: &Desk, ros: &Ros, wanted: Wanted) -> (Vec<Parameter>, Vec<RosError>) {
    let _turn = if wanted.len() > 1 { desk.turn_to_ask().await } else { None };
    let asking = stream::iter(wanted)
        .map(|(node, names)| async move { ros.get_parameters(&node, &names).await })
        .buffered(NODES_AT_ONCE);
    let answers: Vec<_> = asking.collect().await;
    let (mut parameters, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(read) => parameters.extend(read),
            Err(error) => errors.push(error),
        }
    }
    (parameters, errors)
}

fn tell_errors(desk: &Desk, errors: &[impl ToString]) {
    let mut texts: Vec<String> = errors.iter().take(4).map(ToString::to_string).collect();
    if errors.len() > texts.len() {
        texts.push(format!("and {} more", errors.len() - texts.len()));
    }
    if !texts.is_empty() {
        let message: String = texts.join("; ").chars().take(limits::FOXGLOVE_STATUS_CHARS).collect();
        desk.say(Answer::Status { level: Level::Warning as u8, message: &message, id: None }.frame());
    }
}

async fn tell(desk: &Desk, parameters: &[Parameter], id: Option<&str>) {
    let shown: Vec<ShownParameter> = parameters.iter().map(parameter_value::show).collect();
    let frame = Answer::ParameterValues { parameters: &shown, id }.frame();
    if frame.len() > limits::FOXGLOVE_ANSWER_BYTES {
        let message = "these are too many parameters at a time; ask for some of them";
        desk.say(Answer::Status { level: Level::Error as u8, message, id: None }.frame());
    } else {
        desk.answer(frame).await;
    }
}

/// Sets parameters, one after the other. With an `id` the client hears what they are then. The request
/// had so many `bytes`.
pub(super) fn set(
    context: &Context,
    errands: &mut Errands,
    (given, bytes): (Vec<GivenParameter>, usize),
    id: Option<String>,
    notices: &mut Notices,
) -> Result<(), String> {
    check_length(&given)?;
    let names: Vec<String> = given.iter().map(|parameter| parameter.name.clone()).collect();
    let wanted = sort_out(&context.endpoint, &names, notices);
    let mut allowed: HashSet<&str> = HashSet::new();
    for node in wanted.keys() {
        match context.may(Deed::Set(node)) {
            Ok(()) => drop(allowed.insert(node)),
            Err(denied) => notices.tell(Level::Error, denied.to_string()),
        }
    }
    let is_allowed = |given: &GivenParameter| {
        parameter_value::split(&given.name).is_some_and(|(node, _)| allowed.contains(node))
    };
    let given: Vec<GivenParameter> = given.into_iter().filter(is_allowed).collect();
    let ros = context.endpoint.ros.clone();
    errands.start(bytes, |desk| async move {
        let mut errors = Vec::new();
        for given in &given {
            if let Err(why) = set_one(&ros, given).await {
                errors.push(why);
            }
        }
        tell_errors(&desk, &errors);
        if let Some(id) = id {
            let (parameters, _) = read(&desk, &ros, wanted).await;
            tell(&desk, &parameters, Some(&id)).await;
        }
    })
}

async fn set_one(ros: &Ros, given: &GivenParameter) -> Result<(), String> {
    let Some((node, name)) = parameter_value::split(&given.name) else { return Ok(()) };
    let was = match parameter_value::is_ambiguous(given) {
        true => {
            ros.get_parameters(node, &[name.to_owned()]).await.ok().and_then(|was| was.into_iter().next())
        }
        false => None,
    };
    let value = parameter_value::take(given, was.as_ref().map(|was| &was.value))?;
    let parameter = Parameter { node: node.to_owned(), name: name.to_owned(), value };
    ros.set_parameter(&parameter).await.map_err(|error| format!("{}: {error}", given.name))
}

impl Parameters {
    /// Tells these from now on when they change; none named: all.
    pub(super) fn subscribe(&mut self, context: &Context, names: Vec<String>) -> Result<(), String> {
        if self.names.len() + names.len() > limits::FOXGLOVE_REQUEST_ENTRIES {
            return Err(format!("{} parameters can be followed", limits::FOXGLOVE_REQUEST_ENTRIES));
        }
        self.all |= names.is_empty();
        self.names.extend(names);
        if self.events.is_none() {
            self.events = Some(context.endpoint.ros.parameter_events().map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Listens again where the source was not there, or is a new one.
    pub(super) fn renew(&mut self, endpoint: &Endpoint, now: Duration) {
        let wants = self.all || !self.names.is_empty();
        if wants && self.events.is_none() && now.saturating_sub(self.tried_at) >= RENEW {
            self.tried_at = now;
            self.events = endpoint.ros.parameter_events().ok();
        }
    }

    /// No longer; none named: none any more.
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

    /// The next change that the client wants to hear of.
    pub(super) async fn changed(&mut self, endpoint: &Endpoint) -> ShownParameter {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            match events.recv().await {
                Ok(parameter) => {
                    let shown = parameter_value::show(&parameter);
                    let wanted = self.all || self.names.contains(&shown.name);
                    if wanted && serves(endpoint, &parameter.node) {
                        return shown;
                    }
                }
                // Too slow for some of them: they change again, or are asked for.
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
    fn to_follow_a_great_many_names_no_longer_takes_no_time() {
        let name = |n: usize| format!("/a.{n:04}");
        let names: HashSet<String> = (0..limits::FOXGLOVE_REQUEST_ENTRIES).map(name).collect();
        let mut parameters = Parameters { names, ..Parameters::default() };
        // More than a message has room for, and none of them followed.
        let unknown = vec!["/a.none".to_owned(); limits::INBOUND_MESSAGE_BYTES / 2];
        let begun = std::time::Instant::now();
        parameters.unsubscribe(&unknown);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        parameters.unsubscribe(&[name(0)]);
        assert_eq!(parameters.names.len(), limits::FOXGLOVE_REQUEST_ENTRIES - 1);
    }
}
