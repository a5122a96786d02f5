//! The HTTP API over a native session: requests, and watches of paths.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use http::StatusCode;
use roverline_coordination::store::{Change, Range, Revision, Store, StoreError, Watch};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{AbortHandle, JoinSet};

use crate::access::{PermissionDenied, Role};
use crate::api::admission;
use crate::api::error::ApiError;
use crate::api::{self, Caller, Cause, WatchTarget};
use crate::connection::frame;
use crate::dialect::session::SessionContext;
use crate::endpoint::Endpoint;
use crate::endpoint::sessions::SessionInfo;
use crate::limits;

/// Interval of the results of a path that changes all the time.
const PERIODIC_WATCH_MS: u64 = 1_000;
/// Shortest interval between two results of a watch.
const WATCH_PAUSE_MS: u64 = 50;

/// Requests of an observer's session that wait for the store at a time.
const OBSERVER_REQUESTS: usize = 2;

/// Shortest interval between two results of alarms: many may change at a time.
const ALARMS_PAUSE_MS: u64 = 250;

/// Response bytes that may be queued for the client before further responses are refused.
const BACKLOG_BYTES: usize = limits::OUTBOX_CONTROL_BYTES / 2;

/// A message of more bytes is not parsed into JSON values on the session's task.
const LARGE_BYTES: usize = 16 << 10;

/// The pending requests and the watches of a session. Dropping it aborts all of them.
pub(super) struct PendingRequests {
    tasks: JoinSet<()>,
    watches: HashMap<u64, AbortHandle>,
    /// An observer waits with few requests at a time among those of all sessions, so that a session with many
    /// has hardly more turns than one with few.
    turns: Arc<Semaphore>,
}

impl Default for PendingRequests {
    fn default() -> PendingRequests {
        let turns = Arc::new(Semaphore::new(OBSERVER_REQUESTS));
        PendingRequests { tasks: JoinSet::new(), watches: HashMap::new(), turns }
    }
}

impl PendingRequests {
    /// Sends the response of a request as soon as there is one.
    pub(super) fn spawn_request(&mut self, context: &SessionContext, mut request: Request) {
        let id = request.id;
        if let Err(denied) = context.info.check_not_confined() {
            return refuse(&context.info, id, &confined(&denied));
        }
        self.reap_finished();
        if self.tasks.len() >= self.watches.len() + limits::SESSION_REQUESTS {
            return refuse(&context.info, id, &overloaded("too many requests wait for their answers"));
        }
        let (endpoint, info) = (context.endpoint.clone(), context.info.clone());
        let turns = self.turns.clone();
        self.tasks.spawn(async move {
            // A long poll waits outside the store.
            let _turn =
                if request.path.contains("wait_ms=") { None } else { acquire_own(&info, &turns).await };
            let traceparent = request.traceparent.take();
            respond(&endpoint, &info, request, Cause::Client(traceparent.as_deref())).await;
        });
    }

    /// Sends the current response of a path now, and again whenever it may have changed.
    pub(super) fn watch(&mut self, context: &SessionContext, id: u64, path: &str) {
        if let Err(denied) = context.info.check_not_confined() {
            return refuse(&context.info, id, &confined(&denied));
        }
        self.unwatch(id);
        self.reap_finished();
        let target = match api::watch_target(path) {
            Ok(target) => target,
            Err(error) => return refuse(&context.info, id, &error),
        };
        if self.watches.len() >= limits::SESSION_WATCH_ENTRIES {
            return refuse(&context.info, id, &overloaded("too many paths are watched: end one of them"));
        }
        let (endpoint, info, turns) = (context.endpoint.clone(), context.info.clone(), self.turns.clone());
        let watching = self.tasks.spawn(async move { watch(&endpoint, &info, id, &target, &turns).await });
        self.watches.insert(id, watching);
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, id: u64) {
        if let Some(watch) = self.watches.remove(&id) {
            watch.abort();
        }
    }

    /// Removes finished tasks.
    fn reap_finished(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.watches.retain(|_, watch| !watch.is_finished());
    }
}

