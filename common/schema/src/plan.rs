//! What is made of a definition once, so that every message is quick.

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
use crate::plan::program::Program;
use crate::{DecodeError, EncodeError, SchemaError, Value};

/// How to read and write the messages of one type.
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

    /// The message as values.
    ///
    /// # Errors
    /// When the payload does not hold what the type says.
    pub fn decode(&self, cdr: &[u8]) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(cdr)?;
        let value = decode::message(&self.layout, &mut reader)?;
        check_end(&reader)?;
        Ok(value)
    }

    /// Appends the message as JSON, in the form that rosbridge gives it: not-a-number and the
    /// infinities are null, `uint8` arrays are base64, fields keep their order.
    ///
    /// # Errors
    /// When the payload does not hold what the type says; `out` is as before then.
    pub fn write_json(&self, cdr: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let before = out.len();
        let written = json::write(&self.program, cdr, out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    /// One value by its path, such as `pose.pose.position.x` or `ranges[2]`; `None` when the
    /// type has no such field or the array no such element. What lies before it is skipped,
    /// what follows is not looked at.
    ///
    /// # Errors
    /// When the payload does not hold what the type says.
    pub fn field(&self, cdr: &[u8], path: &str) -> Result<Option<Value>, DecodeError> {
        field::read(&self.layout, cdr, path)
    }

    /// Whether messages of the type can have a value at this path.
    #[must_use]
    pub fn has_field(&self, path: &str) -> bool {
        field::exists(&self.layout, path)
    }

    /// A message from values: little-endian CDR with its header. Fields that are left out get
    /// their default or zero.
    ///
    /// # Errors
    /// When a value does not fit its field or there is no such field.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, EncodeError> {
        encode::message(&self.layout, value)
    }

    /// A message from JSON, with the same rules. Octet arrays may be base64 or arrays of
    /// numbers; null is not-a-number where a float belongs.
    ///
    /// # Errors
    /// When a value does not fit its field or there is no such field.
    pub fn encode_json(&self, json: &serde_json::Value) -> Result<Vec<u8>, EncodeError> {
        encode::message(&self.layout, json)
    }
}

/// Payloads are padded to a multiple of four by some senders. More than that is data that this
/// definition does not know, and then the rest is in doubt too.
fn check_end(reader: &Reader<'_>) -> Result<(), DecodeError> {
    match reader.remaining() {
        0..=MAX_TRAILING_PAD_BYTES => Ok(()),
        left => Err(DecodeErrorKind::Trailing(left).into()),
    }
}
