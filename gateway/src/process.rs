//! Gateway processes: one endpoint, or a relay with four; readiness, lifecycle reports, the source thread.

pub mod endpoint;
pub mod lifecycle_reporter;
pub mod readiness;
pub mod relay;
pub mod source;
