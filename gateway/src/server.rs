//! The listening port: accept loop, HTTP, WebSocket handshake, CORS, the dashboard.

pub mod cors;
pub mod dashboard;
pub mod handshake;
pub mod http;
pub mod listener;
pub mod write_timeout;
