//! The fields of a log line, bounded in bytes as they are collected: a value of a megabyte is not even formatted.

use std::fmt::{Debug, Write};

use roverline_protocol::printable::is_unprintable;
use serde_json::{Map, Number, Value};
use tracing::field::{Field, Visit};

/// Bytes of a log line, as JSON.
pub(super) const LOG_LINE_BYTES: usize = 16 << 10;
/// Bytes of the message, as JSON.
const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes of another value, as JSON.
const VALUE_BYTES: usize = 2 << 10;
/// Bytes of all fields, so that the members beside them have room.
const ALL_FIELDS_BYTES: usize = LOG_LINE_BYTES - MESSAGE_BYTES - 3 * VALUE_BYTES;
/// Bytes that a name and the punctuation of a field take beside its value, and those of a number.
const FIELD_BYTES: usize = 32;
/// The end of a text of which a part was left out.
const CUT: char = '…';

/// A text bounded by its length in JSON. What does not fit ends the formatting.
pub(super) struct BoundedText {
    pub(super) text: String,
    left: usize,
    pub(super) is_cut: bool,
}

impl BoundedText {
    pub(super) fn new(bytes: usize) -> BoundedText {
        BoundedText { text: String::new(), left: bytes.saturating_sub(CUT.len_utf8()), is_cut: false }
    }
}

impl Write for BoundedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            let bytes = match c {
                '"' | '\\' => 2,
                c if is_unprintable(c) => 6,
                c => c.len_utf8(),
            };
            if self.is_cut || bytes > self.left {
                if !self.is_cut {
                    self.text.push(CUT);
                }
                self.is_cut = true;
                return Err(std::fmt::Error);
            }
            self.left -= bytes;
            self.text.push(c);
        }
        Ok(())
    }
}

/// The fields of a line, those of its event before those of its spans.
pub(super) struct LineFields {
    pub(super) message: Option<String>,
    pub(super) fields: Map<String, Value>,
    left: usize,
    pub(super) is_cut: bool,
}

impl LineFields {
    pub(super) fn new() -> LineFields {
        LineFields { message: None, fields: Map::new(), left: ALL_FIELDS_BYTES, is_cut: false }
    }

    /// Adds the fields of a span that an inner span or the event does not have.
    pub(super) fn add_span(&mut self, fields: Map<String, Value>) {
        for (name, value) in fields {
            // Names and kinds of spans are for traces.
            if self.fields.contains_key(&name) || name.starts_with("otel.") {
                continue;
            }
            match value {
                Value::String(text) => self.add_text(&name, |to| to.write_str(&text)),
                Value::Number(_) | Value::Bool(_) | Value::Null => self.add(&name, value, FIELD_BYTES),
                // The recorder of spans makes neither lists nor objects.
                Value::Array(_) | Value::Object(_) => {}
            }
        }
    }

    /// Takes a field out as a text.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.fields.remove(name).map(|value| text_of(&value))
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.fields.get(name).map(text_of)
    }

    fn add(&mut self, name: &str, value: Value, bytes: usize) {
        let bytes = bytes + name.len() + FIELD_BYTES;
        if bytes > self.left {
            self.is_cut = true;
            return;
        }
        self.left -= bytes;
        self.fields.insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value);
    }

    fn add_text(&mut self, name: &str, write: impl FnOnce(&mut BoundedText) -> std::fmt::Result) {
        let bytes = if name == "message" { MESSAGE_BYTES } else { VALUE_BYTES.min(self.left) };
        let mut text = BoundedText::new(bytes);
        // An error means that the rest does not fit.
        let _ = write(&mut text);
        self.is_cut |= text.is_cut;
        let used = bytes - text.left;
        match name {
            "message" => self.message = Some(text.text),
            name => self.add(name, text.text.into(), used),
        }
    }

    fn add_number(&mut self, field: &Field, number: impl Into<Number>) {
        self.add(field.name(), Value::Number(number.into()), FIELD_BYTES);
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Visit for LineFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_text(field.name(), |to| write!(to, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field.name(), |to| to.write_str(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into(), FIELD_BYTES);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN.
        match Number::from_f64(value) {
            Some(number) => self.add_number(field, number),
            None => self.add_text(field.name(), |to| write!(to, "{value}")),
        }
    }
}
