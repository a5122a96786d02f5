//! CDR encoder: writes values and JSON by walking the layout.

use crate::cdr::Writer;
use crate::layout::{Item, Layout, Node};
use crate::limits::MAX_ENCODED_BYTES;
use crate::model::{Arity, Primitive};
use crate::plan::input::Input;
use crate::{EncodeError, Value};

/// Encodes one message.
pub(super) fn message<'a, I: Input<'a>>(layout: &Layout, input: I) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    put_layout(layout, input, &mut out)?;
    Ok(out.finish())
}

fn put_layout<'a, I: Input<'a>>(layout: &Layout, input: I, out: &mut Writer) -> Result<(), EncodeError> {
    let stamp = Stamp::of(layout);
    let input = if stamp == Some(Stamp::Time) { input.now().unwrap_or(input) } else { input };
    if !input.is_message() {
        return Err(mismatch("a message", input));
    }
    let aliases = |name: &str| if stamp.is_some() { stamp_aliases(name) } else { &[] };
    let known = |name: &str| layout.names.iter().any(|n| &**n == name || aliases(n).contains(&name));
    if let Some(name) = input.unknown_field(&known) {
        let name: String = name.chars().take(64).collect();
        return Err(EncodeError::new(format!("{} has no such field", layout.name)).within(&name));
    }
    for (name, node) in layout.named() {
        let given = input.field(name);
        let given = given.or_else(|| aliases(name).iter().find_map(|alias| input.field(alias)));
        match (given, &node.default) {
            (Some(value), _) => put_node(node, value, out),
            (None, Some(default)) => put_node(node, default, out),
            (None, None) => put_zero(node, out),
        }
        .map_err(|e| e.within(name))?;
    }
    if layout.fields.is_empty() {
        out.u8(0);
    }
    check_size(out)
}

/// The types whose fields had other names in ROS 1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Time,
    Duration,
}

impl Stamp {
    fn of(layout: &Layout) -> Option<Stamp> {
        match layout.name.as_str() {
            "builtin_interfaces/msg/Time" => Some(Stamp::Time),
            "builtin_interfaces/msg/Duration" => Some(Stamp::Duration),
            _ => None,
        }
    }
}

/// Other names of a stamp's field: those of ROS 1, which rosbridge takes as well, and Foxglove's.
fn stamp_aliases(field: &str) -> &'static [&'static str] {
    match field {
        "sec" => &["secs"],
        "nanosec" => &["nsecs", "nsec"],
        _ => &[],
    }
}

fn put_node<'a, I: Input<'a>>(node: &Node, input: I, out: &mut Writer) -> Result<(), EncodeError> {
    if node.arity == Arity::One {
        return put_item(&node.item, input, out);
    }
    if matches!(node.item, Item::Primitive(p) if p.is_octet())
        && let Some(bytes) = input.octets()
    {
        put_count(node.arity, bytes.len(), out)?;
        out.raw(&bytes);
        return check_size(out);
    }
    let count = input.len().ok_or_else(|| mismatch("an array", input))?;
    put_count(node.arity, count, out)?;
    for i in 0..count {
        let item = input.item(i).ok_or_else(|| mismatch("an array", input))?;
        put_item(&node.item, item, out).map_err(|e| e.within_index(i))?;
        check_size(out)?;
    }
    Ok(())
}

/// Checks a count against the type, and writes it if the wire has one.
fn put_count(arity: Arity, count: usize, out: &mut Writer) -> Result<(), EncodeError> {
    match arity {
        Arity::Array(n) if count != n as usize => {
            Err(EncodeError::new(format!("{count} elements, {n} are needed")))
        }
        Arity::Sequence(Some(bound)) if count > bound as usize => {
            Err(EncodeError::new(format!("{count} elements, at most {bound} are allowed")))
        }
        Arity::Sequence(_) => {
            out.len(u32::try_from(count).map_err(|_| too_large())?);
            Ok(())
        }
        Arity::Array(_) | Arity::One => Ok(()),
    }
}