fn refuse(info: &SessionInfo, id: u64, error: &ApiError) {
    // Our own documents always serialize.
    let problem = serde_json::to_vec(&error.problem(None)).unwrap_or_default();
    send_response(info, id, error.status().as_u16(), &problem);
}

fn confined(denied: &PermissionDenied) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, denied.to_string())
}

fn overloaded(why: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn send_response(info: &SessionInfo, id: u64, status: u16, body: &[u8]) {
    let head = format!(r#"{{"op":"response","id":{id},"status":{status},"body":"#);
    let body = if body.is_empty() { b"null" } else { body };
    info.outbox().control(frame::text(&[head.as_bytes(), body, b"}"].concat()));
}

async fn respond(endpoint: &Endpoint, info: &SessionInfo, request: Request, cause: Cause<'_>) {
    let id = request.id;
    let (status, body) = answer(endpoint, info, request, cause).await;
    deliver(info, id, status, &body);
}

/// The status and the body of the response to a request of this session.
async fn answer(endpoint: &Endpoint, info: &SessionInfo, request: Request, cause: Cause<'_>) -> (u16, Bytes) {
    let Request { method, path, body, .. } = request;
    let (identity, peer, client) = (info.identity(), info.peer(), info.client_name());
    let caller = Caller::Session { identity, peer, client };
    api::request(endpoint, caller, &method, &path, body, cause).await
}

/// Sends a response, unless the session does not read what it gets.
fn deliver(info: &SessionInfo, id: u64, status: u16, body: &[u8]) {
    if info.outbox().control_bytes() + body.len() > BACKLOG_BYTES {
        return refuse(info, id, &overloaded("too much waits to be read: read it first"));
    }
    send_response(info, id, status, body);
}

/// Waits for a turn among the requests of the session, if it is an observer's.
async fn acquire_own<'a>(info: &SessionInfo, turns: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
    match info.identity().role < Role::Operator {
        // Never closed.
        true => turns.acquire().await.ok(),
        false => None,
    }
}

async fn watch(endpoint: &Endpoint, info: &SessionInfo, id: u64, target: &WatchTarget, turns: &Semaphore) {
    let pause = Duration::from_millis(WATCH_PAUSE_MS);
    let lifecycle = &endpoint.coordination.lifecycle;
    if target.reads_alarms {
        return watch_alarms(endpoint, info, id, target).await;
    }
    if target.prefixes.is_empty() {
        return watch_periodically(endpoint, info, id, target, turns).await;
    }
    loop {
        // Subscribe first, read second: a change in between is either read or reported.
        let own = acquire_own(info, turns).await;
        let shared = admission::acquire(endpoint, info.identity().role).await;
        let changed = changes(&*endpoint.coordination.store, &target.prefixes).await;
        drop(shared);
        // Boxed: while a watch waits, which is nearly always, it takes no memory for a request.
        let request = Request { id, path: target.target.clone(), ..Request::default() };
        Box::pin(respond(endpoint, info, request, Cause::Watch)).await;
        drop(own);
        tokio::time::sleep(pause).await;
        match changed {
            // Changed, lagging or closed: the path is read again in any case.
            Ok(mut watches) => {
                let next = watches.iter_mut().map(|watch| Box::pin(watch.next()));
                let (changes, ..) = select_all(next).await;
                if let (Some(Ok(changes)), true) = (changes, target.reads_lifecycle) {
                    // This process's lifecycle replica may be slightly behind the store.
                    let newest = changes.last().map_or(Revision(0), Change::revision);
                    let patience = Duration::from_millis(limits::STORE_POLL_MS * 5);
                    let _ = tokio::time::timeout(patience, lifecycle.wait_for_revision(newest)).await;
                }
            }
            // The response explains the error; try again when the store may be available.
            Err(_) => tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS * 5)).await,
        }
    }
}

