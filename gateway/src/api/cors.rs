//! Cross-origin access to the HTTP API (CORS, <https://fetch.spec.whatwg.org>): the origins in the
//! configured list may read, never with credentials.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::api::response::HttpResponse;
use crate::endpoint::Endpoint;

/// How long a browser may cache a preflight response, seconds.
const REMEMBERED_S: &str = "600";

/// Responds to `OPTIONS`, including CORS preflight requests from allowed origins.
pub(crate) fn options(endpoint: &Endpoint, requested: &HeaderMap, allow: &str) -> HttpResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        headers.insert(header::ALLOW, allow);
    }
    if requested.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) && allowed(endpoint, requested).is_some()
    {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, If-None-Match"),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Adds the CORS header fields to a response if the request's origin is allowed.
pub(crate) fn mark(endpoint: &Endpoint, method: &Method, requested: &HeaderMap, response: &mut HttpResponse) {
    // Caches must know that the response depends on the origin.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    if let Some(origin) = allowed(endpoint, requested) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
    }
}

fn allowed<'a>(endpoint: &Endpoint, requested: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = requested.get(header::ORIGIN)?;
    endpoint.access.allows_origin(origin.to_str().ok()?).then_some(origin)
}
