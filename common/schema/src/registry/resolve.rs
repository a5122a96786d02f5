//! Resolution of definitions and their dependencies.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::layout::{Layout, Source, build};
use crate::limits::{MAX_TEXT_BYTES, MAX_TEXT_DEFINITIONS};
use crate::model::{Definition, Element};
use crate::parse::{Bundle, Language, parse_bundle, parse_definition, separator, too_large};
use crate::registry::ament::Ament;
use crate::registry::{bundled, interface};
use crate::{Plan, SchemaError, TypeName};

/// The definitions visible to one root type.
pub(super) struct Scope<'a> {
    recorded: Option<&'a Bundle>,
    ament: &'a Ament,
    loaded: RefCell<HashMap<TypeName, Arc<Definition>>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(recorded: Option<&'a Bundle>, ament: &'a Ament) -> Self {
        Self { recorded, ament, loaded: RefCell::default() }
    }

    pub(super) fn plan(&self, name: &TypeName) -> Result<Plan, SchemaError> {
        let layout: Arc<Layout> = build(self, name)?;
        Plan::new(layout)
    }

    fn load(&self, name: &TypeName) -> Result<Option<Arc<Definition>>, SchemaError> {
        let Some((stem, part)) = interface::file_and_part(name) else {
            return Ok(None);
        };
        let (package, kind) = (name.package(), name.kind());
        let text = match self.ament.text(package, kind, &stem)? {
            Some((Language::Msg, text)) => interface::part_text(name, &stem, part, &text),
            Some((Language::Idl, text)) => {
                return Ok(parse_bundle(name, &text, Language::Idl)?.definitions.remove(name));
            }
            None => match bundled::text(package, kind, &stem) {
                Some(text) => interface::part_text(name, &stem, part, text),
                None => return Ok(None),
            },
        };
        parse_definition(name, &text).map(|d| Some(Arc::new(d)))
    }
}

impl Source for Scope<'_> {
    fn definition(&self, name: &TypeName) -> Result<Option<Arc<Definition>>, SchemaError> {
        if let Some(found) = self.recorded.and_then(|b| b.definitions.get(name)) {
            return Ok(Some(found.clone()));
        }
        if let Some(found) = self.loaded.borrow().get(name) {
            return Ok(Some(found.clone()));
        }
        let loaded = self.load(name)?;
        if let Some(definition) = &loaded {
            self.loaded.borrow_mut().insert(name.clone(), definition.clone());
        }
        Ok(loaded)
    }
}

/// The text of a type followed by those of its dependencies, breadth first in the order of first
/// use.
pub(super) fn concatenated(scope: &Scope<'_>, root: &TypeName) -> Result<String, SchemaError> {
    with_dependencies(scope, root, String::new(), &|_| false)
}

/// A recording's text, with those dependencies appended that it lacks.
pub(super) fn completed(
    scope: &Scope<'_>,
    root: &TypeName,
    bundle: &Bundle,
) -> Result<Arc<str>, SchemaError> {
    let text = with_dependencies(scope, root, bundle.text.to_string(), &|name| {
        bundle.definitions.contains_key(name)
    })?;
    // Most are complete, and stay as they are.
    Ok(if text.len() == bundle.text.len() { bundle.text.clone() } else { text.into() })
}

/// Appends the texts of a type and of its dependencies to `out`, except those that it contains.
fn with_dependencies(
    scope: &Scope<'_>,
    root: &TypeName,
    mut out: String,
    contains: &dyn Fn(&TypeName) -> bool,
) -> Result<String, SchemaError> {
    let mut seen: HashSet<TypeName> = HashSet::from([root.clone()]);
    let mut queue = VecDeque::from([root.clone()]);
    while let Some(name) = queue.pop_front() {
        let definition = scope.definition(&name)?.ok_or_else(|| SchemaError::Unknown(name.to_string()))?;
        if !contains(&name) {
            end_line(&mut out);
            if name != *root {
                out.push_str(&separator(&name));
            }
            out.push_str(&definition.text);
            end_line(&mut out);
        }
        for field in &definition.fields {
            if let Element::Message(wanted) = &field.element {
                let used = scope.resolve(&name, wanted)?.name.clone();
                if seen.insert(used.clone()) {
                    queue.push_back(used);
                }
            }
        }
        if seen.len() > MAX_TEXT_DEFINITIONS || out.len() > MAX_TEXT_BYTES {
            return Err(too_large(root, "bytes of definitions", MAX_TEXT_BYTES as u64));
        }
    }
    Ok(out)
}

fn end_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}
