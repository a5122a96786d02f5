//! Resolved definitions: the complete layout of a type's messages.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::{MAX_DEPTH_LEVELS, MAX_FIXED_WIRE_BYTES};
use crate::model::{Arity, Definition, Element, Primitive};
use crate::name::Kind;
use crate::parse::too_large;
use crate::value::Names;
use crate::{SchemaError, TypeName, Value};

/// A message type. Types that occur more than once are shared.
#[derive(Debug)]
pub(crate) struct Layout {
    pub name: TypeName,
    pub names: Names,
    pub fields: Vec<Node>,
    /// Smallest size on the wire, padding aside; never zero.
    pub min_bytes: u64,
    /// Nesting levels below and including this one.
    pub levels: usize,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Node {
    pub item: Item,
    pub arity: Arity,
    pub default: Option<Value>,
}

/// Smallest size of one element on the wire.
#[derive(Debug)]
pub(crate) enum Item {
    Primitive(Primitive),
    String(Option<u32>),
    WString(Option<u32>),
    Message(Arc<Layout>),
}

impl Item {
    /// The least that one element takes on the wire.
    pub(crate) fn min_bytes(&self) -> u64 {
        match self {
            Self::Primitive(p) => p.bytes() as u64,
            Self::String(_) | Self::WString(_) => 4,
            Self::Message(layout) => layout.min_bytes,
        }
    }
}

impl Node {
    fn min_bytes(&self) -> u64 {
        match self.arity {
            Arity::One => self.item.min_bytes(),
            Arity::Array(n) => self.item.min_bytes().saturating_mul(n.into()),
            Arity::Sequence(_) => 4,
        }
    }
}

impl Layout {
    /// Fields with their names, in wire order.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.names.iter().zip(&self.fields)
    }
}

/// A source of definitions.
pub(crate) trait Source {
    /// The definition of exactly this name.
    fn definition(&self, name: &TypeName) -> Result<Option<Arc<Definition>>, SchemaError>;

    /// The definition that a field of `user` refers to by a name.
    fn resolve(&self, user: &TypeName, wanted: &TypeName) -> Result<Arc<Definition>, SchemaError> {
        if let Some(found) = self.definition(wanted)? {
            return Ok(found);
        }
        // An unqualified `Header` has meant the one of std_msgs since ROS 1.
        if wanted.short() == "Header"
            && wanted.package() == user.package()
            && let Some(header) = TypeName::from_parts("std_msgs", Kind::Msg, "Header")
            && let Some(found) = self.definition(&header)?
        {
            return Ok(found);
        }
        Err(SchemaError::UnknownDependency { name: wanted.to_string(), user: user.to_string() })
    }
}

/// Resolves a type and all its dependencies.
pub(crate) fn build(source: &dyn Source, name: &TypeName) -> Result<Arc<Layout>, SchemaError> {
    let definition = source.definition(name)?.ok_or_else(|| SchemaError::Unknown(name.to_string()))?;
    let mut builder = Builder { source, root: name, done: HashMap::new(), open: Vec::new() };
    builder.layout(&definition)
}

struct Builder<'a> {
    source: &'a dyn Source,
    root: &'a TypeName,
    done: HashMap<TypeName, Arc<Layout>>,
    /// The types that enclose the current one.
    open: Vec<TypeName>,
}

impl Builder<'_> {
    fn layout(&mut self, definition: &Definition) -> Result<Arc<Layout>, SchemaError> {
        let name = &definition.name;
        if let Some(layout) = self.done.get(name) {
            self.check_depth(layout.levels)?;
            return Ok(layout.clone());
        }
        if self.open.contains(name) {
            return Err(SchemaError::Recursive(name.to_string()));
        }
        self.check_depth(1)?;
        self.open.push(name.clone());
        let mut fields = Vec::with_capacity(definition.fields.len());
        for field in &definition.fields {
            let item = match &field.element {
                Element::Primitive(p) => Item::Primitive(*p),
                Element::String(bound) => Item::String(*bound),
                Element::WString(bound) => Item::WString(*bound),
                Element::Message(wanted) => {
                    let definition = self.source.resolve(name, wanted)?;
                    Item::Message(self.layout(&definition)?)
                }
            };
            fields.push(Node { item, arity: field.arity, default: field.default.clone() });
        }
        self.open.pop();
        let layout = Arc::new(self.finish(definition, fields)?);
        self.done.insert(name.clone(), layout.clone());
        Ok(layout)
    }

    fn finish(&self, definition: &Definition, fields: Vec<Node>) -> Result<Layout, SchemaError> {
        // A message without fields has a hidden byte on the wire, so the minimum is one.
        let min_bytes = fields.iter().fold(0_u64, |sum, f| sum.saturating_add(f.min_bytes())).max(1);
        if min_bytes > MAX_FIXED_WIRE_BYTES {
            return Err(too_large(&definition.name, "bytes of fixed size", MAX_FIXED_WIRE_BYTES));
        }
        let below = fields.iter().map(|f| if let Item::Message(l) = &f.item { l.levels } else { 0 });
        Ok(Layout {
            name: definition.name.clone(),
            names: definition.fields.iter().map(|f| f.name.clone()).collect(),
            levels: 1 + below.max().unwrap_or(0),
            min_bytes,
            fields,
        })
    }

    fn check_depth(&self, levels: usize) -> Result<(), SchemaError> {
        if self.open.len() + levels > MAX_DEPTH_LEVELS {
            return Err(too_large(self.root, "levels of nesting", MAX_DEPTH_LEVELS as u64));
        }
        Ok(())
    }
}
