//! One client: its outbox, the task that writes it, and the task that reads what the client says.

mod authorization;
mod keepalive;
mod standby;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::status::{EventKind, SessionDocument};
use tokio::net::TcpStream;

use crate::access::{Deed, Identity};
use crate::connection::budget::Budget;
use crate::connection::outbox::Outbox;
use crate::connection::reader::Inbound;
use crate::connection::writer;
pub use crate::dialect::session::keepalive::{Care, Service};
use crate::dialect::{Dialect, foxglove, native, plain, rosbridge};
use crate::endpoint::{Endpoint, Facts, Place};

/// A client's connection after its WebSocket handshake.
pub struct Accepted {
    /// The socket.
    pub stream: TcpStream,
    /// What the client sent behind its request.
    pub read_ahead: Bytes,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it speaks.
    pub dialect: Dialect,
    /// Who it is.
    pub identity: Identity,
    /// Whether a plain client is given a moment to say that it is another.
    pub patient: bool,
    /// Its place among the clients or the standbys.
    pub place: Place,
}

/// What the endpoint's lists show of a session.
pub struct SessionInfo {
    /// Its number in this process.
    pub id: u64,
    peer: SocketAddr,
    dialect: Mutex<Dialect>,
    identity: Mutex<Identity>,
    client: Mutex<String>,
    outbox: Arc<Outbox>,
    place: Place,
    /// It has engaged the emergency stop by publishing it, and may release it so.
    published_stop: AtomicBool,
    /// Messages received from the client.
    pub received: AtomicU64,
}

impl SessionInfo {
    /// What the client calls itself; bounded.
    pub fn set_client(&self, name: &str) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = name.chars().take(64).collect();
    }

    /// What the client calls itself, else where it comes from.
    pub fn client(&self) -> String {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if client.is_empty() { self.peer.to_string() } else { client }
    }

    /// Who it is.
    pub fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its outbox.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// As `/status` shows it.
    pub fn document(&self) -> SessionDocument {
        let stats = self.outbox.stats();
        SessionDocument {
            id: self.id,
            peer: self.peer.to_string(),
            dialect: self.dialect.lock().unwrap_or_else(PoisonError::into_inner).name().to_owned(),
            role: self.identity().role.name().to_owned(),
            client: self.client.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            sent: stats.sent,
            sent_bytes: stats.sent_bytes,
            dropped: stats.dropped,
            queued_bytes: stats.queued_bytes,
            service: self.outbox.level(),
            shed: stats.shed,
            standby: self.place.is_standby(),
        }
    }
}

/// Serves one client until either side ends it. Removes every trace of it at the end.
pub async fn run(endpoint: Arc<Endpoint>, accepted: Accepted) {
    let Accepted { stream, read_ahead, peer, dialect, identity, patient, place } = accepted;
    let outbox = Outbox::new();
    let info = Arc::new(SessionInfo {
        id: endpoint.next_session_id(),
        peer,
        dialect: Mutex::new(dialect),
        identity: Mutex::new(identity),
        client: Mutex::default(),
        outbox: outbox.clone(),
        place,
        published_stop: AtomicBool::new(false),
        received: AtomicU64::new(0),
    });
    let _registered = endpoint.register(info.clone());
    let Identity { role, name } = info.identity();
    tracing::info!(
        session = info.id, %peer, dialect = dialect.name(), role = role.name(), holder = name, "client connected"
    );
    let (read, write) = stream.into_split();
    let writing = tokio::spawn(writer::run(write, outbox.clone()));
    let inbound = Inbound::new(read, read_ahead, outbox.clone()).await;
    set_budget(&endpoint, &info, None);
    let context = Context { endpoint: endpoint.clone(), info: info.clone() };
    let why = serve(&context, inbound, dialect, patient).await;
    endpoint.hub.detach(info.id);
    if matches!(why.code, 1002 | 1007 | 1009) {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    }
    if why == Ending::stopped_reading() {
        let cause = format!("{}: {}", info.client(), why.reason);
        endpoint.events.note(EventKind::Stalled, &cause, Facts::default());
    }
    outbox.close(why.code, &why.reason);
    // The writer ends when the close frame is out, or gives up by its own time limit.
    let _ = writing.await;
    let stats = outbox.stats();
    endpoint.counters.delivered.fetch_add(stats.sent, Ordering::Relaxed);
    endpoint.counters.dropped.fetch_add(stats.dropped, Ordering::Relaxed);
    endpoint.counters.shed.fetch_add(stats.shed, Ordering::Relaxed);
    endpoint.counters.dialects.ended(&info.document());
    tracing::info!(
        session = info.id, %peer, code = why.code, reason = why.reason,
        sent = stats.sent, dropped = stats.dropped, "client gone"
    );
}

