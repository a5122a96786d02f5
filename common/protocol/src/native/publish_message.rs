//! A message that a client publishes.

use serde::{Deserialize, Serialize};

/// A message that a client publishes: one of a stream, of which the newest counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishMessage {
    /// The topic: `/cmd_vel`.
    pub topic: String,
    /// Its ROS type: `geometry_msgs/msg/Twist`. Empty: that of the topic in the ROS graph.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// The message; fields that are left out have their default.
    pub body: serde_json::Value,
    /// When it left the client, by the clock of the endpoint, nanoseconds since the Unix epoch. Absent: its time to live
    /// begins when it arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<i64>,
    /// If it arrives later than this after it was sent, it is not published, milliseconds. Absent: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// The fencing token of the client's lock, if the topic is guarded and the client holds it under a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}
