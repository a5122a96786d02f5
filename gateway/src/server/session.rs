//! One client's session from the WebSocket handshake to its end: starts the writer, dispatches to the dialect, and
//! removes its state afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use roverline_protocol::status::EventKind;
use tracing::Instrument;

use crate::access::{Identity, Peer};
use crate::connection::close_reason::CloseReason;
use crate::connection::dialect::Dialect;
use crate::connection::outbox::Outbox;
use crate::connection::reader::{MessageReader, drain};
use crate::connection::stream::{self, ClientStream};
use crate::connection::writer;
use crate::dialect;
use crate::dialect::session::SessionContext;
use crate::endpoint::Endpoint;
use crate::endpoint::capacity::SessionSlot;
use crate::endpoint::events::EventDetails;
use crate::endpoint::sessions::SessionInfo;
use crate::endpoint::watchdog::Work;

/// The reason that a client reads when another one needs its slot.
const MAKES_ROOM: &str =
    "an operator or commander needs this slot, and your address or token holds most; try another endpoint";

/// A client's connection after the WebSocket handshake.
pub struct AcceptedConnection {
    /// The socket.
    pub stream: ClientStream,
    /// Bytes that the client sent directly after the handshake request.
    pub read_ahead: Bytes,
    /// The client's address, and how it came.
    pub peer: Peer,
    /// The negotiated dialect.
    pub dialect: Dialect,
    /// Whether it cannot be read on the network.
    pub is_confidential: bool,
    /// The client's identity.
    pub identity: Identity,
    /// Whether to wait briefly for a message that shows the client's dialect before anything is sent.
    pub await_first: bool,
    /// Its reserved slot among the clients or the standbys.
    pub slot: SessionSlot,
}

/// Serves one client until either side closes, then removes all its state.
pub async fn run(endpoint: Arc<Endpoint>, accepted: AcceptedConnection) {
    let AcceptedConnection {
        stream,
        is_confidential,
        read_ahead,
        peer,
        dialect,
        identity,
        await_first,
        slot,
    } = accepted;
    let outbox = Outbox::timed(endpoint.delivery_latency.clone());
    let id = endpoint.next_session_id();
    let info = Arc::new(SessionInfo::new(id, peer, dialect, identity, outbox.clone(), slot));
    if is_confidential {
        info.set_confidential();
    }
    let _registered = endpoint.register(info.clone());
    let Identity { role, name, .. } = info.identity();
    tracing::info!(
        event_type = "session.opened",
        session = info.id, %peer, dialect = dialect.name(), role = role.name(), holder = name, "client connected"
    );
    let (read, write) = stream::split(stream);
    let writing = tokio::spawn(writer::run(write, outbox.clone()));
    let mut inbound = MessageReader::new(read, read_ahead, outbox.clone()).await;
    let context = SessionContext { endpoint: endpoint.clone(), info: info.clone() };
    context.request_budget(None);
    // The writer, which runs for every sample, is not part of the span.
    let span = tracing::info_span!("session", session = id, dialect = dialect.name());
    let serving = dialect::serve(&context, &mut inbound, dialect, await_first).instrument(span);
    let name = format!("session {id} of {peer}, {}", dialect.name());
    let why = tokio::select! {
        why = endpoint.watchdog.watch(Work::Session, name, serving) => why,
        () = info.wait_evicted() => CloseReason::new(1013, MAKES_ROOM),
        why = info.wait_revoked() => why,
    };
    endpoint.hub.detach(info.id);
    record_failure(&endpoint, &info, &why);
    outbox.close(why.code, &why.reason);
    // The writer ends when the close frame is sent, or at its own timeout.
    let _ = writing.await;
    // The client's slot is free meanwhile.
    tokio::spawn(drain(inbound.into_read_half()));
    endpoint.counters.links.count(&info);
    let stats = outbox.stats();
    endpoint.counters.delivered.fetch_add(stats.sent, Ordering::Relaxed);
    endpoint.counters.dropped.fetch_add(stats.dropped, Ordering::Relaxed);
    endpoint.counters.shed.fetch_add(stats.shed, Ordering::Relaxed);
    endpoint.counters.dialects.add_ended(&info.document());
    tracing::info!(
        event_type = "session.closed",
        session = info.id, %peer, code = why.code, reason = why.reason,
        sent = stats.sent, dropped = stats.dropped, "client gone"
    );
}

/// Counts a malformed message, and records a client that has stopped reading.
fn record_failure(endpoint: &Endpoint, info: &SessionInfo, why: &CloseReason) {
    if matches!(why.code, 1002 | 1007 | 1009) {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    }
    if *why == CloseReason::reader_stalled() {
        let cause = format!("{}: {}", info.client(), why.reason);
        endpoint.record_of_session(info, EventKind::Stalled, &cause, EventDetails::default());
    }
}
