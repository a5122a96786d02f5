//! Reads a single value from a message without decoding the others.

use crate::cdr::{ReadError, Reader};
use crate::layout::{Item, Layout, Node};
use crate::model::Arity;
use crate::plan::decode;
use crate::value::{Step, steps};
use crate::{DecodeError, Value};

/// Reads the value at a path.
pub(super) fn read(layout: &Layout, cdr: &[u8], path: &str) -> Result<Option<Value>, DecodeError> {
    if !exists(layout, path) {
        return Ok(None);
    }
    let mut reader = Reader::new(cdr)?;
    find(layout, &mut reader, path).map_err(|e| if e.path.is_empty() { e.within(path) } else { e })
}

/// Position of a walk along a path.
enum PathCursor<'a> {
    Layout(&'a Layout),
    Node(&'a Node),
    Item(&'a Item),
}

impl<'a> PathCursor<'a> {
    /// Resolves a single field to its element, and a nested message to its layout.
    fn settled(self) -> Self {
        match self {
            Self::Node(Node { arity: Arity::One, item, .. }) => Self::Item(item).settled(),
            Self::Item(Item::Message(layout)) => Self::Layout(layout),
            other => other,
        }
    }
}

/// Whether the type allows the path. Indices are checked against fixed sizes only.
pub(super) fn exists(layout: &Layout, path: &str) -> bool {
    let mut cursor = PathCursor::Layout(layout);
    for step in steps(path) {
        cursor = match (step, cursor.settled()) {
            (Some(Step::Name(name)), PathCursor::Layout(layout)) => {
                match layout.named().find(|(n, _)| &***n == name) {
                    Some((_, node)) => PathCursor::Node(node),
                    None => return false,
                }
            }
            (Some(Step::Index(i)), PathCursor::Node(node)) => match node.arity {
                Arity::Array(n) if i >= n as usize => return false,
                _ => PathCursor::Item(&node.item),
            },
            _ => return false,
        };
    }
    true
}

fn find(layout: &Layout, reader: &mut Reader<'_>, path: &str) -> Result<Option<Value>, DecodeError> {
    let mut cursor = PathCursor::Layout(layout);
    for step in steps(path) {
        cursor = match (step, cursor.settled()) {
            (Some(Step::Name(name)), PathCursor::Layout(layout)) => {
                let mut found = None;
                for (n, node) in layout.named() {
                    if &**n == name {
                        found = Some(node);
                        break;
                    }
                    skip_node(node, reader).map_err(|e| DecodeError::at(&**n, e))?;
                }
                let Some(node) = found else { return Ok(None) };
                PathCursor::Node(node)
            }
            (Some(Step::Index(i)), PathCursor::Node(node)) => {
                if i >= decode::count(node, reader)? {
                    return Ok(None);
                }
                skip_items(&node.item, i, reader)?;
                PathCursor::Item(&node.item)
            }
            _ => return Ok(None),
        };
    }
    match cursor.settled() {
        PathCursor::Layout(layout) => decode::message(layout, reader),
        PathCursor::Node(node) => decode::node(node, reader),
        PathCursor::Item(item) => decode::item(item, reader),
    }
    .map(Some)
}

fn skip_layout(layout: &Layout, reader: &mut Reader<'_>) -> Result<(), ReadError> {
    for node in &layout.fields {
        skip_node(node, reader)?;
    }
    if layout.fields.is_empty() {
        reader.u8()?;
    }
    Ok(())
}

fn skip_node(node: &Node, reader: &mut Reader<'_>) -> Result<(), ReadError> {
    let count = match node.arity {
        Arity::One => 1,
        Arity::Array(n) => n,
        Arity::Sequence(_) => reader.len()?,
    };
    decode::check_room(u64::from(count).saturating_mul(node.item.min_bytes()), reader)?;
    skip_items(&node.item, count as usize, reader)
}

fn skip_items(item: &Item, count: usize, reader: &mut Reader<'_>) -> Result<(), ReadError> {
    match item {
        Item::Primitive(_) if count == 0 => {}
        Item::Primitive(p) => {
            reader.align(p.bytes());
            reader.take(p.bytes().saturating_mul(count))?;
        }
        Item::String(_) => {
            for _ in 0..count {
                reader.bytes_seq()?;
            }
        }
        Item::WString(_) => {
            for _ in 0..count {
                let units = reader.u32()? as usize;
                reader.take(units.saturating_mul(4))?;
            }
        }
        Item::Message(layout) => {
            for _ in 0..count {
                skip_layout(layout, reader)?;
            }
        }
    }
    Ok(())
}
