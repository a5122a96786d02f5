//! Messages as trees of values.

mod display;
mod json;
mod path;

use std::sync::{Arc, LazyLock};

pub(crate) use crate::value::path::{Step, steps};

/// A decoded message or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `uint8`, `byte`, `char`
    U8(u8),
    /// `uint16`
    U16(u16),
    /// `uint32`
    U32(u32),
    /// `uint64`
    U64(u64),
    /// `int8`
    I8(i8),
    /// `int16`
    I16(i16),
    /// `int32`
    I32(i32),
    /// `int64`
    I64(i64),
    /// `float32`
    F32(f32),
    /// `float64`
    F64(f64),
    /// `string` and `wstring`
    String(String),
    /// Arrays and sequences of `uint8`, `byte` and `char`
    Bytes(Vec<u8>),
    /// All other arrays and sequences
    Array(Vec<Value>),
    /// A nested message
    Struct(Struct),
}

/// Field names of a message, shared by all messages of the type.
pub(crate) type Names = Arc<[Arc<str>]>;

/// A message: named values in declaration order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Struct {
    names: Names,
    values: Vec<Value>,
}

impl Struct {
    /// Pairs names with as many values.
    pub(crate) fn from_shared(names: Names, values: Vec<Value>) -> Self {
        Self { names, values }
    }

    /// The field with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.names.iter().map(|n| &**n).zip(&self.values)
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Struct {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(fields: I) -> Self {
        let (names, values): (Vec<Arc<str>>, Vec<Value>) =
            fields.into_iter().map(|(n, v)| (n.into(), v)).unzip();
        Self { names: names.into(), values }
    }
}

/// Every byte as a value, so that [`Value::get`] can return a reference to an element of
/// [`Value::Bytes`].
static OCTETS: LazyLock<[Value; 256]> =
    LazyLock::new(|| std::array::from_fn(|i| Value::U8(i.to_le_bytes()[0])));

impl Value {
    /// The value at a path such as `pose.position.x` or `status[2].values[0].key`; the empty path
    /// is the value itself.
    ///
    /// ```
    /// let plan = roverline_schema::Registry::bundled().plan("geometry_msgs/msg/Pose")?;
    /// let cdr = plan.encode_json(&serde_json::json!({"position": {"x": 3.0}}))?;
    /// assert_eq!(plan.decode(&cdr)?.get("position.x").and_then(|v| v.as_f64()), Some(3.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut at = self;
        for step in steps(path) {
            at = match (step?, at) {
                (Step::Name(name), Value::Struct(s)) => s.get(name)?,
                (Step::Index(i), array) => array.element(i)?,
                _ => return None,
            };
        }
        Some(at)
    }

    /// An element of an array or of bytes.
    pub(crate) fn element(&self, index: usize) -> Option<&Value> {
        match self {
            Self::Array(items) => items.get(index),
            Self::Bytes(bytes) => Some(&OCTETS[usize::from(*bytes.get(index)?)]),
            _ => None,
        }
    }

    /// Any number as a float, bools as 0 and 1. 64-bit integers may be rounded.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        Some(match self {
            Self::Bool(v) => f64::from(u8::from(*v)),
            Self::F32(v) => f64::from(*v),
            Self::F64(v) => *v,
            other => other.as_i128()? as f64,
        })
    }

    /// Any integer.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        Some(match self {
            Self::U8(v) => (*v).into(),
            Self::U16(v) => (*v).into(),
            Self::U32(v) => (*v).into(),
            Self::U64(v) => (*v).into(),
            Self::I8(v) => (*v).into(),
            Self::I16(v) => (*v).into(),
            Self::I32(v) => (*v).into(),
            Self::I64(v) => (*v).into(),
            _ => return None,
        })
    }

    /// A string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self { Some(s) } else { None }
    }

    /// A bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// The elements of an array other than bytes.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// A nested message.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        if let Self::Struct(s) = self { Some(s) } else { None }
    }

    /// The kind of value in one word, for error messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a bool",
            Self::F32(_) | Self::F64(_) => "a float",
            Self::String(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::Array(_) => "an array",
            Self::Struct(_) => "a message",
            _ => "an integer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let inner: Struct = [("x", Value::F64(1.5)), ("ok", Value::Bool(true))].into_iter().collect();
        let outer: Struct = [
            ("items", Value::Array(vec![Value::Struct(inner.clone()), Value::Struct(inner)])),
            ("raw", Value::Bytes(vec![7, 9])),
            ("name", Value::String("a\"b".into())),
        ]
        .into_iter()
        .collect();
        Value::Struct(outer)
    }

    #[test]
    fn paths_reach_nested_values() {
        let v = sample();
        assert_eq!(v.get("items[1].x").and_then(Value::as_f64), Some(1.5));
        assert_eq!(v.get("raw[1]"), Some(&Value::U8(9)));
        assert_eq!(v.get("name").and_then(Value::as_str), Some("a\"b"));
        assert_eq!(v.get(""), Some(&v));
        for missing in [
            "items[2].x",
            "items.x",
            "nope",
            "raw[2]",
            "items[",
            "items[1",
            "items[1]x",
            ".",
            "a..b",
            "items[-1]",
            "name[0]",
        ] {
            assert_eq!(v.get(missing), None, "{missing}");
        }
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value>() <= 40, "{}", size_of::<Value>());
    }
}
