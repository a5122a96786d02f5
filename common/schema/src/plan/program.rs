//! The program: the layout compiled into a list of steps that write JSON.
//!
//! Nested messages disappear: their braces and names become part of the text in front of the next
//! value. What remains are runs of fixed-size values, checked against the end of the payload once
//! per run, and the few values of variable size.

use std::ops::Range;

use crate::SchemaError;
use crate::layout::{Item, Layout, Node};
use crate::limits::{MAX_PLAN_FIELDS, MAX_PLAN_TEXT_BYTES};
use crate::model::{Arity, Primitive};
use crate::parse::too_large;
use crate::plan::sink::{BLOCK_BYTES, MAX_NUMBER_BYTES};

/// Steps for one message, or for one element of an array of messages.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub ops: Vec<Op>,
    /// The values of all runs.
    pub leaves: Vec<Leaf>,
    /// All text pieces concatenated, followed by one block of padding.
    pub text: Vec<u8>,
    /// Text after the last value.
    pub tail: Span,
    /// Path of each value, for errors: by leaf, then by op.
    pub paths: Vec<Box<str>>,
}

/// A range of a program's text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One step.
#[derive(Debug)]
pub(super) struct Op {
    /// Text in front. Empty for runs, whose leaves have their own.
    pub text: Span,
    pub kind: OpKind,
    pub path: u32,
}

#[derive(Debug)]
pub(super) enum OpKind {
    /// Values at fixed offsets from an aligned start. `json_bytes` is their largest JSON size.
    Run {
        align: u8,
        bytes: u32,
        leaves: Range<u32>,
        json_bytes: u32,
    },
    String,
    WString,
    /// Octets, as base64.
    Base64(Count),
    Primitives(Primitive, Count),
    Strings(Count),
    WStrings(Count),
    Messages(Box<Program>, Count, u64),
}

/// Number of elements of an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Fixed(u32),
    /// It is read from the payload.
    Read,
}

/// A value in a run.
#[derive(Debug)]
pub(super) struct Leaf {
    pub text: Span,
    /// From the start of the run.
    pub offset: u32,
    pub path: u32,
    /// `None` is the hidden byte of a message without fields: it has text but no value.
    pub primitive: Option<Primitive>,
}

impl Leaf {
    pub(super) fn bytes(&self) -> u32 {
        self.primitive.map_or(1, |p| p.bytes() as u32)
    }
}

/// Compiles a type.
pub(super) fn compile(layout: &Layout) -> Result<Program, SchemaError> {
    let mut budget = Budget { root: layout, fields: MAX_PLAN_FIELDS, text: MAX_PLAN_TEXT_BYTES };
    compile_layout(layout, &mut budget)
}

fn compile_layout(layout: &Layout, budget: &mut Budget<'_>) -> Result<Program, SchemaError> {
    let mut builder = Builder { out: Program::default(), pending: Vec::new(), path: String::new(), budget };
    builder.layout(layout)?;
    builder.out.tail = builder.flush()?;
    // The last piece can be copied as a whole block too.
    builder.out.text.extend_from_slice(&[0; BLOCK_BYTES]);
    Ok(builder.out)
}

/// Remaining budget. A type that doubles at each level is small only as a definition.
struct Budget<'a> {
    root: &'a Layout,
    fields: usize,
    text: usize,
}

impl Budget<'_> {
    fn spend_field(&mut self) -> Result<(), SchemaError> {
        self.fields = self.fields.checked_sub(1).ok_or_else(|| {
            too_large(&self.root.name, "fields in all nested messages", MAX_PLAN_FIELDS as u64)
        })?;
        Ok(())
    }

    fn spend_text(&mut self, bytes: usize) -> Result<(), SchemaError> {
        self.text = self.text.checked_sub(bytes).ok_or_else(|| {
            too_large(&self.root.name, "bytes of names in all nested messages", MAX_PLAN_TEXT_BYTES as u64)
        })?;
        Ok(())
    }
}

