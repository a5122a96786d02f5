//! Error types; their messages name the type or the field.

use crate::cdr::ReadError;
use crate::parse::SyntaxError;

/// An unusable definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not `pkg/Type`, `pkg/msg/Type`, `pkg/srv/Type` or `pkg/action/Type`.
    #[error("`{0}` is not a type name such as pkg/msg/Type")]
    Name(String),
    /// No recording, installed package or bundled set defines it.
    #[error("type {0} is unknown")]
    Unknown(String),
    /// A type that a known type refers to is not defined anywhere.
    #[error("type {name}, which {user} uses, is unknown")]
    UnknownDependency {
        /// The missing type.
        name: String,
        /// The type that has the field.
        user: String,
    },
    /// A line that does not belong to the message definition language.
    #[error("{type_name}, line {line}: {error}")]
    Syntax {
        /// The type being read.
        type_name: String,
        /// Line within its definition, from 1.
        line: usize,
        /// The error in it.
        error: SyntaxError,
    },
    /// The type contains itself.
    #[error("type {0} contains itself")]
    Recursive(String),
    /// A bound in [`crate::limits`] is exceeded.
    #[error("{type_name}: more than {limit} {what}")]
    TooLarge {
        /// The type being read.
        type_name: String,
        /// The quantity that exceeds the bound.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A definition language other than `ros2msg` and `ros2idl`.
    #[error("{type_name}: schema encoding `{encoding}` is not supported, only ros2msg and ros2idl are")]
    Encoding {
        /// The type being added.
        type_name: String,
        /// The given encoding.
        encoding: String,
    },
    /// An interface file exists but cannot be read.
    #[error("{type_name}: {what}")]
    File {
        /// The type being loaded.
        type_name: String,
        /// The operating system's error message.
        what: String,
    },
}

/// A payload that does not match its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", Prefix(path))]
pub struct DecodeError {
    /// Path of the field, such as `points[3].positions`; empty for the message as a whole.
    pub path: String,
    /// The kind of error.
    pub kind: DecodeErrorKind,
}

/// Kinds of payload errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// Malformed header or length.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More bytes after the last field than padding explains: the sender's definition differs.
    #[error("{0} bytes are left over after the last field: the sender's definition differs")]
    Trailing(usize),
    /// More values than [`crate::limits::MAX_VALUES`].
    #[error("more than {0} values in one message")]
    TooManyValues(usize),
    /// More JSON than [`crate::limits::MAX_JSON_BYTES`].
    #[error("more than {0} bytes of JSON")]
    TooMuchJson(usize),
}

impl DecodeError {
    pub(crate) fn at(path: impl Into<String>, kind: impl Into<DecodeErrorKind>) -> Self {
        Self { path: path.into(), kind: kind.into() }
    }

    /// Prefixes the path with the enclosing field.
    #[cold]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        prepend(&mut self.path, outer);
        self
    }

    /// Prefixes the path with the index in the enclosing array.
    #[cold]
    pub(crate) fn within_index(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

impl From<DecodeErrorKind> for DecodeError {
    #[cold]
    fn from(kind: DecodeErrorKind) -> Self {
        Self::at(String::new(), kind)
    }
}

impl From<ReadError> for DecodeError {
    #[cold]
    fn from(error: ReadError) -> Self {
        Self::at(String::new(), error)
    }
}

/// A value or JSON document that does not match the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", Prefix(path))]
pub struct EncodeError {
    /// Path of the field, such as `pose.position.x`; empty for the message as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl EncodeError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    /// Prefixes the path with the enclosing field.
    #[cold]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        prepend(&mut self.path, outer);
        self
    }

    /// Prefixes the path with the index in the enclosing array.
    #[cold]
    pub(crate) fn within_index(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

fn prepend(path: &mut String, outer: &str) {
    if !path.is_empty() && !path.starts_with('[') && !outer.is_empty() {
        path.insert(0, '.');
    }
    path.insert_str(0, outer);
}

/// `path: `, or nothing when the path is empty.
struct Prefix<'a>(&'a str);

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}
