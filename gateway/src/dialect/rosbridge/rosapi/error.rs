//! The errors of rosapi's queries, with their texts for the client.

use roverline_schema::SchemaError;
use roverline_source::ros::RosError;

use crate::access::PermissionDenied;
use crate::dialect::rosbridge::malformed::MalformedMessage;

/// Why a query fails.
#[derive(Debug, thiserror::Error)]
pub(in crate::dialect::rosbridge) enum QueryError {
    /// rosapi has no such service.
    #[error("there is no rosapi/{0}")]
    UnknownQuery(String),
    /// An argument is missing, or is not text.
    #[error("the request has a {0}, which is text")]
    Argument(&'static str),
    /// The type is named wrongly.
    #[error(transparent)]
    TypeName(#[from] MalformedMessage),
    /// The type is unknown, or its definition is not valid.
    #[error(transparent)]
    Type(#[from] SchemaError),
    /// The client may not do it here.
    #[error(transparent)]
    Denied(#[from] PermissionDenied),
    /// The endpoint does not serve the node's parameters.
    #[error("{0} is not in the scope of this endpoint; use the primary one")]
    OutOfScope(String),
    /// The parameter is named without its node.
    #[error("a parameter is named /node:parameter")]
    ParameterName,
    /// The node does not have the parameter.
    #[error("{node} has no parameter {name}")]
    UnknownParameter { node: String, name: String },
    /// The value for a parameter is not JSON.
    #[error("the value is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// No parameter can have the value.
    #[error("it is no value of a parameter")]
    Value,
    /// The node does not answer, or refuses.
    #[error(transparent)]
    Ros(#[from] RosError),
    /// The answer cannot be written as JSON.
    #[error(transparent)]
    Answer(serde_json::Error),
}
