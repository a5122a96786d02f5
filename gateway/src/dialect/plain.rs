//! The plain dialect: one flat JSON object five times a second, for any WebSocket client.

pub mod encoding;
mod error;
pub mod request;
mod session;

pub use error::RequestError;
pub use request::Request;

use crate::connection::dialect::Dialect;
use crate::dialect::DialectEntry;
use crate::dialect::plain::session::Session;
use crate::dialect::session::driver;

/// Any other WebSocket client.
pub const DIALECT: Dialect = Dialect::new("plain");

/// The dialect's entry in the table.
pub(super) const ENTRY: DialectEntry = DialectEntry {
    dialect: DIALECT,
    subprotocols: &[],
    path: Some("/telemetry"),
    recognizes: |_| false,
    serve: |context, reader, first| Box::pin(driver::drive(context, reader, Session::open(context), first)),
};
