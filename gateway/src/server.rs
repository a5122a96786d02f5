//! The listening port: accept loop, HTTP, WebSocket handshake, CORS, the dashboard.

pub mod dashboard;
pub mod handshake;
pub mod head;
mod head_arrival;
pub mod http;
pub mod listener;
mod path_prefix;
pub mod pending;
pub mod session;
pub mod tls;
pub mod write_timeout;
