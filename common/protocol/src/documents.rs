//! The JSON that endpoints show of themselves: `/health` and `/status`.

use serde::{Deserialize, Serialize};

use crate::{ScopeSet, Tier};

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Serves what it is for.
    Healthy,
    /// Serves, with a fault it names.
    Degraded,
    /// Cannot serve what it is for; `/health` answers 503.
    Unhealthy,
    /// Does not answer.
    Down,
}

impl HealthStatus {
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

/// The body of `GET /health` (200, or 503 when unhealthy): what the endpoint is, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthDocument {
    /// Status, reasons, tier, port, scopes, clients, start, version: at the top level of the JSON.
    #[serde(flatten)]
    pub endpoint: EndpointDocument,
    /// Seconds since this process began to serve.
    pub uptime_s: f64,
    /// The source and how young its data is.
    pub source: SourceDocument,
}

/// A source as `/health` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// `dds`, `r2r`, `bag`, `sim` or `upstream`.
    pub kind: String,
    /// `starting`, `waiting`, `running`, `finished` or `failed`.
    pub state: String,
    /// Topics now in scope.
    pub topics: usize,
    /// Samples since the process began to serve.
    pub samples: u64,
    /// Seconds since the last sample; null before the first.
    pub age_s: Option<f64>,
}

/// An endpoint as its peers and clients know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointDocument {
    /// Which endpoint.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// What it serves now.
    pub scopes: ScopeSet,
    /// The verdict on it.
    pub status: HealthStatus,
    /// Why it is not healthy.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Sessions now.
    pub clients: usize,
    /// Sessions at most.
    pub max_clients: usize,
    /// When its process began to serve, nanoseconds since the Unix epoch; changes with a restart.
    pub started_ns: i64,
    /// The gateway's version.
    pub version: String,
}

/// The body of `GET /status`: everything an endpoint knows of itself and its peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// This endpoint, as `/health` shows it.
    pub health: HealthDocument,
    /// Process id.
    pub pid: u32,
    /// Its peers as it last heard of them.
    pub peers: Vec<PeerDocument>,
    /// Topics in scope.
    pub topics: Vec<TopicDocument>,
    /// ROS nodes, `/namespace/name`.
    pub nodes: Vec<String>,
    /// Sessions.
    pub sessions: Vec<SessionDocument>,
    /// Counters since the process began to serve.
    pub counters: CounterDocument,
}

/// A peer as this endpoint last heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerDocument {
    /// What it says of itself, or the last known with status `down`.
    pub endpoint: EndpointDocument,
    /// Seconds since it last answered; null when it never did.
    pub age_s: Option<f64>,
    /// Milliseconds its last answer took.
    pub rtt_ms: Option<f64>,
    /// Why the last question failed.
    pub last_error: Option<String>,
}

/// A topic as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicDocument {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is about.
    pub scopes: ScopeSet,
    /// Whether its type is known, so that its fields can be shown.
    pub schema: bool,
    /// Samples so far.
    pub samples: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Samples per second of late.
    pub rate_hz: f64,
    /// Seconds since the last sample.
    pub age_s: Option<f64>,
}

/// A client as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionDocument {
    /// Its number in this process.
    pub id: u64,
    /// Its address.
    pub peer: String,
    /// `native`, `plain`, ...
    pub dialect: String,
    /// What it calls itself.
    pub client: String,
    /// Messages delivered.
    pub sent: u64,
    /// Bytes delivered.
    pub sent_bytes: u64,
    /// Samples it did not get.
    pub dropped: u64,
    /// Bytes that wait for it.
    pub queued_bytes: usize,
}

/// What an endpoint counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterDocument {
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away because the endpoint was full.
    pub refused_full: u64,
    /// Requests and messages that were not understood.
    pub bad_input: u64,
    /// Samples from the source.
    pub samples: u64,
    /// Samples lost between source and hub.
    pub ingress_dropped: u64,
    /// Messages delivered to clients.
    pub delivered: u64,
    /// Samples not delivered to a slow client.
    pub dropped: u64,
}

/// A problem in the body of an HTTP error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind, one line.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
}
