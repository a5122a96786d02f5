//! What is large is read and written on another thread than the one that serves telemetry.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};
use roverline_protocol::limits;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::api::json_depth::Depth;
use crate::api::request::{self, Ask};
use crate::api::response::{Answer, Failure, json};

/// Does work that takes as long as so many bytes of JSON do: here if they are few, else aside; a few
/// at once, and not for who would wait long.
async fn aside<T: Send + 'static>(
    room: &Arc<Semaphore>,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if bytes <= limits::API_ASIDE_BYTES {
        return Ok(work());
    }
    let busy = || {
        let why = "too much that is large is read and written; ask again in a moment";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, why).with(header::RETRY_AFTER, "1")
    };
    let patience = Duration::from_millis(limits::API_ASIDE_MS);
    let permit = tokio::time::timeout(patience, room.clone().acquire_owned()).await;
    let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
    // Who asked may go meanwhile; the work still counts.
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    working.await.map_err(|_| busy())
}

impl Ask<'_> {
    /// Reads a body that may be large.
    pub(crate) async fn large<T: Send + 'static>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let body = self.body.clone();
        let read = move || {
            // What is around a value in a body counts as well.
            request::any::<Depth>(&body)?.check(limits::API_BODY_DEPTH)?;
            read(&body)
        };
        aside(&self.endpoint.aside, self.body.len(), read).await?
    }

    /// Makes a document of about so many bytes, and answers it.
    pub(crate) async fn tell<T: Serialize>(
        &self,
        bytes: usize,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Answer, Failure> {
        aside(&self.endpoint.aside, bytes, move || json(&make())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = limits::API_ASIDE_BYTES + 1;

    #[tokio::test]
    async fn what_is_large_is_done_elsewhere_and_what_is_small_here() {
        let (room, here) = (Arc::new(Semaphore::new(1)), std::thread::current().id());
        let thread = || std::thread::current().id();
        assert_eq!(aside(&room, LARGE - 1, thread).await.unwrap(), here);
        assert_ne!(aside(&room, LARGE, thread).await.unwrap(), here);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn who_would_wait_long_is_refused() {
        let room = Arc::new(Semaphore::new(1));
        let taken = room.clone().acquire_owned().await.unwrap();
        let refused = aside(&room, LARGE, || ()).await.unwrap_err();
        assert_eq!(refused.answer("/").status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(aside(&room, 1, || ()).await.is_ok(), "what is small never waits");
        drop(taken);
    }
}
