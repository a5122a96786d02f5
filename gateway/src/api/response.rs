//! HTTP responses: documents, plain text, and entity tags.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An HTTP response.
pub(crate) type HttpResponse = Response<Full<Bytes>>;

/// The header field with the trace context of a response (W3C Trace Context, level 2).
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
pub(crate) const JSON: &str = "application/json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Builds a response with a body of this media type.
pub(crate) fn body(kind: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Serializes a document into a response.
pub(crate) fn document<T: Serialize>(status: StatusCode, kind: &'static str, document: &T) -> HttpResponse {
    // Serializing our own document types cannot fail.
    let mut answer = body(kind, serde_json::to_vec(document).unwrap_or_default());
    *answer.status_mut() = status;
    answer
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> HttpResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A JSON document with status 200.
pub(crate) fn json<T: Serialize>(body: &T) -> HttpResponse {
    document(StatusCode::OK, JSON, body)
}

/// A body with an entity tag, or 304 if `sent`, the request's header fields, already names that tag (RFC
/// 9110, section 13.1.2).
pub(crate) fn with_etag(headers: &HeaderMap, kind: &'static str, bytes: impl Into<Bytes>) -> HttpResponse {
    let bytes = bytes.into();
    // Fast, and the same in every process; a collision of tags would gain an attacker nothing.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let response = if has_etag(headers, &tag) { empty(StatusCode::NOT_MODIFIED) } else { body(kind, bytes) };
    tagged(response, &tag)
}

/// Whether a client has the body with this entity tag already (`If-None-Match`).
pub(crate) fn has_etag(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Adds an entity tag to a response, which has to be validated before a cached copy is used.
pub(crate) fn tagged(mut response: HttpResponse, tag: &str) -> HttpResponse {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_the_current_tag_gets_304() {
        let respond = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            }
            with_etag(&headers, TEXT, "a body")
        };
        let first = respond(None);
        assert_eq!(
            (first.status(), &first.headers()[header::CACHE_CONTROL]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag, "*", &format!("W/{tag}"), &format!("\"x\", {tag}")] {
            assert_eq!(respond(Some(known)).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        for other in ["\"x\"", "", tag.trim_matches('"')] {
            assert_eq!(respond(Some(other)).status(), StatusCode::OK, "{other}");
        }
        let other = with_etag(&HeaderMap::new(), TEXT, "another body");
        assert_ne!(other.headers()[header::ETAG], first.headers()[header::ETAG]);
    }
}
