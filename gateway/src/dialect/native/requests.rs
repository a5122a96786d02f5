//! The HTTP API over a session: requests, and paths that are watched.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use roverline_coordination::store::{Change, Range, Revision, Store, StoreError};
use roverline_protocol::limits;
use tokio::task::{AbortHandle, JoinSet};

use super::super::frame;
use crate::endpoint::{Endpoint, Watched, api_request, api_watched};
use crate::session::{Context, SessionInfo};

/// Answers that may wait to be read before more is refused.
const WAITING_BYTES: usize = limits::OUTBOX_CONTROL_BYTES / 2;

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
    pub(super) fn ask(
        &mut self,
        context: &Context,
        id: u64,
        method: String,
        path: String,
        body: Option<serde_json::Value>,
    ) {
        self.tidy();
        if self.tasks.len() >= self.watches.len() + limits::SESSION_REQUESTS {
            return refuse(&context.info, id, BUSY, "too many requests wait for their answers");
        }
        // A JSON value always serializes.
        let body = body.map(|body| serde_json::to_vec(&body).unwrap_or_default().into()).unwrap_or_default();
        let (endpoint, info) = (context.endpoint.clone(), context.info.clone());
        self.tasks.spawn(async move { answer(&endpoint, &info, id, &method, &path, body).await });
    }

    /// Answers now, and again whenever the answer may be another.
    pub(super) fn watch(&mut self, context: &Context, id: u64, path: &str) {
        self.unwatch(id);
        self.tidy();
        let watched = match api_watched(path) {
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
    let (status, body) = api_request(endpoint, caller, method, path, body).await;
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
        let changed = changes(&*endpoint.coordination.store, watched.prefix).await;
        answer(endpoint, info, id, "GET", &watched.target, Bytes::new()).await;
        tokio::time::sleep(pause).await;
        match changed {
            // Changed, fallen behind or closed: it is read again in any case.
            Ok(mut watch) => {
                if let (Some(Ok(changes)), true) = (watch.next().await, watched.of_lives) {
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

async fn changes(
    store: &dyn Store,
    prefix: &str,
) -> Result<roverline_coordination::store::Watch, StoreError> {
    let now = store.range(Range { prefix: prefix.to_owned(), limit: 1, ..Range::default() }).await?.revision;
    store.watch(prefix.to_owned(), now.next()).await
}
