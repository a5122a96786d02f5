//! JSON documents of the HTTP API below `/api/v2`, beyond those of `/health` and `/status`.

pub mod alarms;
pub mod authority;
pub mod commands;
pub mod emergency_stop;
pub mod events;
pub mod kv;
pub mod lifecycle;
pub mod locks;
pub mod log;
pub mod metrics;
pub mod traces;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::api::metrics::{DialectDocument, MetricsDocument};
use crate::status::{HealthStatus, Origin};
use crate::{Delivery, Priority, ScopeSet, Tier};

pub mod queues;

/// Pattern (ECMA 262) of the names of locks, queues and their clients; the length limit is 200
/// bytes.
pub const NAME_PATTERN: &str = r"^[^/\u0000-\u001f\u007f-\u009f]{1,200}$";
/// Pattern (ECMA 262) of names in the event log.
pub const LABEL_PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$";

/// Pattern (ECMA 262) of `host:port`: a name, an IPv4 address, or an IPv6 address in brackets.
pub const ADDRESS_PATTERN: &str = r"^(\[([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\]|\[([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}\]|\[::([0-9A-Fa-f]{1,4})?\]|[A-Za-z0-9._-]{1,253}):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

/// Body of `POST /api/v2/endpoints`: another endpoint of this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = Registration::example())]
pub struct Registration {
    /// Tier of the endpoint.
    pub tier: Tier,
    /// Address it listens on: `rover-2.local:8081`.
    #[schemars(regex(pattern = ADDRESS_PATTERN))]
    pub address: String,
}

impl Registration {
    /// A valid example.
    pub fn example() -> Registration {
        Registration { tier: Tier::Secondary, address: "rover-2.local:8081".to_owned() }
    }
}

/// Result of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistrationDocument {
    /// Tier of the endpoint.
    pub tier: Tier,
    /// Address it listens on.
    pub address: String,
    /// How it became known.
    pub origin: Origin,
}

/// Topics, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicList {
    /// This page of topics.
    pub topics: Vec<TopicEntry>,
    /// Total number of entries, all pages included.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A topic in this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicEntry {
    /// ROS name.
    pub name: String,
    /// ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Scopes the topic belongs to.
    pub scopes: ScopeSet,
    /// Its priority in the outbox.
    pub priority: Priority,
    /// What happens when a client is slow.
    pub delivery: Delivery,
    /// Most samples per second that leave this endpoint; null: no limit.
    pub max_rate_hz: Option<f64>,
    /// Samples per second that are expected of its publishers, by the routing table or by an operator; null: none.
    pub expected_rate_hz: Option<f64>,
    /// QoS offered by its publishers.
    pub qos: QosDocument,
    /// Whether its type is known, so that its messages can be decoded.
    pub schema: bool,
    /// Samples received so far.
    pub samples: u64,
    /// Bytes received so far.
    pub bytes: u64,
    /// Recent samples per second.
    pub rate_hz: f64,
    /// Recent bytes per second.
    pub bandwidth_bytes_per_s: f64,
    /// Seconds since the newest sample; null before the first.
    pub age_s: Option<f64>,
    /// ROS nodes that publish it, as far as the source knows.
    pub publishers: Vec<String>,
    /// ROS nodes that subscribe to it, as far as the source knows.
    pub subscribers: Vec<String>,
    /// Sessions of this endpoint that are subscribed to it.
    pub listeners: usize,
}

/// QoS offered by the publishers of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QosDocument {
    /// Lost samples are sent again.
    pub reliable: bool,
    /// A late subscriber gets the last samples.
    pub transient_local: bool,
}

/// A topic with its type definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicDetail {
    /// As in the list.
    #[serde(flatten)]
    pub topic: TopicEntry,
    /// Message definition with its dependencies (`ros2msg`); null if the type is not known.
    pub definition: Option<String>,
}

