//! Parser of client messages: pure, with its depth bounded by the JSON reader.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::dialect::rosbridge::malformed::{FieldError, MalformedMessage};
use crate::dialect::rosbridge::python_json;

/// Longest id of a rosbridge client's message.
const ROSBRIDGE_ID_BYTES: usize = 1_024;

/// The client's id of an interaction: text or a number, echoed unchanged.
pub(super) type Id = Option<Value>;

/// A client's message.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Subscribe(Subscribe),
    Unsubscribe { topic: String },
    Advertise { topic: String, type_name: String, latch: bool },
    Unadvertise { topic: String },
    Publish(Publish),
    CallService(CallService),
    AdvertiseService { service: String, type_name: String },
    UnadvertiseService { service: String },
    ServiceResponse { service: String, values: Value, result: bool },
    SendGoal(SendGoal),
    CancelGoal { action: String },
    AdvertiseAction { action: String, type_name: String },
    UnadvertiseAction { action: String },
    ActionFeedback { action: String, values: Value },
    ActionResult { action: String, values: Value, status: i8, result: bool },
    Fragment(Fragment),
    Png { data: String, pieces: Option<(usize, usize)> },
    SetLevel { level: String },
    Auth { token: Option<String> },
}

/// A subscription as the protocol defines it; numbers are as the client wrote them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Subscribe {
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) type_name: Option<String>,
    pub(super) throttle_rate: Option<f64>,
    pub(super) queue_length: Option<f64>,
    pub(super) fragment_size: Option<f64>,
    pub(super) compression: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Publish {
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) type_name: Option<String>,
    pub(super) msg: Value,
    pub(super) latch: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct CallService {
    pub(super) service: String,
    #[serde(rename = "type")]
    pub(super) type_name: Option<String>,
    pub(super) args: Value,
    /// Seconds.
    pub(super) timeout: Option<f64>,
    pub(super) fragment_size: Option<f64>,
    pub(super) compression: Option<String>,
    /// The client's trace context (W3C Trace Context); not in rosbridge's specification.
    pub(super) traceparent: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct SendGoal {
    pub(super) action: String,
    pub(super) action_type: String,
    pub(super) args: Value,
    pub(super) feedback: bool,
    pub(super) fragment_size: Option<f64>,
    pub(super) compression: Option<String>,
}

/// A fragment of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fragment {
    pub(super) id: String,
    pub(super) data: String,
    pub(super) num: usize,
    pub(super) total: usize,
}

/// A malformed message: its id, and the error.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) id: Id,
    pub(super) error: MalformedMessage,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
}

#[derive(Deserialize)]
struct Advertise {
    topic: String,
    #[serde(rename = "type")]
    type_name: String,
    #[serde(default)]
    latch: Option<bool>,
}

#[derive(Deserialize)]
struct Service {
    service: String,
    #[serde(rename = "type", default)]
    type_name: String,
}

#[derive(Deserialize)]
struct ServiceResponse {
    service: String,
    #[serde(default)]
    values: Value,
    #[serde(default = "yes")]
    result: bool,
}

#[derive(Deserialize)]
struct Action {
    action: String,
    #[serde(rename = "type", default)]
    type_name: String,
    #[serde(default)]
    values: Value,
    #[serde(default)]
    status: i8,
    #[serde(default = "yes")]
    result: bool,
}

#[derive(Deserialize)]
struct Data {
    data: String,
    num: Option<usize>,
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Level {
    level: String,
}

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

const fn yes() -> bool {
    true
}

/// Parses a message.
pub(super) fn parse(text: &str) -> Result<(Id, Request), Malformed> {
    let mut fields = object(text).map_err(|error| Malformed { id: None, error })?;
    let id = id(&mut fields).map_err(|error| Malformed { id: None, error })?;
    match operation(fields, &id) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err(Malformed { id, error }),
    }
}

fn object(text: &str) -> Result<Map<String, Value>, MalformedMessage> {
    match python_json::parse(text)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(MalformedMessage::Form("a message is a JSON object with an op")),
    }
}

fn id(fields: &mut Map<String, Value>) -> Result<Id, MalformedMessage> {
    match fields.remove("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.len() > ROSBRIDGE_ID_BYTES => {
            Err(MalformedMessage::IdBytes(ROSBRIDGE_ID_BYTES))
        }
        Some(id @ (Value::String(_) | Value::Number(_))) => Ok(Some(id)),
        Some(_) => Err(MalformedMessage::Form("an id is text or a number")),
    }
}

fn operation(mut fields: Map<String, Value>, id: &Id) -> Result<Request, MalformedMessage> {
    let Some(Value::String(op)) = fields.remove("op") else {
        return Err(MalformedMessage::Form("a message has an op, which is text"));
    };
    request(&op, fields, id)
        .map_err(|source| MalformedMessage::Fields { op: op.chars().take(64).collect(), source })
}

