//! The check of a command before anything is done: ids, times, names, and the body against its type.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::api::commands::{CommandKind, CommandRequest};
use roverline_source::Graph;
use roverline_source::clock::unix_ns;
use roverline_source::ros::{GoalId, Parameter, ParameterValue, Ros};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Bounds of the time to live, milliseconds.
pub const TTL_MS: std::ops::RangeInclusive<u64> = 10..=60_000;
/// Default time to live, and time that a service may take, milliseconds.
pub const DEFAULT_MS: u64 = 5_000;
/// Bounds of the time that a service may take, milliseconds.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 10..=60_000;
/// Characters of a name.
const NAME_CHARS: usize = 256;
/// Parameters in one command.
const PARAMETERS: usize = 32;

/// Why a command is not valid; the text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct CommandInvalid {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// Whether it is well-formed, and names something that there is not.
    pub is_missing: bool,
}

fn invalid(field: &'static str, why: impl Into<String>) -> CommandInvalid {
    CommandInvalid { field, why: why.into(), is_missing: false }
}

fn missing(field: &'static str, why: impl Into<String>) -> CommandInvalid {
    CommandInvalid { field, why: why.into(), is_missing: true }
}

/// What a checked command does.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandBody {
    /// Publishes this message (CDR).
    Publish(Bytes),
    /// Calls the service with this request (CDR).
    Call(Bytes),
    /// Sends this goal (JSON).
    Goal(Value),
    /// Cancels the goal of the command with this id.
    Cancel(String),
    /// Sets these parameters.
    Parameter(Vec<Parameter>),
}

/// A command that is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedCommand {
    /// The id in its canonical form.
    pub id: String,
    /// Identifies the command under its id.
    pub fingerprint: String,
    /// What it does.
    pub kind: CommandKind,
    /// The topic, service, action or node.
    pub target: String,
    /// The ROS type.
    pub type_name: String,
    /// The checked body.
    pub body: CommandBody,
    /// Within this time it is dispatched, or not done.
    pub ttl: Duration,
    /// The part of it that was spent before the endpoint had read the command.
    pub age: Duration,
    /// How long a service may take.
    pub timeout: Duration,
    /// The name that the client declares.
    pub client: String,
}

impl CheckedCommand {
    /// Checks a request of this identity.
    pub fn new(request: CommandRequest, identity: &str, ros: &Ros) -> Result<CheckedCommand, CommandInvalid> {
        let id = Uuid::parse_str(&request.id)
            .ok()
            .ok_or_else(|| invalid("id", "write a UUID (RFC 9562), best of version 7"))?;
        let ttl = within("ttl_ms", request.ttl_ms, TTL_MS)?;
        let age = request.sent_ns.map_or(Duration::ZERO, |sent_ns| age(sent_ns, unix_ns()));
        let timeout = within("timeout_ms", request.timeout_ms, TIMEOUT_MS)?;
        let target = request.target;
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
        if !target.starts_with('/') || target.len() > NAME_CHARS || !target.chars().all(is_name_char) {
            let why = format!("write a ROS name that begins with /, of at most {NAME_CHARS} characters");
            return Err(invalid("target", why));
        }
        let is_type_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
        if request.type_name.len() > NAME_CHARS || !request.type_name.chars().all(is_type_char) {
            return Err(invalid("type", "write a ROS type, such as geometry_msgs/msg/Twist"));
        }
        if request.client.chars().count() > NAME_CHARS || request.client.contains(char::is_control) {
            let why = format!("write at most {NAME_CHARS} characters, and no control characters");
            return Err(invalid("client", why));
        }
        let type_name = match request.type_name.is_empty() {
            true => known_type(&ros.graph(), request.kind, &target)?,
            false => long_type(&request.type_name, request.kind),
        };
        let fingerprint = fingerprint(identity, request.kind, &target, &type_name, &request.body);
        let body = check_body(request.kind, &target, &type_name, request.body, ros)?;
        let (kind, client) = (request.kind, request.client);
        let id = id.hyphenated().to_string();
        Ok(CheckedCommand { id, fingerprint, kind, target, type_name, body, ttl, age, timeout, client })
    }
}

