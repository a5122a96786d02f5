//! The severity of a status.

use serde::{Deserialize, Serialize};

/// Severity of a [`ServerMessage::Status`](crate::native::ServerMessage::Status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For information.
    Info,
    /// The request was not executed as asked.
    Warning,
    /// The request failed.
    Error,
}
