//! Offloads parsing and encoding of large bodies from the threads that serve telemetry.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::api::error::ApiError;
use crate::api::json_depth::Depth;
use crate::api::request::{self, ApiRequest};
use crate::api::response::{HttpResponse, json};
use crate::limits;

/// JSON larger than this is parsed and written off the thread that serves telemetry.
const API_OFFLOAD_BYTES: usize = 64 << 10;
/// Nesting depth of a body: a value and what surrounds it.
const API_BODY_DEPTH: usize = limits::KV_VALUE_DEPTH + 4;
/// How long an offloaded call waits for a slot.
const API_OFFLOAD_MS: u64 = 2_000;

/// Runs work whose duration is that of this many bytes of JSON: inline if they are few, otherwise on a
/// blocking thread. A few run at a time, and a caller that would wait long is refused.
async fn offload<T: Send + 'static>(
    room: &Arc<Semaphore>,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= API_OFFLOAD_BYTES {
        return Ok(work());
    }
    let busy = || {
        let why = "too much that is large is read and written; ask again in a moment";
        ApiError::unavailable(why)
    };
    let patience = Duration::from_millis(API_OFFLOAD_MS);
    let permit = tokio::time::timeout(patience, room.clone().acquire_owned()).await;
    let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
    // The caller may be gone meanwhile; the work still counts.
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    working.await.map_err(|_| busy())
}

impl ApiRequest<'_> {
    /// Parses a body that may be large.
    pub(crate) async fn parse_large<T: Send + 'static>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let body = self.body.clone();
        let read = move || {
            // The objects around a value in a body count as well.
            request::any::<Depth>(&body)?.check(API_BODY_DEPTH)?;
            read(&body)
        };
        offload(&self.endpoint.offloaded_calls, self.body.len(), read).await?
    }

    /// Builds a document of about this many bytes, and answers with it.
    pub(crate) async fn respond_with<T: Serialize>(
        &self,
        bytes: usize,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<HttpResponse, ApiError> {
        offload(&self.endpoint.offloaded_calls, bytes, move || json(&make())).await
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const LARGE: usize = super::API_OFFLOAD_BYTES + 1;

    #[tokio::test]
    async fn large_work_is_offloaded_and_small_work_runs_inline() {
        let (room, here) = (Arc::new(Semaphore::new(1)), std::thread::current().id());
        let thread = || std::thread::current().id();
        assert_eq!(offload(&room, LARGE - 1, thread).await.unwrap(), here);
        assert_ne!(offload(&room, LARGE, thread).await.unwrap(), here);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_call_that_would_wait_long_is_refused() {
        let room = Arc::new(Semaphore::new(1));
        let taken = room.clone().acquire_owned().await.unwrap();
        let refused = offload(&room, LARGE, || ()).await.unwrap_err();
        assert_eq!(refused.into_response("/").status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(offload(&room, 1, || ()).await.is_ok(), "what is small never waits");
        drop(taken);
    }
}
