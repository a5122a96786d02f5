//! The services that a dialect uses during a session: budget, emergency stop, authorization, keepalive.

mod authorization;
pub(crate) mod driver;
mod keepalive;
mod standby;

use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::budget::ByteRate;

use crate::access::Permission;
pub use crate::dialect::session::authorization::PublishRejected;
pub use crate::dialect::session::keepalive::ServiceReport;
use crate::emergency_stop::StopRequest;
use crate::endpoint::Endpoint;
use crate::endpoint::sessions::SessionInfo;

/// Applies the smallest of the session's budgets.
fn set_budget(endpoint: &Endpoint, info: &SessionInfo, requested: Option<ByteRate>) {
    info.outbox().set_budget(endpoint.budget(info.id, requested));
}

/// The services that a dialect uses during a session.
pub struct SessionContext {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The session.
    pub info: Arc<SessionInfo>,
}

impl SessionContext {
    /// Sets the client's requested rate limit; `None` removes it.
    pub fn request_budget(&self, rate: Option<ByteRate>) {
        set_budget(&self.endpoint, &self.info, rate);
    }

    /// Engages or releases the emergency stop for this client. `answer` builds the response frame from the
    /// id, the result and a message. Runs in the background: a relay has to wait for the rover, and no
    /// session may wait with it.
    pub fn emergency_stop(
        &self,
        id: String,
        engage: bool,
        reason: &str,
        answer: fn(String, bool, String) -> Bytes,
    ) {
        let outbox = self.info.outbox().clone();
        let permission = if engage { Permission::EngageStop } else { Permission::ReleaseStop };
        if let Err(denied) = self.authorize(permission) {
            return outbox.control(answer(id, false, denied.to_string()));
        }
        let endpoint = self.endpoint.clone();
        // A local engage is in effect now; only its answer waits for the disk.
        let by = self.info.label();
        let request = StopRequest { by: &by, id: &id, engage, reason };
        let pending = endpoint.begin_emergency_stop(request, self.info.client_name());
        // Bounded: the latch and a relay's source refuse commands beyond their limits.
        tokio::spawn(async move {
            let (accepted, message) = match endpoint.finish_emergency_stop(pending).await {
                Ok(answer) => (true, answer.message),
                Err(error) => (false, error.to_string()),
            };
            outbox.control(answer(id, accepted, message));
        });
    }
}
