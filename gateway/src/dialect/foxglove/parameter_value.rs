//! Conversion of parameter values between ROS and the protocol's JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roverline_source::ros::{Parameter, ParameterValue};
use serde_json::Value;

use crate::dialect::foxglove::client_message::ParameterInput;
use crate::dialect::foxglove::error::{ParameterError, RequestError};
use crate::dialect::foxglove::server_message::ParameterJson;

const BYTES: &str = "byte_array";
const FLOAT: &str = "float64";
const FLOATS: &str = "float64_array";

/// Splits `/ns/node.group.name` into node and parameter: node names have no dots.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let (node, parameter) = name.split_once('.')?;
    (node.starts_with('/') && node.len() > 1 && !parameter.is_empty()).then_some((node, parameter))
}

/// A parameter as the client receives it.
pub(super) fn to_json(parameter: &Parameter) -> ParameterJson {
    let (value, kind) = match &parameter.value {
        ParameterValue::NotSet => (None, None),
        ParameterValue::Bool(value) => (Some(Value::from(*value)), None),
        ParameterValue::Integer(value) => (Some(Value::from(*value)), None),
        ParameterValue::Double(value) => (Some(Value::from(*value)), Some(FLOAT)),
        ParameterValue::String(value) => (Some(Value::from(value.as_str())), None),
        ParameterValue::Bytes(value) => (Some(Value::from(STANDARD.encode(value))), Some(BYTES)),
        ParameterValue::Bools(values) => (Some(Value::from(values.as_slice())), None),
        ParameterValue::Integers(values) => (Some(Value::from(values.as_slice())), None),
        ParameterValue::Doubles(values) => (Some(Value::from(values.as_slice())), Some(FLOATS)),
        ParameterValue::Strings(values) => (Some(Value::from(values.as_slice())), None),
    };
    ParameterJson { name: format!("{}.{}", parameter.node, parameter.name), value, kind }
}

/// Converts a client's value. JavaScript writes 3.0 as 3, and an empty list does not reveal its element
/// type; there the parameter's current value `was` decides.
pub(super) fn from_input(
    input: &ParameterInput,
    current: Option<&ParameterValue>,
) -> Result<ParameterValue, RequestError> {
    let Some(value) = &input.value else { return Ok(ParameterValue::NotSet) };
    let wrong = |rule: &'static str| RequestError::Parameter {
        name: input.name.chars().take(128).collect(),
        source: ParameterError::Value(rule),
    };
    match input.kind.as_deref() {
        Some(BYTES) => {
            let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            bytes.map(ParameterValue::Bytes).ok_or_else(|| wrong("a byte_array is base64 in a string"))
        }
        Some(FLOAT) => {
            value.as_f64().map(ParameterValue::Double).ok_or_else(|| wrong("a float64 is a number"))
        }
        Some(FLOATS) => list(value, Value::as_f64)
            .map(ParameterValue::Doubles)
            .ok_or_else(|| wrong("a float64_array is a list of numbers")),
        Some(_) => Err(wrong("a type is byte_array, float64 or float64_array")),
        None => untyped(value, current)
            .ok_or_else(|| wrong("a value is a boolean, number, text or a list of one of them")),
    }
}

/// Whether the parameter's current type is needed to convert the value.
pub(super) fn is_ambiguous(input: &ParameterInput) -> bool {
    let whole = |value: &Value| value.as_i64().is_some();
    let ambiguous = |value: &Value| match value {
        Value::Array(items) => items.iter().all(whole),
        value => whole(value),
    };
    input.kind.is_none() && input.value.as_ref().is_some_and(ambiguous)
}

