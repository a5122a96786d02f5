//! Errors of the definition parser.

use crate::limits::MAX_NAME_BYTES;

/// Why a line does not belong to the message definition language. Quoted text is shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// A type without a name.
    #[error("`{0}` has no name")]
    MissingName(String),
    /// Not a field name.
    #[error("`{0}` is not a field name")]
    FieldName(String),
    /// Text that may not follow a field name.
    #[error("`{rest}` follows the name `{name}`")]
    AfterName {
        /// The text.
        rest: String,
        /// The field name.
        name: String,
    },
    /// A field name that is declared twice.
    #[error("field `{0}` comes twice")]
    DuplicateField(String),
    /// An array type without its closing bracket.
    #[error("`{0}` lacks its ]")]
    MissingBracket(String),
    /// A bound on a type other than a string.
    #[error("`{0}`: only strings have a bound")]
    Bound(String),
    /// Not a positive count.
    #[error("`{0}` is not a count from 1 to 4294967295")]
    Count(String),
    /// Not a type.
    #[error("`{0}` is not a type")]
    Type(String),
    /// Not a default value of the field's type.
    #[error("`{0}` is not a default for this type")]
    Default(String),
    /// A default value with a wrong number of elements.
    #[error("the default has {0} elements")]
    DefaultLength(usize),
    /// Text that may not follow a default value.
    #[error("`{0}` follows the default")]
    AfterDefault(String),
    /// A separator between concatenated definitions that is not followed by a title.
    #[error("a rule of `=` without `MSG: pkg/Type` after it")]
    Untitled,
    /// Something else than the grammar of IDL asks for.
    #[error("{expected} is expected, not {found}")]
    Unexpected {
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Something that IDL has and ROS 2 messages do not, or that has another form on the wire.
    #[error("`{0}` is not supported in IDL")]
    Unsupported(String),
    /// More structs than one text may have.
    #[error("more than {0} structs")]
    TooManyStructs(usize),
    /// More fields and constants than a message may have.
    #[error("more than {0} fields")]
    TooManyFields(usize),
}

/// A text, shortened for error messages.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME_BYTES / 4).collect()
}
