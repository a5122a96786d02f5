//! Limits used by several modules of the client, together with those it shares with the gateway.

pub(crate) use roverline_protocol::limits::*;

/// Heartbeat interval that a client requests from a standby.
pub(crate) const STANDBY_HEARTBEAT_MS: u64 = 500;
/// First and longest time an endpoint with better coverage must have been healthy before a client
/// returns to it; doubles with each of its recent failures.
pub(crate) const FAILBACK_MS: (u64, u64) = (1_000, 10_000);
/// A full endpoint that does not say when to return is retried after this long.
pub(crate) const FULL_RETRY_MS: u64 = 5_000;
