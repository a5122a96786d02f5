//! Service calls through the client library: one client for each service, kept open, with the calls that wait for its
//! server or its answers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use r2r::{ClientUntyped, Node, QosProfile};
use roverline_schema::Registry;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::limits;
use crate::r2r::json::{decoded, encoded};
use crate::{Call, CallError};

/// Services that have been called; the library never closes a client.
const MAX_CLIENTS: usize = 256;
/// Calls that wait, of all services.
const MAX_CALLS: usize = 512;
/// Requests of one service that were never answered; the library keeps an entry for each.
const MAX_LOST: usize = 4_096;

type Answer = oneshot::Sender<Result<Bytes, CallError>>;
type Response = LocalBoxFuture<'static, r2r::Result<r2r::Result<Json>>>;

/// Whether a server is there: pending until it is.
pub(super) type Available = LocalBoxFuture<'static, r2r::Result<()>>;

struct Waiting {
    request: Json,
    since: Instant,
    timeout: Duration,
    answer: Answer,
}

impl Waiting {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.timeout || self.answer.is_closed()
    }
}

struct Client {
    type_name: String,
    client: ClientUntyped,
    /// `None` once a server was there.
    available: Option<Available>,
    queued: VecDeque<Waiting>,
    sent: Vec<(Waiting, Response)>,
    lost: usize,
}

/// The clients by service.
pub(super) struct Calls {
    registry: Registry,
    clients: HashMap<String, Client>,
}

impl Calls {
    pub(super) fn new(registry: Registry) -> Calls {
        Calls { registry, clients: HashMap::new() }
    }

    /// Accepts a call; its answer comes with a later [`Calls::poll`].
    pub(super) fn submit(&mut self, node: &mut Node, call: Call, now: Instant) {
        let Call { service, type_name, request, timeout, answer } = call;
        let request = decoded(&self.registry, &format!("{type_name}_Request"), &request);
        let queued = request.and_then(|request| {
            let waiting: usize = self.clients.values().map(|one| one.queued.len() + one.sent.len()).sum();
            if waiting >= MAX_CALLS {
                return Err(CallError::Failed(format!("{MAX_CALLS} calls are waiting already")));
            }
            Ok((self.client(node, &service, &type_name)?, request))
        });
        match queued {
            Ok((client, request)) => {
                client.queued.push_back(Waiting { request, since: now, timeout, answer });
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn client(&mut self, node: &mut Node, service: &str, type_name: &str) -> Result<&mut Client, CallError> {
        if !self.clients.contains_key(service) {
            if self.clients.len() >= MAX_CLIENTS {
                return Err(CallError::Failed(format!("{MAX_CLIENTS} services have been called already")));
            }
            let client = node
                .create_client_untyped(service, type_name, QosProfile::services_default())
                .map_err(|error| not_built(service, type_name, &error))?;
            let available = available(Node::is_available(&client));
            let (queued, sent, type_name) = (VecDeque::new(), Vec::new(), type_name.to_owned());
            let client = Client { type_name, client, available: Some(available), queued, sent, lost: 0 };
            self.clients.insert(service.to_owned(), client);
        }
        let client = self.clients.get_mut(service);
        let client = client.ok_or_else(|| CallError::NoServer(service.to_owned()))?;
        match client.type_name == type_name {
            true => Ok(client),
            false => Err(CallError::Failed(format!("{service} was called as {} before", client.type_name))),
        }
    }

    /// Sends what is ready, passes answers on and expires overdue calls.
    pub(super) fn poll(&mut self, now: Instant) {
        for (service, client) in &mut self.clients {
            client.take_answers(&self.registry, now, service);
            client.send(now, service);
        }
    }
}

impl Client {
    fn take_answers(&mut self, registry: &Registry, now: Instant, service: &str) {
        let response_type = format!("{}_Response", self.type_name);
        for (waiting, mut response) in std::mem::take(&mut self.sent) {
            let answer = match (&mut response).now_or_never() {
                Some(Ok(Ok(json))) => encoded(registry, &response_type, &json),
                Some(Ok(Err(error)) | Err(error)) => Err(CallError::Failed(format!("{service}: {error}"))),
                None if waiting.is_over(now) => {
                    self.lost += 1;
                    Err(CallError::Timeout { service: service.to_owned(), timeout: waiting.timeout })
                }
                None => {
                    self.sent.push((waiting, response));
                    continue;
                }
            };
            let _ = waiting.answer.send(answer);
        }
    }

    fn send(&mut self, now: Instant, service: &str) {
        if self.available.as_mut().is_some_and(|available| available.now_or_never().is_some()) {
            self.available = None;
        }
        let grace = Duration::from_millis(limits::SERVICE_GRACE_MS);
        while let Some(next) = self.queued.front() {
            let fail = if next.is_over(now) {
                Some(CallError::Timeout { service: service.to_owned(), timeout: next.timeout })
            } else if self.lost >= MAX_LOST {
                Some(CallError::Failed(format!("{service} left {MAX_LOST} requests unanswered")))
            } else if self.available.is_some() && now.saturating_duration_since(next.since) >= grace {
                Some(CallError::NoServer(service.to_owned()))
            } else {
                None
            };
            if fail.is_none() && (self.available.is_some() || self.sent.len() >= limits::UNANSWERED_REQUESTS)
            {
                return;
            }
            let Some(mut next) = self.queued.pop_front() else { return };
            match fail.map_or_else(|| Ok(self.client.request(next.request.take())), Err) {
                Ok(Ok(response)) => self.sent.push((next, response.boxed_local())),
                Ok(Err(error)) => {
                    drop(next.answer.send(Err(CallError::Failed(format!("{service}: {error}")))))
                }
                Err(fail) => drop(next.answer.send(Err(fail))),
            }
        }
    }
}

/// What the library says when a server is there. Where it cannot say, a server is assumed.
pub(super) fn available(future: r2r::Result<impl Future<Output = r2r::Result<()>> + 'static>) -> Available {
    match future {
        Ok(future) => future.boxed_local(),
        Err(_) => std::future::ready(Ok(())).boxed_local(),
    }
}

/// The usual reason why a service or an action cannot be used.
pub(super) fn not_built(name: &str, type_name: &str, error: &r2r::Error) -> CallError {
    CallError::Failed(format!(
        "{name}: {error}; was {type_name} installed, and not filtered out by IDL_PACKAGE_FILTER, when this was built?"
    ))
}
