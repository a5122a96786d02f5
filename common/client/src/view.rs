//! What is known of the endpoints.

use std::time::Duration;

use roverline_protocol::breaker::BreakerState;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::HealthStatus;
use roverline_protocol::{ScopeSet, Tier};

use crate::LinkSample;

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
    /// Server clock minus ours, seconds, by the recent exchange with the shortest round trip.
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
    /// Samples that should have come over it and never did, of those not known to be left out.
    pub missed: u64,
    /// Whether it is trusted.
    pub breaker: BreakerState,
    /// What it gives us.
    pub service: ServiceLevel,
    /// Whether it will end soon.
    pub draining: bool,
}

impl EndpointView {
    /// How long a sample was on its way from the gateway to here, seconds, by the offset of the two
    /// clocks. `arrived_ns` is this computer's clock when it came, nanoseconds since the Unix
    /// epoch. `None` while the offset is not known. Off by half the asymmetry of the ways, so it can
    /// be slightly negative on a fast link.
    pub fn one_way_age_s(&self, sample: &LinkSample, arrived_ns: i64) -> Option<f64> {
        let way_ns = arrived_ns.saturating_sub(sample.receive_time_ns);
        self.clock_offset_s.map(|offset| way_ns as f64 / 1e9 + offset)
    }
}
