//! The kinds of events at an endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kind of an endpoint event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An endpoint serves.
    EndpointUp,
    /// An endpoint does not answer, or reports that it cannot serve.
    EndpointDown,
    /// An endpoint's health changed.
    EndpointHealth,
    /// A peer was added at run time.
    PeerAdded,
    /// A peer was removed at run time.
    PeerRemoved,
    /// A client switched from one endpoint to another.
    Failover,
    /// An endpoint covers a tier that stays down.
    Promotion,
    /// It gives the tier back.
    GiveBack,
    /// An endpoint asks its clients to leave.
    Drain,
    /// A client was rejected because the endpoint is full.
    Full,
    /// A session's service level was lowered because of its link.
    Degraded,
    /// A session's service level was raised again.
    Recovered,
    /// A client was disconnected because it did not read.
    Stalled,
    /// The emergency stop was engaged or released.
    EmergencyStop,
    /// The holder of an authority fell silent while it commanded, and what it commanded is stopped.
    LinkLoss,
    /// An endpoint heard nothing of a writer that another endpoint hears, and joins the ROS graph anew.
    Rejoin,
    /// The level of the log was changed, or the configured one is back.
    LogLevel,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 17] = [
        EventKind::EndpointUp,
        EventKind::EndpointDown,
        EventKind::EndpointHealth,
        EventKind::PeerAdded,
        EventKind::PeerRemoved,
        EventKind::Failover,
        EventKind::Promotion,
        EventKind::GiveBack,
        EventKind::Drain,
        EventKind::Full,
        EventKind::Degraded,
        EventKind::Recovered,
        EventKind::Stalled,
        EventKind::EmergencyStop,
        EventKind::LinkLoss,
        EventKind::Rejoin,
        EventKind::LogLevel,
    ];

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
            EventKind::LinkLoss => "link_loss",
            EventKind::Rejoin => "rejoin",
            EventKind::LogLevel => "log_level",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete() {
        // JSON Schema lists what the type has.
        let schema = schemars::schema_for!(EventKind).to_value();
        let kinds = schema["oneOf"].as_array().map(Vec::len);
        assert_eq!(kinds, Some(EventKind::ALL.len()), "{schema}");
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
