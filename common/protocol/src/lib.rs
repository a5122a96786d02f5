//! What the gateway and its clients agree on.
//!
//! Pure by rule: no I/O, no clock, no async runtime, so that every decision in here can be tested
//! by handing it a time. The gateway and the console both build on this crate and never on each
//! other.

pub mod api;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod identity;
pub mod lifecycle;
pub mod limits;
pub mod native;
pub mod quality;
pub mod ranking;
pub mod rate;
pub mod rendezvous;
pub mod resume;
pub mod routing;
pub mod scope;
pub mod service_level;
pub mod status;

pub use crate::identity::{Guid, SampleId};
pub use crate::routing::{Delivery, Priority, Route, Routing};
pub use crate::scope::{Scope, ScopeSet, Tier};
