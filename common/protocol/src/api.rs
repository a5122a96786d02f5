//! The JSON of the HTTP API below `/api/v2`, beyond what `/health` and `/status` show.

pub mod events;
pub mod kv;
pub mod lifecycle;
pub mod locks;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::{CounterDocument, HealthStatus, Origin, SourceDocument};
use crate::{Delivery, Priority, ScopeSet, Tier};

pub mod queues;

/// What names of locks, of queues and of who uses them look like (ECMA 262); they have 200 bytes at most.
pub const NAME_PATTERN: &str = r"^[^/\u0000-\u001f\u007f-\u009f]{1,200}$";
/// The same of names in the log of events.
pub const LABEL_PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$";

/// `host:port` as a pattern (ECMA 262): a name or an address of IPv4, or one of IPv6 in brackets.
pub const ADDRESS_PATTERN: &str = r"^(\[([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\]|\[([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}\]|\[::([0-9A-Fa-f]{1,4})?\]|[A-Za-z0-9._-]{1,253}):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

/// The body of `POST /api/v2/endpoints`: another endpoint of this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = Registration::example())]
pub struct Registration {
    /// Which of the four it is.
    pub tier: Tier,
    /// Where it listens: `192.168.1.11:8081`.
    #[schemars(regex(pattern = ADDRESS_PATTERN))]
    pub address: String,
}

impl Registration {
    /// One that can be sent.
    pub fn example() -> Registration {
        Registration { tier: Tier::Secondary, address: "192.168.1.11:8081".to_owned() }
    }
}

/// What a registration led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistrationDocument {
    /// Which of the four it is.
    pub tier: Tier,
    /// Where it listens.
    pub address: String,
    /// How it came to be known.
    pub origin: Origin,
}

/// Topics by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicList {
    /// This page of them.
    pub topics: Vec<TopicEntry>,
    /// How many there are in all, this page and all others.
    pub total: usize,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
}

/// A topic in this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicEntry {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is about.
    pub scopes: ScopeSet,
    /// Its place in a full outbox.
    pub priority: Priority,
    /// What happens when a client is slow.
    pub delivery: Delivery,
    /// Most samples per second that leave this endpoint; null: as they come.
    pub max_rate_hz: Option<f64>,
    /// What its publishers offer.
    pub qos: QosDocument,
    /// Whether its type is known, so that its messages can be shown.
    pub schema: bool,
    /// Samples so far.
    pub samples: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Samples per second of late.
    pub rate_hz: f64,
    /// Bytes per second of late.
    pub bandwidth_bytes_per_s: f64,
    /// Seconds since the newest sample; null before the first.
    pub age_s: Option<f64>,
    /// ROS nodes that publish it, as far as the source tells.
    pub publishers: Vec<String>,
    /// ROS nodes that subscribe it, as far as the source tells.
    pub subscribers: Vec<String>,
    /// Sessions of this endpoint that listen to it.
    pub listeners: usize,
}

/// What the publishers of a topic offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QosDocument {
    /// Lost samples are sent again.
    pub reliable: bool,
    /// A late subscriber gets the last samples.
    pub transient_local: bool,
}

/// A topic with its type's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicDetail {
    /// As in the list.
    #[serde(flatten)]
    pub topic: TopicEntry,
    /// The message definition with its dependencies (`ros2msg`); null where the type is not known.
    pub definition: Option<String>,
}

/// The newest message of a topic. It has one of `message`, `base64` and `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatestDocument {
    /// The ROS name.
    pub topic: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Who wrote it: the DDS writer's GUID, or what stands for it.
    pub source: String,
    /// Its number among those of its writer.
    pub seq: u64,
    /// When it was published, nanoseconds since the Unix epoch; 0 where the publisher did not say.
    pub source_time_ns: i64,
    /// When the gateway received it, nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
    /// Seconds since then.
    pub age_s: f64,
    /// Its size as CDR.
    pub bytes: usize,
    /// Its fields. NaN and infinities are null, byte arrays are base64, as rosbridge has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<BTreeMap<String, Value>>,
    /// The CDR with its encapsulation, where the type is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Why it cannot be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// ROS nodes by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// This page of them.
    pub nodes: Vec<NodeEntry>,
    /// How many there are in all, this page and all others.
    pub total: usize,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
}

