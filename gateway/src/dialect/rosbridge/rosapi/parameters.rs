//! Parameter queries of rosapi: names as `/node:parameter`, values as JSON text.

use std::sync::Arc;

use roverline_protocol::api::commands::CommandKind;
use roverline_source::ros::{Parameter, ParameterValue, Ros};
use serde_json::{Value, json};

use crate::access::Permission;
use crate::dialect::rosbridge::rosapi::argument;
use crate::dialect::rosbridge::rosapi::error::QueryError;
use crate::dialect::session::SessionContext;
use crate::dialect::session::command_record::CommandRecord;
use crate::endpoint::Endpoint;

/// A query that nodes have to answer.
pub(crate) enum NodeQuery {
    Get { node: String, name: String, default: String },
    Has { node: String, name: String },
    Set { node: String, name: String, value: Value, command: CommandRecord },
    Names(Arc<Endpoint>),
}

/// Parses a parameter query and checks whether this client may make it here.
pub(crate) fn query(context: &SessionContext, query: &str, args: &Value) -> Result<NodeQuery, QueryError> {
    context.info.check_not_confined()?;
    if query == "get_param_names" {
        return Ok(NodeQuery::Names(context.endpoint.clone()));
    }
    let (node, name) = split(argument(args, 0, "name")?)?;
    if !serves(&context.endpoint, &node) {
        return Err(QueryError::OutOfScope(node));
    }
    let command = |node: &str| context.record_command(CommandKind::Parameter, node, "");
    let may_set = || context.authorize(Permission::Set(&node));
    match query {
        "get_param" => {
            let default = ["default_value", "default"].iter().find_map(|name| argument(args, 1, name).ok());
            let default = default.filter(|text| !text.is_empty()).unwrap_or("null").to_owned();
            Ok(NodeQuery::Get { node, name, default })
        }
        "has_param" => Ok(NodeQuery::Has { node, name }),
        "set_param" => {
            may_set()?;
            let text = argument(args, 1, "value")?;
            let value = serde_json::from_str(text).map_err(QueryError::Json)?;
            Ok(NodeQuery::Set { command: command(&node), node, name, value })
        }
        "delete_param" => {
            may_set()?;
            Ok(NodeQuery::Set { command: command(&node), node, name, value: Value::Null })
        }
        other => Err(QueryError::UnknownQuery(other.to_owned())),
    }
}

/// A node's parameters are in the scope of its services.
fn serves(endpoint: &Endpoint, node: &str) -> bool {
    endpoint.is_in_scope(&format!("{node}/get_parameters"), "rcl_interfaces/srv/GetParameters")
}

fn split(name: &str) -> Result<(String, String), QueryError> {
    let (node, parameter) = name.split_once(':').ok_or(QueryError::ParameterName)?;
    let node = format!("/{}", node.trim_start_matches('/'));
    Ok((node, parameter.to_owned()))
}

impl NodeQuery {
    /// Whether all nodes have to be queried.
    pub(crate) fn needs_all_nodes(&self) -> bool {
        matches!(self, NodeQuery::Names(_))
    }

    /// Answers with JSON text.
    pub(crate) async fn answer(self, ros: &Ros) -> Result<Vec<u8>, QueryError> {
        let values = match self {
            NodeQuery::Get { node, name, default } => match get(ros, &node, &name).await {
                Ok(value) => json!({"value": to_json(&value).to_string(), "successful": true, "reason": ""}),
                Err(error) => {
                    json!({"value": default, "successful": false, "reason": error.to_string()})
                }
            },
            NodeQuery::Has { node, name } => json!({"exists": get(ros, &node, &name).await.is_ok()}),
            NodeQuery::Set { node, name, value, command } => {
                let error = set(ros, node, name, &value).await.err();
                command.finish(error.as_ref().map(ToString::to_string));
                let reason = error.as_ref().map(ToString::to_string).unwrap_or_default();
                json!({"successful": error.is_none(), "reason": reason})
            }
            NodeQuery::Names(endpoint) => {
                let (all, _) = ros.all_parameters().await;
                let here = all.iter().filter(|parameter| serves(&endpoint, &parameter.node));
                let names = here.map(|parameter| format!("{}:{}", parameter.node, parameter.name));
                json!({"names": names.collect::<Vec<_>>()})
            }
        };
        serde_json::to_vec(&values).map_err(QueryError::Answer)
    }
}

