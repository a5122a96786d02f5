//! The HTTP API over a session: requests, and paths that are watched.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use http::StatusCode;
use roverline_coordination::store::{Change, Range, Revision, Store, StoreError, Watch};
use roverline_protocol::limits;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::{AbortHandle, JoinSet};

use crate::api::{self, Watched};
use crate::connection::frame;
use crate::dialect::session::{Context, SessionInfo};
use crate::endpoint::Endpoint;

/// Answers that may wait to be read before more is refused.
const WAITING_BYTES: usize = limits::OUTBOX_CONTROL_BYTES / 2;

/// Messages of more bytes are not read into values at once.
const LONG_BYTES: usize = 16 << 10;

/// The session itself asks for too much.
const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// What a session has asked and is not answered yet. Dropping it ends all of it.
#[derive(Default)]
pub(super) struct Requests {
    tasks: JoinSet<()>,
    watches: HashMap<u64, AbortHandle>,
}

impl Requests {
    /// Answers a request when its answer is there.
    pub(super) fn ask(&mut self, context: &Context, id: u64, method: String, path: String, body: Bytes) {
        self.tidy();
        if self.tasks.len() >= self.watches.len() + limits::SESSION_REQUESTS {
            return refuse(&context.info, id, BUSY, "too many requests wait for their answers");
        }
        let (endpoint, info) = (context.endpoint.clone(), context.info.clone());
        self.tasks.spawn(async move { answer(&endpoint, &info, id, &method, &path, body).await });
    }

    /// Answers now, and again whenever the answer may be another.
    pub(super) fn watch(&mut self, context: &Context, id: u64, path: &str) {
        self.unwatch(id);
        self.tidy();
        let watched = match api::watched(path) {
            Ok(watched) => watched,
            Err((status, why)) => return refuse(&context.info, id, status, why),
        };
        if self.watches.len() >= limits::SESSION_WATCH_ENTRIES {
            return refuse(&context.info, id, BUSY, "too many paths are watched: end one of them");
        }
        let (endpoint, info) = (context.endpoint.clone(), context.info.clone());
        let watching = self.tasks.spawn(async move { watch(&endpoint, &info, id, &watched).await });
        self.watches.insert(id, watching);
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, id: u64) {
        if let Some(watch) = self.watches.remove(&id) {
            watch.abort();
        }
    }

    /// Forgets what is done.
    fn tidy(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.watches.retain(|_, watch| !watch.is_finished());
    }
}

fn refuse(info: &SessionInfo, id: u64, status: StatusCode, why: &str) {
    let (title, status) = (status.canonical_reason().unwrap_or_default(), status.as_u16());
    let problem = serde_json::json!({"type": "about:blank", "title": title, "status": status, "detail": why});
    say(info, id, status, problem.to_string().as_bytes());
}

fn say(info: &SessionInfo, id: u64, status: u16, body: &[u8]) {
    let head = format!(r#"{{"op":"response","id":{id},"status":{status},"body":"#);
    let body = if body.is_empty() { b"null" } else { body };
    info.outbox().control(frame::text(&[head.as_bytes(), body, b"}"].concat()));
}

async fn answer(endpoint: &Endpoint, info: &SessionInfo, id: u64, method: &str, path: &str, body: Bytes) {
    let caller = (info.identity(), info.client());
    let (status, body) = api::request(endpoint, caller, method, path, body).await;
    if info.outbox().control_bytes() + body.len() > WAITING_BYTES {
        return refuse(info, id, BUSY, "too much waits to be read: read it first");
    }
    say(info, id, status, &body);
}

async fn watch(endpoint: &Endpoint, info: &SessionInfo, id: u64, watched: &Watched) {
    let pause = Duration::from_millis(limits::WATCH_PAUSE_MS);
    let lives = &endpoint.coordination.lifecycle;
    loop {
        // Watched first and read second: what changes in between is read, or told.
        let changed = changes(&*endpoint.coordination.store, &watched.prefixes).await;
        answer(endpoint, info, id, "GET", &watched.target, Bytes::new()).await;
        tokio::time::sleep(pause).await;
        match changed {
            // Changed, fallen behind or closed: it is read again in any case.
            Ok(mut watches) => {
                let next = watches.iter_mut().map(|watch| Box::pin(watch.next()));
                let (told, ..) = select_all(next).await;
                if let (Some(Ok(changes)), true) = (told, watched.of_lives) {
                    // What this process knows of lives may be a moment behind the store.
                    let newest = changes.last().map_or(Revision(0), Change::revision);
                    let patience = Duration::from_millis(limits::STORE_POLL_MS * 5);
                    let _ = tokio::time::timeout(patience, lives.caught_up(newest)).await;
                }
            }
            // The answer says what is wrong; once more when the store may be there again.
            Err(_) => tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS * 5)).await,
        }
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

/// A request as it is sent; its body is left as it is.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    id: u64,
    method: Option<String>,
    path: String,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// A request, with its body as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// A long message that is a request: what it carries is read where it is needed, and not here, where
/// others wait. Anything else is read as a whole.
pub(super) fn long(text: &str) -> Option<Request> {
    if text.len() <= LONG_BYTES {
        return None;
    }
    let sent = serde_json::from_str::<Sent<'_>>(text).ok().filter(|sent| sent.op == "request")?;
    let body = sent.body.map(|body| Bytes::copy_from_slice(body.get().as_bytes())).unwrap_or_default();
    let method = sent.method.unwrap_or_else(|| "GET".to_owned());
    Some(Request { id: sent.id, method, path: sent.path, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_keeps_its_body_as_it_was_sent() {
        let value = format!(r#"{{ "n": 1.10, "s": "{}" }}"#, "x".repeat(LONG_BYTES));
        let text =
            |op| format!(r#"{{"op":"{op}","id":7,"method":"PUT","path":"/api/v2/kv/a","body":{value}}}"#);
        let request = long(&text("request")).unwrap();
        let (method, path) = ("PUT".to_owned(), "/api/v2/kv/a".to_owned());
        assert_eq!(request, Request { id: 7, method, path, body: Bytes::from(value.clone()) });
        assert_eq!(long(&text("watch")), None);
        assert_eq!(long(r#"{"op":"request","id":7,"path":"/"}"#), None, "short");
        let plain = format!(r#"{{"op":"request","id":7,"path":"/{}"}}"#, "x".repeat(LONG_BYTES));
        assert_eq!(
            long(&plain).map(|request| (request.method, request.body)),
            Some(("GET".to_owned(), Bytes::new()))
        );
        assert_eq!(long(&text("request")[..LONG_BYTES + 9]), None, "not whole");
    }
}
