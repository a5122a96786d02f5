//! The list of an endpoint's sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::api::metrics::LinkDocument;
use roverline_protocol::status::SessionDocument;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::{AuthenticationError, Identity, Peer, PermissionDenied};
use crate::connection::close_reason::CloseReason;
use crate::connection::dialect::Dialect;
use crate::connection::outbox::Outbox;
use crate::endpoint::Endpoint;
use crate::endpoint::capacity::SessionSlot;
use crate::identity;

/// A session is closed for a reason of policy (RFC 6455, section 7.4.1).
const CLOSE_POLICY: u16 = 1008;

/// A session as shown in the endpoint's lists.
pub struct SessionInfo {
    /// Its number in this process.
    pub id: u64,
    peer: Peer,
    dialect: Mutex<Dialect>,
    identity: Mutex<Identity>,
    client: Mutex<String>,
    outbox: Arc<Outbox>,
    slot: SessionSlot,
    evicted: CancellationToken,
    confidential: AtomicBool,
    revoked: watch::Sender<Option<CloseReason>>,
    /// Whether it engaged the emergency stop by publishing, and so may release it by publishing.
    pub published_stop: AtomicBool,
    /// Messages received from the client.
    pub received: AtomicU64,
}

impl SessionInfo {
    /// The entry of a session that starts now.
    pub fn new(
        id: u64,
        peer: Peer,
        dialect: Dialect,
        identity: Identity,
        outbox: Arc<Outbox>,
        slot: SessionSlot,
    ) -> SessionInfo {
        SessionInfo {
            id,
            peer,
            dialect: Mutex::new(dialect),
            identity: Mutex::new(identity),
            client: Mutex::default(),
            outbox,
            slot,
            evicted: CancellationToken::new(),
            confidential: AtomicBool::new(false),
            revoked: watch::Sender::new(None),
            published_stop: AtomicBool::new(false),
            received: AtomicU64::new(0),
        }
    }

    /// Changes the dialect, when a plain client turns out to be another one.
    pub fn set_dialect(&self, dialect: Dialect) {
        *self.dialect.lock() = dialect;
    }

    /// Changes the identity, when the client authenticates during the session.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.lock() = identity;
    }

    /// Its slot among the clients or the standbys.
    pub fn slot(&self) -> &SessionSlot {
        &self.slot
    }

    /// Ends the session to make room; its slot is free at once.
    pub(super) fn evict(&self) {
        self.slot.give_up();
        self.evicted.cancel();
    }

    /// Returns when the session has to make room.
    pub async fn wait_evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Records that its connection cannot be read on the network.
    pub fn set_confidential(&self) {
        self.confidential.store(true, Ordering::Relaxed);
    }

    /// Whether its connection cannot be read on the network.
    pub fn is_confidential(&self) -> bool {
        self.confidential.load(Ordering::Relaxed)
    }

    /// Ends the session because its client's token has ended.
    fn revoke(&self, why: &AuthenticationError) {
        self.revoked.send_replace(Some(CloseReason::new(CLOSE_POLICY, why.to_string())));
    }

    /// Returns when the client's token has ended.
    pub async fn wait_revoked(&self) -> CloseReason {
        let mut revoked = self.revoked.subscribe();
        let reason = match revoked.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            // The sender is a field of this session.
            Err(_) => None,
        };
        reason.unwrap_or_else(|| CloseReason::new(CLOSE_POLICY, "the token has ended"))
    }

    /// The client's address, and how it came.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether a page of a site that is not listed opened it, and showed no token: it gets telemetry only.
    pub fn is_confined(&self) -> bool {
        self.peer.page().is_stranger() && self.identity.lock().name.is_empty()
    }

    /// Refuses what is not telemetry to such a page.
    pub fn check_not_confined(&self) -> Result<(), PermissionDenied> {
        match self.is_confined() {
            false => Ok(()),
            true => Err(PermissionDenied::telemetry_only()),
        }
    }

    /// Sets the client's name, truncated to 64 characters.
    pub fn set_client(&self, name: &str) {
        *self.client.lock() = name.chars().take(64).collect();
    }

    /// The client's name, or its address if it has none.
    pub fn client(&self) -> String {
        let client = self.client.lock().clone();
        if client.is_empty() { self.peer.to_string() } else { client }
    }

    /// The unverified name that the client declares, if any.
    pub fn client_name(&self) -> Option<String> {
        Some(self.client.lock().clone()).filter(|client| !client.is_empty())
    }

    /// The label of the client's identity.
    pub fn label(&self) -> String {
        identity::label(&self.identity.lock(), self.peer)
    }

    /// The client's identity.
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// Its outbox.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The name of its dialect.
    pub fn dialect(&self) -> &'static str {
        self.dialect.lock().name()
    }

    /// The session's link in `/api/v2/metrics`.
    pub fn link_document(&self) -> LinkDocument {
        let link = self.outbox.link_status();
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        LinkDocument {
            session: self.id,
            peer: self.peer.to_string(),
            client: self.client.lock().clone(),
            dialect: self.dialect().to_owned(),
            rtt_ms: link.round_trip.map(|(rtt, _)| ms(rtt)),
            jitter_ms: link.round_trip.map(|(_, jitter)| ms(jitter)),
            loss: link.loss,
            sent_bytes_per_s: link.sent_bytes_per_s,
            received_bytes_per_s: link.received_bytes_per_s,
        }
    }

    /// The session's entry in `/status`.
    pub fn document(&self) -> SessionDocument {
        let stats = self.outbox.stats();
        SessionDocument {
            id: self.id,
            peer: self.peer.to_string(),
            dialect: self.dialect.lock().name().to_owned(),
            role: self.identity().role.name().to_owned(),
            client: self.client.lock().clone(),
            sent: stats.sent,
            sent_bytes: stats.sent_bytes,
            dropped: stats.dropped,
            queued_bytes: stats.queued_bytes,
            service: self.outbox.level(),
            shed: stats.shed,
            standby: self.slot.is_standby(),
        }
    }
}

impl Endpoint {
    /// Registers a session until the returned guard is dropped.
    pub fn register(self: &Arc<Self>, info: Arc<SessionInfo>) -> SessionRegistration {
        let id = info.id;
        self.sessions.lock().insert(id, info);
        SessionRegistration(self.clone(), id)
    }

    /// Ends the sessions whose tokens have expired or were taken out of their file.
    pub fn end_sessions_without_token(&self) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            let identity = session.identity();
            if let Err(why) = self.access.tokens().check(&identity) {
                tracing::warn!(session = session.id, holder = identity.name, %why, "a session ends with its token");
                session.revoke(&why);
            }
        }
    }

    /// The sessions, sorted by id.
    pub fn sessions(&self) -> Vec<Arc<SessionInfo>> {
        let mut sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }
}

/// The registration of a session; see [`Endpoint::register`].
pub struct SessionRegistration(Arc<Endpoint>, u64);

impl Drop for SessionRegistration {
    fn drop(&mut self) {
        self.0.sessions.lock().remove(&self.1);
    }
}