async fn get(ros: &Ros, node: &str, name: &str) -> Result<ParameterValue, QueryError> {
    let found = ros.get_parameters(node, &[name.to_owned()]).await?;
    let value = found.into_iter().next().map(|parameter| parameter.value);
    value
        .filter(|value| *value != ParameterValue::NotSet)
        .ok_or_else(|| QueryError::UnknownParameter { node: node.to_owned(), name: name.to_owned() })
}

async fn set(ros: &Ros, node: String, name: String, value: &Value) -> Result<(), QueryError> {
    // JSON does not distinguish 2 from 2.0, but nodes do.
    let known = get(ros, &node, &name).await.unwrap_or_default();
    let value = from_json(value, &known).ok_or(QueryError::Value)?;
    let parameter = Parameter { node, name, value };
    Ok(ros.set_parameter(&parameter).await?)
}

fn to_json(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::NotSet => Value::Null,
        ParameterValue::Bool(v) => json!(v),
        ParameterValue::Integer(v) => json!(v),
        ParameterValue::Double(v) => json!(v),
        ParameterValue::String(v) => json!(v),
        ParameterValue::Bytes(v) => json!(v),
        ParameterValue::Bools(v) => json!(v),
        ParameterValue::Integers(v) => json!(v),
        ParameterValue::Doubles(v) => json!(v),
        ParameterValue::Strings(v) => json!(v),
    }
}

/// Converts a value to the parameter's type where JSON is ambiguous.
fn from_json(value: &Value, known: &ParameterValue) -> Option<ParameterValue> {
    fn all<T>(items: &[Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        items.iter().map(read).collect()
    }
    Some(match (value, known) {
        (Value::Null, _) => ParameterValue::NotSet,
        (Value::Bool(v), _) => ParameterValue::Bool(*v),
        (Value::String(v), _) => ParameterValue::String(v.clone()),
        (Value::Number(v), ParameterValue::Double(_)) => ParameterValue::Double(v.as_f64()?),
        (Value::Number(v), _) => match v.as_i64() {
            Some(v) => ParameterValue::Integer(v),
            None => ParameterValue::Double(v.as_f64()?),
        },
        (Value::Array(items), ParameterValue::Doubles(_)) => {
            ParameterValue::Doubles(all(items, Value::as_f64)?)
        }
        (Value::Array(items), ParameterValue::Bytes(_)) => {
            ParameterValue::Bytes(all(items, |item| u8::try_from(item.as_u64()?).ok())?)
        }
        (Value::Array(items), _) if items.is_empty() => match known {
            ParameterValue::Bools(_) => ParameterValue::Bools(Vec::new()),
            ParameterValue::Integers(_) => ParameterValue::Integers(Vec::new()),
            _ => ParameterValue::Strings(Vec::new()),
        },
        (Value::Array(items), _) => all(items, Value::as_bool)
            .map(ParameterValue::Bools)
            .or_else(|| all(items, Value::as_i64).map(ParameterValue::Integers))
            .or_else(|| all(items, Value::as_f64).map(ParameterValue::Doubles))
            .or_else(|| all(items, |item| item.as_str().map(str::to_owned)).map(ParameterValue::Strings))?,
        (Value::Object(_), _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind() {
        use ParameterValue as P;
        let read = |value: Value| from_json(&value, &P::NotSet);
        let kinds = [
            P::Bool(true),
            P::Integer(-5),
            P::Double(2.5),
            P::String("x".into()),
            P::Bools(vec![true]),
            P::Integers(vec![1, 2]),
            P::Doubles(vec![0.5]),
            P::Strings(vec!["a".into()]),
            P::NotSet,
        ];
        for kind in kinds {
            assert_eq!(read(to_json(&kind)), Some(kind));
        }
        assert_eq!(from_json(&json!(2), &P::Double(1.0)), Some(P::Double(2.0)));
        assert_eq!(from_json(&json!([1, 2]), &P::Doubles(vec![])), Some(P::Doubles(vec![1.0, 2.0])));
        assert_eq!(from_json(&json!([]), &P::Integers(vec![3])), Some(P::Integers(vec![])));
        assert_eq!(from_json(&json!([7]), &P::Bytes(vec![])), Some(P::Bytes(vec![7])));
        assert_eq!(read(json!([1, "x"])), None);
        assert_eq!(read(json!({"a": 1})), None);
    }

    #[test]
    fn names_are_of_a_node_and_a_parameter() {
        assert_eq!(split("/arm:joint.speed").unwrap(), ("/arm".into(), "joint.speed".into()));
        assert_eq!(split("arm:speed").unwrap(), ("/arm".into(), "speed".into()));
        assert!(split("/arm/speed").is_err());
    }
}
