//! Converts between CDR and the JSON of the client library, in which octets are arrays of numbers.

use bytes::Bytes;
use roverline_schema::{Registry, Value};
use serde_json::{Map, Number, Value as Json};

use crate::CallError;

fn failed(error: &impl ToString) -> CallError {
    CallError::Failed(error.to_string())
}

/// A message of the type `type_name` as JSON. Numbers that JSON does not have are an error.
pub(super) fn decoded(registry: &Registry, type_name: &str, cdr: &[u8]) -> Result<Json, CallError> {
    let plan = registry.plan(type_name).map_err(|error| failed(&error))?;
    let value = plan.decode(cdr).map_err(|error| failed(&error))?;
    json(&value).ok_or_else(|| {
        CallError::Failed(format!("{type_name}: the r2r source passes no NaN and no infinity in a request"))
    })
}

/// JSON as a message of the type `type_name`.
pub(super) fn encoded(registry: &Registry, type_name: &str, json: &Json) -> Result<Bytes, CallError> {
    let plan = registry.plan(type_name).map_err(|error| failed(&error))?;
    plan.encode_json(json).map(Bytes::from).map_err(|error| failed(&error))
}

fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(one) => Json::from(*one),
        Value::U8(one) => Json::from(*one),
        Value::U16(one) => Json::from(*one),
        Value::U32(one) => Json::from(*one),
        Value::U64(one) => Json::from(*one),
        Value::I8(one) => Json::from(*one),
        Value::I16(one) => Json::from(*one),
        Value::I32(one) => Json::from(*one),
        Value::I64(one) => Json::from(*one),
        Value::F32(one) => Json::Number(Number::from_f64(f64::from(*one))?),
        Value::F64(one) => Json::Number(Number::from_f64(*one)?),
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => Json::from(bytes.as_slice()),
        Value::Array(items) => Json::Array(items.iter().map(json).collect::<Option<_>>()?),
        Value::Struct(fields) => {
            let named = fields.iter().map(|(name, field)| Some((name.to_owned(), json(field)?)));
            Json::Object(named.collect::<Option<Map<_, _>>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn octets_are_numbers_and_the_way_back_is_the_same() {
        let registry = Registry::bundled();
        let given = json!({"layout": {"dim": [], "data_offset": 0}, "data": [0, 1, 255]});
        let cdr = encoded(&registry, "std_msgs/msg/UInt8MultiArray", &given).unwrap();
        assert_eq!(decoded(&registry, "std_msgs/msg/UInt8MultiArray", &cdr).unwrap(), given);
    }

    #[test]
    fn what_json_does_not_have_is_an_error() {
        let registry = Registry::bundled();
        let nan = encoded(&registry, "std_msgs/msg/Float64", &json!({"data": null})).unwrap();
        let error = decoded(&registry, "std_msgs/msg/Float64", &nan).unwrap_err();
        assert!(error.to_string().contains("NaN"), "{error}");
        assert!(decoded(&registry, "own/msg/Unknown", &nan).is_err());
    }
}
