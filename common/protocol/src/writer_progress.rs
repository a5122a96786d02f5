//! The progress of a writer, by which endpoints compare what they hear.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Guid;

/// The newest sample that an endpoint has of a writer of the ROS graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WriterProgress {
    /// The writer's topic.
    pub topic: String,
    /// The topic's type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The writer's GUID, 32 hexadecimal digits.
    #[schemars(with = "String")]
    pub writer: Guid,
    /// The sequence number.
    pub seq: u64,
    /// Whether its topic is latched: a late reader gets this sample, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latched: bool,
}
