//! The messages of plain clients.

use serde::Deserialize;

use crate::dialect::plain::error::RequestError;

/// A plain client's message.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Send the telemetry now.
    #[serde(rename = "request_telemetry")]
    Telemetry,
    /// Subscribe to the messages of these topics.
    Subscribe {
        /// Glob patterns.
        topics: Vec<String>,
        /// At most this many messages per second and topic.
        #[serde(default)]
        max_rate_hz: Option<f64>,
    },
    /// End subscriptions.
    Unsubscribe {
        /// The patterns, as they were subscribed.
        topics: Vec<String>,
    },
    /// Engage the emergency stop.
    EmergencyStop {
        /// The rover executes an id once; a missing id becomes a new one.
        #[serde(default)]
        id: Option<String>,
        /// The reason, for the log.
        #[serde(default)]
        reason: String,
    },
    /// Authenticate.
    Auth {
        /// The token.
        token: String,
    },
    /// Check that the endpoint answers.
    Ping,
}

impl Request {
    /// Decodes a message. The JSON reader bounds the nesting.
    pub fn decode(text: &str) -> Result<Request, RequestError> {
        Ok(serde_json::from_str(text)?)
    }
}