/// A ROS node, and what of it lies in this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEntry {
    /// `/namespace/name`.
    pub name: String,
    /// Topics that it publishes.
    pub publishes: Vec<NamedType>,
    /// Topics that it subscribes.
    pub subscribes: Vec<NamedType>,
    /// Services that it serves.
    pub serves: Vec<NamedType>,
}

/// A name in the ROS graph with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedType {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// ROS services by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    /// This page of them.
    pub services: Vec<ServiceEntry>,
    /// How many there are in all, this page and all others.
    pub total: usize,
    /// Where the next page begins: ask again with it as `after`; null at the end.
    pub next: Option<String>,
}

/// A ROS service in this endpoint's scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceEntry {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The nodes that serve it.
    pub providers: Vec<String>,
}

/// What an endpoint counts, in short; `/metrics` has all of it for Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsDocument {
    /// Who tells.
    pub tier: Tier,
    /// The verdict on it.
    pub status: HealthStatus,
    /// Seconds since this process began to serve.
    pub uptime_s: f64,
    /// The source and how young its data is.
    pub source: SourceDocument,
    /// Clients now.
    pub clients: usize,
    /// Clients at most.
    pub max_clients: usize,
    /// Sessions that only stand by.
    pub standbys: usize,
    /// Bytes that wait for clients.
    pub queued_bytes: usize,
    /// Counters since the process began to serve.
    pub counters: CounterDocument,
    /// The sessions by what they speak.
    pub dialects: BTreeMap<String, DialectDocument>,
    /// Processor time spent, seconds.
    pub cpu_s: f64,
    /// Memory in use; null where the system does not tell.
    pub resident_bytes: Option<u64>,
}

/// What the sessions of one dialect cost and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialectDocument {
    /// Sessions now.
    pub sessions: usize,
    /// Messages delivered since the process began to serve.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Samples not delivered to slow clients.
    pub dropped: u64,
}

/// The rovers that an endpoint knows: its own, as soon as it has said something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RobotList {
    /// One, or none.
    pub robots: Vec<RobotDocument>,
}

/// A rover as this endpoint sees it. What never came, or lies outside the endpoint's scopes, is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RobotDocument {
    /// The rover's name, as configured.
    pub id: String,
    /// Where it can be reached.
    pub endpoints: Vec<RobotEndpoint>,
    /// What this endpoint knows of.
    pub scopes: ScopeSet,
    /// What it is doing.
    pub state: Option<RobotState>,
    /// The worst of its diagnostics: `ok`, `warning`, `error` or `stale`.
    pub health: Option<String>,
    /// Whether its emergency stop is engaged.
    pub emergency_stop: Option<bool>,
    /// Whether it has left its bounds.
    pub boundary_violation: Option<bool>,
    /// Where it is.
    pub position: Option<Position>,
    /// How much energy it has.
    pub battery: BatteryDocument,
    /// What it is to do.
    pub mission: MissionDocument,
    /// Seconds since the youngest of these values came; null where none came to this endpoint.
    pub age_s: Option<f64>,
    /// Seconds since each of the values came, by the key it has in plain telemetry.
    pub ages_s: BTreeMap<String, Option<f64>>,
    /// Where it is in its life, as the team knows it; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<lifecycle::LifeDocument>,
}

/// An endpoint that serves a rover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RobotEndpoint {
    /// Which of the four.
    pub tier: Tier,
    /// `host:port` as far as it is known.
    pub address: Option<String>,
    /// The port it listens on.
    pub port: u16,
    /// The verdict on it.
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
    /// It is driven.
    Manual,
}

/// A place on earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Degrees north.
    pub lat: Option<f64>,
    /// Degrees east.
    pub lon: Option<f64>,
    /// Metres above the ellipsoid.
    pub alt: Option<f64>,
}

/// The energy that is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatteryDocument {
    /// Charge, percent.
    pub level_percent: Option<f64>,
    /// Current, ampere; negative while it is discharged.
    pub current_a: Option<f64>,
}

/// The task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MissionDocument {
    /// Its name.
    pub name: Option<String>,
    /// How far it is.
    pub status: Option<String>,
    /// Since it began, as the rover says it.
    pub time: Option<Value>,
    /// Samples collected so far.
    pub samples_collected: Option<i64>,
}
