//! The Foxglove WebSocket protocol, version 1: <https://github.com/foxglove/ws-protocol>.

mod assets;
mod background_tasks;
mod channels;
pub mod client_message;
mod connection_graph;
mod encoding;
mod error;
mod parameter_value;
mod parameters;
mod playback;
mod publications;
mod server_message;
mod services;
mod session;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use crate::connection::dialect::Dialect;
use crate::dialect::DialectEntry;
use crate::dialect::foxglove::error::Limit;
use crate::dialect::foxglove::session::Session;
use crate::dialect::session::driver;
use crate::limits;

/// The two subprotocol names; the wire format is the same.
pub const SUBPROTOCOLS: [&str; 2] = ["foxglove.sdk.v1", "foxglove.websocket.v1"];

/// Refuses a list in a request that is longer than any that can be served.
fn check_length(list: &[impl Sized]) -> Result<(), Limit> {
    match list.len() > limits::FOXGLOVE_REQUEST_ENTRIES {
        true => Err(Limit::Entries),
        false => Ok(()),
    }
}

/// Opcode of a server message that carries a sample.
const MESSAGE_DATA: u8 = 1;

/// Foxglove's WebSocket protocol.
pub const DIALECT: Dialect = Dialect::new("foxglove");

/// The dialect's entry in the table.
pub(super) const ENTRY: DialectEntry = DialectEntry {
    dialect: DIALECT,
    subprotocols: &SUBPROTOCOLS,
    path: None,
    recognizes: |_| false,
    serve: |context, reader, first| Box::pin(driver::drive(context, reader, Session::open(context), first)),
};