async fn serve(context: &Context, mut inbound: Inbound, dialect: Dialect, patient: bool) -> Ending {
    match dialect {
        Dialect::Native => native::serve(context, inbound).await,
        Dialect::Foxglove => foxglove::serve(context, inbound).await,
        Dialect::Rosbridge => rosbridge::serve(context, inbound, None).await,
        Dialect::Plain => match plain::serve(context, &mut inbound, patient).await {
            plain::Outcome::Ended(ending) => ending,
            plain::Outcome::Rosbridge(said) => {
                *context.info.dialect.lock().unwrap_or_else(PoisonError::into_inner) = Dialect::Rosbridge;
                context.endpoint.hub.detach(context.info.id);
                rosbridge::serve(context, inbound, Some(said)).await
            }
        },
    }
}

/// Puts a session on the smallest of the budgets that hold for it.
fn set_budget(endpoint: &Endpoint, info: &SessionInfo, asked: Option<ByteRate>) {
    let own = endpoint.session_budget.into_iter().chain(asked).min();
    let shared = endpoint.shared_budget.clone();
    info.outbox.set_budget(Budget::new(info.id, own, shared, roverline_source::clock::monotonic()));
}

/// What a dialect may use while it serves a session.
pub struct Context {
    /// The endpoint that serves.
    pub endpoint: Arc<Endpoint>,
    /// This session.
    pub info: Arc<SessionInfo>,
}

impl Context {
    /// The client wants no more than this; `None` takes it back.
    pub fn ask_budget(&self, rate: Option<ByteRate>) {
        set_budget(&self.endpoint, &self.info, rate);
    }

    /// Engages or releases the emergency stop for this client. `answer` makes the frame that tells it
    /// whether that was accepted, with a sentence; a relay has to wait for the rover, and neither
    /// this session nor the others wait with it.
    pub fn emergency_stop(
        &self,
        id: String,
        engage: bool,
        reason: String,
        answer: fn(String, bool, String) -> Bytes,
    ) {
        let outbox = self.info.outbox().clone();
        let deed = if engage { Deed::EngageStop } else { Deed::ReleaseStop };
        if let Err(denied) = self.may(deed) {
            return outbox.control(answer(id, false, denied.to_string()));
        }
        let endpoint = self.endpoint.clone();
        // Bounded: a latch answers at once, and a relay's source refuses when too many wait.
        tokio::spawn(async move {
            let (accepted, message) = match endpoint.emergency_stop(&id, engage, &reason).await {
                Ok(message) => (true, message),
                Err(message) => (false, message),
            };
            outbox.control(answer(id, accepted, message));
        });
    }
}

/// Why a session ends: a close code (RFC 6455, section 7.4.1) and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The close code.
    pub code: u16,
    /// Why, at most 123 bytes of it are sent.
    pub reason: String,
}

impl Ending {
    /// The socket took nothing for too long.
    pub(crate) fn stopped_reading() -> Ending {
        Ending::new(1006, "the client stopped reading")
    }

    /// An ending of this code for this reason.
    pub fn new(code: u16, reason: impl Into<String>) -> Ending {
        Ending { code, reason: reason.into() }
    }
}
