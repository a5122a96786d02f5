//! The errors of native clients' messages, with their codes and texts for the client.

use roverline_protocol::limits;

use crate::access::AuthenticationError;
use crate::hub::SubscribeError;

/// Why a message fails. Each failure counts as a malformed message.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// It is not a text message.
    #[error("the native dialect takes JSON text messages")]
    NotText,
    /// It is not JSON, or not a message of the protocol.
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// A resume has too many cursors.
    #[error("a resume may have {} cursors", limits::CURSORS_PER_RESUME)]
    Cursors,
    /// The hub does not take the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The token identifies no client.
    #[error(transparent)]
    Token(#[from] AuthenticationError),
}

impl RequestError {
    /// The code in the status message.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            RequestError::Token(_) => "denied",
            _ => "bad_message",
        }
    }
}
