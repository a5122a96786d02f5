//! The newest message of the selected topic as a tree of fields.

use std::collections::BTreeSet;
use std::time::Duration;

use roverline_schema::Value;

use crate::format;

/// Most rows of one message.
const MAX_ROWS: usize = 2_000;
/// Most elements shown of an expanded array.
const MAX_ELEMENTS: usize = 100;
/// Columns of a value on one line.
const MAX_INLINE: usize = 160;
/// Expanded or collapsed by the operator.
const MAX_TOGGLED: usize = 512;

/// A row of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRow {
    /// Path in the message: `pose.position.x`, `status[2].name`.
    pub path: String,
    /// Depth of indentation.
    pub depth: u16,
    /// Name of the field or index of the element.
    pub label: String,
    /// The value, or a summary.
    pub text: String,
    /// `Some(true)` is expanded, `Some(false)` can be expanded.
    pub open: Option<bool>,
    /// Whether it is a number or a bool, which can be plotted.
    pub is_number: bool,
}

/// The tree and its cursor.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Rows; empty without a message or if it cannot be decoded.
    pub rows: Vec<FieldRow>,
    /// Index of the cursor's row.
    pub cursor: usize,
    /// Message shown instead of the rows.
    pub message: Option<String>,
    /// A newer message waits to be decoded.
    pub pending: bool,
    /// When the last one was decoded.
    pub decoded: Option<Duration>,
    toggled: BTreeSet<String>,
}

impl Fields {
    /// Resets for another topic.
    pub fn clear(&mut self) {
        *self = Fields { pending: true, ..Fields::default() };
    }

    /// The same tree before its message is known: cursor, and what is open.
    #[must_use]
    pub fn anew(&self) -> Fields {
        let (cursor, toggled) = (self.cursor, self.toggled.clone());
        Fields { cursor, toggled, pending: true, ..Fields::default() }
    }

    /// Shows a message.
    pub fn show(&mut self, value: &Value) {
        self.message = None;
        self.rows.clear();
        let mut rows = std::mem::take(&mut self.rows);
        self.children(value, "", 0, &mut rows);
        self.rows = rows;
        self.cursor = self.cursor.min(self.rows.len().saturating_sub(1));
    }

    /// Shows a text instead of a message.
    pub fn show_message(&mut self, message: String) {
        self.rows.clear();
        self.message = Some(message);
    }

    /// Moves the cursor within the tree.
    pub fn select(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// Expands or collapses the cursor's row; returns whether anything changed.
    pub fn toggle(&mut self, open: Option<bool>) -> bool {
        let Some(row) = self.rows.get(self.cursor) else { return false };
        let Some(is_open) = row.open else { return false };
        if open == Some(is_open) {
            return false;
        }
        if !self.toggled.remove(&row.path) && self.toggled.len() < MAX_TOGGLED {
            self.toggled.insert(row.path.clone());
        }
        self.pending = true;
        self.decoded = None;
        true
    }

    fn children(&self, value: &Value, path: &str, depth: u16, rows: &mut Vec<FieldRow>) {
        match value {
            Value::Struct(fields) => {
                for (name, child) in fields.iter() {
                    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    self.row(child, path, name.to_owned(), depth, rows);
                }
            }
            Value::Array(items) => {
                for (i, child) in items.iter().enumerate().take(MAX_ELEMENTS) {
                    self.row(child, format!("{path}[{i}]"), format!("[{i}]"), depth, rows);
                }
                if items.len() > MAX_ELEMENTS {
                    let text = format!("{} more", items.len() - MAX_ELEMENTS);
                    push(
                        rows,
                        FieldRow {
                            path: format!("{path}[…]"),
                            depth,
                            label: "…".into(),
                            text,
                            open: None,
                            is_number: false,
                        },
                    );
                }
            }
            other => push(
                rows,
                FieldRow {
                    path: String::new(),
                    depth,
                    label: String::new(),
                    text: scalar(other),
                    open: None,
                    is_number: other.as_f64().is_some(),
                },
            ),
        }
    }

    fn row(&self, value: &Value, path: String, label: String, depth: u16, rows: &mut Vec<FieldRow>) {
        if rows.len() >= MAX_ROWS {
            return;
        }
        // Messages are expanded unless they fit on one line; arrays are collapsed.
        let (open, text) = match value {
            Value::Struct(fields) => {
                let flat = fields.len() <= 4 && fields.iter().all(|(_, v)| is_scalar(v));
                let open = !flat ^ self.toggled.contains(&path);
                (Some(open), if open { String::new() } else { inline(value) })
            }
            Value::Array(items) if items.is_empty() => (None, "[]".to_owned()),
            Value::Array(items) => {
                let open = self.toggled.contains(&path);
                let count = format!("({})", items.len());
                (Some(open), if open { count } else { format!("{count} {}", inline(value)) })
            }
            other => (None, scalar(other)),
        };
        let at = rows.len();
        let is_number = value.as_f64().is_some();
        push(rows, FieldRow { path: String::new(), depth, label, text, open, is_number });
        if open == Some(true) {
            self.children(value, &path, depth + 1, rows);
        }
        rows[at].path = path;
    }
}

fn push(rows: &mut Vec<FieldRow>, row: FieldRow) {
    if rows.len() < MAX_ROWS {
        rows.push(row);
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Struct(_) | Value::Array(_) | Value::Bytes(_))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::F64(v) => float(*v),
        Value::F32(v) => float(f64::from(*v)),
        Value::Bytes(bytes) => format!("<{} bytes>", bytes.len()),
        Value::String(text) => format!("\"{}\"", format::printable(&format::fit(text, MAX_INLINE))),
        other => other.to_string(),
    }
}

