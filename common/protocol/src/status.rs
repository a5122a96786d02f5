//! JSON documents of `/health` and `/status`: what endpoints report about themselves.

mod event_kind;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service_level::ServiceLevel;
use crate::writer_progress::WriterProgress;
use crate::{Scope, ScopeSet, Tier};

pub use crate::status::event_kind::EventKind;

/// Health of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Fully functional.
    Healthy,
    /// Serving, with a fault that it names.
    Degraded,
    /// Not serving; `/health` answers 503.
    Unhealthy,
    /// Not answering.
    Down,
}

impl HealthStatus {
    /// Whether an endpoint of this status serves.
    pub const fn serves(self) -> bool {
        matches!(self, HealthStatus::Healthy | HealthStatus::Degraded)
    }

    /// The word used on the wire and on screen.
    pub const fn word(self) -> &'static str {
        match self {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Degraded => "degraded",
            HealthStatus::Unhealthy => "unhealthy",
            HealthStatus::Down => "down",
        }
    }
}

/// Body of `GET /health` (200, or 503 when unhealthy): identity and health of the endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthDocument {
    /// Status, reasons, tier, port, scopes, clients, start, version: at the top level of the JSON.
    #[serde(flatten)]
    pub endpoint: EndpointDocument,
    /// Seconds since this process began to serve.
    pub uptime_s: f64,
    /// The source and the age of its data.
    pub source: SourceDocument,
    /// Seconds since the newest sample of each scope that had one.
    #[serde(default)]
    pub freshness_s: BTreeMap<Scope, f64>,
    /// In the answer to another endpoint: the newest sample of each writer, most recent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<WriterProgress>,
}

/// A source in `/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceDocument {
    /// `dds`, `r2r`, `bag`, `sim` or `upstream`.
    pub kind: String,
    /// `starting`, `waiting`, `running`, `disconnected`, `finished` or `failed`.
    pub state: String,
    /// Topics now in scope.
    pub topics: usize,
    /// Samples since the process began to serve.
    pub samples: u64,
    /// Seconds since the last sample; null before the first.
    pub age_s: Option<f64>,
    /// Of a relay: the rover's endpoints, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<UpstreamDocument>,
}

/// An endpoint of the rover as a relay sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamDocument {
    /// As configured: `ws://192.168.1.10:8080`.
    pub url: String,
    /// Absent until it has been reached once.
    #[serde(default)]
    pub tier: Option<Tier>,
    /// `active`, `standby`, `suspect`, `connecting`, `down`, ...
    pub state: String,
    /// Smoothed round-trip time, milliseconds.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round-trip time, milliseconds.
    #[serde(default)]
    pub jitter_ms: Option<f64>,
    /// Share of lost probes, 0 to 1; null before the first answer.
    #[serde(default)]
    pub loss: Option<f64>,
    /// Messages received over it.
    pub received: u64,
    /// Bytes received over it.
    #[serde(default)]
    pub received_bytes: Option<u64>,
    /// The last error message.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// An endpoint as its peers and clients know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointDocument {
    /// Its tier.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// Scopes it serves now.
    pub scopes: ScopeSet,
    /// Its health.
    pub status: HealthStatus,
    /// Why it is not healthy.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Tiers that are down and whose scopes it serves as well (promotion).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<Tier>,
    /// Whether it is about to shut down and accepts no new clients.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Whether it has just begun to read the ROS graph, and lacks writers that other endpoints hear: clients that
    /// are served elsewhere do not return yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warming_up: bool,
    /// `host:port` it listens on, as far as the reporting endpoint knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Current number of clients.
    pub clients: usize,
    /// Maximum number of clients.
    pub max_clients: usize,
    /// When its process began to serve, nanoseconds since the Unix epoch; changes with a restart.
    pub started_ns: i64,
    /// The gateway's version.
    pub version: String,
}

/// Body of `GET /status`: everything an endpoint knows about itself and its peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusDocument {
    /// This endpoint, as in `/health`.
    pub health: HealthDocument,
    /// Process id.
    pub pid: u32,
    /// Memory of the process.
    #[serde(default)]
    pub memory: MemoryDocument,
    /// Last known state of its peers.
    pub peers: Vec<PeerDocument>,
    /// Topics in scope.
    pub topics: Vec<TopicDocument>,
    /// ROS nodes, `/namespace/name`.
    pub nodes: Vec<String>,
    /// Sessions.
    pub sessions: Vec<SessionDocument>,
    /// Counters since the process began to serve.
    pub counters: CounterDocument,
    /// Recent events, oldest first.
    #[serde(default)]
    pub events: Vec<EndpointEvent>,
}

/// Memory of an endpoint process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryDocument {
    /// In physical memory, bytes.
    pub resident_bytes: u64,
    /// Allocated for data, bytes; this is what the limit counts.
    pub data_bytes: u64,
    /// The limit, bytes; null: none.
    pub limit_bytes: Option<u64>,
}