/// Sends alarms when they change. They are in memory, so that nobody has to wait for a turn.
async fn watch_alarms(endpoint: &Endpoint, info: &SessionInfo, id: u64, target: &WatchTarget) {
    let mut changes = endpoint.alarms.changes();
    loop {
        // Marked before it is read: a change in between is reported again.
        changes.mark_unchanged();
        let request = Request { id, path: target.target.clone(), ..Request::default() };
        Box::pin(respond(endpoint, info, request, Cause::Watch)).await;
        tokio::time::sleep(Duration::from_millis(ALARMS_PAUSE_MS)).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Sends what changes without a change of the store: reads it at a fixed interval, and sends it if it differs.
async fn watch_periodically(
    endpoint: &Endpoint,
    info: &SessionInfo,
    id: u64,
    target: &WatchTarget,
    turns: &Semaphore,
) {
    let hasher = RandomState::new();
    let mut sent = None;
    loop {
        let own = acquire_own(info, turns).await;
        let request = Request { id, path: target.target.clone(), ..Request::default() };
        let (status, body) = Box::pin(answer(endpoint, info, request, Cause::Watch)).await;
        drop(own);
        let hash = hasher.hash_one((status, &body));
        if sent.replace(hash) != Some(hash) {
            deliver(info, id, status, &body);
        }
        drop(body);
        tokio::time::sleep(Duration::from_millis(PERIODIC_WATCH_MS)).await;
    }
}

async fn changes(store: &dyn Store, prefixes: &[String]) -> Result<Vec<Watch>, StoreError> {
    let first = prefixes.first().cloned().unwrap_or_default();
    let now = store.range(Range { prefix: first, limit: 1, ..Range::default() }).await?.revision;
    let mut watches = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        watches.push(store.watch(prefix.clone(), now.next()).await?);
    }
    Ok(watches)
}

/// A request message whose body is left as raw JSON.
#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    id: u64,
    method: Option<String>,
    path: String,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    traceparent: Option<String>,
}

/// A request with its body as the client sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Bytes,
    /// The caller's trace context.
    pub(super) traceparent: Option<String>,
}

impl Default for Request {
    fn default() -> Request {
        let (path, traceparent) = (String::new(), None);
        Request { id: 0, method: "GET".to_owned(), path, body: Bytes::new(), traceparent }
    }
}

/// Parses a large message if it is a request, and leaves its body unparsed: the handler parses it on
/// another thread, where no session has to wait. `None` for any other message.
pub(super) fn parse_large_request(text: &str) -> Option<Request> {
    if text.len() <= LARGE_BYTES {
        return None;
    }
    let sent = serde_json::from_str::<RawRequest<'_>>(text).ok().filter(|sent| sent.op == "request")?;
    let body = sent.body.map(|body| Bytes::copy_from_slice(body.get().as_bytes())).unwrap_or_default();
    let method = sent.method.unwrap_or_else(|| "GET".to_owned());
    Some(Request { id: sent.id, method, path: sent.path, body, traceparent: sent.traceparent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_keeps_its_body_as_it_was_sent() {
        let value = format!(r#"{{ "n": 1.10, "s": "{}" }}"#, "x".repeat(LARGE_BYTES));
        let text =
            |op| format!(r#"{{"op":"{op}","id":7,"method":"PUT","path":"/api/v2/kv/a","body":{value}}}"#);
        let request = parse_large_request(&text("request")).unwrap();
        let (method, path) = ("PUT".to_owned(), "/api/v2/kv/a".to_owned());
        assert_eq!(
            request,
            Request { id: 7, method, path, body: Bytes::from(value.clone()), traceparent: None }
        );
        assert_eq!(parse_large_request(&text("watch")), None);
        assert_eq!(parse_large_request(r#"{"op":"request","id":7,"path":"/"}"#), None, "short");
        let plain = format!(r#"{{"op":"request","id":7,"path":"/{}"}}"#, "x".repeat(LARGE_BYTES));
        assert_eq!(
            parse_large_request(&plain).map(|request| (request.method, request.body)),
            Some(("GET".to_owned(), Bytes::new()))
        );
        assert_eq!(parse_large_request(&text("request")[..LARGE_BYTES + 9]), None, "not whole");
    }
}
