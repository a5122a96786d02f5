//! CDR decoder: produces values by walking the layout.

use crate::cdr::{ReadError, Reader};
use crate::error::DecodeErrorKind;
use crate::layout::{Item, Layout, Node};
use crate::limits::MAX_VALUES;
use crate::model::{Arity, Primitive};
use crate::value::Struct;
use crate::{DecodeError, Value};

/// Elements reserved before any is read. A count is only a claim.
const MAX_RESERVED: usize = 1024;

/// Decodes one message.
pub(super) fn message(layout: &Layout, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Decoder { reader, values_left: MAX_VALUES }.layout(layout)
}

/// Decodes one field with all its elements.
pub(super) fn node(node: &Node, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Decoder { reader, values_left: MAX_VALUES }.node(node)
}

/// Decodes one element.
pub(super) fn item(item: &Item, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Decoder { reader, values_left: MAX_VALUES }.item(item)
}

/// Number of elements that follow. Rejects counts that the rest of the payload cannot hold.
pub(super) fn count(node: &Node, reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = match node.arity {
        Arity::One => 1,
        Arity::Array(n) => n,
        Arity::Sequence(_) => reader.len()?,
    };
    check_room(u64::from(count).saturating_mul(node.item.min_bytes()), reader)?;
    Ok(count as usize)
}

/// Fails when fewer than `needs` bytes are left.
pub(super) fn check_room(needs: u64, reader: &Reader<'_>) -> Result<(), ReadError> {
    let left = reader.remaining();
    if needs > left as u64 { Err(ReadError::Truncated { needs, left }) } else { Ok(()) }
}

struct Decoder<'r, 'a> {
    reader: &'r mut Reader<'a>,
    values_left: usize,
}

impl Decoder<'_, '_> {
    fn layout(&mut self, layout: &Layout) -> Result<Value, DecodeError> {
        let mut values = Vec::with_capacity(layout.fields.len());
        for (name, node) in layout.named() {
            values.push(self.node(node).map_err(|e| e.within(name))?);
        }
        if layout.fields.is_empty() {
            self.reader.u8()?;
        }
        Ok(Value::Struct(Struct::from_shared(layout.names.clone(), values)))
    }

    fn node(&mut self, node: &Node) -> Result<Value, DecodeError> {
        if node.arity == Arity::One {
            return self.item(&node.item);
        }
        let count = count(node, self.reader)?;
        if matches!(node.item, Item::Primitive(p) if p.is_octet()) {
            self.spend(1)?;
            return Ok(Value::Bytes(self.reader.take(count)?.to_vec()));
        }
        let mut items = Vec::with_capacity(count.min(MAX_RESERVED));
        for i in 0..count {
            items.push(self.item(&node.item).map_err(|e| e.within_index(i))?);
        }
        Ok(Value::Array(items))
    }

    fn item(&mut self, item: &Item) -> Result<Value, DecodeError> {
        self.spend(1)?;
        Ok(match item {
            Item::Primitive(p) => primitive(*p, self.reader)?,
            Item::String(_) => {
                let bytes = self.reader.string_bytes()?;
                Value::String(String::from_utf8_lossy(bytes).into_owned())
            }
            Item::WString(_) => Value::String(self.reader.wstring()?),
            Item::Message(layout) => self.layout(layout)?,
        })
    }

    fn spend(&mut self, values: usize) -> Result<(), DecodeErrorKind> {
        self.values_left =
            self.values_left.checked_sub(values).ok_or(DecodeErrorKind::TooManyValues(MAX_VALUES))?;
        Ok(())
    }
}

fn primitive(p: Primitive, r: &mut Reader<'_>) -> Result<Value, ReadError> {
    Ok(match p {
        Primitive::Bool => Value::Bool(r.bool()?),
        Primitive::Byte | Primitive::U8 => Value::U8(r.u8()?),
        Primitive::I8 => Value::I8(r.i8()?),
        Primitive::U16 => Value::U16(r.u16()?),
        Primitive::I16 => Value::I16(r.i16()?),
        Primitive::U32 => Value::U32(r.u32()?),
        Primitive::I32 => Value::I32(r.i32()?),
        Primitive::U64 => Value::U64(r.u64()?),
        Primitive::I64 => Value::I64(r.i64()?),
        Primitive::F32 => Value::F32(r.f32()?),
        Primitive::F64 => Value::F64(r.f64()?),
    })
}