/// The age of a command that left its client at `sent_ns`; zero if that is in the future.
pub fn age(sent_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(sent_ns)).unwrap_or(0))
}

fn within(
    field: &'static str,
    given: Option<u64>,
    bounds: std::ops::RangeInclusive<u64>,
) -> Result<Duration, CommandInvalid> {
    let ms = given.unwrap_or(DEFAULT_MS);
    match bounds.contains(&ms) {
        true => Ok(Duration::from_millis(ms)),
        false => {
            Err(invalid(field, format!("write milliseconds from {} to {}", bounds.start(), bounds.end())))
        }
    }
}

/// The type that the graph knows for a target.
fn known_type(graph: &Graph, kind: CommandKind, target: &str) -> Result<String, CommandInvalid> {
    let known = match kind {
        CommandKind::Publish => graph.topic(target).map(|topic| topic.type_name.clone()),
        CommandKind::Call => graph.service(target).map(|service| service.type_name.clone()),
        // Found by the action client; of no use to the others.
        CommandKind::Goal | CommandKind::Cancel | CommandKind::Parameter => Some(String::new()),
    };
    known.ok_or_else(|| missing("type", format!("the graph does not know {target}: give its type")))
}

/// `geometry_msgs/Twist` as `geometry_msgs/msg/Twist`.
fn long_type(given: &str, kind: CommandKind) -> String {
    let part = match kind {
        CommandKind::Publish => "msg",
        CommandKind::Call => "srv",
        CommandKind::Goal | CommandKind::Cancel => "action",
        CommandKind::Parameter => return given.to_owned(),
    };
    match given.split_once('/') {
        Some((package, name)) if !name.contains('/') => format!("{package}/{part}/{name}"),
        _ => given.to_owned(),
    }
}

