//! Bodies of commands as people write them: JSON, or YAML as for `ros2 topic pub`.

use std::io::{self, Read as _};

use serde_json::{Map, Number, Value};
use yaml_rust2::{ScanError, Yaml, YamlLoader};

/// Bytes of a body.
const BODY_BYTES: u64 = 64 << 10;
/// Levels of a body.
const DEPTH: usize = 32;

/// Why a text is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The standard input cannot be read.
    #[error("the standard input: {0}")]
    Input(#[from] io::Error),
    /// It is neither JSON nor YAML.
    #[error("the body is neither JSON ({json}) nor YAML ({yaml})")]
    Neither {
        /// Why it is not JSON.
        json: serde_json::Error,
        /// Why it is not YAML.
        yaml: YamlError,
    },
}

/// Why a text is no YAML that can be a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum YamlError {
    /// Its syntax.
    #[error(transparent)]
    Syntax(#[from] ScanError),
    /// It has more than one document.
    #[error("it has more than one document")]
    Documents,
    /// It has too many levels.
    #[error("it has more than {DEPTH} levels")]
    Depth,
    /// A number that JSON does not have.
    #[error("'{0}' is no finite number")]
    Number(String),
    /// A field's name is not a text.
    #[error("a field has a name that is no text")]
    Name,
    /// It has an alias.
    #[error("aliases are not supported")]
    Alias,
}

/// Parses a body; `-` reads it from the standard input.
pub(super) fn parse(text: &str) -> Result<Value, BodyError> {
    let mut read = String::new();
    let text = match text {
        "-" => {
            io::stdin().lock().take(BODY_BYTES).read_to_string(&mut read)?;
            read.as_str()
        }
        text => text,
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(json) => from_yaml(text).map_err(|yaml| BodyError::Neither { json, yaml }),
    }
}

fn from_yaml(text: &str) -> Result<Value, YamlError> {
    let documents = YamlLoader::load_from_str(text)?;
    match documents.as_slice() {
        [document] => convert(document, DEPTH),
        [] => Ok(Value::Null),
        _ => Err(YamlError::Documents),
    }
}

fn convert(yaml: &Yaml, depth: usize) -> Result<Value, YamlError> {
    let depth = depth.checked_sub(1).ok_or(YamlError::Depth)?;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => Value::Bool(*value),
        Yaml::Integer(value) => Value::from(*value),
        Yaml::Real(text) => {
            let number = yaml.as_f64().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| YamlError::Number(text.clone()))?
        }
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Array(items) => {
            Value::Array(items.iter().map(|item| convert(item, depth)).collect::<Result<_, _>>()?)
        }
        Yaml::Hash(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let key = key.as_str().ok_or(YamlError::Name)?;
                object.insert(key.to_owned(), convert(value, depth)?);
            }
            Value::Object(object)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err(YamlError::Alias),
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
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["{a: .nan}", "{a: [}", "a: 1\n---\nb: 2", "? [1]\n: 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(DEPTH + 5)).is_err());
    }
}
