//! The JSON that endpoints show of themselves: `/health` and `/status`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service_level::ServiceLevel;
use crate::{Scope, ScopeSet, Tier};

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

/// The body of `GET /health` (200, or 503 when unhealthy): what the endpoint is, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthDocument {
    /// Status, reasons, tier, port, scopes, clients, start, version: at the top level of the JSON.
    #[serde(flatten)]
    pub endpoint: EndpointDocument,
    /// Seconds since this process began to serve.
    pub uptime_s: f64,
    /// The source and how young its data is.
    pub source: SourceDocument,
    /// Seconds since the newest sample of each scope that had one.
    #[serde(default)]
    pub freshness_s: BTreeMap<Scope, f64>,
}

/// A source as `/health` shows it.
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
    /// Messages received over it.
    pub received: u64,
    /// The last thing that went wrong, in words.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// An endpoint as its peers and clients know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Tiers that are down and whose scopes it serves as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<Tier>,
    /// Whether it is about to end, and takes no new clients.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// `host:port` where it listens, as far as the one who tells knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Clients now.
    pub clients: usize,
    /// Clients at most.
    pub max_clients: usize,
    /// When its process began to serve, nanoseconds since the Unix epoch; changes with a restart.
    pub started_ns: i64,
    /// The gateway's version.
    pub version: String,
}

/// The body of `GET /status`: everything an endpoint knows of itself and its peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// What happened of late, oldest first.
    #[serde(default)]
    pub events: Vec<EventDocument>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An endpoint serves.
    EndpointUp,
    /// An endpoint does not answer, or says that it cannot serve.
    EndpointDown,
    /// An endpoint is healthy, degraded or unhealthy, and was not before.
    EndpointHealth,
    /// A peer was added at run time.
    PeerAdded,
    /// A peer was removed at run time.
    PeerRemoved,
    /// A client went over from one endpoint to another.
    Failover,
    /// An endpoint covers a tier that stays down.
    Promotion,
    /// It gives the tier back.
    GiveBack,
    /// An endpoint asks its clients to leave.
    Drain,
    /// A client was turned away.
    Full,
    /// A session gets less, because of its link.
    Degraded,
    /// It gets more again.
    Recovered,
    /// A client was closed because it did not read.
    Stalled,
    /// The emergency stop was engaged or released.
    EmergencyStop,
}

impl EventKind {
    /// The word used on the wire and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            EventKind::EndpointUp => "endpoint_up",
            EventKind::EndpointDown => "endpoint_down",
            EventKind::EndpointHealth => "endpoint_health",
            EventKind::PeerAdded => "peer_added",
            EventKind::PeerRemoved => "peer_removed",
            EventKind::Failover => "failover",
            EventKind::Promotion => "promotion",
            EventKind::GiveBack => "give_back",
            EventKind::Drain => "drain",
            EventKind::Full => "full",
            EventKind::Degraded => "degraded",
            EventKind::Recovered => "recovered",
            EventKind::Stalled => "stalled",
            EventKind::EmergencyStop => "emergency_stop",
        }
    }
}

/// Something that happened, with its cause and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventDocument {
    /// Counts up in the process that tells.
    pub id: u64,
    /// Wall clock, nanoseconds since the Unix epoch, for display.
    pub at_ns: i64,
    /// Who tells.
    pub tier: Tier,
    /// What happened.
    pub kind: EventKind,
    /// Why, in words.
    pub cause: String,
    /// What was before: an endpoint, a tier, a level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How long nothing was received, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout_ms: Option<f64>,
    /// Samples that were replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
    /// Samples that nobody could replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

/// A peer as this endpoint last heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerDocument {
    /// What it says of itself, or the last known with status `down`.
    pub endpoint: EndpointDocument,
    /// Seconds since it last answered; null when it never did.
    pub age_s: Option<f64>,
    /// Milliseconds its last answer took.
    pub rtt_ms: Option<f64>,
    /// Why the last question failed.
    pub last_error: Option<String>,
    /// Seconds since the newest sample of each scope, as it said itself.
    #[serde(default)]
    pub freshness_s: BTreeMap<Scope, f64>,
}

/// How an endpoint came to be in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is the one who tells.
    Own,
    /// The configuration or the command line names it.
    Config,
    /// It was added at run time, over HTTP.
    Api,
    /// It announces itself in the network.
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

/// The body of `GET /api/v2/endpoints`: the endpoints that one of them knows, itself included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DirectoryDocument {
    /// By tier, then by address.
    pub endpoints: Vec<DirectoryEntry>,
}

/// An endpoint in a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DirectoryEntry {
    /// How it came to be known.
    pub origin: Origin,
    /// Clients, as a share of those it takes; null where it takes none.
    pub load: Option<f64>,
    /// Document, age, round trip, last error, freshness: at the top level of the JSON.
    #[serde(flatten)]
    pub peer: PeerDocument,
}

/// A topic as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDocument {
    /// Its number in this process.
    pub id: u64,
    /// Its address.
    pub peer: String,
    /// `native`, `plain`, ...
    pub dialect: String,
    /// What it may be trusted with: `observer`, `operator` or `commander`.
    #[serde(default)]
    pub role: String,
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
    /// What it gets.
    #[serde(default)]
    pub service: ServiceLevel,
    /// Samples not sent because its link does not carry them.
    #[serde(default)]
    pub shed: u64,
    /// Whether it only stands by.
    #[serde(default)]
    pub standby: bool,
}

/// What an endpoint counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Samples not sent because a link does not carry them.
    #[serde(default)]
    pub shed: u64,
    /// Samples replayed to clients that resumed.
    #[serde(default)]
    pub replayed: u64,
    /// Samples that clients asked for and that could not be replayed.
    #[serde(default)]
    pub replay_missing: u64,
}

/// A problem in the body of an HTTP error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI of the kind; `about:blank` where the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// What kind, one line.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// The path that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}
