//! The errors of rosbridge operations, with their texts for the client.

use roverline_protocol::Tier;
use roverline_schema::SchemaError;
use roverline_source::ros::RosError;

use crate::access::PermissionDenied;
use crate::dialect::rosbridge::malformed::MalformedMessage;
use crate::dialect::rosbridge::rosapi::QueryError;
use crate::dialect::session::PublishRejected;
use crate::hub::SubscribeError;
use crate::limits;

/// Why an operation fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The message is malformed.
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
    /// The client may not do it here.
    #[error(transparent)]
    Denied(#[from] PermissionDenied),
    /// It would exceed a limit.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// The operation needs something that the message does not have; the text is the rule.
    #[error("{0}")]
    Incomplete(&'static str),
    /// The topic cannot be subscribed or published.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The name or the id is taken.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The name or the id belongs to nothing.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The type is unknown, or its definition is not valid.
    #[error(transparent)]
    Type(#[from] SchemaError),
    /// The message does not match its type.
    #[error("{name}: {source}")]
    Encode { name: String, source: RosError },
    /// The hub does not take the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The query of rosapi fails.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The source, or the service or action that is called, fails.
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

/// A limit that an operation would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Limit {
    /// The subscriptions of a session.
    #[error("a session may have {} subscriptions", limits::PATTERNS_PER_SESSION)]
    Subscriptions,
    /// The topics that a session publishes.
    #[error("a session may publish {} topics", limits::PUBLICATIONS_PER_SESSION)]
    Publications,
    /// The services and actions that a session serves.
    #[error("a session may offer {0} services and actions")]
    Services(usize),
    /// The active goals of a session.
    #[error("{} goals are under way already", limits::GOALS_PER_SESSION)]
    Goals,
    /// The pending calls of a session.
    #[error("{} calls wait for their answers already", limits::CALLS_PER_SESSION)]
    Calls,
    /// The pending calls and goals of a session together.
    #[error("too many calls wait for their answers already")]
    Tasks,
    /// The size of a response, which has this many bytes.
    #[error("the answer has {0} bytes, which is too much")]
    Response(usize),
}

/// Why a topic cannot be subscribed or published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TopicError {
    /// The topic is not in the endpoint's scope.
    #[error("{name} is not in the scope of the {tier} endpoint; use the primary one")]
    OutOfScope { name: String, tier: Tier },
    /// The topic has another type.
    #[error("{name} is a {actual}, not a {wanted}")]
    OtherType { name: String, actual: String, wanted: String },
    /// The topic's type has no known definition.
    #[error("{name} cannot be decoded, {type_name} is not known; use cbor-raw")]
    NoDefinition { name: String, type_name: String },
    /// Neither the client nor the graph names the topic's type.
    #[error("the type of {0} is not known; advertise it first")]
    NoType(String),
}

/// Why a name or an id is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    /// Another client serves the service or action.
    #[error("{name} is offered by {owner}: only {owner} can replace it")]
    OtherOwner { name: String, owner: String },
    /// The gateway serves the service.
    #[error("the gateway serves {0} itself")]
    Gateway(String),
    /// The client's goal of this id is active.
    #[error("a goal of this id is under way")]
    Goal,
}

/// A name or an id that belongs to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// A service or action that the session serves.
    #[error("you do not offer {0}")]
    Advertised(String),
    /// A request that waits for the client's response.
    #[error("no request of this id waits for {0}")]
    Request(String),
    /// An active goal.
    #[error("no goal of this id is under way at {0}")]
    Goal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: impl Into<RequestError>) -> String {
        error.into().to_string()
    }

    #[test]
    fn texts_name_the_limit_or_the_thing() {
        let name = || "/a".to_owned();
        assert_eq!(text(Limit::Services(16)), "a session may offer 16 services and actions");
        assert_eq!(text(Limit::Response(9)), "the answer has 9 bytes, which is too much");
        let other =
            TopicError::OtherType { name: name(), actual: "b/msg/C".into(), wanted: "b/msg/D".into() };
        assert_eq!(text(other), "/a is a b/msg/C, not a b/msg/D");
        let scope = TopicError::OutOfScope { name: name(), tier: Tier::Secondary };
        assert_eq!(text(scope), "/a is not in the scope of the secondary endpoint; use the primary one");
        let owner = Conflict::OtherOwner { name: name(), owner: "x".into() };
        assert_eq!(text(owner), "/a is offered by x: only x can replace it");
        assert_eq!(text(Unknown::Goal(name())), "no goal of this id is under way at /a");
        assert_eq!(text(MalformedMessage::Name("ä".into())), "'ä' is not a ROS name such as /imu/data");
    }
}
