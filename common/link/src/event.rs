//! What a program that uses a link gets to see.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::documents::HealthStatus;
use roverline_protocol::native::{Level, TopicInfo};
use roverline_protocol::{SampleId, ScopeSet, Tier};

/// Something happened on the link.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The endpoints, best first, all of them; on every change and about twice a second.
    Endpoints(Arc<[EndpointView]>),
    /// The endpoint in use changed; `to` is `None` when none is left.
    Failover(FailoverView),
    /// The topics that the endpoint in use has in scope, all of them, by name.
    Topics(Arc<[TopicInfo]>),
    /// A message.
    Sample(LinkSample),
    /// A type's definition, as asked for.
    Schema {
        /// `sensor_msgs/msg/Imu`.
        type_name: String,
        /// `ros2msg` text with its dependencies.
        text: String,
    },
    /// What became of a command.
    Command {
        /// The id that [`crate::Link`] returned.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Why not, or what happened.
        message: String,
    },
    /// Something the user should know.
    Notice {
        /// How bad.
        level: Level,
        /// A sentence.
        text: String,
    },
}

/// One message as it arrived, undecoded.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSample {
    /// What it belongs to.
    pub topic: Arc<TopicInfo>,
    /// The same at every endpoint.
    pub id: SampleId,
    /// It is a stored value, sent because this client came late.
    pub stored: bool,
    /// Publisher's stamp, nanoseconds since the Unix epoch, 0 where unknown.
    pub source_time_ns: i64,
    /// When the gateway received it.
    pub receive_time_ns: i64,
    /// CDR with its encapsulation header.
    pub payload: Bytes,
}

/// Where a link to one endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// In use: telemetry flows through it.
    Active,
    /// Connected and probed, ready to take over.
    Standby,
    /// Connected, and silent for too long.
    Suspect,
    /// Trying to connect.
    Connecting,
    /// Down; waits before it tries again.
    Down,
}

impl LinkState {
    /// The word shown beside glyph and colour.
    pub const fn word(self) -> &'static str {
        match self {
            LinkState::Active => "active",
            LinkState::Standby => "standby",
            LinkState::Suspect => "suspect",
            LinkState::Connecting => "connecting",
            LinkState::Down => "down",
        }
    }
}

/// What is known of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    /// As configured: `ws://127.0.0.1:8080`.
    pub url: String,
    /// Its place in the ranking, from 1.
    pub rank: usize,
    /// `None` until it has been reached once.
    pub tier: Option<Tier>,
    /// What it serves; empty until reached.
    pub scopes: ScopeSet,
    /// Where our link to it stands.
    pub state: LinkState,
    /// What it says of its own health.
    pub health: Option<HealthStatus>,
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Smoothed deviation of it.
    pub jitter: Option<Duration>,
    /// Lost probes, 0 to 1.
    pub loss: f64,
    /// Server clock minus ours, seconds, by the exchange with the shortest round trip.
    pub clock_offset_s: Option<f64>,
    /// Its clients now and at most.
    pub clients: Option<(usize, usize)>,
    /// Since when it has been connected.
    pub connected_for: Option<Duration>,
    /// How often connecting failed in a row.
    pub failures: u32,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
    /// Messages received over it.
    pub received: u64,
}

/// Why the endpoint in use changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverCause {
    /// The first one that answered.
    First,
    /// The connection closed.
    Closed,
    /// Nothing was heard for too long.
    Silent,
    /// A better one was available for long enough.
    Better,
    /// Every endpoint is gone.
    AllDown,
}

impl FailoverCause {
    /// The word shown in the history.
    pub const fn word(self) -> &'static str {
        match self {
            FailoverCause::First => "connected",
            FailoverCause::Closed => "closed",
            FailoverCause::Silent => "silent",
            FailoverCause::Better => "better link",
            FailoverCause::AllDown => "all down",
        }
    }
}

/// A change of the endpoint in use.
#[derive(Clone, Debug, PartialEq)]
pub struct FailoverView {
    /// Wall clock, nanoseconds since the Unix epoch, for display.
    pub at_ns: i64,
    /// The one that was in use.
    pub from: Option<String>,
    /// The one that is in use now.
    pub to: Option<String>,
    /// Why.
    pub cause: FailoverCause,
    /// From the last frame on the old link to the first on the new; zero for a planned switch.
    pub blackout: Option<Duration>,
}
