//! The gateway: sources → hub → sessions, one process per endpoint.

pub mod access;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod dialect;
pub mod endpoint;
pub mod hub;
pub mod log;
pub mod page;
pub mod session;
pub mod source;
pub mod supervisor;