/// Six digits: more is noise while values change.
fn float(v: f64) -> String {
    match v.abs() {
        0.0 => "0.0".to_owned(),
        a if !(1e-4..1e9).contains(&a) && v.is_finite() => format!("{v:.5e}"),
        _ if v.is_finite() => format!("{v:.6}"),
        _ => v.to_string(),
    }
}

/// A value on one line, cut to the space: work is bounded by what is shown.
fn inline(value: &Value) -> String {
    let mut out = String::new();
    write_inline(value, &mut out);
    format::fit(&out, MAX_INLINE)
}

fn write_inline(value: &Value, out: &mut String) {
    if out.len() > 4 * MAX_INLINE {
        return;
    }
    match value {
        Value::Struct(fields) => {
            out.push('{');
            for (i, (name, child)) in fields.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                out.push_str(name);
                out.push_str(": ");
                write_inline(child, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, child) in items.iter().enumerate().take(MAX_INLINE) {
                out.push_str(if i == 0 { "" } else { ", " });
                write_inline(child, out);
            }
            out.push(']');
        }
        other => out.push_str(&scalar(other)),
    }
}

#[cfg(test)]
mod tests {
    use roverline_schema::Struct;

    use super::*;

    fn message() -> Value {
        let point: Struct = [("x", Value::F64(1.0)), ("y", Value::F64(-2.5e-7))].into_iter().collect();
        let outer: Struct = [
            ("point", Value::Struct(point)),
            ("ranges", Value::Array(vec![Value::F32(1.5); 500])),
            ("raw", Value::Bytes(vec![0; 4_096])),
            ("name", Value::String("a\u{1b}[2J".into())),
        ]
        .into_iter()
        .collect();
        Value::Struct(outer)
    }

    #[test]
    fn arrays_are_closed_bytes_counted_and_control_characters_shown() {
        let mut fields = Fields::default();
        fields.show(&message());
        let texts: Vec<_> = fields.rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(fields.rows.len(), 4);
        assert_eq!(texts[0], "{x: 1.000000, y: -2.50000e-7}");
        assert!(texts[1].starts_with("(500) [1.500000, "), "{}", texts[1]);
        assert_eq!(texts[2], "<4096 bytes>");
        assert_eq!(texts[3], "\"a·[2J\"");
    }

    #[test]
    fn an_open_array_is_bounded() {
        let mut fields = Fields::default();
        fields.show(&message());
        fields.select(1);
        assert!(fields.toggle(Some(true)));
        fields.show(&message());
        assert_eq!(fields.rows.len(), 4 + MAX_ELEMENTS + 1);
        assert_eq!(fields.rows[2 + MAX_ELEMENTS].text, "400 more");
        assert!(!fields.toggle(Some(true)), "it is open already");
    }
}