fn put_item<'a, I: Input<'a>>(item: &Item, input: I, out: &mut Writer) -> Result<(), EncodeError> {
    match item {
        Item::Primitive(p) => put_primitive(*p, input, out),
        Item::Message(layout) => put_layout(layout, input, out),
        Item::String(bound) => {
            let text = input.text().ok_or_else(|| mismatch("a string", input))?;
            check_bound(text.len(), *bound, "bytes")?;
            out.string(text);
            check_size(out)
        }
        Item::WString(bound) => {
            let text = input.text().ok_or_else(|| mismatch("a string", input))?;
            check_bound(text.encode_utf16().count(), *bound, "UTF-16 units")?;
            out.wstring(text);
            check_size(out)
        }
    }
}

fn put_primitive<'a, I: Input<'a>>(p: Primitive, input: I, out: &mut Writer) -> Result<(), EncodeError> {
    match p {
        Primitive::Bool => out.bool(input.boolean().ok_or_else(|| mismatch("a bool", input))?),
        Primitive::Byte | Primitive::U8 => out.u8(integer(p, input)?),
        Primitive::I8 => out.i8(integer(p, input)?),
        Primitive::U16 => out.u16(integer(p, input)?),
        Primitive::I16 => out.i16(integer(p, input)?),
        Primitive::U32 => out.u32(integer(p, input)?),
        Primitive::I32 => out.i32(integer(p, input)?),
        Primitive::U64 => out.u64(integer(p, input)?),
        Primitive::I64 => out.i64(integer(p, input)?),
        Primitive::F64 => out.f64(float(input)?),
        Primitive::F32 => {
            let wide = float(input)?;
            let narrow = wide as f32;
            if narrow.is_infinite() && wide.is_finite() {
                return Err(EncodeError::new(format!("{wide:e} does not fit float32")));
            }
            out.f32(narrow)
        }
    };
    Ok(())
}

fn integer<'a, T: TryFrom<i128>>(p: Primitive, input: impl Input<'a>) -> Result<T, EncodeError> {
    let n = input.integer().ok_or_else(|| mismatch("an integer", input))?;
    T::try_from(n).map_err(|_| EncodeError::new(format!("{n} does not fit {}", p.name())))
}

fn float<'a>(input: impl Input<'a>) -> Result<f64, EncodeError> {
    input.float().ok_or_else(|| mismatch("a number", input))
}

/// Writes the zero value of a missing field.
fn put_zero(node: &Node, out: &mut Writer) -> Result<(), EncodeError> {
    let count = match node.arity {
        Arity::One => 1,
        Arity::Array(n) => n,
        Arity::Sequence(_) => {
            out.len(0);
            0
        }
    };
    for _ in 0..count {
        put_zero_item(&node.item, out)?;
        check_size(out)?;
    }
    Ok(())
}

fn put_zero_item(item: &Item, out: &mut Writer) -> Result<(), EncodeError> {
    match item {
        Item::Primitive(p) => {
            out.align_to(p.bytes()).raw(&[0; 8][..p.bytes()]);
        }
        Item::String(_) => {
            out.string("");
        }
        Item::WString(_) => {
            out.len(0);
        }
        // Without given fields, all of them get their defaults.
        Item::Message(layout) => put_layout(layout, &Value::Struct(crate::Struct::default()), out)?,
    }
    Ok(())
}

fn check_bound(len: usize, bound: Option<u32>, unit: &str) -> Result<(), EncodeError> {
    match bound {
        Some(bound) if len > bound as usize => {
            Err(EncodeError::new(format!("{len} {unit}, at most {bound} are allowed")))
        }
        _ => Ok(()),
    }
}

fn check_size(out: &Writer) -> Result<(), EncodeError> {
    if out.written() > MAX_ENCODED_BYTES { Err(too_large()) } else { Ok(()) }
}

#[cold]
fn too_large() -> EncodeError {
    EncodeError::new(format!("more than {MAX_ENCODED_BYTES} bytes"))
}

#[cold]
fn mismatch<'a>(wanted: &str, got: impl Input<'a>) -> EncodeError {
    EncodeError::new(format!("needs {wanted}, got {}", got.kind()))
}
