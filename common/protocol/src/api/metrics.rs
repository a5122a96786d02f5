//! Documents of `GET /api/v2/metrics`: an endpoint's process and computer, and what it serves. A value that the
//! system does not report is null, never zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tier;
use crate::status::{CounterDocument, HealthStatus, SourceDocument};

/// Summary of an endpoint's metrics; `/metrics` has all of them for Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsDocument {
    /// Tier of this endpoint.
    pub tier: Tier,
    /// Its health.
    pub status: HealthStatus,
    /// Seconds since this process began to serve.
    pub uptime_s: f64,
    /// The source and the age of its data; of a relay also its uplink.
    pub source: SourceDocument,
    /// Current number of clients.
    pub clients: usize,
    /// Maximum number of clients.
    pub max_clients: usize,
    /// Sessions that are only standbys.
    pub standbys: usize,
    /// Bytes queued for clients.
    pub queued_bytes: usize,
    /// Counters since the process began to serve.
    pub counters: CounterDocument,
    /// Sessions by dialect.
    pub dialects: BTreeMap<String, DialectDocument>,
    /// CPU time used, seconds.
    pub cpu_s: f64,
    /// Memory in use; null if the system does not report it.
    pub resident_bytes: Option<u64>,
    /// This process.
    pub process: ProcessDocument,
    /// The thread that serves all clients of this process.
    pub runtime: RuntimeDocument,
    /// The computer that this process runs on.
    pub computer: ComputerDocument,
    /// Links of clients, the worst first.
    pub links: Vec<LinkDocument>,
    /// Sessions that are not listed because there are too many.
    pub links_left_out: usize,
    /// Nodes of the ROS graph: those that have left it first, then by name.
    pub nodes: Vec<NodeAgeDocument>,
    /// Nodes that are not listed because there are too many.
    pub nodes_left_out: usize,
    /// Topics that send heartbeats.
    pub heartbeats: Vec<HeartbeatDocument>,
    /// Topics by name: those with an expected rate and the most urgent ones.
    pub topics: Vec<TopicRateDocument>,
    /// Topics that are not listed because there are too many.
    pub topics_left_out: usize,
}

/// Totals of the sessions of one dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialectDocument {
    /// Current number of sessions.
    pub sessions: usize,
    /// Messages delivered since the process began to serve.
    pub delivered: u64,
    /// Bytes of those messages.
    pub delivered_bytes: u64,
    /// Samples not delivered to slow clients.
    pub dropped: u64,
}

/// A process, as its system counts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessDocument {
    /// CPU time used, seconds.
    pub cpu_s: f64,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
    /// Address space in use.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most file descriptors that it may open; null if there is no limit.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, seconds since the Unix epoch.
    pub start_time_s: Option<f64>,
}

/// How long the thread that serves all clients was not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuntimeDocument {
    /// The longest time in the last minute, seconds.
    pub recent_stall_s: f64,
    /// The longest time since the process began, seconds.
    pub longest_stall_s: f64,
}

/// A computer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComputerDocument {
    /// Its host name.
    pub name: String,
    /// Its processor cores.
    pub cpus: Option<usize>,
    /// Processor time of all cores since it booted by mode, seconds: `user`, `system`, `idle`, `iowait`, ...
    pub cpu_s: BTreeMap<String, f64>,
    /// Load average of 1 minute.
    pub load1: Option<f64>,
    /// Load average of 5 minutes.
    pub load5: Option<f64>,
    /// Load average of 15 minutes.
    pub load15: Option<f64>,
    /// Memory.
    pub memory_total_bytes: Option<u64>,
    /// Memory that programs can still get.
    pub memory_available_bytes: Option<u64>,
    /// Swap space.
    pub swap_total_bytes: Option<u64>,
    /// Free swap space.
    pub swap_free_bytes: Option<u64>,
    /// The file system of the state directory.
    pub disk: Option<DiskDocument>,
    /// Network interfaces: devices first, then by name.
    pub interfaces: Vec<InterfaceDocument>,
    /// Interfaces that are not listed because there are too many.
    pub interfaces_left_out: usize,
    /// Temperatures.
    pub temperatures: Vec<TemperatureDocument>,
    /// Sensors that are not listed because there are too many.
    pub temperatures_left_out: usize,
    /// Seconds since it booted.
    pub uptime_s: Option<f64>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiskDocument {
    /// Where it is mounted.
    pub mountpoint: String,
    /// Its size.
    pub size_bytes: u64,
    /// What a program without privileges can still use.
    pub available_bytes: u64,
}

/// A network interface: counts since it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceDocument {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Errors while receiving.
    pub receive_errors: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Errors while sending.
    pub send_errors: u64,
}

/// A temperature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemperatureDocument {
    /// `thermal_zone` or `hwmon`, as Linux has them.
    pub kind: TemperatureKind,
    /// The zone's number, or the chip's name and its device.
    pub chip: String,
    /// The zone's type, or the chip's sensor: `cpu-thermal`, `temp1`.
    pub sensor: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// Where Linux has a temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemperatureKind {
    /// `/sys/class/thermal`.
    ThermalZone,
    /// `/sys/class/hwmon`.
    Hwmon,
}

/// The link of one session, as the endpoint measures it by WebSocket pings once a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkDocument {
    /// The session's number.
    pub session: u64,
    /// Address of the client.
    pub peer: String,
    /// The client's name, as it calls itself.
    pub client: String,
    /// Its dialect.
    pub dialect: String,
    /// Smoothed round-trip time, milliseconds; null before the first answer.
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round-trip time, milliseconds.
    pub jitter_ms: Option<f64>,
    /// Share of recent pings without an answer, 0 to 1; null before the first answer.
    pub loss: Option<f64>,
    /// Bytes sent to the client in the last second.
    pub sent_bytes_per_s: f64,
    /// Bytes received from the client in the last second.
    pub received_bytes_per_s: f64,
}

/// A node of the ROS graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeAgeDocument {
    /// Its full name: `/ns/name`.
    pub name: String,
    /// Whether it is in the graph.
    pub present: bool,
    /// Seconds since it was last in the graph: 0 while it is.
    pub last_seen_s: f64,
}

/// A topic named `heartbeat`, or below such a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatDocument {
    /// The node that publishes it, if the graph knows one; otherwise what the topic's name says.
    pub node: String,
    /// ROS name of the topic.
    pub topic: String,
    /// Seconds since the newest heartbeat; null before the first.
    pub age_s: Option<f64>,
}

/// The rate of a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicRateDocument {
    /// ROS name.
    pub name: String,
    /// Recent samples per second.
    pub rate_hz: f64,
    /// The rate that the routing table expects; null if it expects none.
    pub expected_rate_hz: Option<f64>,
    /// Seconds since the newest sample; null before the first.
    pub age_s: Option<f64>,
}
