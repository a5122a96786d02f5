//! Services that clients serve: requests of the graph go to the client as `call_service`, and its
//! `service_response` is the reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_source::Reply;
use roverline_source::clock::monotonic;
use roverline_source::ros::{Ros, Served};
use serde_json::{Value, json};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::rosbridge::request::Id;
use crate::dialect::rosbridge::service_client::joined;
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type, refused};
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::session::Context;

/// What the clients of an endpoint offer to the graph, by name. One that comes back after its link
/// broke offers its services while its old session still does: the newer session serves.
#[derive(Default)]
pub struct Offered(Mutex<HashMap<String, Offer>>);

struct Offer {
    session: u64,
    outbox: Arc<Outbox>,
    _served: Vec<Served>,
}

impl Offered {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what `serve` makes in the place of what another session offers under this name.
    pub(super) fn put<E>(
        &self,
        context: &Context,
        name: &str,
        serve: impl FnOnce() -> Result<Vec<Served>, E>,
    ) -> Result<(), E> {
        let (session, outbox) = (context.info.id, context.info.outbox().clone());
        let mut all = self.lock();
        // It is withdrawn before the new one is there, which withdrawing later would take away.
        if let Some(old) = all.remove(name).filter(|old| old.session != session) {
            let msg = format!("another client offers {name} now");
            old.outbox.control(status(Level::Warning, &None, msg));
        }
        all.insert(name.to_owned(), Offer { session, outbox, _served: serve()? });
        Ok(())
    }

    /// Takes back what a session offers under this name; whether it did.
    pub(super) fn take(&self, session: u64, name: &str) -> bool {
        let mut all = self.lock();
        let own = all.get(name).is_some_and(|offer| offer.session == session);
        own && all.remove(name).is_some()
    }

    /// How many a session offers.
    pub(super) fn count(&self, session: u64) -> usize {
        self.lock().values().filter(|offer| offer.session == session).count()
    }

    /// Takes back all that a session offers.
    pub(super) fn leave(&self, session: u64) {
        self.lock().retain(|_, offer| offer.session != session);
    }
}

/// Requests that wait for their client.
#[derive(Default)]
struct Waiting {
    requests: HashMap<String, Request>,
    bytes: usize,
    number: u64,
}

struct Request {
    service: String,
    type_name: String,
    reply: Reply,
    bytes: usize,
    since: Duration,
}

const MAX_AGE: Duration = Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS);

impl Waiting {
    /// Gives a request a number; none if there is no room.
    fn add(&mut self, service: &str, type_name: &str, bytes: usize, reply: Reply) -> Option<String> {
        let room = self.bytes + bytes <= limits::ROSBRIDGE_ANSWER_BYTES;
        if !room || self.requests.len() >= limits::CALLS_PER_SESSION {
            return None;
        }
        self.number += 1;
        self.bytes += bytes;
        let id = format!("service_request:{service}:{}", self.number);
        let (service, type_name) = (service.to_owned(), type_name.to_owned());
        self.requests.insert(id.clone(), Request { service, type_name, reply, bytes, since: monotonic() });
        Some(id)
    }

    fn take(&mut self, id: &str) -> Option<Request> {
        let request = self.requests.remove(id)?;
        self.bytes -= request.bytes;
        Some(request)
    }
}

/// The services of one session.
pub(super) struct Offers {
    waiting: Arc<Mutex<Waiting>>,
    leave: Leave,
}

/// At its end a session offers nothing any more.
struct Leave(Arc<crate::endpoint::Endpoint>, u64);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.offered.leave(self.1);
    }
}

