//! Bodies of commands as people write them: JSON, or YAML as for `ros2 topic pub`.

use std::io::Read as _;

use serde_json::{Map, Number, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Bytes of a body.
const BODY_BYTES: u64 = 64 << 10;
/// Levels of a body.
const DEPTH: usize = 32;

/// Parses a body; `-` reads it from the standard input. The error is for the user.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut read = String::new();
    let text = match text {
        "-" => {
            let input = std::io::stdin().lock().take(BODY_BYTES).read_to_string(&mut read);
            input.map_err(|error| format!("the standard input: {error}"))?;
            read.as_str()
        }
        text => text,
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => {
            from_yaml(text).map_err(|why| format!("the body is neither JSON ({error}) nor YAML ({why})"))
        }
    }
}

fn from_yaml(text: &str) -> Result<Value, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [document] => convert(document, DEPTH),
        [] => Ok(Value::Null),
        _ => Err("it has more than one document".to_owned()),
    }
}

fn convert(yaml: &Yaml, depth: usize) -> Result<Value, String> {
    let depth = depth.checked_sub(1).ok_or_else(|| format!("it has more than {DEPTH} levels"))?;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => Value::Bool(*value),
        Yaml::Integer(value) => Value::from(*value),
        Yaml::Real(text) => {
            let number = yaml.as_f64().ok_or_else(|| format!("'{text}' is no number"))?;
            Number::from_f64(number)
                .map(Value::Number)
                .ok_or_else(|| format!("'{text}' is no finite number"))?
        }
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Array(items) => {
            Value::Array(items.iter().map(|item| convert(item, depth)).collect::<Result<_, _>>()?)
        }
        Yaml::Hash(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let key = key.as_str().ok_or("a field has a name that is no text")?;
                object.insert(key.to_owned(), convert(value, depth)?);
            }
            Value::Object(object)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err("aliases are not supported".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_json_or_yaml() {
        for (text, expected) in [
            ("{\"x\": 1.5}", json!({"x": 1.5})),
            (
                "{linear: {x: 1, y: 0.5}, name: a b, on: true}",
                json!({"linear": {"x": 1, "y": 0.5}, "name": "a b", "on": true}),
            ),
            ("0.8", json!(0.8)),
            ("[1, two]", json!([1, "two"])),
            ("text", json!("text")),
            ("'1'", json!("1")),
            ("", Value::Null),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for bad in ["{a: .nan}", "{a: [}", "a: 1\n---\nb: 2", "? [1]\n: 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(DEPTH + 5)).is_err());
    }
}
