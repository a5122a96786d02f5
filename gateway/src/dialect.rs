//! The client protocols. Each dialect decodes a client's messages into calls on the hub and encodes samples
//! into WebSocket frames. A dialect is a module here and an entry of `DIALECTS`.

pub mod session;

#[cfg(test)]
mod example;
pub mod foxglove;
pub mod native;
pub mod plain;
pub mod rosbridge;

use std::pin::Pin;
use std::time::Duration;

use tungstenite::protocol::Message;

use crate::connection::close_reason::CloseReason;
use crate::connection::dialect::Dialect;
use crate::connection::reader::MessageReader;
use crate::dialect::session::SessionContext;
use crate::dialect::session::driver::End;

/// How long a WebSocket without a subprotocol may stay silent before it is taken for a plain one.
const DIALECT_DECISION_MS: u64 = 200;

/// The dialects. A client that negotiates none and shows none by a message speaks the plain one.
static DIALECTS: &[DialectEntry] = &[
    native::ENTRY,
    foxglove::ENTRY,
    rosbridge::ENTRY,
    plain::ENTRY,
    #[cfg(test)]
    example::ENTRY,
];

/// How long a client that negotiated no dialect may take to show one by its first message.
const DECISION: Duration = Duration::from_millis(DIALECT_DECISION_MS);

/// A dialect's entry in the table.
struct DialectEntry {
    dialect: Dialect,
    /// The WebSocket subprotocols that select it.
    subprotocols: &'static [&'static str],
    /// The path that selects it for a client without a known subprotocol.
    path: Option<&'static str>,
    /// Whether a message shows that the client speaks it.
    recognizes: fn(&Message) -> bool,
    serve: Serve,
}

/// Serves a session until it ends. The last argument is a message that was read before.
type Serve = for<'a> fn(&'a SessionContext, &'a mut MessageReader, Option<Message>) -> ServeFuture<'a>;
type ServeFuture<'a> = Pin<Box<dyn Future<Output = End> + Send + 'a>>;

/// The outcome of a handshake for the choice of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The dialect, so far.
    pub dialect: Dialect,
    /// The subprotocol to confirm.
    pub subprotocol: Option<&'static str>,
    /// Whether the client chose it. If not, its first message may show another one.
    pub is_chosen: bool,
}

/// Chooses a dialect by the subprotocols that a client offers (the value of `Sec-WebSocket-Protocol`),
/// otherwise by the path, otherwise the plain one.
pub fn negotiate(offered: &str, path: &str) -> Negotiated {
    let chosen = |entry: &DialectEntry, subprotocol| Negotiated {
        dialect: entry.dialect,
        subprotocol,
        is_chosen: true,
    };
    let by_subprotocol = offered.split(',').map(str::trim).find_map(|offered| {
        DIALECTS.iter().find_map(|entry| {
            let name = entry.subprotocols.iter().find(|name| **name == offered)?;
            Some(chosen(entry, Some(*name)))
        })
    });
    let by_path = || DIALECTS.iter().find(|entry| entry.path == Some(path)).map(|entry| chosen(entry, None));
    let fallback = Negotiated { dialect: plain::DIALECT, subprotocol: None, is_chosen: false };
    by_subprotocol.or_else(by_path).unwrap_or(fallback)
}

/// Every dialect of the table.
pub fn all() -> impl Iterator<Item = Dialect> {
    DIALECTS.iter().map(|entry| entry.dialect)
}

/// The paths that select a dialect.
pub fn paths() -> impl Iterator<Item = &'static str> {
    DIALECTS.iter().filter_map(|entry| entry.path)
}

/// The dialect that a message shows: the first one of a client that negotiated none, or any of a plain session.
fn recognize(message: &Message) -> Option<Dialect> {
    DIALECTS.iter().find(|entry| (entry.recognizes)(message)).map(|entry| entry.dialect)
}

/// Serves a session until it ends, in the negotiated dialect or the one that the client turns out to speak.
/// With `await_first`, a plain client gets nothing until it has sent a message or the decision time is over.
pub(crate) async fn serve(
    context: &SessionContext,
    reader: &mut MessageReader,
    negotiated: Dialect,
    await_first: bool,
) -> CloseReason {
    let (mut dialect, mut first) = (negotiated, None);
    if dialect == plain::DIALECT && await_first {
        match tokio::time::timeout(DECISION, reader.next()).await {
            Ok(Ok(message)) => {
                if let Some(recognized) = recognize(&message) {
                    context.info.set_dialect(recognized);
                    dialect = recognized;
                }
                first = Some(message);
            }
            Ok(Err(reason)) => return reason,
            Err(_) => {}
        }
    }
    loop {
        let Some(entry) = DIALECTS.iter().find(|entry| entry.dialect == dialect) else {
            return CloseReason::new(1011, "there is no such dialect");
        };
        match (entry.serve)(context, reader, first.take()).await {
            End::Closed(reason) => return reason,
            End::OtherDialect(actual, message) => {
                context.info.set_dialect(actual);
                context.endpoint.hub.detach(context.info.id);
                (dialect, first) = (actual, Some(message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::native::SUBPROTOCOL;

    use super::*;

    #[test]
    fn subprotocol_decides() {
        let is = |offered, path, dialect, subprotocol, is_chosen| {
            assert_eq!(negotiate(offered, path), Negotiated { dialect, subprotocol, is_chosen }, "{path}");
        };
        is("chat, roverline.v1", "/", native::DIALECT, Some(SUBPROTOCOL), true);
        is("", "/", plain::DIALECT, None, false);
        is("chat", "/", plain::DIALECT, None, false);
        is("", "/telemetry", plain::DIALECT, None, true);
        is("", "/rosbridge", rosbridge::DIALECT, None, true);
        let foxglove = "foxglove.websocket.v1";
        is(foxglove, "/", foxglove::DIALECT, Some(foxglove), true);
        is(SUBPROTOCOL, "/telemetry", native::DIALECT, Some(SUBPROTOCOL), true);
    }

    #[test]
    fn every_dialect_has_one_entry() {
        for dialect in all() {
            assert_eq!(DIALECTS.iter().filter(|entry| entry.dialect == dialect).count(), 1, "{dialect:?}");
        }
    }
}
