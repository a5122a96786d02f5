//! Concatenated definitions: a message followed by all its dependencies, the format used by
//! recordings and viewers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::MAX_TEXT_DEFINITIONS;
use crate::model::Definition;
use crate::parse::idl::IdlDeclarations;
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

/// The language of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// `ros2msg`
    Msg,
    /// `ros2idl`
    Idl,
}

/// A concatenated text, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    /// The message that the text is for, and its dependencies.
    pub definitions: HashMap<TypeName, Arc<Definition>>,
    /// The complete text.
    pub text: Arc<str>,
    /// Whether one of the definitions is IDL.
    pub has_idl: bool,
}

/// Parses the text for `root`. Titles say which language a section is in; the first one may have none, and is then in
/// `language`.
pub(crate) fn parse_bundle(root: &TypeName, text: &str, language: Language) -> Result<Bundle, SchemaError> {
    check_size(root, text)?;
    let mut bundle = Bundle { definitions: HashMap::new(), text: text.into(), has_idl: false };
    let mut idl = IdlDeclarations::default();
    // From the last to the first: the first definition of a type counts, and a section of IDL may use what later ones
    // declare.
    for (index, section) in sections(text).into_iter().enumerate().rev() {
        let title = match section.title {
            // A text may begin or end with a separator.
            None if section.body.trim().is_empty() => continue,
            None if index > 0 => return Err(untitled(root)),
            None if language == Language::Idl => Title::Idl,
            None => Title::Message(root.as_str()),
            Some(title) => title,
        };
        let definitions = match title {
            Title::Message(name) => vec![parse_definition(&TypeName::parse(name)?, section.body)?],
            Title::Idl => idl.parse(root, section.body)?,
        };
        bundle.has_idl |= title == Title::Idl;
        for definition in definitions {
            bundle.definitions.insert(definition.name.clone(), Arc::new(definition));
        }
        if bundle.definitions.len() > MAX_TEXT_DEFINITIONS {
            return Err(too_large(root, "definitions in one text", MAX_TEXT_DEFINITIONS as u64));
        }
    }
    if !bundle.definitions.contains_key(root) {
        if bundle.has_idl || language == Language::Idl {
            return Err(SchemaError::Unknown(root.to_string()));
        }
        bundle.definitions.insert(root.clone(), Arc::new(parse_definition(root, "")?));
    }
    Ok(bundle)
}

#[cold]
fn untitled(root: &TypeName) -> SchemaError {
    SchemaError::Syntax { type_name: root.to_string(), line: 0, error: SyntaxError::Untitled }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Title<'a> {
    /// A message of this name.
    Message(&'a str),
    /// IDL, which names what it defines.
    Idl,
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
                (title, start) = (Some(Title::Idl), end);
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
