//! Answers over HTTP: documents, texts, what may be kept by who asks, and problems (RFC 9457).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use roverline_protocol::status::Problem;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is sent back.
pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROBLEM: &str = "application/problem+json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// The longest path that a problem repeats.
const INSTANCE_CHARS: usize = 256;
/// Answers up to this size are not counted among those that wait.
const SMALL_BYTES: usize = 16 << 10;

/// Why a request fails, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
    field: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Failure {
        Failure { status, detail: detail.into(), field: None }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, detail)
    }

    /// With more to say, such as an example.
    pub(crate) fn and(self, more: &str) -> Failure {
        Failure { detail: format!("{}; {more}", self.detail), ..self }
    }

    /// With a header field, as some statuses demand.
    pub(crate) fn with(self, name: HeaderName, value: &str) -> Failure {
        Failure { field: HeaderValue::from_str(value).ok().map(|value| (name, value)), ..self }
    }

    /// The answer to a request for `path`.
    pub(crate) fn answer(self, path: &str) -> Answer {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            instance: (path.len() <= INSTANCE_CHARS).then(|| path.to_owned()),
        };
        let mut answer = document(self.status, PROBLEM, &problem);
        if let Some((name, value)) = self.field {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// A body of this type.
pub(crate) fn body(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Any of our own documents.
pub(crate) fn document<T: Serialize>(status: StatusCode, kind: &'static str, document: &T) -> Answer {
    // Our own documents always serialize.
    let mut answer = body(kind, serde_json::to_vec(document).unwrap_or_default());
    *answer.status_mut() = status;
    answer
}

/// A JSON document, 200.
pub(crate) fn json<T: Serialize>(body: &T) -> Answer {
    document(StatusCode::OK, JSON, body)
}

/// A body that seldom changes, with a tag by which who has it already is told so: 304 (RFC 9110,
/// section 13.1.2). `asked` are the request's header fields.
pub(crate) fn tagged(asked: &HeaderMap, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let bytes = bytes.into();
    // Fast and the same in every process; nobody gains by two bodies of one tag.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).map(str::trim);
    let mut answer =
        match known.into_iter().any(|known| known == "*" || known.trim_start_matches("W/") == tag) {
            true => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                answer
            }
            false => body(kind, bytes),
        };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// A body that counts among those that wait, until it is sent or given up.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer, if there is `room` for it among those that wait to be read: clients that ask for much
/// and read nothing must not fill the memory.
pub(crate) async fn bounded(room: &Arc<Semaphore>, path: &str, answer: Answer) -> Answer {
    let (parts, body) = answer.into_parts();
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
            let held = Held { bytes, _permit: permit };
            Response::from_parts(parts, Full::new(Bytes::from_owner(held)))
        }
        None => {
            let why = "too many answers wait to be read; ask again in a moment";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, why).with(header::RETRY_AFTER, "1").answer(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_already_is_told_so() {
        let asked = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            }
            tagged(&headers, TEXT, "a body")
        };
        let first = asked(None);
        assert_eq!(
            (first.status(), &first.headers()[header::CACHE_CONTROL]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag, "*", &format!("W/{tag}"), &format!("\"x\", {tag}")] {
            assert_eq!(asked(Some(known)).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        for other in ["\"x\"", "", tag.trim_matches('"')] {
            assert_eq!(asked(Some(other)).status(), StatusCode::OK, "{other}");
        }
        let other = tagged(&HeaderMap::new(), TEXT, "another body");
        assert_ne!(other.headers()[header::ETAG], first.headers()[header::ETAG]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let room = Arc::new(Semaphore::new(50_000));
        let ask = async |bytes: usize| bounded(&room, "/x", body(TEXT, vec![b'x'; bytes])).await;
        let (first, second) = (ask(20_000).await, ask(20_000).await);
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
        let third = ask(20_000).await;
        assert_eq!(
            (third.status(), &third.headers()[header::RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
        );
        assert_eq!(ask(100).await.status(), StatusCode::OK, "what is small is always answered");
        let read = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read.len(), 20_000);
        drop(read);
        assert_eq!(ask(20_000).await.status(), StatusCode::OK, "what is read makes room");
    }

    #[test]
    fn a_problem_says_what_and_where() {
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "use GET").with(header::ALLOW, "GET");
        let answer = failure.answer("/health");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::ALLOW]),
            (405, &"GET".parse().unwrap())
        );
        let long = Failure::not_found("no").answer(&"/x".repeat(300));
        assert_eq!(long.headers()[header::CONTENT_TYPE], PROBLEM);
    }
}
