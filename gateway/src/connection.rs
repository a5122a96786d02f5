//! One WebSocket connection in bytes: outbox, reader, writer, bandwidth budget and frame headers.

pub mod budget;
pub mod client_address;
pub mod close_reason;
pub mod delivery_latency;
pub mod dialect;
pub mod frame;
mod link_meter;
pub mod outbox;
pub mod paced_socket;
pub mod reader;
pub mod stream;
pub mod writer;