fn fingerprint(identity: &str, kind: CommandKind, target: &str, type_name: &str, body: &Value) -> String {
    // The order of keys in an object is that of their names.
    let text = json!([identity, kind.word(), target, type_name, body]).to_string();
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn check_body(
    kind: CommandKind,
    target: &str,
    type_name: &str,
    body: Value,
    ros: &Ros,
) -> Result<CommandBody, CommandInvalid> {
    let object = |body: Value| if body.is_null() { json!({}) } else { body };
    let encoded = |type_name: &str, body: Value| match ros.knows_type(type_name) {
        true => ros.encode(type_name, &object(body)).map_err(|error| invalid("body", error.to_string())),
        false => Err(missing("type", format!("{type_name} is not known here"))),
    };
    check_target(kind, target, type_name, ros)?;
    Ok(match kind {
        CommandKind::Publish => CommandBody::Publish(encoded(type_name, body)?),
        CommandKind::Call => CommandBody::Call(encoded(&format!("{type_name}_Request"), body)?),
        CommandKind::Goal => CommandBody::Goal(object(body)),
        CommandKind::Cancel => {
            let command = body.get("command").and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
            let command = command.ok_or_else(|| {
                invalid("body", "write {\"command\": \"ID\"}, the id of the goal's command")
            })?;
            CommandBody::Cancel(command.hyphenated().to_string())
        }
        CommandKind::Parameter => CommandBody::Parameter(parameters(target, &body)?),
    })
}

/// Checks that there is a node or an action of this name, if the source lists them.
fn check_target(kind: CommandKind, target: &str, type_name: &str, ros: &Ros) -> Result<(), CommandInvalid> {
    let is_there = match kind {
        CommandKind::Publish | CommandKind::Call => true,
        CommandKind::Parameter => ros.parameter_nodes().iter().any(|node| node == target),
        CommandKind::Goal if !type_name.is_empty() => {
            ros.knows_type(&format!("{type_name}_SendGoal_Request"))
        }
        CommandKind::Goal | CommandKind::Cancel => ros.actions().iter().any(|(action, _)| action == target),
    };
    match is_there || ros.graph().more_services {
        true => Ok(()),
        false => Err(missing("target", format!("the graph has no {target} for that"))),
    }
}

fn parameters(node: &str, body: &Value) -> Result<Vec<Parameter>, CommandInvalid> {
    let shape = "write an object of names and values: {\"max_speed\": 0.8}";
    let object =
        body.as_object().filter(|object| !object.is_empty()).ok_or_else(|| invalid("body", shape))?;
    if object.len() > PARAMETERS {
        return Err(invalid("body", format!("at most {PARAMETERS} parameters are set at once")));
    }
    let parameter = |(name, value): (&String, &Value)| {
        let value = parameter_value(value).ok_or_else(|| {
            invalid(
                "body",
                format!("{name}: a parameter is a number, a text, a truth value, or a list of one of these"),
            )
        })?;
        Ok(Parameter { node: node.to_owned(), name: name.clone(), value })
    };
    object.iter().map(parameter).collect()
}

fn parameter_value(value: &Value) -> Option<ParameterValue> {
    Some(match value {
        Value::Bool(value) => ParameterValue::Bool(*value),
        Value::Number(number) if number.is_i64() => ParameterValue::Integer(number.as_i64()?),
        Value::Number(number) => ParameterValue::Double(number.as_f64()?),
        Value::String(text) => ParameterValue::String(text.clone()),
        Value::Array(items) => {
            let bools: Option<Vec<bool>> = items.iter().map(Value::as_bool).collect();
            let integers: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
            let doubles: Option<Vec<f64>> = items.iter().map(Value::as_f64).collect();
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            let bools = bools.map(ParameterValue::Bools);
            bools
                .or_else(|| integers.map(ParameterValue::Integers))
                .or_else(|| doubles.map(ParameterValue::Doubles))
                .or_else(|| texts.map(ParameterValue::Strings))?
        }
        _ => return None,
    })
}

/// A parameter's value as JSON; bytes as a list of numbers.
pub(super) fn json_value(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::NotSet => Value::Null,
        ParameterValue::Bool(value) => json!(value),
        ParameterValue::Integer(value) => json!(value),
        ParameterValue::Double(value) => json!(value),
        ParameterValue::String(value) => json!(value),
        ParameterValue::Bytes(value) => json!(value),
        ParameterValue::Bools(value) => json!(value),
        ParameterValue::Integers(value) => json!(value),
        ParameterValue::Doubles(value) => json!(value),
        ParameterValue::Strings(value) => json!(value),
    }
}

