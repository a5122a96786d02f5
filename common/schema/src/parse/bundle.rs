//! Concatenated definitions: a message followed by all its dependencies, the format used by
//! recordings and viewers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::limits::MAX_TEXT_DEFINITIONS;
use crate::model::Definition;
use crate::parse::{SyntaxError, check_size, parse_definition, too_large};
use crate::{SchemaError, TypeName};

/// The line between two definitions.
const SEPARATOR: &str = "================================================================================";
/// Shortest line recognised as a separator; a comment could contain a shorter one.
const MIN_SEPARATOR_BYTES: usize = 16;

/// The separator and the title in front of a dependency.
pub(crate) fn separator(name: &TypeName) -> String {
    format!("{SEPARATOR}\nMSG: {}\n", name.in_definitions())
}

/// A concatenated text, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    /// The message that the text is for, and its dependencies.
    pub definitions: HashMap<TypeName, Arc<Definition>>,
    /// The complete text.
    pub text: Arc<str>,
}

/// Parses the text for `root`.
pub(crate) fn parse_bundle(root: &TypeName, text: &str) -> Result<Bundle, SchemaError> {
    check_size(root, text)?;
    let mut definitions = HashMap::new();
    for (index, section) in sections(text).into_iter().enumerate() {
        let name = match section.title {
            // A text may begin or end with a separator.
            None if section.body.trim().is_empty() => continue,
            None if index == 0 => root.clone(),
            None => return Err(untitled(root)),
            Some(Title::Message(name)) => TypeName::parse(name)?,
            Some(Title::Other(encoding)) => {
                let encoding = encoding.to_owned();
                return Err(SchemaError::Encoding { type_name: root.to_string(), encoding });
            }
        };
        if definitions.len() >= MAX_TEXT_DEFINITIONS {
            return Err(too_large(root, "definitions in one text", MAX_TEXT_DEFINITIONS as u64));
        }
        // The first definition wins: the root must not be replaced by a later one.
        if let Entry::Vacant(entry) = definitions.entry(name) {
            let definition = parse_definition(entry.key(), section.body)?;
            entry.insert(Arc::new(definition));
        }
    }
    if !definitions.contains_key(root) {
        definitions.insert(root.clone(), Arc::new(parse_definition(root, "")?));
    }
    Ok(Bundle { definitions, text: text.into() })
}

#[cold]
fn untitled(root: &TypeName) -> SchemaError {
    SchemaError::Syntax { type_name: root.to_string(), line: 0, error: SyntaxError::Untitled }
}

enum Title<'a> {
    Message(&'a str),
    Other(&'static str),
}

struct Section<'a> {
    title: Option<Title<'a>>,
    body: &'a str,
}

/// Splits at the separators. The section before the first one has no title.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut out = Vec::new();
    let mut title = None;
    let mut start = 0;
    let mut at = 0;
    let mut after_separator = false;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if is_separator(line) {
            out.push(Section { title: title.take(), body: &text[start..at] });
            (after_separator, start) = (true, end);
        } else if after_separator && !line.trim().is_empty() {
            after_separator = false;
            if let Some(name) = line.trim().strip_prefix("MSG:") {
                (title, start) = (Some(Title::Message(name.trim())), end);
            } else if line.trim().starts_with("IDL:") {
                (title, start) = (Some(Title::Other("ros2idl")), end);
            }
        }
        at = end;
    }
    out.push(Section { title, body: &text[start..] });
    out
}

fn is_separator(line: &str) -> bool {
    let line = line.trim_end();
    line.len() >= MIN_SEPARATOR_BYTES && line.bytes().all(|b| b == b'=')
}
