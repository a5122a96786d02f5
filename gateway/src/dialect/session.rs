//! The services that a dialect uses during a session: budget, emergency stop, authorization, keepalive.

mod authorization;
pub(crate) mod command_record;
pub(crate) mod driver;
mod keepalive;
mod standby;

use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::trace::TARGET;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::access::{Permission, Role};
pub use crate::dialect::session::authorization::PublishRejected;
pub use crate::dialect::session::keepalive::ServiceReport;
use crate::emergency_stop::StopRequest;
use crate::endpoint::Endpoint;
use crate::endpoint::sessions::SessionInfo;
use crate::trace;

/// The span of a stop from its arrival until it is stored, or confirmed by a relay's rover.
fn stop_span(endpoint: &Endpoint, request: &StopRequest<'_>, role: Role, traceparent: Option<&str>) -> Span {
    let span = tracing::error_span!(
        target: TARGET,
        parent: None,
        "emergency stop",
        otel.name = if request.engage { "emergency stop engage" } else { "emergency stop release" },
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        enduser.id = request.by,
        { trace::ROLE } = role.name(),
        roverline.command = request.id,
    );
    trace::set_parent(&span, traceparent, &endpoint.counters.invalid_trace_contexts);
    span
}

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

    /// The span of a subscription after a change of endpoints: what was missed is sent again.
    pub(super) fn resume_span(&self, traceparent: &str) -> Span {
        let span = tracing::error_span!(
            target: TARGET,
            parent: None,
            "resume",
            otel.kind = "server",
            enduser.id = self.info.label(),
            { trace::ROLE } = self.info.identity().role.name(),
            roverline.replayed = Empty,
        );
        trace::set_parent(&span, Some(traceparent), &self.endpoint.counters.invalid_trace_contexts);
        span
    }

    /// The span of a service call of this client.
    pub(super) fn call_span(&self, service: &str, traceparent: Option<&str>) -> Span {
        let span = tracing::error_span!(
            target: TARGET,
            parent: None,
            "service call",
            otel.name = format!("call {service}"),
            otel.kind = "server",
            enduser.id = self.info.label(),
            { trace::ROLE } = self.info.identity().role.name(),
            rpc.system.name = "ros2",
            rpc.method = service,
        );
        trace::set_parent(&span, traceparent, &self.endpoint.counters.invalid_trace_contexts);
        span
    }

    /// Engages or releases the emergency stop for this client. `answer` builds the response frame from the
    /// id, the result and a message. Runs in the background: a relay has to wait for the rover, and no
    /// session may wait with it.
    pub fn emergency_stop(
        &self,
        id: String,
        engage: bool,
        reason: &str,
        traceparent: Option<&str>,
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
        let span = stop_span(&endpoint, &request, self.info.identity().role, traceparent);
        let pending = span.in_scope(|| endpoint.begin_emergency_stop(request, self.info.client_name()));
        // Bounded: the latch and a relay's source refuse commands beyond their limits.
        let inner = span.clone();
        let finishing = async move {
            let (accepted, message) = match endpoint.finish_emergency_stop(pending).await {
                Ok(answer) => (true, answer.message),
                Err(error) => {
                    inner.record("otel.status_code", "ERROR");
                    inner.record("otel.status_description", error.to_string());
                    (false, error.to_string())
                }
            };
            outbox.control(answer(id, accepted, message));
        };
        tokio::spawn(finishing.instrument(span));
    }
}
