//! Parser for one line: a field, a constant, or nothing.

use crate::TypeName;
use crate::model::{Arity, Constant, Element, Field, Primitive};
use crate::name::{Kind, is_identifier};
use crate::parse::default::parse_default;
use crate::parse::syntax_error::{SyntaxError, excerpt};

pub(super) enum Line {
    Nothing,
    Field(Field),
    Constant(Constant),
}

/// Parses a line of the definition of `owner`, in whose package short names are resolved.
pub(super) fn parse_line(owner: &TypeName, line: &str) -> Result<Line, SyntaxError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    let (type_text, rest) =
        line.split_once(char::is_whitespace).ok_or_else(|| SyntaxError::MissingName(excerpt(line)))?;
    let (element, arity) = parse_type(owner, type_text)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if !is_identifier(name) {
        return Err(SyntaxError::FieldName(excerpt(if name.is_empty() { rest } else { name })));
    }
    let is_text = matches!(element, Element::String(_) | Element::WString(_));
    if let Some(value) = rest.trim_start().strip_prefix('=') {
        let value_text = constant_text(value.trim(), is_text && arity == Arity::One).to_owned();
        return Ok(Line::Constant(Constant { name: name.into(), type_text: type_text.into(), value_text }));
    }
    if !(rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '#')) {
        return Err(SyntaxError::AfterName { rest: excerpt(rest), name: name.to_owned() });
    }
    let default = parse_default(&element, arity, rest.trim())?;
    Ok(Line::Field(Field { name: name.into(), element, arity, default }))
}

/// Parses `uint8`, `string<=10[<=5]`, `pkg/Type[3]` and so on.
fn parse_type(owner: &TypeName, text: &str) -> Result<(Element, Arity), SyntaxError> {
    let (base, arity) = match text.split_once('[') {
        None => (text, Arity::One),
        Some((base, rest)) => {
            let inside = rest.strip_suffix(']').ok_or_else(|| SyntaxError::MissingBracket(excerpt(text)))?;
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
        (_, Some(_)) => return Err(SyntaxError::Bound(excerpt(text))),
        (base, None) => match Primitive::from_name(base) {
            Some(primitive) => Element::Primitive(primitive),
            None => Element::Message(parse_reference(owner, base)?),
        },
    };
    Ok((element, arity))
}

fn parse_arity(inside: &str) -> Result<Arity, SyntaxError> {
    Ok(match inside.strip_prefix("<=") {
        _ if inside.is_empty() => Arity::Sequence(None),
        Some(bound) => Arity::Sequence(Some(parse_count(bound)?)),
        None => Arity::Array(parse_count(inside)?),
    })
}

/// Parses a positive count. Zero is rejected, as in ROS 2: an empty array takes no bytes, so a
/// short payload could claim any number of them.
fn parse_count(text: &str) -> Result<u32, SyntaxError> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(SyntaxError::Count(excerpt(text))),
    }
}

/// A message type as a field refers to it; short names are in the owner's package.
fn parse_reference(owner: &TypeName, text: &str) -> Result<TypeName, SyntaxError> {
    let name = if text.contains('/') {
        TypeName::parse(text).ok()
    } else {
        TypeName::from_parts(owner.package(), Kind::Msg, text)
    };
    name.ok_or_else(|| SyntaxError::Type(excerpt(text)))
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
