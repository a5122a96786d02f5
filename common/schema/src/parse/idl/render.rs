//! Writes a message that was defined in IDL as `ros2msg` text, for clients that read no IDL.

use std::fmt::Write as _;

use crate::model::{Arity, Constant, Element, Field};

/// The text of a message.
pub(super) fn message_text(constants: &[Constant], fields: &[Field]) -> String {
    let mut text = String::new();
    for Constant { name, type_text, value_text } in constants {
        let quote =
            if type_text.starts_with("string") || type_text.starts_with("wstring") { "\"" } else { "" };
        let _ = writeln!(text, "{type_text} {name}={quote}{value_text}{quote}");
    }
    for field in fields {
        let _ = writeln!(text, "{} {}", type_text(&field.element, field.arity), field.name);
    }
    text
}

/// A type as `ros2msg` writes it.
pub(super) fn type_text(element: &Element, arity: Arity) -> String {
    let mut text = match element {
        Element::Primitive(primitive) => primitive.name().to_owned(),
        Element::String(None) => "string".to_owned(),
        Element::String(Some(bound)) => format!("string<={bound}"),
        Element::WString(None) => "wstring".to_owned(),
        Element::WString(Some(bound)) => format!("wstring<={bound}"),
        Element::Message(name) => name.in_definitions(),
    };
    let _ = match arity {
        Arity::One => Ok(()),
        Arity::Array(count) => write!(text, "[{count}]"),
        Arity::Sequence(None) => text.write_str("[]"),
        Arity::Sequence(Some(bound)) => write!(text, "[<={bound}]"),
    };
    text
}