/// The newest message of a topic. It has exactly one of `message`, `base64` and `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatestDocument {
    /// ROS name.
    pub topic: String,
    /// ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its writer: the DDS GUID, or a substitute if the source has no GUIDs.
    pub source: String,
    /// Sequence number of its writer.
    pub seq: u64,
    /// When it was published, nanoseconds since the Unix epoch; 0 if the publisher did not say.
    pub source_time_ns: i64,
    /// When the gateway received it, nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
    /// Seconds since then.
    pub age_s: f64,
    /// Size as CDR.
    pub bytes: usize,
    /// Decoded fields. NaN and infinities are null, byte arrays are base64, as in rosbridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<BTreeMap<String, Value>>,
    /// CDR with its encapsulation header, if the type is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Why it cannot be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// ROS nodes, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// This page of nodes.
    pub nodes: Vec<NodeEntry>,
    /// Total number of entries, all pages included.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A ROS node, limited to this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEntry {
    /// `/namespace/name`.
    pub name: String,
    /// Topics it publishes.
    pub publishes: Vec<NamedType>,
    /// Topics it subscribes to.
    pub subscribes: Vec<NamedType>,
    /// Services it provides.
    pub serves: Vec<NamedType>,
}

/// A name in the ROS graph with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedType {
    /// ROS name.
    pub name: String,
    /// ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// ROS services, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    /// This page of services.
    pub services: Vec<ServiceEntry>,
    /// Total number of entries, all pages included.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A ROS service in this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceEntry {
    /// ROS name.
    pub name: String,
    /// ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Nodes that provide it.
    pub providers: Vec<String>,
}

/// Rovers known to an endpoint: its own, once it has sent something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RobotList {
    /// One entry, or none.
    pub robots: Vec<RobotDocument>,
}

/// A rover as this endpoint sees it. Values that never arrived, or lie outside the endpoint's
/// scopes, are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RobotDocument {
    /// The rover's name, as configured.
    pub id: String,
    /// Endpoints that serve it.
    pub endpoints: Vec<RobotEndpoint>,
    /// Scopes of this endpoint.
    pub scopes: ScopeSet,
    /// What it is doing.
    pub state: Option<RobotState>,
    /// The worst of its diagnostics: `ok`, `warning`, `error` or `stale`.
    pub health: Option<String>,
    /// Whether its emergency stop is engaged.
    pub emergency_stop: Option<bool>,
    /// Whether it has left its bounds.
    pub boundary_violation: Option<bool>,
    /// Its position.
    pub position: Option<Position>,
    /// Its battery.
    pub battery: BatteryDocument,
    /// Its mission.
    pub mission: MissionDocument,
    /// Seconds since the newest of these values arrived; null if none arrived at this endpoint.
    pub age_s: Option<f64>,
    /// Seconds since each of the values arrived, by its key in plain telemetry.
    pub ages_s: BTreeMap<String, Option<f64>>,
    /// Its lifecycle state in the coordination store; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<lifecycle::LifecycleDocument>,
}

/// An endpoint that serves a rover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RobotEndpoint {
    /// Tier of the endpoint.
    pub tier: Tier,
    /// `host:port`, if known.
    pub address: Option<String>,
    /// The port it listens on.
    pub port: u16,
    /// Its health.
    pub status: HealthStatus,
}

/// What a rover is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RobotState {
    /// Its emergency stop is engaged.
    Stopped,
    /// It drives by itself.
    Autonomous,
    /// It is driven by an operator.
    Manual,
}

/// A position on earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Degrees north.
    pub lat: Option<f64>,
    /// Degrees east.
    pub lon: Option<f64>,
    /// Metres above the ellipsoid.
    pub alt: Option<f64>,
}

/// State of the battery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatteryDocument {
    /// Charge, percent.
    pub level_percent: Option<f64>,
    /// Current, ampere; negative while discharging.
    pub current_a: Option<f64>,
}

/// State of the mission.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MissionDocument {
    /// Its name.
    pub name: Option<String>,
    /// Its status.
    pub status: Option<String>,
    /// Time since its start, as the rover reports it.
    pub time: Option<Value>,
    /// Samples collected so far.
    pub samples_collected: Option<i64>,
}
