//! Types and rules shared by the gateway and its clients: wire messages, scopes and tiers, sample
//! identities, JSON documents.
//!
//! Pure by rule: no I/O, no clock, no async runtime, so every decision can be tested by passing in
//! a time. The gateway and the console both build on this crate and never on each other.

pub mod alarms;
pub mod api;
pub mod backoff;
pub mod budget;
pub mod identity;
pub mod lifecycle;
pub mod limits;
mod message_encoding;
pub mod native;
pub mod printable;
pub mod rate;
pub mod resume;
pub mod routing;
pub mod scope;
pub mod service_level;
pub mod status;
pub mod topic_pattern;
pub mod trace;
pub mod writer_progress;

pub use crate::identity::{Guid, SampleId};
pub use crate::message_encoding::MessageEncoding;
pub use crate::routing::{Delivery, Priority, Route, Routing};
pub use crate::scope::{Scope, ScopeSet, Tier};
