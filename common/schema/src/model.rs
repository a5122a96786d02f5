//! Message definitions as declared, before anything is resolved.

use std::sync::Arc;

use crate::{TypeName, Value};

/// One parsed message definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: TypeName,
    /// Its fields in wire order.
    pub fields: Vec<Field>,
    /// Its constants; they are not on the wire.
    pub constants: Vec<Constant>,
    /// The text it was parsed from.
    pub text: Arc<str>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// Type of one element.
    pub element: Element,
    /// Number of elements.
    pub arity: Arity,
    /// Default value, if not zero.
    pub default: Option<Value>,
}

/// A named constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its type as written.
    pub type_text: String,
    /// Its value as written, without quotes.
    pub value_text: String,
}

/// Type of one element of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// A number, bool, byte or char.
    Primitive(Primitive),
    /// Bytes, meant to be UTF-8, with an optional bound in bytes.
    String(Option<u32>),
    /// UTF-16, with an optional bound in code units.
    WString(Option<u32>),
    /// A nested message.
    Message(TypeName),
}

/// Number of elements of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// A single one.
    One,
    /// `T[n]`
    Array(u32),
    /// `T[]` or `T[<=n]`
    Sequence(Option<u32>),
}

/// Types of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// `bool`
    Bool,
    /// `byte`: an octet. As a scalar it is a number like `uint8`, but its arrays are not base64 in
    /// JSON.
    Byte,
    /// `uint8`, and `char`, which is the same in ROS 2
    U8,
    /// `int8`
    I8,
    /// `uint16`
    U16,
    /// `int16`
    I16,
    /// `uint32`
    U32,
    /// `int32`
    I32,
    /// `uint64`
    U64,
    /// `int64`
    I64,
    /// `float32`
    F32,
    /// `float64`
    F64,
}

impl Primitive {
    /// The primitive type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "byte" => Self::Byte,
            "uint8" | "char" => Self::U8,
            "int8" => Self::I8,
            "uint16" => Self::U16,
            "int16" => Self::I16,
            "uint32" => Self::U32,
            "int32" => Self::I32,
            "uint64" => Self::U64,
            "int64" => Self::I64,
            "float32" => Self::F32,
            "float64" => Self::F64,
            _ => return None,
        })
    }

    /// Its name, `uint8` for `char`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Byte => "byte",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Size and alignment on the wire, which are equal.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::Byte | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether its arrays are stored as bytes.
    #[must_use]
    pub fn is_octet(self) -> bool {
        matches!(self, Self::Byte | Self::U8)
    }
}
