//! The directory of endpoints, read by anybody, and changed from this computer or with a token.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use roverline_protocol::api::{Registration, RegistrationDocument};
use roverline_protocol::documents::{DirectoryDocument, DirectoryEntry, EventKind, Origin, PeerDocument};
use roverline_protocol::limits;

use super::super::answer::{Answer, Failure, JSON, document};
use super::super::{Endpoint, Facts, Peer, handshake};
use crate::access::{Access, Role};

const ENDPOINTS: &str = "/api/v2/endpoints";
/// The longest host name there can be (RFC 1035, section 3.1).
const HOST_CHARS: usize = 253;

/// Everything this endpoint knows of the others and itself.
pub(in crate::endpoint) fn directory(endpoint: &Endpoint) -> DirectoryDocument {
    let health = endpoint.health();
    let mut own = health.endpoint;
    let known = endpoint.directory.borrow().clone();
    own.address = known
        .iter()
        .find(|entry| entry.started_ns == own.started_ns && entry.port == own.port)
        .and_then(|entry| entry.address.clone());
    let own = PeerDocument {
        endpoint: own,
        age_s: Some(0.0),
        rtt_ms: None,
        last_error: None,
        freshness_s: health.freshness_s,
    };
    let mut all = vec![(Origin::Own, own)];
    all.extend(endpoint.peers.entries());
    let entry = |(origin, peer): (Origin, PeerDocument)| {
        let (clients, most) = (peer.endpoint.clients as f64, peer.endpoint.max_clients as f64);
        DirectoryEntry { origin, load: (most > 0.0).then(|| clients / most), peer }
    };
    let mut endpoints: Vec<_> = all.into_iter().map(entry).collect();
    endpoints.sort_by(|a, b| {
        let key = |entry: &DirectoryEntry| (entry.peer.endpoint.tier, entry.peer.endpoint.address.clone());
        key(a).cmp(&key(b))
    });
    DirectoryDocument { endpoints }
}

/// Who may change something: who shows the token of an operator, and who is on this computer, unless
/// it is configured otherwise. But not by way of a browser's page that is another site's: neither one
/// that says so, nor one whose name was bent to this computer's address.
fn may_write(access: &Access, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Failure> {
    let forbidden = |why: &str| Err(Failure::new(StatusCode::FORBIDDEN, why));
    let unauthorized = |why: String| {
        Err(Failure::new(StatusCode::UNAUTHORIZED, why).with(header::WWW_AUTHENTICATE, "Bearer"))
    };
    if handshake::is_foreign_page(headers) {
        return forbidden("a page of another site may not change the directory; use curl, for example");
    }
    if let Some(token) = handshake::token(headers, None) {
        return match access.holder(&token) {
            Ok(identity) if identity.role >= Role::Operator => Ok(()),
            Ok(_) => forbidden("an observer may not change the directory; an operator may"),
            Err(denied) => unauthorized(denied.to_string()),
        };
    }
    let here = peer.ip().to_canonical().is_loopback();
    if here && access.guest(peer.ip(), false).role >= Role::Operator {
        return Ok(());
    }
    unauthorized("show an operator's token (Authorization: Bearer TOKEN)".to_owned())
}

/// Registers another endpoint.
pub(super) async fn register(
    endpoint: &Endpoint,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Answer, Failure> {
    may_write(&endpoint.access, request.headers(), peer)?;
    let example = r#"{"tier":"secondary","address":"192.168.1.11:8081"}"#;
    let is_json =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
    if !is_json {
        let why = format!("send Content-Type: application/json and {example}");
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = body(request).await?;
    let asked: Registration = serde_json::from_slice(&body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Failure::new(status, format!("{error}; send for example {example}"))
    })?;
    let unfit = |why: &str| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    check_address(&asked.address).map_err(unfit)?;
    let own = endpoint.directory.borrow().iter().any(|entry| {
        entry.started_ns == endpoint.started_ns && entry.address.as_deref() == Some(&asked.address)
    });
    if own {
        return Err(Failure::new(StatusCode::CONFLICT, "this is the address of this very endpoint"));
    }
    let Registration { tier, address } = asked;
    let peer = Peer { tier, address: address.clone(), expected: true };
    let known = endpoint.peers.add(peer, Origin::Api);
    known.map_err(|why| Failure::new(StatusCode::CONFLICT, why.to_string()))?;
    let facts = Facts { to: Some(address.clone()), ..Facts::default() };
    endpoint.events.note(EventKind::PeerAdded, &format!("{tier} {address} was registered"), facts);
    let registered = RegistrationDocument { tier, address, origin: Origin::Api };
    let mut answer = document(StatusCode::CREATED, JSON, &registered);
    if let Ok(location) = HeaderValue::from_str(&format!("{ENDPOINTS}/{}", registered.address)) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// Removes an endpoint that was registered.
pub(super) fn remove(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    peer: SocketAddr,
    address: &str,
) -> Result<Answer, Failure> {
    may_write(&endpoint.access, headers, peer)?;
    match endpoint.peers.remove(address) {
        None => {
            let shown = address.chars().take(80).collect::<String>();
            Err(Failure::not_found(format!("no peer is known at {shown}; see {ENDPOINTS}")))
        }
        Some(Err(why)) => Err(Failure::new(StatusCode::CONFLICT, why.to_string())),
        Some(Ok(tier)) => {
            let facts = Facts { from: Some(address.to_owned()), ..Facts::default() };
            endpoint.events.note(EventKind::PeerRemoved, &format!("{tier} {address} was removed"), facts);
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
    }
}

/// The body, bounded in size and time.
async fn body(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let patience = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    let too_large = || {
        let why = format!("send at most {} bytes", limits::API_BODY_BYTES);
        // The rest is not read.
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why).with(header::CONNECTION, "close")
    };
    if request.body().size_hint().lower() > limits::API_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let reading = Limited::new(request.into_body(), limits::API_BODY_BYTES).collect();
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Failure::bad_request(format!("no body: {error}"))),
        Err(_) => {
            let why = format!("the body did not come within {patience:?}");
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, why).with(header::CONNECTION, "close"))
        }
    }
}

