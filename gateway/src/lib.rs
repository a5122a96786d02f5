//! The gateway: sources → hub → sessions, one process per endpoint.

pub mod source;