struct Builder<'b, 'a> {
    out: Program,
    /// Text that precedes the next value.
    pending: Vec<u8>,
    path: String,
    budget: &'b mut Budget<'a>,
}

impl Builder<'_, '_> {
    fn layout(&mut self, layout: &Layout) -> Result<(), SchemaError> {
        self.pending.push(b'{');
        let outer = self.path.len();
        for (i, (name, node)) in layout.named().enumerate() {
            if i > 0 {
                self.pending.push(b',');
            }
            // Names are identifiers: nothing to escape.
            self.pending.extend_from_slice(format!("\"{name}\":").as_bytes());
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            self.node(node)?;
            self.path.truncate(outer);
        }
        self.pending.push(b'}');
        if layout.fields.is_empty() {
            self.leaf(None)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), SchemaError> {
        let count = match node.arity {
            Arity::One => return self.item(&node.item),
            Arity::Array(n) => Count::Fixed(n),
            Arity::Sequence(_) => Count::Read,
        };
        let kind = match &node.item {
            Item::Primitive(Primitive::U8) => OpKind::Base64(count),
            Item::Primitive(p) => OpKind::Primitives(*p, count),
            Item::String(_) => OpKind::Strings(count),
            Item::WString(_) => OpKind::WStrings(count),
            Item::Message(layout) => {
                self.budget.spend_field()?;
                let body = compile_layout(layout, self.budget)?;
                OpKind::Messages(Box::new(body), count, layout.min_bytes)
            }
        };
        self.op(kind)
    }

    fn item(&mut self, item: &Item) -> Result<(), SchemaError> {
        match item {
            Item::Primitive(p) => self.leaf(Some(*p)),
            Item::String(_) => self.op(OpKind::String),
            Item::WString(_) => self.op(OpKind::WString),
            Item::Message(layout) => {
                self.budget.spend_field()?;
                self.layout(layout)
            }
        }
    }

    fn op(&mut self, kind: OpKind) -> Result<(), SchemaError> {
        self.budget.spend_field()?;
        let text = self.flush()?;
        let path = self.keep_path()?;
        self.out.ops.push(Op { text, kind, path });
        Ok(())
    }

    /// Adds a value to the current run, or starts one.
    fn leaf(&mut self, primitive: Option<Primitive>) -> Result<(), SchemaError> {
        self.budget.spend_field()?;
        let text = self.flush()?;
        let path = self.keep_path()?;
        let size = primitive.map_or(1, |p| p.bytes() as u32);
        let next = self.out.leaves.len() as u32;
        // Offsets are the same wherever the run begins, provided nothing in it needs a stricter
        // alignment than its start has.
        let json = (text.len() + MAX_NUMBER_BYTES) as u32;
        let offset = match self.out.ops.last_mut() {
            Some(Op { kind: OpKind::Run { align, bytes, leaves, json_bytes }, .. })
                if size <= u32::from(*align) =>
            {
                let offset = bytes.next_multiple_of(size);
                (*bytes, leaves.end, *json_bytes) = (offset + size, next + 1, *json_bytes + json);
                offset
            }
            _ => {
                let kind =
                    OpKind::Run { align: size as u8, bytes: size, leaves: next..next + 1, json_bytes: json };
                self.out.ops.push(Op { text: Span::default(), kind, path });
                0
            }
        };
        self.out.leaves.push(Leaf { text, offset, path, primitive });
        Ok(())
    }

    fn flush(&mut self) -> Result<Span, SchemaError> {
        self.budget.spend_text(self.pending.len())?;
        let start = self.out.text.len() as u32;
        self.out.text.append(&mut self.pending);
        Ok(Span { start, end: self.out.text.len() as u32 })
    }

    fn keep_path(&mut self) -> Result<u32, SchemaError> {
        self.budget.spend_text(self.path.len())?;
        self.out.paths.push(self.path.as_str().into());
        Ok(self.out.paths.len() as u32 - 1)
    }
}
