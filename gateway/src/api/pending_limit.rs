//! A limit on response bodies that clients have not read yet.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::error::ApiError;
use crate::api::response::HttpResponse;

/// Bodies up to this size do not count against the pending-response limit.
const SMALL_BYTES: usize = 16 << 10;

/// A body that counts against the pending-response limit until it is sent or dropped.
struct CountedBody {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns the response if its body fits the limit on pending responses, otherwise 503: clients that
/// request much and read nothing must not fill the memory.
pub(crate) async fn limit_pending(room: &Arc<Semaphore>, path: &str, response: HttpResponse) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    if bytes.len() <= SMALL_BYTES {
        return Response::from_parts(parts, Full::new(bytes));
    }
    let length = u32::try_from(bytes.len()).ok();
    match length.and_then(|length| room.clone().try_acquire_many_owned(length).ok()) {
        Some(permit) => {
            let counted = CountedBody { bytes, _permit: permit };
            Response::from_parts(parts, Full::new(Bytes::from_owner(counted)))
        }
        None => {
            let why = "too many answers wait to be read; ask again in a moment";
            ApiError::unavailable(why).into_response(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, header};

    use super::*;
    use crate::api::response::{TEXT, body};

    #[tokio::test]
    async fn pending_responses_are_bounded() {
        let room = Arc::new(Semaphore::new(50_000));
        let request = async |bytes: usize| limit_pending(&room, "/x", body(TEXT, vec![b'x'; bytes])).await;
        let (first, second) = (request(20_000).await, request(20_000).await);
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
        let third = request(20_000).await;
        assert_eq!(
            (third.status(), &third.headers()[header::RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
        );
        assert_eq!(request(100).await.status(), StatusCode::OK, "what is small is always answered");
        let read = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read.len(), 20_000);
        drop(read);
        assert_eq!(request(20_000).await.status(), StatusCode::OK, "what is read makes room");
    }
}
