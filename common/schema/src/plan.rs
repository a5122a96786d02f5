//! The compiled form of a definition, which makes processing each message fast.

mod decode;
mod encode;
mod field;
mod input;
mod json;
mod json_string;
mod program;
mod sink;

use std::sync::Arc;

use crate::cdr::Reader;
use crate::error::DecodeErrorKind;
use crate::layout::Layout;
use crate::limits::MAX_TRAILING_PAD_BYTES;
use crate::plan::input::JsonInput;
use crate::plan::program::Program;
use crate::{DecodeError, EncodeError, SchemaError, Value};

/// Reads and writes the messages of one type.
#[derive(Debug)]
pub struct Plan {
    layout: Arc<Layout>,
    program: Program,
}

impl Plan {
    pub(crate) fn new(layout: Arc<Layout>) -> Result<Self, SchemaError> {
        let program = program::compile(&layout)?;
        Ok(Self { layout, program })
    }

    /// The type, in its long form.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.layout.name.as_str()
    }

    /// The names of the type's own fields, in order.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.layout.names.iter().map(|n| &**n)
    }

    /// Decodes a message into values.
    ///
    /// # Errors
    /// When the payload does not match the type.
    pub fn decode(&self, cdr: &[u8]) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(self.with_placeholder(cdr))?;
        let value = decode::message(&self.layout, &mut reader)?;
        check_end(&reader)?;
        Ok(value)
    }

    /// Appends the message as JSON in rosbridge's form: NaN and the infinities are null, `uint8`
    /// arrays are base64, fields keep their order.
    ///
    /// # Errors
    /// When the payload does not match the type; `out` is unchanged then.
    pub fn write_json(&self, cdr: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let before = out.len();
        let written = json::write(&self.program, self.with_placeholder(cdr), out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    /// One value by its path, such as `pose.pose.position.x` or `ranges[2]`; `None` when the type
    /// has no such field or the array no such element. The bytes before it are skipped, those after
    /// it are not checked.
    ///
    /// ```
    /// let plan = roverline_schema::Registry::bundled().plan("sensor_msgs/msg/LaserScan")?;
    /// let cdr = plan.encode_json(&serde_json::json!({"ranges": [0.5, 2.0]}))?;
    /// assert_eq!(plan.field(&cdr, "ranges[1]")?.and_then(|v| v.as_f64()), Some(2.0));
    /// assert_eq!(plan.field(&cdr, "ranges[9]")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the payload does not match the type.
    pub fn field(&self, cdr: &[u8], path: &str) -> Result<Option<Value>, DecodeError> {
        field::read(&self.layout, self.with_placeholder(cdr), path)
    }

    /// The payload. A type without fields has a byte in their place, which some senders leave out.
    fn with_placeholder<'a>(&self, cdr: &'a [u8]) -> &'a [u8] {
        match cdr {
            [_, _, _, _] if self.layout.fields.is_empty() => &[0, 1, 0, 0, 0],
            whole => whole,
        }
    }

    /// Whether messages of the type can have a value at this path.
    #[must_use]
    pub fn has_field(&self, path: &str) -> bool {
        field::exists(&self.layout, path)
    }

    /// Encodes a message from values: little-endian CDR with its header. Missing fields get their
    /// default or zero.
    ///
    /// # Errors
    /// When a value does not match its field or there is no such field.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, EncodeError> {
        encode::message(&self.layout, value)
    }

    /// Encodes a message from JSON, by the same rules. Octet arrays may be base64 or arrays of
    /// numbers; null is NaN in a float field, and so are the strings `NaN`, `Infinity` and `-Infinity` these
    /// values. Times and durations may have the names of ROS 1 (`secs`, `nsecs`) or Foxglove's (`nsec`).
    ///
    /// # Errors
    /// When a value does not match its field or there is no such field.
    pub fn encode_json(&self, json: &serde_json::Value) -> Result<Vec<u8>, EncodeError> {
        encode::message(&self.layout, JsonInput { json, now: None })
    }

    /// The same, at a time in nanoseconds since the Unix epoch: the string `now` in a time field is replaced
    /// by it, as in rosbridge.
    ///
    /// ```
    /// let plan = roverline_schema::Registry::bundled().plan("std_msgs/msg/Header")?;
    /// let cdr = plan.encode_json_at(&serde_json::json!({"stamp": "now"}), 5_000_000_007)?;
    /// assert_eq!(plan.field(&cdr, "stamp.sec")?.and_then(|v| v.as_f64()), Some(5.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a value does not match its field or there is no such field.
    pub fn encode_json_at(&self, json: &serde_json::Value, now_ns: i64) -> Result<Vec<u8>, EncodeError> {
        const SECOND_NS: i64 = 1_000_000_000;
        let (sec, nanosec) = (now_ns.div_euclid(SECOND_NS), now_ns.rem_euclid(SECOND_NS));
        let now = serde_json::json!({"sec": sec, "nanosec": nanosec});
        encode::message(&self.layout, JsonInput { json, now: Some(&now) })
    }
}

/// Some senders pad payloads to a multiple of four. More bytes than that are data unknown to this
/// definition, which makes the rest doubtful too.
fn check_end(reader: &Reader<'_>) -> Result<(), DecodeError> {
    match reader.remaining() {
        0..=MAX_TRAILING_PAD_BYTES => Ok(()),
        left => Err(DecodeErrorKind::Trailing(left).into()),
    }
}
