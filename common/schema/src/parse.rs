//! Parser for message definition text.

mod bundle;
mod default;
mod idl;
mod line;
mod syntax_error;

use crate::limits::{MAX_FIELDS, MAX_TEXT_BYTES};
use crate::model::Definition;
pub(crate) use crate::parse::bundle::{Bundle, Language, parse_bundle, separator};
use crate::parse::line::{Line, parse_line};
pub use crate::parse::syntax_error::SyntaxError;
use crate::{SchemaError, TypeName};

/// Parses the text of one message, without dependencies.
///
/// ```
/// use roverline_schema::{TypeName, parse_definition};
/// let name = TypeName::parse("demo/msg/Pair")?;
/// let definition = parse_definition(&name, "float32[2] values  # a comment\nuint8 MAX=7")?;
/// assert_eq!((definition.fields.len(), definition.constants.len()), (1, 1));
/// let error = parse_definition(&name, "float32[0] none").unwrap_err();
/// assert_eq!(error.to_string(), "demo/msg/Pair, line 1: `0` is not a count from 1 to 4294967295");
/// # Ok::<(), roverline_schema::SchemaError>(())
/// ```
///
/// # Errors
/// When a line is not in the language, a name is declared twice or a bound is exceeded.
pub fn parse_definition(name: &TypeName, text: &str) -> Result<Definition, SchemaError> {
    check_size(name, text)?;
    let mut out =
        Definition { name: name.clone(), fields: Vec::new(), constants: Vec::new(), text: text.into() };
    let mut seen = std::collections::HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let syntax =
            |error: SyntaxError| SchemaError::Syntax { type_name: name.to_string(), line: index + 1, error };
        match parse_line(name, line).map_err(syntax)? {
            Line::Nothing => continue,
            Line::Constant(constant) => out.constants.push(constant),
            Line::Field(field) => {
                if !seen.insert(field.name.clone()) {
                    return Err(syntax(SyntaxError::DuplicateField(field.name.to_string())));
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
