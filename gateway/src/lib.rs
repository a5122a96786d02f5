//! The gateway: bridges ROS 2 to WebSocket clients, one process per endpoint.
//!
//! Modules are layered: each may use only those before it in this list.
//! `limits histogram access identity config trace log emergency_stop authority connection hub telemetry endpoint api dialect
//! server process supervisor cli`; ARCHITECTURE.md describes them and the tidy test checks the direction.

pub mod access;
pub mod api;
pub mod authority;
pub mod cli;
pub mod config;
pub mod connection;
pub mod dialect;
pub mod emergency_stop;
pub mod endpoint;
pub mod histogram;
pub mod hub;
pub mod identity;
mod limits;
pub mod log;
pub mod process;
pub mod server;
pub mod supervisor;
pub mod telemetry;
pub mod trace;
