//! The rosapi services that accompany a rosbridge server: queries about the graph with the types of
//! `rosapi_msgs`. They cover the graph in the endpoint's scope, for every client.

mod error;
mod names;
mod parameters;
mod typedefs;

use roverline_source::clock::unix_ns;
use serde_json::{Value, json};

use crate::dialect::rosbridge::operation::{long_type, time};
pub(super) use crate::dialect::rosbridge::rosapi::error::QueryError;
use crate::dialect::rosbridge::rosapi::names::Names;
pub(super) use crate::dialect::rosbridge::rosapi::parameters::query as parameter_query;
use crate::dialect::rosbridge::rosapi::typedefs::typedefs;
use crate::dialect::session::SessionContext;

/// The queries that are answered here.
const QUERIES: [&str; 35] = [
    "action_feedback_details",
    "action_goal_details",
    "action_result_details",
    "action_servers",
    "action_type",
    "delete_param",
    "get_param",
    "get_param_names",
    "get_ros_version",
    "get_time",
    "has_param",
    "interfaces",
    "message_details",
    "node_details",
    "nodes",
    "publishers",
    "service_host",
    "service_node",
    "service_providers",
    "service_request_details",
    "service_response_details",
    "service_type",
    "services",
    "services_for_type",
    "set_param",
    "subscribers",
    "topic_type",
    "topics",
    "topics_and_raw_types",
    "topics_for_type",
    // Names used by other versions.
    "GetParamNames",
    "get_action_servers",
    "get_topics",
    "get_topics_and_raw_types",
    "service_req_details",
];

/// The query that a service's full name denotes.
pub(super) fn query(service: &str) -> Option<&'static str> {
    let name = service.strip_prefix("/rosapi/")?;
    Some(match *QUERIES.iter().find(|query| **query == name)? {
        "GetParamNames" => "get_param_names",
        "get_action_servers" => "action_servers",
        "get_topics" => "topics",
        "get_topics_and_raw_types" => "topics_and_raw_types",
        "service_req_details" => "service_request_details",
        query => query,
    })
}

/// An argument by its name or by its position.
fn argument<'a>(args: &'a Value, position: usize, name: &'static str) -> Result<&'a str, QueryError> {
    let value = match args {
        Value::Array(items) => items.get(position),
        args => args.get(name),
    };
    value.and_then(Value::as_str).ok_or(QueryError::Argument(name))
}

/// Answers a query with JSON text. `None` for a query about parameters, which nodes have to answer.
pub(super) fn answer(
    context: &SessionContext,
    query: &str,
    args: &Value,
) -> Option<Result<Vec<u8>, QueryError>> {
    if query.ends_with("_param") || query == "get_param_names" {
        return None;
    }
    let values = values(context, query, args);
    Some(values.and_then(|values| serde_json::to_vec(&values).map_err(QueryError::Answer)))
}

fn values(context: &SessionContext, query: &str, args: &Value) -> Result<Value, QueryError> {
    let registry = context.endpoint.hub.registry();
    let first = |name| argument(args, 0, name);
    let of = |kind: &str, part: &str| {
        let type_name = long_type(first("type")?, kind)?;
        Ok::<_, QueryError>(json!({"typedefs": typedefs(registry, &format!("{type_name}{part}"))?}))
    };
    let names = || Names::new(&context.endpoint);
    Ok(match query {
        "topics" => {
            let (topics, types) = names().topics();
            json!({"topics": topics, "types": types})
        }
        "topics_and_raw_types" => {
            let (topics, types) = names().topics();
            let text = |name: &String| registry.text(name).map_or_else(|_| String::new(), |t| t.to_string());
            let texts: Vec<String> = types.iter().map(text).collect();
            json!({"topics": topics, "types": types, "typedefs_full_text": texts})
        }
        "topic_type" => json!({"type": names().topic_type(first("topic")?)}),
        "topics_for_type" => json!({"topics": names().topics_of(&long_type(first("type")?, "msg")?)}),
        "publishers" => json!({"publishers": names().publishers(first("topic")?)}),
        "subscribers" => json!({"subscribers": names().subscribers(first("topic")?)}),
        "services" => json!({"services": names().services()}),
        "service_type" => json!({"type": names().service_type(first("service")?)}),
        "services_for_type" => json!({"services": names().services_of(&long_type(first("type")?, "srv")?)}),
        "service_providers" => json!({"providers": names().providers(first("service")?)}),
        "service_node" => json!({"node": names().providers(first("service")?).first()}),
        "service_host" => json!({"host": ""}),
        "nodes" => json!({"nodes": names().nodes()}),
        "node_details" => {
            let names = names();
            let (subscribing, publishing, services) = names.node(first("node")?);
            json!({"subscribing": subscribing, "publishing": publishing, "services": services})
        }
        "action_servers" => json!({"action_servers": names().actions()}),
        "action_type" => json!({"type": names().action_type(first("action")?)}),
        "interfaces" => json!({"interfaces": registry.type_names()}),
        "message_details" => of("msg", "")?,
        "service_request_details" => of("srv", "_Request")?,
        "service_response_details" => of("srv", "_Response")?,
        "action_goal_details" => of("action", "_Goal")?,
        "action_result_details" => of("action", "_Result")?,
        "action_feedback_details" => of("action", "_Feedback")?,
        "get_time" => json!({"time": twice_named(time(unix_ns()))}),
        "get_ros_version" => json!({"version": 2, "distro": std::env::var("ROS_DISTRO").unwrap_or_default()}),
        other => return Err(QueryError::UnknownQuery(other.to_owned())),
    })
}

/// Adds the field names of ROS 1: roslibpy reads those.
fn twice_named(mut time: Value) -> Value {
    if let Value::Object(fields) = &mut time {
        for (new, old) in [("sec", "secs"), ("nanosec", "nsecs")] {
            if let Some(value) = fields.get(new).cloned() {
                fields.insert(old.to_owned(), value);
            }
        }
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_known_by_their_service() {
        assert_eq!(query("/rosapi/topics"), Some("topics"));
        assert_eq!(query("/rosapi/get_topics_and_raw_types"), Some("topics_and_raw_types"));
        assert_eq!(query("/rosapi/nonsense"), None);
        assert_eq!(query("/other/topics"), None);
    }

    #[test]
    fn arguments_come_by_name_or_position() {
        assert_eq!(argument(&json!({"type": "a"}), 0, "type").unwrap(), "a");
        assert_eq!(argument(&json!(["a"]), 0, "type").unwrap(), "a");
        assert!(argument(&json!({"type": 5}), 0, "type").is_err() && argument(&json!(null), 0, "x").is_err());
    }
}
