//! The WebSocket opening handshake (RFC 6455, section 4.2), with a clear error for each failure.

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode, Version};
use roverline_protocol::native::STANDBY_QUERY;
use tungstenite::handshake::derive_accept_key;

use crate::access::credentials::token;
use crate::dialect::{self, Negotiated, native, negotiate};

/// Paths on which a WebSocket may be opened, besides those that select a dialect.
const PATHS: [&str; 3] = ["/", "/ws", "/websocket"];

/// The paths on which a WebSocket may be opened.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    PATHS.into_iter().chain(dialect::paths())
}

/// A validated upgrade request.
#[derive(Debug)]
pub struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The dialect, so far.
    pub negotiated: Negotiated,
    /// The token that authenticates the client.
    pub token: Option<String>,
    /// Whether the client starts as a standby.
    pub standby: bool,
}

/// Whether the request asks for an upgrade to WebSocket.
pub fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Validates the request; an error is a status and what to do about it.
pub fn check<B>(request: &Request<B>) -> Result<Upgrade, (StatusCode, String)> {
    let headers = request.headers();
    let bad = |why: &str| Err((StatusCode::BAD_REQUEST, why.to_owned()));
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return bad("a WebSocket is opened by an HTTP/1.1 GET");
    }
    let asked = without_trailing_slash(request.uri().path());
    if !paths().any(|path| path == asked) {
        let all = paths().collect::<Vec<_>>().join(" ");
        return Err((StatusCode::NOT_FOUND, format!("open the WebSocket at one of {all}")));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return bad("the Connection header must name Upgrade");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "this server speaks WebSocket version 13".to_owned()));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24) else {
        return bad("Sec-WebSocket-Key must be 16 bytes in base64");
    };
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let negotiated = negotiate(&offered.join(","), asked);
    Ok(Upgrade {
        accept: derive_accept_key(key.as_bytes()),
        negotiated,
        token: token(headers, request.uri().query()),
        standby: negotiated.dialect == native::DIALECT
            && request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == STANDBY_QUERY)),
    })
}

/// Proxies and clients that join a base and a path add one.
fn without_trailing_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(edit: impl FnOnce(&mut HeaderMap)) -> Request<()> {
        let mut request = Request::get("/")
            .header("Host", "rover:8080")
            .header("Upgrade", "websocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        edit(request.headers_mut());
        request
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let upgrade = check(&request(|_| {})).unwrap();
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade.negotiated.dialect, crate::dialect::plain::DIALECT);
    }

    #[test]
    fn only_native_clients_can_be_standbys() {
        let standby = |uri: &str, subprotocol: &'static str| {
            let mut request =
                request(|h| drop(h.insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap())));
            *request.uri_mut() = uri.parse().unwrap();
            check(&request).unwrap().standby
        };
        assert!(standby("/?session=standby", "roverline.v1"));
        assert!(standby("/ws?x=1&session=standby", "roverline.v1"));
        assert!(!standby("/", "roverline.v1"));
        assert!(!standby("/?session=standby", "chat"));
    }

    #[test]
    fn a_path_may_end_with_a_slash() {
        let dialect = |uri: &str| {
            let mut request = request(|_| {});
            *request.uri_mut() = uri.parse().unwrap();
            check(&request).map(|upgrade| upgrade.negotiated.dialect).ok()
        };
        for uri in ["/rosbridge", "/rosbridge/", "/rosbridge/?token=x"] {
            assert_eq!(dialect(uri), Some(crate::dialect::rosbridge::DIALECT), "{uri}");
        }
        assert_eq!(dialect("/telemetry/"), dialect("/telemetry"));
        assert!(dialect("/ws/").is_some() && dialect("/").is_some());
        assert!(dialect("/rosbridge//").is_none() && dialect("/nothing/").is_none());
    }

    #[test]
    fn each_failure_has_its_status() {
        let status = |edit: fn(&mut HeaderMap)| check(&request(edit)).unwrap_err().0;
        assert_eq!(status(|h| drop(h.remove("Sec-WebSocket-Key"))), 400);
        assert_eq!(status(|h| drop(h.insert("Sec-WebSocket-Version", "8".parse().unwrap()))), 426);
        assert_eq!(status(|h| drop(h.insert("Connection", "close".parse().unwrap()))), 400);
        let wrong = Request::get("/nothing").body(()).unwrap();
        assert_eq!(check(&wrong).unwrap_err().0, 404);
    }
}
