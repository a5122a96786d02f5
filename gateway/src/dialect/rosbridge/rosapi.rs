//! What the rosapi node answers beside a rosbridge server: questions about the graph, in the words of
//! `rosapi_msgs`. It is the graph in the endpoint's scope, whoever asks.

mod names;
mod parameters;
mod typedefs;

use roverline_source::clock::unix_ns;
use serde_json::{Value, json};

use crate::dialect::rosbridge::publications::time;
use crate::dialect::rosbridge::rosapi::names::Names;
pub(super) use crate::dialect::rosbridge::rosapi::parameters::question as parameter_question;
use crate::dialect::rosbridge::rosapi::typedefs::typedefs;
use crate::dialect::rosbridge::session::{Fault, long_type};
use crate::dialect::session::Context;

/// The questions that are answered here.
const QUESTIONS: [&str; 35] = [
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
    // Spellings of other versions.
    "GetParamNames",
    "get_action_servers",
    "get_topics",
    "get_topics_and_raw_types",
    "service_req_details",
];

/// The question that a service's full name stands for.
pub(super) fn question(service: &str) -> Option<&'static str> {
    let name = service.strip_prefix("/rosapi/")?;
    Some(match *QUESTIONS.iter().find(|question| **question == name)? {
        "GetParamNames" => "get_param_names",
        "get_action_servers" => "action_servers",
        "get_topics" => "topics",
        "get_topics_and_raw_types" => "topics_and_raw_types",
        "service_req_details" => "service_request_details",
        question => question,
    })
}

/// An argument by its name, or by its place.
fn argument<'a>(args: &'a Value, place: usize, name: &str) -> Result<&'a str, String> {
    let value = match args {
        Value::Array(items) => items.get(place),
        args => args.get(name),
    };
    value.and_then(Value::as_str).ok_or_else(|| format!("the request has a {name}, which is text"))
}

/// Answers with JSON text. None: it is a question about parameters, which nodes have to answer.
pub(super) fn answer(context: &Context, question: &str, args: &Value) -> Option<Result<Vec<u8>, String>> {
    if question.ends_with("_param") || question == "get_param_names" {
        return None;
    }
    let values = values(context, question, args);
    Some(values.and_then(|values| serde_json::to_vec(&values).map_err(|error| error.to_string())))
}

fn values(context: &Context, question: &str, args: &Value) -> Result<Value, String> {
    let registry = context.endpoint.hub.registry();
    let first = |name| argument(args, 0, name);
    let of = |kind: &str, part: &str| {
        let type_name = typed(first("type")?, kind)?;
        Ok::<_, String>(json!({"typedefs": typedefs(registry, &format!("{type_name}{part}"))?}))
    };
    let names = || Names::new(&context.endpoint);
    Ok(match question {
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
        "topics_for_type" => json!({"topics": names().topics_of(&typed(first("type")?, "msg")?)}),
        "publishers" => json!({"publishers": names().publishers(first("topic")?)}),
        "subscribers" => json!({"subscribers": names().subscribers(first("topic")?)}),
        "services" => json!({"services": names().services()}),
        "service_type" => json!({"type": names().service_type(first("service")?)}),
        "services_for_type" => json!({"services": names().services_of(&typed(first("type")?, "srv")?)}),
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
        other => return Err(format!("there is no rosapi/{other}")),
    })
}

/// With the names that ROS 1 had as well: roslibpy reads those.
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

fn typed(name: &str, kind: &str) -> Result<String, String> {
    long_type(name, kind).map_err(Fault::why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_known_by_their_service() {
        assert_eq!(question("/rosapi/topics"), Some("topics"));
        assert_eq!(question("/rosapi/get_topics_and_raw_types"), Some("topics_and_raw_types"));
        assert_eq!(question("/rosapi/nonsense"), None);
        assert_eq!(question("/other/topics"), None);
    }

    #[test]
    fn arguments_come_by_name_or_place() {
        assert_eq!(argument(&json!({"type": "a"}), 0, "type"), Ok("a"));
        assert_eq!(argument(&json!(["a"]), 0, "type"), Ok("a"));
        assert!(argument(&json!({"type": 5}), 0, "type").is_err() && argument(&json!(null), 0, "x").is_err());
    }
}
