//! The errors of plain clients' messages, with their texts for the client.

use crate::access::AuthenticationError;
use crate::hub::SubscribeError;

/// Why a message fails. Each failure counts as a malformed message.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not a text message.
    #[error("send JSON as a text message")]
    NotText,
    /// It is not JSON, or not a request.
    #[error(
        "not understood: {0}; send {{\"type\":\"request_telemetry\"}}, \
         {{\"type\":\"subscribe\",\"topics\":[\"/odom\"]}} or {{\"type\":\"emergency_stop\"}}"
    )]
    Json(#[from] serde_json::Error),
    /// The hub does not take the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The token identifies no client.
    #[error(transparent)]
    Token(#[from] AuthenticationError),
}
