//! The errors of malformed messages, with their texts for the client; too many of them end the session.

use roverline_schema::SchemaError;

use crate::access::AuthenticationError;

/// Why a message is malformed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MalformedMessage {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not have the protocol's form; the text is the rule.
    #[error("{0}")]
    Form(&'static str),
    /// Its id is too long.
    #[error("an id may have {0} bytes")]
    IdBytes(usize),
    /// The fields of its operation are wrong.
    #[error("{op}: {source}")]
    Fields { op: String, source: FieldError },
    /// Its fragments cannot be reassembled.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Its PNG image cannot be decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It has a name that is not valid in ROS.
    #[error("'{0}' is not a ROS name such as /imu/data")]
    Name(String),
    /// It has the name of a type of another kind.
    #[error("{name} is not a {kind} type")]
    TypeKind { name: String, kind: String },
    /// It has the name of a type that is not valid.
    #[error(transparent)]
    TypeName(#[from] SchemaError),
    /// Its token identifies no client: guessing ends the session.
    #[error(transparent)]
    Token(#[from] AuthenticationError),
}

/// Why the fields of an operation are wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum FieldError {
    /// A field is missing, or has another type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A field that the operation needs is missing; the text is the rule.
    #[error("{0}")]
    Missing(&'static str),
    /// The protocol has no such operation.
    #[error("there is no such op")]
    UnknownOp,
}

/// Why fragments cannot be reassembled. Limits are with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssemblyError {
    /// The number of the fragment is not below the total.
    #[error("piece {num} of {total} cannot be")]
    Number { num: usize, total: usize },
    /// The message has too many fragments.
    #[error("a message may have {0} pieces")]
    Fragments(usize),
    /// Too many messages of the session are incomplete.
    #[error("at most {0} messages may be unfinished at a time")]
    Messages(usize),
    /// The incomplete messages of the session are too large.
    #[error("unfinished messages may have {0} bytes")]
    Bytes(usize),
}

/// Why a PNG image cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    /// It is not base64.
    #[error("the image is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// It is not a PNG image.
    #[error("the image cannot be read: {0}")]
    Png(#[from] png::DecodingError),
    /// It has more samples than fit; the limit is in bytes.
    #[error("the image holds more than {0} bytes")]
    Bytes(usize),
    /// Its samples are not UTF-8.
    #[error("the image holds no text")]
    NotText,
}
