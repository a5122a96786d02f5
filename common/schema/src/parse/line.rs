//! One line: a field, a constant, or nothing.

use crate::TypeName;
use crate::limits::MAX_NAME_BYTES;
use crate::model::{Arity, Constant, Element, Field, Primitive};
use crate::name::{Kind, is_identifier};
use crate::parse::default::parse_default;

pub(super) enum Line {
    Nothing,
    Field(Field),
    Constant(Constant),
}

/// Reads a line of the definition of `owner`, whose package short names belong to.
pub(super) fn parse_line(owner: &TypeName, line: &str) -> Result<Line, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    let (type_text, rest) =
        line.split_once(char::is_whitespace).ok_or_else(|| format!("`{}` has no name", shown(line)))?;
    let (element, arity) = parse_type(owner, type_text)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if !is_identifier(name) {
        return Err(format!("`{}` is not a field name", shown(if name.is_empty() { rest } else { name })));
    }
    let is_text = matches!(element, Element::String(_) | Element::WString(_));
    if let Some(value) = rest.trim_start().strip_prefix('=') {
        let value_text = constant_text(value.trim(), is_text && arity == Arity::One).to_owned();
        return Ok(Line::Constant(Constant { name: name.into(), type_text: type_text.into(), value_text }));
    }
    if !(rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '#')) {
        return Err(format!("`{}` follows the name `{name}`", shown(rest)));
    }
    let default = parse_default(&element, arity, rest.trim())?;
    Ok(Line::Field(Field { name: name.into(), element, arity, default }))
}

/// Reads `uint8`, `string<=10[<=5]`, `pkg/Type[3]` and so on.
fn parse_type(owner: &TypeName, text: &str) -> Result<(Element, Arity), String> {
    let (base, arity) = match text.split_once('[') {
        None => (text, Arity::One),
        Some((base, rest)) => {
            let inside = rest.strip_suffix(']').ok_or_else(|| format!("`{}` lacks its ]", shown(text)))?;
            (base, parse_arity(inside)?)
        }
    };
    let (base, bound) = match base.split_once("<=") {
        None => (base, None),
        Some((base, bound)) => (base, Some(parse_count(bound)?)),
    };
    let element = match (base, bound) {
        ("string", _) => Element::String(bound),
        ("wstring", _) => Element::WString(bound),
        (_, Some(_)) => return Err(format!("`{}`: only strings have a bound", shown(text))),
        (base, None) => match Primitive::from_name(base) {
            Some(primitive) => Element::Primitive(primitive),
            None => Element::Message(parse_reference(owner, base)?),
        },
    };
    Ok((element, arity))
}

fn parse_arity(inside: &str) -> Result<Arity, String> {
    Ok(match inside.strip_prefix("<=") {
        _ if inside.is_empty() => Arity::Sequence(None),
        Some(bound) => Arity::Sequence(Some(parse_count(bound)?)),
        None => Arity::Array(parse_count(inside)?),
    })
}

/// A positive count. Zero is refused as ROS 2 refuses it: an array of nothing takes no bytes,
/// and then a short payload could claim any number of them.
fn parse_count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("`{}` is not a count from 1 to 4294967295", shown(text))),
    }
}

/// A message type as a field names it; short names mean the package of the owner.
fn parse_reference(owner: &TypeName, text: &str) -> Result<TypeName, String> {
    let name = if text.contains('/') {
        TypeName::parse(text).ok()
    } else {
        TypeName::from_parts(owner.package(), Kind::Msg, text)
    };
    name.ok_or_else(|| format!("`{}` is not a type", shown(text)))
}

/// The value of a constant, without its comment and quotes.
fn constant_text(value: &str, is_text: bool) -> &str {
    if is_text {
        for quote in ['"', '\''] {
            if let Some((inside, _)) = value.strip_prefix(quote).and_then(|v| v.rsplit_once(quote)) {
                return inside;
            }
        }
    }
    value.split('#').next().unwrap_or_default().trim_end()
}

/// Enough of a text for a message to people.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME_BYTES / 4).collect()
}
