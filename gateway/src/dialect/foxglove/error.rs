//! The errors of Foxglove requests, with their texts for the client.

use roverline_schema::{DecodeError, SchemaError};
use roverline_source::ros::RosError;

use crate::access::PermissionDenied;
use crate::dialect::foxglove::assets::AssetError;
use crate::dialect::session::PublishRejected;
use crate::hub::SubscribeError;
use crate::limits;

/// Why a message cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum MalformedMessage {
    /// A text message is not JSON, or not a request.
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// A binary message has no opcode.
    #[error("an empty binary message")]
    Empty,
    /// A binary message ends within its fields.
    #[error("a binary message of opcode {opcode} ends too early: {bytes} bytes")]
    TooShort {
        /// The message's opcode.
        opcode: u8,
        /// The message's length.
        bytes: usize,
    },
    /// A field of text in a binary message is not UTF-8.
    #[error("{0} that is no text")]
    NotText(&'static str),
    /// The opcode belongs to no message of a client.
    #[error("binary messages have opcode 1, 2 or 3 here, not {0}")]
    Opcode(u8),
    /// The playback command is neither play nor pause.
    #[error("a recording can play (0) or pause (1), not {0}")]
    PlaybackCommand(u8),
}

/// Why a request that was understood fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The client may not do it here.
    #[error(transparent)]
    Denied(#[from] PermissionDenied),
    /// It would exceed a limit.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// The id belongs to nothing: the kind of the thing, and its id.
    #[error("there is no {0} {1}")]
    Unknown(&'static str, u32),
    /// The client has not advertised this channel.
    #[error("channel {0} is not advertised")]
    NotAdvertised(u32),
    /// The client uses an id or a channel twice.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
    /// The name of the type is not valid.
    #[error(transparent)]
    TypeName(#[from] SchemaError),
    /// The payload of a call cannot be converted.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The payload of a message cannot be converted.
    #[error("{topic}: {source}")]
    Message { topic: String, source: PayloadError },
    /// A parameter cannot be set.
    #[error("{name}: {source}")]
    Parameter { name: String, source: ParameterError },
    /// The hub does not take the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The file cannot be sent.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The source or the called service fails.
    #[error(transparent)]
    Ros(#[from] RosError),
}

impl From<PublishRejected> for RequestError {
    fn from(rejected: PublishRejected) -> RequestError {
        match rejected {
            PublishRejected::Denied(denied) => denied.into(),
            PublishRejected::Command(refused) => PermissionDenied(refused.to_string()).into(),
            PublishRejected::Source(error) => error.into(),
        }
    }
}

/// A limit that a request would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Limit {
    /// The length of a list in a request.
    #[error("a request may have {} entries", limits::FOXGLOVE_REQUEST_ENTRIES)]
    Entries,
    /// The parameters whose changes a session follows.
    #[error("{} parameters can be followed", limits::FOXGLOVE_REQUEST_ENTRIES)]
    Parameters,
    /// The topics that a session publishes.
    #[error("a session may publish {} topics", limits::PUBLICATIONS_PER_SESSION)]
    Publications,
    /// The length of a topic's name.
    #[error("a topic's name has 1 to {} characters", limits::TOPIC_NAME_CHARS)]
    TopicName,
    /// The length of a URI.
    #[error("a URI may have {} bytes", limits::FOXGLOVE_URI_BYTES)]
    Uri,
    /// The pending requests of a session.
    #[error("{} requests wait for their answers already", limits::CALLS_PER_SESSION)]
    PendingRequests,
    /// The bytes of a session's pending requests.
    #[error("large requests wait for their answers already")]
    PendingBytes,
    /// The size of a service's response.
    #[error("the response is larger than {} bytes", limits::FOXGLOVE_RESPONSE_BYTES)]
    Response,
}

/// An id or a channel that a client uses twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Duplicate {
    /// The client has a subscription of this id.
    #[error("subscription {0} exists; ignored")]
    Subscription(u32),
    /// The client has subscribed to this channel.
    #[error("channel {0} is subscribed; ignored")]
    Subscribed(u32),
    /// The client has advertised a channel of this id.
    #[error("channel {0} is advertised already")]
    Advertised(u32),
}

/// Why a parameter cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParameterError {
    /// It cannot have this value; the text is the rule.
    #[error("{0}")]
    Value(&'static str),
    /// The node refuses, or does not answer.
    #[error(transparent)]
    Ros(#[from] RosError),
}

/// Why a client's payload cannot be converted to CDR.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    /// The gateway does not know the encoding.
    #[error("the encoding '{given}' is not understood; use {}", known.join(" or "))]
    Encoding { given: String, known: &'static [&'static str] },
    /// It is not JSON.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The CDR does not match its type.
    #[error("this is no {type_name}: {source}")]
    Cdr { type_name: String, source: DecodeError },
    /// The CDR of an unknown type has no encapsulation header.
    #[error("CDR begins with four bytes that say how it is encoded")]
    NoHeader,
    /// The JSON does not match its type.
    #[error(transparent)]
    Ros(#[from] RosError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: impl Into<RequestError>) -> String {
        error.into().to_string()
    }

    #[test]
    fn texts_name_the_limit_or_the_thing() {
        let most = limits::FOXGLOVE_RESPONSE_BYTES;
        assert_eq!(text(Limit::Response), format!("the response is larger than {most} bytes"));
        assert_eq!(text(Duplicate::Subscribed(3)), "channel 3 is subscribed; ignored");
        assert_eq!(text(RequestError::Unknown("channel", 3)), "there is no channel 3");
        let given = "xml".to_owned();
        let encoding = PayloadError::Encoding { given, known: &["cdr", "json"] };
        assert_eq!(text(encoding), "the encoding 'xml' is not understood; use cdr or json");
        let message = RequestError::Message { topic: "/a".to_owned(), source: PayloadError::NoHeader };
        assert_eq!(text(message), "/a: CDR begins with four bytes that say how it is encoded");
        let source = ParameterError::Value("a float64 is a number");
        let parameter = RequestError::Parameter { name: "/a.b".to_owned(), source };
        assert_eq!(text(parameter), "/a.b: a float64 is a number");
        assert_eq!(MalformedMessage::NotText("an encoding").to_string(), "an encoding that is no text");
    }
}
