//! Default values of fields.

use crate::Value;
use crate::model::{Arity, Element, Primitive};
use crate::parse::syntax_error::{SyntaxError, excerpt};

/// Parses the text after a field name: nothing, a comment, or a default for the type.
pub(super) fn parse_default(
    element: &Element,
    arity: Arity,
    text: &str,
) -> Result<Option<Value>, SyntaxError> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let invalid = || SyntaxError::Default(excerpt(text));
    let mut scan = Scan { rest: text };
    let value = match arity {
        Arity::One => scan.scalar(element, &['#']).ok_or_else(invalid)?,
        Arity::Array(_) | Arity::Sequence(_) => {
            let items = scan.list(element).ok_or_else(invalid)?;
            let fits = match arity {
                Arity::Array(n) => items.len() == n as usize,
                Arity::Sequence(Some(bound)) => items.len() <= bound as usize,
                _ => true,
            };
            if !fits {
                return Err(SyntaxError::DefaultLength(items.len()));
            }
            gather(element, items)
        }
    };
    if !(scan.rest.is_empty() || scan.rest.starts_with('#')) {
        return Err(SyntaxError::AfterDefault(excerpt(scan.rest)));
    }
    Ok(Some(value))
}

/// Collects the elements of an array; octets are stored as bytes everywhere.
fn gather(element: &Element, items: Vec<Value>) -> Value {
    match element {
        Element::Primitive(p) if p.is_octet() => {
            Value::Bytes(items.iter().map(|v| if let Value::U8(b) = v { *b } else { 0 }).collect())
        }
        _ => Value::Array(items),
    }
}

struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    /// `[a, b, c]`
    fn list(&mut self, element: &Element) -> Option<Vec<Value>> {
        self.rest = self.rest.strip_prefix('[')?.trim_start();
        let mut items = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(']') {
                self.rest = rest.trim_start();
                return Some(items);
            }
            items.push(self.scalar(element, &[',', ']', '#'])?);
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest.trim_start(),
                None if self.rest.starts_with(']') => {}
                None => return None,
            }
        }
    }

    fn scalar(&mut self, element: &Element, stops: &[char]) -> Option<Value> {
        match element {
            Element::Primitive(p) => primitive(*p, self.word(stops)),
            Element::String(_) | Element::WString(_) => self.text(stops).map(Value::String),
            // The language has no syntax for one.
            Element::Message(_) => None,
        }
    }

    /// Text up to one of the stop characters.
    fn word(&mut self, stops: &[char]) -> &'a str {
        let end = self.rest.find(stops).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim()
    }

    /// A string, single-quoted, double-quoted or unquoted.
    fn text(&mut self, stops: &[char]) -> Option<String> {
        let Some(quote) = self.rest.chars().next().filter(|c| *c == '"' || *c == '\'') else {
            return Some(self.word(stops).to_owned());
        };
        let mut out = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest[1 + i + 1..].trim_start();
                return Some(out);
            }
            out.push(if c == '\\' { unescape(chars.next()?.1) } else { c });
        }
        None
    }
}

fn unescape(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        other => other,
    }
}

fn primitive(p: Primitive, word: &str) -> Option<Value> {
    Some(match p {
        Primitive::Bool => match word.to_ascii_lowercase().as_str() {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => return None,
        },
        Primitive::F32 => Value::F32(word.parse().ok()?),
        Primitive::F64 => Value::F64(word.parse().ok()?),
        Primitive::Byte | Primitive::U8 => Value::U8(integer(word)?.try_into().ok()?),
        Primitive::I8 => Value::I8(integer(word)?.try_into().ok()?),
        Primitive::U16 => Value::U16(integer(word)?.try_into().ok()?),
        Primitive::I16 => Value::I16(integer(word)?.try_into().ok()?),
        Primitive::U32 => Value::U32(integer(word)?.try_into().ok()?),
        Primitive::I32 => Value::I32(integer(word)?.try_into().ok()?),
        Primitive::U64 => Value::U64(integer(word)?.try_into().ok()?),
        Primitive::I64 => Value::I64(integer(word)?.try_into().ok()?),
    })
}

/// Decimal, or with the prefixes that ROS inherits from Python.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ => (10, digits),
    };
    // `from_str_radix` would accept a second sign.
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let n = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -n } else { n })
}