fn untyped(value: &Value, current: Option<&ParameterValue>) -> Option<ParameterValue> {
    use ParameterValue as P;
    match value {
        Value::Bool(value) => Some(P::Bool(*value)),
        Value::String(value) => Some(P::String(value.clone())),
        Value::Number(number) => match (number.as_i64(), current) {
            (Some(whole), Some(P::Double(_))) => Some(P::Double(whole as f64)),
            (Some(whole), _) => Some(P::Integer(whole)),
            (None, _) => number.as_f64().map(P::Double),
        },
        Value::Array(items) if items.is_empty() => match current {
            Some(P::Bytes(_)) => Some(P::Bytes(Vec::new())),
            Some(P::Bools(_)) => Some(P::Bools(Vec::new())),
            Some(P::Integers(_)) => Some(P::Integers(Vec::new())),
            Some(P::Doubles(_)) => Some(P::Doubles(Vec::new())),
            Some(P::Strings(_)) => Some(P::Strings(Vec::new())),
            _ => None,
        },
        Value::Array(_)
            if !matches!(current, Some(P::Doubles(_))) && list(value, Value::as_i64).is_some() =>
        {
            list(value, Value::as_i64).map(P::Integers)
        }
        Value::Array(_) => list(value, Value::as_bool)
            .map(P::Bools)
            .or_else(|| list(value, Value::as_f64).map(P::Doubles))
            .or_else(|| list(value, |item| item.as_str().map(str::to_owned)).map(P::Strings)),
        Value::Null | Value::Object(_) => None,
    }
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use ParameterValue as P;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn input(value: Value, kind: Option<&str>) -> ParameterInput {
        ParameterInput { name: "/a.b".into(), value: Some(value), kind: kind.map(str::to_owned) }
    }

    #[test]
    fn names_are_node_and_parameter() {
        assert_eq!(split("/arm/camera.exposure.mode"), Some(("/arm/camera", "exposure.mode")));
        for bad in ["", "/", "/arm", "arm.x", "/arm.", "/.x", ".x"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_are_what_they_were_meant_to_be() {
        let from_input =
            |value, kind, current: Option<P>| from_input(&input(value, kind), current.as_ref()).ok();
        assert_eq!(from_input(json!(3), None, None), Some(P::Integer(3)));
        assert_eq!(from_input(json!(3), None, Some(P::Double(1.5))), Some(P::Double(3.0)));
        assert_eq!(from_input(json!(3), Some(FLOAT), None), Some(P::Double(3.0)));
        assert_eq!(from_input(json!(3.5), None, Some(P::Integer(1))), Some(P::Double(3.5)));
        assert_eq!(from_input(json!([1, 2]), None, None), Some(P::Integers(vec![1, 2])));
        assert_eq!(
            from_input(json!([1, 2]), None, Some(P::Doubles(vec![]))),
            Some(P::Doubles(vec![1.0, 2.0]))
        );
        assert_eq!(from_input(json!([1, 2.5]), None, None), Some(P::Doubles(vec![1.0, 2.5])));
        assert_eq!(from_input(json!([]), None, Some(P::Strings(vec!["a".into()]))), Some(P::Strings(vec![])));
        assert_eq!(from_input(json!([]), Some(FLOATS), None), Some(P::Doubles(vec![])));
        assert_eq!(from_input(json!("QUJD"), Some(BYTES), None), Some(P::Bytes(b"ABC".to_vec())));
        assert_eq!(from_input(json!("QUJD"), None, None), Some(P::String("QUJD".into())));
        for (bad, kind) in [
            (json!([]), None),
            (json!({"a": 1}), None),
            (json!([1, "a"]), None),
            (json!("?"), Some(BYTES)),
            (json!("x"), Some(FLOAT)),
            (json!(1), Some("int")),
        ] {
            assert!(from_input(bad.clone(), kind, None).is_none(), "{bad}");
        }
        let unset = ParameterInput { value: None, ..input(Value::Null, None) };
        assert_eq!(super::from_input(&unset, None).ok(), Some(P::NotSet));
    }

    fn values() -> impl Strategy<Value = P> {
        let finite = || prop::num::f64::NORMAL | prop::num::f64::ZERO;
        prop_oneof![
            any::<bool>().prop_map(P::Bool),
            any::<i64>().prop_map(P::Integer),
            finite().prop_map(P::Double),
            ".*".prop_map(P::String),
            any::<Vec<u8>>().prop_map(P::Bytes),
            any::<Vec<bool>>().prop_map(P::Bools),
            any::<Vec<i64>>().prop_map(P::Integers),
            prop::collection::vec(finite(), 0..5).prop_map(P::Doubles),
            any::<Vec<String>>().prop_map(P::Strings),
        ]
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_given_back(value in values()) {
            let parameter = Parameter { node: "/a".into(), name: "b".into(), value: value.clone() };
            let shown = to_json(&parameter);
            let json = serde_json::to_string(&shown.value).unwrap();
            let input = input(serde_json::from_str(&json).unwrap(), shown.kind);
            prop_assert_eq!(from_input(&input, Some(&value)).ok(), Some(value));
        }
    }
}