/// `host:port`, with IPv6 addresses in brackets.
fn check_address(address: &str) -> Result<(), &'static str> {
    let hint = "write the address as host:port, for example 192.168.1.11:8081 or [fd00::1]:8081";
    let (host, port) = address.rsplit_once(':').ok_or(hint)?;
    let named = |host: &str| {
        !host.is_empty()
            && host.len() <= HOST_CHARS
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => named(host),
    };
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_host && is_port { Ok(()) } else { Err(hint) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessSettings;

    #[test]
    fn addresses_are_checked() {
        for good in ["rover:8081", "192.168.1.11:1", "[fd00::1]:8081", "a-b_c.local:65535"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let long = format!("{}:80", "a".repeat(254));
        for bad in [
            "",
            ":",
            "rover",
            "rover:",
            ":8081",
            "rover:0",
            "rover:65536",
            "rover:+80",
            "[::1:80",
            "fd00::1:80",
            "http://rover:80",
            "a b:80",
            "a/b:80",
            "ü:80",
            "a@b:80",
            &long,
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    fn may(settings: &AccessSettings, peer: &str, fields: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let access = Access::new(settings).unwrap();
        let failure = may_write(&access, &headers, peer.parse().unwrap()).err();
        failure.map_or(0, |failure| failure.answer("/").status().as_u16())
    }

    #[test]
    fn only_this_computer_and_no_foreign_page_may_write() {
        let ask = |peer: &str, fields: &[(&'static str, &str)]| may(&AccessSettings::default(), peer, fields);
        for here in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(ask(here, &[]), 0);
        }
        assert_eq!(ask("192.168.1.5:5", &[]), 401);
        assert_eq!(ask("127.0.0.1:5", &[("origin", "http://localhost:8080"), ("host", "localhost:8081")]), 0);
        assert_eq!(ask("127.0.0.1:5", &[("origin", "http://evil.example"), ("host", "localhost:8081")]), 403);
        assert_eq!(
            ask("127.0.0.1:5", &[("origin", "http://evil.example:80"), ("host", "evil.example:80")]),
            403
        );
        let careful = AccessSettings { loopback: Role::Observer, ..AccessSettings::default() };
        assert_eq!(may(&careful, "127.0.0.1:5", &[]), 401);
        let open = AccessSettings { remote: Role::Operator, ..AccessSettings::default() };
        assert_eq!(may(&open, "192.168.1.5:5", &[]), 401);
        assert_eq!(ask("127.0.0.1:5", &[("authorization", "Bearer guess")]), 401);
    }
}
