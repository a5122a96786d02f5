//! Helpers shared by the test files.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

pub(crate) mod generate;

use std::io::Read;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roverline_schema::{Struct, Value};
use roverline_test_support::recordings::recording;
use roverline_test_support::skip::skip;
use serde_json::Value as Json;

/// One message recorded from a real ROS 2.
pub(crate) struct Vector {
    pub(crate) type_name: String,
    pub(crate) case: String,
    pub(crate) cdr: Vec<u8>,
    pub(crate) value: Json,
    pub(crate) json: Option<Json>,
}

/// The directory of shared test data, or `None` with a message.
pub(crate) fn shared_data() -> Option<PathBuf> {
    recording(".").inspect_err(skip).ok()
}

/// All golden vectors.
pub(crate) fn vectors() -> Option<Vec<Vector>> {
    let path = shared_data()?.join("ros2_humble/cdr_vectors.jsonl.gz");
    let file = std::fs::File::open(&path).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text.lines().map(vector).collect())
}

fn vector(line: &str) -> Vector {
    let line: Json = serde_json::from_str(line).unwrap();
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    Vector {
        type_name: text("type"),
        case: text("case"),
        cdr: STANDARD.decode(text("cdr")).unwrap(),
        value: line["value"].clone(),
        json: line["rosbridge_json"].as_str().map(strict_json),
    }
}

/// Parses JSON written by rosbridge. In arrays of floats it uses Python's words for the numbers
/// that JSON lacks; for a scalar it writes null, which is what we write in both cases.
fn strict_json(text: &str) -> Json {
    let mut out = String::new();
    for (i, piece) in text.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        // No string of the vectors contains these words.
        out.push_str(&piece.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"));
    }
    serde_json::from_str(&out).unwrap()
}

/// Whether a decoded value equals the recorded one.
pub(crate) fn same(got: &Value, want: &Json) -> Result<(), String> {
    let no = || Err(format!("got {got}, wanted {want}"));
    match (got, want) {
        (Value::Struct(s), Json::Object(o)) if !o.contains_key("$float") && !o.contains_key("$bytes") => {
            let names: Vec<&str> = s.iter().map(|(n, _)| n).collect();
            if names.len() != o.len() {
                return Err(format!("fields {names:?}, wanted {o:?}"));
            }
            s.iter().try_for_each(|(name, v)| {
                let want = o.get(name).ok_or(format!("field {name} is too much"))?;
                same(v, want).map_err(|e| format!("{name}: {e}"))
            })
        }
        (Value::Array(items), Json::Array(wants)) if items.len() == wants.len() => {
            items.iter().zip(wants).try_for_each(|(g, w)| same(g, w))
        }
        (Value::Bytes(bytes), Json::Array(wants)) if bytes.len() == wants.len() => {
            bytes.iter().zip(wants).try_for_each(|(b, w)| same(&Value::U8(*b), w))
        }
        (Value::U8(b), Json::Object(o)) if o.contains_key("$bytes") => {
            if o["$bytes"] == Json::String(STANDARD.encode([*b])) { Ok(()) } else { no() }
        }
        (Value::F32(_) | Value::F64(_), want) => {
            let got = got.as_f64().unwrap();
            let want = float(want).ok_or(format!("got {got}, wanted {want}"))?;
            let equal = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
            if equal { Ok(()) } else { no() }
        }
        (Value::String(s), Json::String(w)) if s == w => Ok(()),
        (Value::Bool(b), Json::Bool(w)) if b == w => Ok(()),
        (v, Json::Number(n)) if v.as_i128().is_some() && v.as_i128() == integer(n) => Ok(()),
        _ => no(),
    }
}

fn integer(n: &serde_json::Number) -> Option<i128> {
    n.as_i64().map(i128::from).or(n.as_u64().map(i128::from))
}

fn float(json: &Json) -> Option<f64> {
    match json.get("$float").and_then(Json::as_str) {
        Some("nan") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => json.as_f64(),
    }
}

/// The JSON representation of a value, by the slow conversion.
pub(crate) fn slow_json(value: &Value) -> Json {
    match value {
        Value::Struct(s) => Json::Object(s.iter().map(|(n, v)| (n.to_owned(), slow_json(v))).collect()),
        Value::Array(items) => items.iter().map(slow_json).collect(),
        Value::Bytes(b) => Json::String(STANDARD.encode(b)),
        Value::String(s) => s.clone().into(),
        Value::Bool(b) => (*b).into(),
        Value::F32(v) => f64::from(*v).into(),
        Value::F64(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        other => i64::try_from(other.as_i128().unwrap()).unwrap().into(),
    }
}

/// A struct value from its fields.
pub(crate) fn message<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Struct(fields.into_iter().collect::<Struct>())
}
