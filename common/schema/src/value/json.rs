//! Values from JSON without a type.

use crate::value::{Struct, Value};

impl From<serde_json::Value> for Value {
    /// Numbers keep their kind; `null`, which messages do not have, is the text `null`.
    fn from(json: serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::String("null".to_owned()),
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Value::U64(value),
                (None, Some(value)) => Value::I64(value),
                (None, None) => Value::F64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::String(text),
            Json::Array(items) => Value::Array(items.into_iter().map(Value::from).collect()),
            Json::Object(fields) => Value::Struct(
                fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Struct>(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_paths_as_messages_have() {
        let json = serde_json::json!({"a": {"b": [1, -2, 2.5, "x", true, null]}});
        let value = Value::from(json);
        assert_eq!(value.get("a.b[0]"), Some(&Value::U64(1)));
        assert_eq!(value.get("a.b[1]"), Some(&Value::I64(-2)));
        assert_eq!(value.get("a.b[2]"), Some(&Value::F64(2.5)));
        assert_eq!(value.get("a.b[3]"), Some(&Value::String("x".to_owned())));
        assert_eq!(value.get("a.b[4]"), Some(&Value::Bool(true)));
        assert_eq!(value.get("a.b[5]"), Some(&Value::String("null".to_owned())));
    }
}