/// An event at an endpoint, with its cause and cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointEvent {
    /// Counts up within the reporting process.
    pub id: u64,
    /// Wall clock time, nanoseconds since the Unix epoch, for display.
    pub at_ns: i64,
    /// The reporting endpoint.
    pub tier: Tier,
    /// Kind of the event.
    pub kind: EventKind,
    /// The cause, in words.
    pub cause: String,
    /// The previous endpoint, tier or level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The new endpoint, tier or level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How long nothing was received, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout_ms: Option<f64>,
    /// Samples that were replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
    /// Samples that no endpoint could replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Identity of the client that caused it: its token's name or its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The unverified name that the client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The trace that it belongs to, 32 hexadecimal digits: `/api/v2/traces/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Last known state of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerDocument {
    /// The peer's own report, or its last known state with status `down`.
    pub endpoint: EndpointDocument,
    /// Seconds since it last answered; null if it never did.
    pub age_s: Option<f64>,
    /// Duration of its last answer, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Why the last probe failed.
    pub last_error: Option<String>,
    /// Seconds since the newest sample of each scope, as it reported itself.
    #[serde(default)]
    pub freshness_s: BTreeMap<Scope, f64>,
    /// How it proves that it belongs to this rover; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<PeerProof>,
    /// The reason why it is ignored: it has not proven that it belongs to this rover. Absent once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
}

/// How an endpoint proves that it belongs to a rover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerProof {
    /// It has the rover's key.
    Key,
}

/// How an endpoint got into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is the reporting endpoint.
    Own,
    /// Configured, or given on the command line.
    Config,
    /// Added at run time over HTTP.
    Api,
    /// Discovered by mDNS.
    Mdns,
}

impl Origin {
    /// The word used on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Origin::Own => "own",
            Origin::Config => "config",
            Origin::Api => "api",
            Origin::Mdns => "mdns",
        }
    }
}

/// Body of `GET /api/v2/endpoints`: the endpoints known to one of them, itself included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DirectoryDocument {
    /// Sorted by tier, then by address.
    pub endpoints: Vec<DirectoryEntry>,
}

/// An endpoint in a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DirectoryEntry {
    /// How it became known.
    pub origin: Origin,
    /// Clients as a share of capacity; null if it takes none.
    pub load: Option<f64>,
    /// Document, age, round trip, last error, freshness: at the top level of the JSON.
    #[serde(flatten)]
    pub peer: PeerDocument,
}

/// A topic in `/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicDocument {
    /// ROS name.
    pub name: String,
    /// ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Scopes the topic belongs to.
    pub scopes: ScopeSet,
    /// Whether its type is known, so that its fields can be decoded.
    pub schema: bool,
    /// Samples received so far.
    pub samples: u64,
    /// Bytes received so far.
    pub bytes: u64,
    /// Recent samples per second.
    pub rate_hz: f64,
    /// Seconds since the last sample.
    pub age_s: Option<f64>,
}

/// A client in `/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDocument {
    /// Session number in this process.
    pub id: u64,
    /// Its address.
    pub peer: String,
    /// `native`, `plain`, ...
    pub dialect: String,
    /// Its role: `observer`, `operator` or `commander`.
    #[serde(default)]
    pub role: String,
    /// The name it gave.
    pub client: String,
    /// Messages delivered.
    pub sent: u64,
    /// Bytes delivered.
    pub sent_bytes: u64,
    /// Samples it did not get.
    pub dropped: u64,
    /// Bytes queued for it.
    pub queued_bytes: usize,
    /// Its service level.
    #[serde(default)]
    pub service: ServiceLevel,
    /// Samples shed because its link does not carry them.
    #[serde(default)]
    pub shed: u64,
    /// Whether it is only a standby.
    #[serde(default)]
    pub standby: bool,
}

/// Counters of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CounterDocument {
    /// Connections accepted.
    pub connections: u64,
    /// Connections rejected because the endpoint was full.
    pub refused_full: u64,
    /// Malformed requests and messages.
    pub bad_input: u64,
    /// Samples from the source.
    pub samples: u64,
    /// Samples lost between source and hub.
    pub ingress_dropped: u64,
    /// Messages delivered to clients.
    pub delivered: u64,
    /// Samples not delivered to a slow client.
    pub dropped: u64,
    /// Samples shed because a link does not carry them.
    #[serde(default)]
    pub shed: u64,
    /// Samples replayed to clients that resumed.
    #[serde(default)]
    pub replayed: u64,
    /// Samples that clients requested and that could not be replayed.
    #[serde(default)]
    pub replay_missing: u64,
}

/// Body of an HTTP error: problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// URI of the problem type; `about:blank` if the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// Summary, one line.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Requested path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Trace in which it happened: `GET /api/v2/traces/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}
