//! Messages as indented text and as JSON.

use roverline_client::LinkSample;
use roverline_schema::Value;
use serde_json::{Value as Json, json};

use crate::format;

/// A line of JSON with topic and time.
pub(super) fn json_line(sample: &LinkSample, field: Option<&str>, value: &Value) -> Json {
    let mut line = json!({
        "topic": sample.topic.name,
        "type": sample.topic.type_name,
        "receive_time_ns": sample.receive_time_ns,
        "data": to_json(value),
    });
    if let (Some(field), Some(map)) = (field, line.as_object_mut()) {
        map.insert("field".to_owned(), json!(field));
    }
    line
}

/// NaN and infinities become null; bytes are numbers.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::String(v) => json!(v),
        Value::Bytes(v) => json!(v),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Struct(fields) => fields.iter().map(|(name, v)| (name.to_owned(), to_json(v))).collect(),
        // Other integers fit 64 bits.
        other => other.as_i128().and_then(|v| i64::try_from(v).ok()).map_or(Json::Null, |v| json!(v)),
    }
}

/// Indented text; a line of dashes ends a message.
pub(super) fn tree(value: &Value) -> String {
    let mut out = String::new();
    branch(value, 0, &mut out);
    out.push_str("---\n");
    out
}

fn branch(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Struct(fields) => fields.iter().for_each(|(name, child)| leaf(name, child, depth, out)),
        Value::Array(items) => items.iter().for_each(|child| leaf("-", child, depth, out)),
        other => {
            let other = format::printable(&other.to_string());
            out.push_str(&format!("{:indent$}{other}\n", "", indent = depth * 2));
        }
    }
}

fn leaf(name: &str, value: &Value, depth: usize, out: &mut String) {
    let colon = if name == "-" { "" } else { ":" };
    let indent = depth * 2;
    let nested = match value {
        Value::Struct(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(|item| matches!(item, Value::Struct(_))),
        _ => false,
    };
    if nested {
        out.push_str(&format!("{:indent$}{name}{colon}\n", ""));
        branch(value, depth + 1, out);
    } else {
        // A line break in a text would look like a field.
        let value = format::printable(&value.to_string());
        out.push_str(&format!("{:indent$}{name}{colon} {value}\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use roverline_schema::Struct;

    use super::*;

    #[test]
    fn nested_messages_are_indented() {
        let inner: Struct = [("x", Value::F64(1.5))].into_iter().collect();
        let outer: Struct = [
            ("p", Value::Struct(inner.clone())),
            ("list", Value::Array(vec![Value::Struct(inner)])),
            ("n", Value::Array(vec![Value::U8(1), Value::U8(2)])),
        ]
        .into_iter()
        .collect();
        let value = Value::Struct(outer);
        assert_eq!(tree(&value), "p:\n  x: 1.5\nlist:\n  -\n    x: 1.5\nn: [1, 2]\n---\n");
        assert_eq!(to_json(&value).to_string(), r#"{"list":[{"x":1.5}],"n":[1,2],"p":{"x":1.5}}"#);
        assert_eq!(to_json(&Value::F64(f64::NAN)), Json::Null);
    }

    #[test]
    fn a_text_of_a_stranger_stays_on_its_line() {
        let evil = "a\u{1b}[2J\n---\nstop: released\u{202e}";
        let value: Struct = [("data", Value::String(evil.into()))].into_iter().collect();
        let text = tree(&Value::Struct(value));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            !text.contains(|c| c != '\n' && roverline_protocol::printable::is_unprintable(c)),
            "{text:?}"
        );
    }
}
