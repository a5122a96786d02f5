//! Common interface of the encoder's inputs: values and JSON.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::Value;
use crate::plan::json_string::decode_base64;

/// A value of either kind. Each accessor returns `None` when the value has another type.
pub(super) trait Input<'a>: Copy + 'a {
    /// A bool.
    fn boolean(self) -> Option<bool>;
    /// An integer, or a float with an integer value.
    fn integer(self) -> Option<i128>;
    /// Any number, or the representation of NaN.
    fn float(self) -> Option<f64>;
    /// A string.
    fn text(self) -> Option<&'a str>;
    /// Octets, if they are not given as an array.
    fn octets(self) -> Option<Cow<'a, [u8]>>;
    /// Number of elements of an array.
    fn len(self) -> Option<usize>;
    /// An element of an array.
    fn item(self, index: usize) -> Option<Self>;
    /// Whether it is a message.
    fn is_message(self) -> bool;
    /// A field of a message.
    fn field(self, name: &str) -> Option<Self>;
    /// A field of a message that is not in `known`.
    fn unknown_field(self, known: &dyn Fn(&str) -> bool) -> Option<&'a str>;
    /// The current time as a message, if the value requests it and it is known.
    fn now(self) -> Option<Self>;
    /// The kind of value, for error messages.
    fn kind(self) -> &'static str;
}

/// Requests the current time in place of a `builtin_interfaces/msg/Time`, as in rosbridge.
const NOW: &str = "now";

/// Floats from here on may not be exactly the integer that was meant.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

fn whole(v: f64) -> Option<i128> {
    (v.fract() == 0.0 && v.abs() <= MAX_EXACT).then_some(v as i128)
}

impl<'a> Input<'a> for &'a Value {
    fn boolean(self) -> Option<bool> {
        self.as_bool()
    }

    fn integer(self) -> Option<i128> {
        match self {
            Value::F32(v) => whole((*v).into()),
            Value::F64(v) => whole(*v),
            other => other.as_i128(),
        }
    }

    fn float(self) -> Option<f64> {
        if let Value::Bool(_) = self { None } else { self.as_f64() }
    }

    fn text(self) -> Option<&'a str> {
        self.as_str()
    }

    fn octets(self) -> Option<Cow<'a, [u8]>> {
        if let Value::Bytes(b) = self { Some(Cow::Borrowed(b)) } else { None }
    }

    fn len(self) -> Option<usize> {
        match self {
            Value::Array(items) => Some(items.len()),
            Value::Bytes(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    fn item(self, index: usize) -> Option<Self> {
        self.element(index)
    }

    fn is_message(self) -> bool {
        self.as_struct().is_some()
    }

    fn field(self, name: &str) -> Option<Self> {
        self.as_struct()?.get(name)
    }

    fn unknown_field(self, known: &dyn Fn(&str) -> bool) -> Option<&'a str> {
        self.as_struct()?.iter().map(|(n, _)| n).find(|n| !known(n))
    }

    fn now(self) -> Option<Self> {
        None
    }

    fn kind(self) -> &'static str {
        self.kind()
    }
}

/// JSON, and the current time, if `"now"` may request it.
#[derive(Clone, Copy)]
pub(super) struct JsonInput<'a> {
    pub(super) json: &'a Json,
    pub(super) now: Option<&'a Json>,
}

impl<'a> Input<'a> for JsonInput<'a> {
    fn boolean(self) -> Option<bool> {
        self.json.as_bool()
    }

    fn integer(self) -> Option<i128> {
        let Json::Number(n) = self.json else { return None };
        n.as_i64()
            .map(i128::from)
            .or_else(|| n.as_u64().map(i128::from))
            .or_else(|| n.as_f64().and_then(whole))
    }

    fn float(self) -> Option<f64> {
        match self.json {
            Json::Null => Some(f64::NAN),
            // As in the JSON of protocol buffers.
            Json::String(name) => match name.as_str() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            number => number.as_f64(),
        }
    }

    fn text(self) -> Option<&'a str> {
        self.json.as_str()
    }

    fn octets(self) -> Option<Cow<'a, [u8]>> {
        decode_base64(self.json.as_str()?).map(Cow::Owned)
    }

    fn len(self) -> Option<usize> {
        self.json.as_array().map(Vec::len)
    }

    fn item(self, index: usize) -> Option<Self> {
        Some(JsonInput { json: self.json.as_array()?.get(index)?, ..self })
    }

    fn is_message(self) -> bool {
        self.json.is_object()
    }

    fn field(self, name: &str) -> Option<Self> {
        Some(JsonInput { json: self.json.as_object()?.get(name)?, ..self })
    }

    fn unknown_field(self, known: &dyn Fn(&str) -> bool) -> Option<&'a str> {
        self.json.as_object()?.keys().map(String::as_str).find(|n| !known(n))
    }

    fn now(self) -> Option<Self> {
        let now = self.now.filter(|_| self.json == NOW)?;
        Some(JsonInput { json: now, ..self })
    }

    fn kind(self) -> &'static str {
        match self.json {
            Json::Null => "null",
            Json::Bool(_) => "a bool",
            Json::Number(n) if n.is_f64() => "a float",
            Json::Number(_) => "an integer",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}