fn request(op: &str, fields: Map<String, Value>, id: &Id) -> Result<Request, FieldError> {
    Ok(match op {
        "subscribe" => Request::Subscribe(read(fields)?),
        "unsubscribe" => Request::Unsubscribe { topic: read::<Topic>(fields)?.topic },
        "advertise" => {
            let Advertise { topic, type_name, latch } = read(fields)?;
            Request::Advertise { topic, type_name, latch: latch.unwrap_or(false) }
        }
        "unadvertise" => Request::Unadvertise { topic: read::<Topic>(fields)?.topic },
        "publish" => Request::Publish(read(fields)?),
        "call_service" => Request::CallService(read(fields)?),
        "advertise_service" => {
            let Service { service, type_name } = read(fields)?;
            Request::AdvertiseService { service, type_name }
        }
        "unadvertise_service" => Request::UnadvertiseService { service: read::<Service>(fields)?.service },
        "service_response" => {
            let ServiceResponse { service, values, result } = read(fields)?;
            Request::ServiceResponse { service, values, result }
        }
        "send_action_goal" => Request::SendGoal(read(fields)?),
        "cancel_action_goal" | "advertise_action" | "unadvertise_action" | "action_feedback"
        | "action_result" => action(op, read(fields)?),
        "fragment" => {
            let Data { data, num, total } = read(fields)?;
            let num = num.ok_or(FieldError::Missing("it has a num"))?;
            let total = total.ok_or(FieldError::Missing("it has a total"))?;
            let id = key(id).ok_or(FieldError::Missing("it has an id"))?;
            Request::Fragment(Fragment { id, data, num, total })
        }
        "png" => {
            let Data { data, num, total } = read(fields)?;
            Request::Png { data, pieces: num.zip(total) }
        }
        "set_level" => Request::SetLevel { level: read::<Level>(fields)?.level },
        "auth" => Request::Auth { token: read::<Auth>(fields)?.token },
        _ => return Err(FieldError::UnknownOp),
    })
}

fn action(op: &str, action: Action) -> Request {
    let Action { action, type_name, values, status, result } = action;
    match op {
        "cancel_action_goal" => Request::CancelGoal { action },
        "advertise_action" => Request::AdvertiseAction { action, type_name },
        "unadvertise_action" => Request::UnadvertiseAction { action },
        "action_feedback" => Request::ActionFeedback { action, values },
        _ => Request::ActionResult { action, values, status, result },
    }
}

fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, FieldError> {
    Ok(serde_json::from_value(Value::Object(fields))?)
}

/// An id as a map key; the number 1 and the text "1" are different.
pub(super) fn key(id: &Id) -> Option<String> {
    id.as_ref().map(Value::to_string)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ok(message: &Value) -> Request {
        parse(&message.to_string()).unwrap().1
    }

    #[test]
    fn the_ops_of_the_protocol_are_understood() {
        let subscribe = json!({
            "op": "subscribe", "id": "subscribe:/a:1", "type": "std_msgs/String", "topic": "/a",
            "compression": "none", "throttle_rate": 0, "queue_length": null,
        });
        let (id, request) = parse(&subscribe.to_string()).unwrap();
        assert_eq!(id, Some(json!("subscribe:/a:1")));
        let Request::Subscribe(subscribe) = request else { panic!("{request:?}") };
        assert_eq!((subscribe.topic.as_str(), subscribe.throttle_rate), ("/a", Some(0.0)));
        assert_eq!(subscribe.queue_length, None);
        let advertise = json!({"op": "advertise", "topic": "/a", "type": "b/C", "latch": null});
        let latched = Request::Advertise { topic: "/a".into(), type_name: "b/C".into(), latch: false };
        assert_eq!(ok(&advertise), latched);
        let Request::CallService(call) = ok(&json!({"op": "call_service", "service": "x", "args": [1]}))
        else {
            panic!("a call")
        };
        assert_eq!(call.args, json!([1]));
        let fragment = json!({"op": "fragment", "id": 5, "data": "x", "num": 0, "total": 1});
        let piece = Fragment { id: "5".into(), data: "x".into(), num: 0, total: 1 };
        assert_eq!(ok(&fragment), Request::Fragment(piece));
        assert_eq!(ok(&json!({"op": "auth", "mac": "x", "t": 1})), Request::Auth { token: None });
    }

    #[test]
    fn errors_carry_the_id() {
        let malformed = |text: &str| parse(text).unwrap_err();
        let error = |text: &str| malformed(text).error.to_string();
        assert!(error("{").starts_with("not JSON"));
        assert!(error("[]").contains("object"));
        let unknown = malformed(r#"{"op":"dance","id":7}"#);
        assert_eq!(unknown.id, Some(json!(7)));
        assert_eq!(unknown.error.to_string(), "dance: there is no such op");
        assert!(error(r#"{"op":"publish","topic":5}"#).starts_with("publish: invalid type"));
        assert!(error(r#"{"op":"subscribe","id":{}}"#).contains("id"));
        let long = format!(r#"{{"op":"subscribe","id":"{}"}}"#, "x".repeat(2_000));
        assert!(error(&long).contains("1024 bytes"));
        assert!(parse(&format!("{}{}", r#"{"op":"publish","msg":"#, "[".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn nothing_upsets_it(text in "\\PC*", op in "[a-z_]{0,20}", key in "[a-z]{0,6}", value in "[\\[\\]{}\"0-9a-z,:.-]{0,20}") {
            let _ = parse(&text);
            let _ = parse(&format!(r#"{{"op":"{op}","{key}":{value}}}"#));
        }
    }
}
