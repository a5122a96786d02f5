//! The token in an HTTP request.

use http::header::{self, HeaderMap};

/// The request's token: `Authorization: Bearer TOKEN` (RFC 6750, section 2.1), or `token=` in the query for
/// browsers, which cannot set header fields on a WebSocket.
pub fn token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let in_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
    bearer.or(in_query).filter(|token| !token.is_empty()).map(str::to_owned)
}
