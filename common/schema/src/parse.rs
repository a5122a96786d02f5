//! Reads message definition text.

mod bundle;
mod default;
mod line;

use crate::limits::{MAX_FIELDS, MAX_TEXT_BYTES};
use crate::model::Definition;
pub(crate) use crate::parse::bundle::{Bundle, parse_bundle, separator};
use crate::parse::line::{Line, parse_line};
use crate::{SchemaError, TypeName};

/// Reads the text of one message, without dependencies.
///
/// # Errors
/// When a line is not in the language, a name comes twice or there is too much of it.
pub fn parse_definition(name: &TypeName, text: &str) -> Result<Definition, SchemaError> {
    check_size(name, text)?;
    let mut out =
        Definition { name: name.clone(), fields: Vec::new(), constants: Vec::new(), text: text.into() };
    let mut seen = std::collections::HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let syntax =
            |what: String| SchemaError::Syntax { type_name: name.to_string(), line: index + 1, what };
        match parse_line(name, line).map_err(syntax)? {
            Line::Nothing => continue,
            Line::Constant(constant) => out.constants.push(constant),
            Line::Field(field) => {
                if !seen.insert(field.name.clone()) {
                    return Err(syntax(format!("field `{}` comes twice", field.name)));
                }
                out.fields.push(field);
            }
        }
        if out.fields.len() + out.constants.len() > MAX_FIELDS {
            return Err(too_large(name, "fields", MAX_FIELDS as u64));
        }
    }
    Ok(out)
}

fn check_size(name: &TypeName, text: &str) -> Result<(), SchemaError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(too_large(name, "bytes of definition", MAX_TEXT_BYTES as u64));
    }
    Ok(())
}

pub(crate) fn too_large(name: &TypeName, what: &'static str, limit: u64) -> SchemaError {
    SchemaError::TooLarge { type_name: name.to_string(), what, limit }
}

#[cfg(test)]
mod tests;
