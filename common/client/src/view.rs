//! Published state of the endpoints.

use std::time::Duration;

use crate::breaker::BreakerState;
use roverline_protocol::native::ClientIdentity;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::HealthStatus;
use roverline_protocol::{ScopeSet, Tier};

/// State of the link to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// In use: it delivers telemetry.
    Active,
    /// Connected and probed, ready to take over.
    Standby,
    /// Connected, but silent for too long.
    Suspect,
    /// Trying to connect.
    Connecting,
    /// Down; waits before the next attempt.
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

/// Published state of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    /// As configured: `ws://127.0.0.1:8080`.
    pub url: String,
    /// Rank, from 1.
    pub rank: usize,
    /// `None` until it has been reached once.
    pub tier: Option<Tier>,
    /// Scopes it serves; empty until reached.
    pub scopes: ScopeSet,
    /// State of our link to it.
    pub state: LinkState,
    /// The health it reports.
    pub health: Option<HealthStatus>,
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Smoothed mean deviation of the round-trip time.
    pub jitter: Option<Duration>,
    /// Lost probes, 0 to 1.
    pub loss: f64,
    /// Server clock minus ours, seconds, from the recent exchange with the shortest round trip.
    pub clock_offset_s: Option<f64>,
    /// Our identity at this endpoint; `None` until its `hello` has arrived.
    pub identity: Option<ClientIdentity>,
    /// Current and maximum number of clients.
    pub clients: Option<(usize, usize)>,
    /// Time since it was connected.
    pub connected_for: Option<Duration>,
    /// Consecutive failed connection attempts.
    pub failures: u32,
    /// The last error message.
    pub last_error: Option<String>,
    /// Messages received over it.
    pub received: u64,
    /// Bytes received over it.
    pub received_bytes: u64,
    /// Samples that should have arrived over it and never did, without those known to be dropped.
    pub missed: u64,
    /// State of its circuit breaker.
    pub breaker: BreakerState,
    /// The service level it gives us.
    pub service: ServiceLevel,
    /// Whether it will shut down soon.
    pub draining: bool,
    /// True if it has no slot for this client.
    pub full: bool,
}
