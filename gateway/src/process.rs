//! The processes of the gateway: one endpoint, or a relay with four; readiness, heartbeat, lifecycle reports, the source's
//! thread.

pub(crate) mod adoption;
pub mod build;
pub mod control_socket;
pub mod endpoint;
mod error;
pub mod heartbeat;
pub mod lifecycle_reporter;
mod log_levels;
pub mod memory;
pub mod policy;
pub mod readiness;
pub mod ready_announcement;
pub mod relay;
mod reload;
mod run_sink;
pub mod shutdown;
pub mod source;
pub mod source_control;
pub mod source_runs;
pub(crate) mod stagger;
mod supervised;
mod supervisor_link;

pub use crate::process::error::ProcessError;