/// A goal's id as 32 hexadecimal digits.
pub(super) fn goal_text(id: GoalId) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The goal's id of such a text.
pub(super) fn goal_id(text: &str) -> Option<GoalId> {
    Some(GoalId(Uuid::try_parse(text).ok()?.into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roverline_schema::Registry;
    use roverline_source::{Publication, PublishError, SourceControl};
    use tokio::sync::watch;

    use super::*;

    struct Nowhere;

    impl SourceControl for Nowhere {
        fn publish(&self, _: Publication) -> Result<(), PublishError> {
            Ok(())
        }
    }

    fn ros() -> Ros {
        Ros::new(Arc::new(Nowhere), Registry::bundled(), watch::channel(Arc::default()).1)
    }

    fn request(change: &Value) -> CommandRequest {
        let mut whole = json!({"id": "0198c2a4-7d3e-7000-8000-000000000001", "kind": "publish", "target": "/led",
            "type": "std_msgs/Bool", "body": {"data": true}});
        for (key, value) in change.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn error(change: &Value) -> String {
        CheckedCommand::new(request(change), "ann", &ros()).unwrap_err().to_string()
    }

    #[test]
    fn a_valid_command_is_encoded() {
        let command = CheckedCommand::new(request(&json!({})), "ann", &ros()).unwrap();
        assert_eq!(command.type_name, "std_msgs/msg/Bool");
        assert_eq!(command.body, CommandBody::Publish(Bytes::from_static(&[0, 1, 0, 0, 1])));
        assert_eq!((command.ttl, command.timeout), (Duration::from_secs(5), Duration::from_secs(5)));
        let parameters = parameters("/drive", &json!({"a": 1, "b": 0.5, "c": ["x"]})).unwrap();
        let values: Vec<_> = parameters.into_iter().map(|parameter| parameter.value).collect();
        let texts = ParameterValue::Strings(vec!["x".to_owned()]);
        assert_eq!(values, [ParameterValue::Integer(1), ParameterValue::Double(0.5), texts]);
        for bad in [json!({}), json!({"a": {"b": 1}}), json!(1)] {
            assert_eq!(super::parameters("/drive", &bad).unwrap_err().field, "body", "{bad}");
        }
    }

    #[test]
    fn what_is_not_valid_names_the_field() {
        for (change, field) in [
            (json!({"id": "1"}), "id: "),
            (json!({"ttl_ms": 0}), "ttl_ms: "),
            (json!({"ttl_ms": 86_400_000}), "ttl_ms: "),
            (json!({"timeout_ms": 0}), "timeout_ms: "),
            (json!({"target": "led"}), "target: "),
            (json!({"target": "/l\u{7}ed"}), "target: "),
            (json!({"target": "/unknown", "type": ""}), "type: "),
            (json!({"type": "no_msgs/msg/Such"}), "type: "),
            (json!({"type": "std msgs"}), "type: "),
            (json!({"client": "a\u{1b}b"}), "client: "),
            (json!({"body": {"dato": true}}), "body: "),
            (json!({"body": {"data": "yes"}}), "body: "),
            (json!({"kind": "cancel", "body": {}}), "target: "),
            (json!({"kind": "goal", "type": "a/B"}), "target: "),
            (json!({"kind": "parameter", "body": {}}), "target: "),
        ] {
            let error = error(&change);
            assert!(error.starts_with(field), "{change}: {error}");
        }
        assert!(error(&json!({"body": {"dato": true}})).contains("dato"));
    }

    #[test]
    fn the_fingerprint_tells_commands_apart() {
        let of = |change: Value, identity: &str| {
            CheckedCommand::new(request(&change), identity, &ros()).unwrap().fingerprint
        };
        let first = of(json!({}), "ann");
        assert_eq!(first, of(json!({"ttl_ms": 100, "client": "x"}), "ann"), "how it is sent does not matter");
        for (change, identity) in [
            (json!({}), "bob"),
            (json!({"body": {"data": false}}), "ann"),
            (json!({"target": "/other"}), "ann"),
        ] {
            assert_ne!(first, of(change, identity));
        }
    }

    #[test]
    fn the_way_to_the_endpoint_spends_from_the_time_to_live() {
        assert_eq!(age(1_000, 4_000_000_000), Duration::from_nanos(3_999_999_000));
        for (sent_ns, now_ns) in [(9, 0), (i64::MAX, i64::MIN), (i64::MAX, 0)] {
            assert_eq!(age(sent_ns, now_ns), Duration::ZERO, "{sent_ns}: from the future");
        }
        let command = CheckedCommand::new(request(&json!({"sent_ns": 1})), "ann", &ros()).unwrap();
        assert!(command.age > command.ttl);
        assert_eq!(CheckedCommand::new(request(&json!({})), "ann", &ros()).unwrap().age, Duration::ZERO);
    }

    #[test]
    fn goal_ids_read_back() {
        let id = GoalId::random();
        assert_eq!(goal_id(&goal_text(id)), Some(id));
        assert_eq!(goal_id("x"), None);
    }
}
