//! Services served by clients: a request from the graph is sent to the client as `call_service`, and its
//! `service_response` becomes the reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_source::Reply;
use roverline_source::clock::monotonic;
use roverline_source::ros::{Ros, ServedService};
use serde_json::json;

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::rosbridge::operation::joined;
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::session::SessionContext;
use crate::limits;

/// Services that one session may advertise.
pub(super) const SERVICES_PER_SESSION: usize = 16;

/// Requests that wait for the client's response.
#[derive(Default)]
pub(super) struct PendingRequests {
    pub(super) requests: HashMap<String, PendingRequest>,
    pub(super) bytes: usize,
    pub(super) number: u64,
}

pub(super) struct PendingRequest {
    pub(super) service: String,
    pub(super) type_name: String,
    pub(super) reply: Reply,
    pub(super) bytes: usize,
    pub(super) since: Duration,
}

const MAX_AGE: Duration = Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS);

impl PendingRequests {
    /// Adds a request and returns its id; `None` if there is no space.
    fn add(&mut self, service: &str, type_name: &str, bytes: usize, reply: Reply) -> Option<String> {
        let room = self.bytes + bytes <= limits::ROSBRIDGE_RESPONSE_BYTES;
        if !room || self.requests.len() >= limits::CALLS_PER_SESSION {
            return None;
        }
        self.number += 1;
        self.bytes += bytes;
        let id = format!("service_request:{service}:{}", self.number);
        let (service, type_name) = (service.to_owned(), type_name.to_owned());
        self.requests
            .insert(id.clone(), PendingRequest { service, type_name, reply, bytes, since: monotonic() });
        Some(id)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<PendingRequest> {
        let request = self.requests.remove(id)?;
        self.bytes -= request.bytes;
        Some(request)
    }
}

/// The services that one session serves.
pub(super) struct ServiceServers {
    pub(super) pending: Arc<Mutex<PendingRequests>>,
    pub(super) withdraw: UnadvertiseOnDrop,
}

/// Withdraws everything that a session advertises when it ends.
pub(super) struct UnadvertiseOnDrop(Arc<crate::endpoint::Endpoint>, pub(super) u64);

impl Drop for UnadvertiseOnDrop {
    fn drop(&mut self) {
        self.0.advertised.remove_session(self.1);
    }
}

impl ServiceServers {
    pub(super) fn new(context: &SessionContext) -> ServiceServers {
        let withdraw = UnadvertiseOnDrop(context.endpoint.clone(), context.info.id);
        ServiceServers { pending: Arc::default(), withdraw }
    }

    /// Discards requests whose callers have given up.
    pub(super) fn expire(&self, now: Duration) {
        let mut pending = self.pending.lock();
        let old = |request: &PendingRequest| now.saturating_sub(request.since) > MAX_AGE;
        let ids = pending.requests.iter().filter(|(_, request)| old(request)).map(|(id, _)| id.clone());
        for id in ids.collect::<Vec<_>>() {
            pending.remove(&id);
        }
    }
}

/// Forwards a request to the client. Called on the source's thread.
pub(super) fn forward(ros: &Ros, outbox: &Outbox, to: &AdvertisedService, request: &Bytes, reply: Reply) {
    let args = match ros.decode(&format!("{}_Request", to.type_name), request) {
        Ok(args) => args,
        Err(error) => return tracing::info!(service = to.name, %error, "a request cannot be decoded"),
    };
    let id = {
        let mut pending = to.pending.lock();
        pending.add(&to.name, &to.type_name, args.len(), reply)
    };
    match id {
        Some(id) => {
            let head = json!({"op": "call_service", "service": to.client_name, "id": id});
            outbox.control(frame::text(&joined(&head, "args", &args)));
        }
        None => tracing::info!(service = to.name, "a client is asked more than it answers"),
    }
}

/// A service as its client advertised it.
pub(super) struct AdvertisedService {
    pub(super) name: String,
    /// The name as the client wrote it, and expects it.
    pub(super) client_name: String,
    pub(super) type_name: String,
    pub(super) pending: Arc<Mutex<PendingRequests>>,
}

impl SessionContext {
    /// Advertises what `serve` returns; tells another session whose advertisement it replaces.
    pub(super) fn advertise<E>(
        &self,
        name: &str,
        serve: impl FnOnce() -> Result<Vec<ServedService>, E>,
    ) -> Result<(), E> {
        let replaced = || status(Level::Warning, &None, &format!("another client offers {name} now"));
        let outbox = self.info.outbox().clone();
        let owner = (self.info.id, self.info.label());
        self.endpoint.advertised.insert(owner, outbox, name, replaced, serve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_within_bounds() {
        let mut pending = PendingRequests::default();
        let reply = || Reply::new(|_| {});
        let first = pending.add("/a", "std_srvs/srv/Trigger", 10, reply()).unwrap();
        assert_eq!(first, "service_request:/a:1");
        assert_eq!(pending.add("/a", "", limits::ROSBRIDGE_RESPONSE_BYTES, reply()), None);
        let taken = (0..1_000).filter(|_| pending.add("/a", "", 1, reply()).is_some()).count();
        assert_eq!(taken, limits::CALLS_PER_SESSION - 1);
        assert!(pending.remove(&first).is_some() && pending.remove(&first).is_none());
        assert_eq!(pending.bytes, taken);
    }
}
