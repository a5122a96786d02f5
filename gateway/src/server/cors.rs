//! Which pages of other sites may read from a browser (CORS, <https://fetch.spec.whatwg.org>): those
//! of the configured list, by name, and never with a browser's own credentials.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::api::response::Answer;
use crate::endpoint::Endpoint;

/// How long a browser may remember what it was allowed, seconds.
const REMEMBERED_S: &str = "600";

/// The answer to `OPTIONS`: what may be done here, and to an allowed page that it may ask.
pub(crate) fn options(endpoint: &Endpoint, asked: &HeaderMap, allow: &str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        headers.insert(header::ALLOW, allow);
    }
    if asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) && allowed(endpoint, asked).is_some() {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, If-None-Match"),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

/// Lets the page that asked read the answer, if it is on the list.
pub(crate) fn mark(endpoint: &Endpoint, method: &Method, asked: &HeaderMap, answer: &mut Answer) {
    // Whoever keeps answers must know that they differ.
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    if let Some(origin) = allowed(endpoint, asked) {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
    }
}

fn allowed<'a>(endpoint: &Endpoint, asked: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = asked.get(header::ORIGIN)?;
    endpoint.access.allows_origin(origin.to_str().ok()?).then_some(origin)
}
