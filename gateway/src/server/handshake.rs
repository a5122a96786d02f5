//! From an HTTP request to a WebSocket (RFC 6455, section 4.2), with a clear answer where it fails.

use std::net::IpAddr;

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode, Version};
use roverline_protocol::native::STANDBY_QUERY;
use tungstenite::handshake::derive_accept_key;

use crate::dialect::{Dialect, ROSBRIDGE_PATH};

/// Paths on which a WebSocket may be opened.
pub(crate) const PATHS: [&str; 5] = ["/", "/ws", "/websocket", PLAIN_PATH, ROSBRIDGE_PATH];
/// On this one it is a plain client's.
const PLAIN_PATH: &str = "/telemetry";

/// What the client asked for, checked.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) accept: String,
    pub(crate) dialect: Dialect,
    pub(crate) subprotocol: Option<&'static str>,
    /// It comes by way of another site's page.
    pub(crate) foreign_page: bool,
    /// What it shows to prove its role.
    pub(crate) token: Option<String>,
    /// It asked for the plain dialect by name, and is not waited for.
    pub(crate) says_plain: bool,
    /// It only stands by, for now.
    pub(crate) standby: bool,
}

/// Whether the request asks for a WebSocket at all.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Checks the request; an error is a status and what to do.
pub(crate) fn check<B>(request: &Request<B>) -> Result<Upgrade, (StatusCode, String)> {
    let headers = request.headers();
    let bad = |why: &str| Err((StatusCode::BAD_REQUEST, why.to_owned()));
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return bad("a WebSocket is opened by an HTTP/1.1 GET");
    }
    if !PATHS.contains(&request.uri().path()) {
        return Err((StatusCode::NOT_FOUND, format!("open the WebSocket at one of {}", PATHS.join(" "))));
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
    let (dialect, subprotocol) = Dialect::choose(&offered.join(","), request.uri().path());
    Ok(Upgrade {
        accept: derive_accept_key(key.as_bytes()),
        dialect,
        subprotocol,
        foreign_page: is_foreign_page(headers),
        token: token(headers, request.uri().query()),
        says_plain: request.uri().path() == PLAIN_PATH,
        standby: dialect == Dialect::Native
            && request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == STANDBY_QUERY)),
    })
}

/// The token that a request shows: `Authorization: Bearer TOKEN` (RFC 6750, section 2.1), or `token=`
/// in its query, for browsers, whose WebSockets have no header fields of their own.
pub(crate) fn token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
    bearer.or(asked).filter(|token| !token.is_empty()).map(str::to_owned)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// A browser names the page a WebSocket comes from. Another site's page may look, not command: only
/// a page from this very host (any of its ports) may. A name of the public DNS is never taken for this
/// host's own: whoever owns it may bend it to this address, and its page along (DNS rebinding).
pub(crate) fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host_of = |authority: &str| {
        authority.parse::<http::uri::Authority>().ok().map(|a| a.host().to_ascii_lowercase())
    };
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).and_then(|(_, a)| host_of(a));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
    page != host || !page.is_some_and(|host| is_local_name(&host))
}

/// Whether a lower-case host is an address, or a name that nobody can own in the public DNS: of one
/// label, or below a domain kept for local use (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`).
fn is_local_name(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let local = [".localhost", ".local", ".home.arpa", ".internal"];
    host.parse::<IpAddr>().is_ok() || !host.contains('.') || local.iter().any(|end| host.ends_with(end))
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
    fn the_sample_of_the_rfc_is_accepted() {
        let upgrade = check(&request(|_| {})).unwrap();
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((upgrade.dialect, upgrade.foreign_page), (Dialect::Plain, false));
    }

    #[test]
    fn only_native_clients_stand_by() {
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
    fn what_is_wrong_is_said() {
        let status = |edit: fn(&mut HeaderMap)| check(&request(edit)).unwrap_err().0;
        assert_eq!(status(|h| drop(h.remove("Sec-WebSocket-Key"))), 400);
        assert_eq!(status(|h| drop(h.insert("Sec-WebSocket-Version", "8".parse().unwrap()))), 426);
        assert_eq!(status(|h| drop(h.insert("Connection", "close".parse().unwrap()))), 400);
        let wrong = Request::get("/nothing").body(()).unwrap();
        assert_eq!(check(&wrong).unwrap_err().0, 404);
    }

    #[test]
    fn a_foreign_page_may_only_look() {
        let observer = |origin: &str| {
            let value = origin.parse().unwrap();
            check(&request(|h| drop(h.insert("Origin", value)))).unwrap().foreign_page
        };
        assert!(!observer("http://rover:8081"));
        assert!(observer("http://evil.example"));
        assert!(observer("null"));
    }

    #[test]
    fn a_name_that_was_bent_to_this_host_is_foreign() {
        let foreign = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Origin", format!("http://{host}:8080").parse().unwrap());
            headers.insert("Host", format!("{host}:8080").parse().unwrap());
            is_foreign_page(&headers)
        };
        for bent in ["evil.example", "local.evil.example", "127.0.0.1.evil.example", "evillocal.example."] {
            assert!(foreign(bent), "{bent}");
        }
        for own in ["127.0.0.1", "[::1]", "localhost", "ROVER", "rover.local", "rover.local.", "a.localhost"]
        {
            assert!(!foreign(own), "{own}");
        }
    }
}
