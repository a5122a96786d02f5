//! The native dialect; [`roverline_protocol::native`] defines the wire format.

mod api_requests;
mod directory;
pub mod encoding;
mod error;
mod heartbeat;
mod publish;
mod session;

use crate::connection::dialect::Dialect;
use crate::dialect::DialectEntry;
use crate::dialect::native::session::Session;
use crate::dialect::session::driver;

/// `roverline.v1`.
pub const DIALECT: Dialect = Dialect::new("native");

/// The dialect's entry in the table.
pub(super) const ENTRY: DialectEntry = DialectEntry {
    dialect: DIALECT,
    subprotocols: &[roverline_protocol::native::SUBPROTOCOL],
    path: None,
    recognizes: |_| false,
    serve: |context, reader, first| Box::pin(driver::drive(context, reader, Session::open(context), first)),
};