impl Offers {
    pub(super) fn new(context: &Context) -> Offers {
        let leave = Leave(context.endpoint.clone(), context.info.id);
        Offers { waiting: Arc::default(), leave }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of requests whose callers wait no longer.
    pub(super) fn expire(&self, now: Duration) {
        let mut waiting = self.waiting();
        let old = |request: &Request| now.saturating_sub(request.since) > MAX_AGE;
        let ids = waiting.requests.iter().filter(|(_, request)| old(request)).map(|(id, _)| id.clone());
        for id in ids.collect::<Vec<_>>() {
            waiting.take(&id);
        }
    }
}

/// Hands a request to the client. Called on the source's thread.
fn forward(ros: &Ros, outbox: &Outbox, to: &Service, request: &Bytes, reply: Reply) {
    let args = match ros.decode(&format!("{}_Request", to.type_name), request) {
        Ok(args) => args,
        Err(error) => return tracing::info!(service = to.name, %error, "a request cannot be decoded"),
    };
    let id = {
        let mut waiting = to.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.add(&to.name, &to.type_name, args.len(), reply)
    };
    match id {
        Some(id) => {
            let head = json!({"op": "call_service", "service": to.spelt, "id": id});
            outbox.control(frame::text(&joined(&head, "args", &args)));
        }
        None => tracing::info!(service = to.name, "a client is asked more than it answers"),
    }
}

/// A service as its client offers it.
struct Service {
    name: String,
    /// As the client wrote it, and listens for it.
    spelt: String,
    type_name: String,
    waiting: Arc<Mutex<Waiting>>,
}

impl Session<'_> {
    /// Whether this client may offer another thing of this name.
    pub(super) fn may_offer(&self, name: &str, type_name: &str) -> Done {
        let endpoint = &self.context.endpoint;
        self.context.may_call(name, type_name).map_err(|denied| Fault::Refused(denied.to_string()))?;
        if endpoint.serves_itself(name) {
            return refused(format!("the gateway serves {name} itself"));
        }
        let most = limits::SERVICES_PER_SESSION;
        if endpoint.offered.count(self.context.info.id) >= most {
            return refused(format!("a session may offer {most} services and actions"));
        }
        Ok(())
    }

    /// Offers a service to the graph.
    pub(super) fn advertise_service(&mut self, service: String, type_name: &str) -> Done {
        let name = full_name(&service)?;
        let type_name = long_type(type_name, "srv")?;
        let endpoint = &self.context.endpoint;
        let known = endpoint.hub.registry().plan(&format!("{type_name}_Request"));
        known.map_err(|error| Fault::Refused(error.to_string()))?;
        // The same again is as good as new.
        endpoint.offered.take(self.context.info.id, &name);
        self.may_offer(&name, &type_name)?;
        let (ros, outbox) = (endpoint.ros.clone(), self.context.info.outbox().clone());
        let waiting = self.offers.waiting.clone();
        let to = Service { name: name.clone(), spelt: service, type_name: type_name.clone(), waiting };
        let handler = Arc::new(move |request: Bytes, reply| forward(&ros, &outbox, &to, &request, reply));
        let served = || endpoint.ros.serve(&name, &type_name, handler).map(|served| vec![served]);
        endpoint.offered.put(self.context, &name, served).map_err(|error| Fault::Refused(error.to_string()))
    }

    /// Offers it no longer.
    pub(super) fn unadvertise_service(&mut self, service: &str) -> Done {
        let name = full_name(service)?;
        match self.context.endpoint.offered.take(self.offers.leave.1, &name) {
            true => Ok(()),
            false => refused(format!("you do not offer {name}")),
        }
    }

    /// The client answers a request.
    pub(super) fn service_response(&mut self, id: &Id, service: &str, values: &Value, result: bool) -> Done {
        let name = full_name(service)?;
        let Some(Value::String(number)) = id else { return refused("say which request: its id") };
        let mut waiting = self.offers.waiting();
        if waiting.requests.get(number).is_none_or(|request| request.service != name) {
            return refused(format!("no request of this id waits for {name}"));
        }
        let Some(Request { type_name, reply, .. }) = waiting.take(number) else { return Ok(()) };
        drop(waiting);
        if !result {
            // ROS 2 has no answer for that: the caller's own timeout tells it.
            tracing::debug!(service = name, "a client failed to serve a request");
            return Ok(());
        }
        let empty = json!({});
        let values = if values.is_null() { &empty } else { values };
        let encoded = self.context.endpoint.ros.encode(&format!("{type_name}_Response"), values);
        reply.send(encoded.map_err(|error| Fault::Refused(format!("{name}: {error}")))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_within_bounds() {
        let mut waiting = Waiting::default();
        let reply = || Reply::new(|_| {});
        let first = waiting.add("/a", "std_srvs/srv/Trigger", 10, reply()).unwrap();
        assert_eq!(first, "service_request:/a:1");
        assert_eq!(waiting.add("/a", "", limits::ROSBRIDGE_ANSWER_BYTES, reply()), None);
        let taken = (0..1_000).filter(|_| waiting.add("/a", "", 1, reply()).is_some()).count();
        assert_eq!(taken, limits::CALLS_PER_SESSION - 1);
        assert!(waiting.take(&first).is_some() && waiting.take(&first).is_none());
        assert_eq!(waiting.bytes, taken);
    }
}
