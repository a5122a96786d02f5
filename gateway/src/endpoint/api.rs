//! `/api/v2`: the directory of endpoints, read by anybody and changed from this computer only.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use roverline_protocol::documents::{DirectoryDocument, DirectoryEntry, EventKind, Origin, PeerDocument};
use roverline_protocol::{Tier, limits};
use serde::Deserialize;

use super::http::{Answer, json, problem};
use super::{Endpoint, Facts, Peer, handshake};

/// Where the interface begins.
pub(super) const ROOT: &str = "/api/";
const ENDPOINTS: &str = "/api/v2/endpoints";
/// The longest host name there can be (RFC 1035, section 3.1).
const HOST_CHARS: usize = 253;

/// Why a request fails: status, title, what to do.
type Failure = (StatusCode, &'static str, String);

/// Answers a request below [`ROOT`].
pub(super) async fn handle(endpoint: &Endpoint, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let (allowed, address) = match path.strip_prefix(ENDPOINTS) {
        Some("" | "/") => ("GET, HEAD, POST", None),
        Some(rest) if rest.starts_with('/') => ("DELETE", Some(&rest[1..])),
        _ => {
            let what = path.chars().take(80).collect::<String>();
            return problem(
                StatusCode::NOT_FOUND,
                "Not Found",
                format!("there is no {what}; try {ENDPOINTS}"),
            );
        }
    };
    let answer = match (method, address) {
        (Method::GET | Method::HEAD, None) => {
            Ok(json(StatusCode::OK, "application/json", &directory(endpoint)))
        }
        (Method::POST, None) => match may_write(request.headers(), peer) {
            Ok(()) => register(endpoint, request).await,
            Err(failure) => Err(failure),
        },
        (Method::DELETE, Some(address)) => {
            may_write(request.headers(), peer).and_then(|()| remove(endpoint, address))
        }
        _ => {
            let mut answer = problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "Method Not Allowed",
                format!("here it is one of {allowed}"),
            );
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
    };
    answer.unwrap_or_else(|(status, title, detail)| problem(status, title, detail))
}

/// Everything this endpoint knows of the others and itself.
pub(super) fn directory(endpoint: &Endpoint) -> DirectoryDocument {
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

/// Only who is on this computer may change something, and not by way of a browser's page that is
/// another site's: neither one that says so, nor one whose name was bent to this computer's address.
fn may_write(headers: &HeaderMap, peer: SocketAddr) -> Result<(), Failure> {
    let refused = |why: &str| {
        let advice = "ask from the computer that this endpoint runs on, with curl for example";
        Err((StatusCode::FORBIDDEN, "Forbidden", format!("{why}; {advice}")))
    };
    if !peer.ip().to_canonical().is_loopback() {
        return refused("the directory is changed from loopback only");
    }
    if headers.contains_key(header::ORIGIN) {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
        let ours = host.is_some_and(|host| {
            let name = host.host().trim_start_matches('[').trim_end_matches(']');
            name == "localhost" || name.parse::<IpAddr>().is_ok()
        });
        if handshake::is_foreign_page(headers) || !ours {
            return refused("a page of another site may not change the directory");
        }
    }
    Ok(())
}

/// What a peer is registered with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    tier: Tier,
    address: String,
}

async fn register(endpoint: &Endpoint, request: Request<Incoming>) -> Result<Answer, Failure> {
    let example = r#"{"tier":"secondary","address":"192.168.1.11:8081"}"#;
    let is_json =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
    if !is_json {
        let why = format!("send Content-Type: application/json and {example}");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", why));
    }
    let body = body(request).await?;
    let asked: Registration = serde_json::from_slice(&body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        (status, "Not a registration", format!("{error}; send for example {example}"))
    })?;
    let unfit = |why: &str| (StatusCode::UNPROCESSABLE_ENTITY, "Not an address", why.to_owned());
    check_address(&asked.address).map_err(unfit)?;
    let own = endpoint.directory.borrow().iter().any(|entry| {
        entry.started_ns == endpoint.started_ns && entry.address.as_deref() == Some(&asked.address)
    });
    if own {
        return Err((
            StatusCode::CONFLICT,
            "Conflict",
            "this is the address of this very endpoint".to_owned(),
        ));
    }
    let Registration { tier, address } = asked;
    let peer = Peer { tier, address: address.clone(), expected: true };
    let known = endpoint.peers.add(peer, Origin::Api);
    known.map_err(|why| (StatusCode::CONFLICT, "Conflict", why.to_string()))?;
    let facts = Facts { to: Some(address.clone()), ..Facts::default() };
    endpoint.events.note(EventKind::PeerAdded, &format!("{tier} {address} was registered"), facts);
    let body = serde_json::json!({"tier": tier, "address": address, "origin": Origin::Api});
    let mut answer = json(StatusCode::CREATED, "application/json", &body);
    if let Ok(location) = HeaderValue::from_str(&format!("{ENDPOINTS}/{address}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

fn remove(endpoint: &Endpoint, address: &str) -> Result<Answer, Failure> {
    let address = unescape(address)
        .ok_or_else(|| (StatusCode::BAD_REQUEST, "Bad Request", "the address is not UTF-8".to_owned()))?;
    match endpoint.peers.remove(&address) {
        None => {
            let shown = address.chars().take(80).collect::<String>();
            Err((StatusCode::NOT_FOUND, "Not Found", format!("no peer is known at {shown}; see {ENDPOINTS}")))
        }
        Some(Err(why)) => Err((StatusCode::CONFLICT, "Conflict", why.to_string())),
        Some(Ok(tier)) => {
            let facts = Facts { from: Some(address.clone()), ..Facts::default() };
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
    let reading = Limited::new(request.into_body(), limits::API_BODY_BYTES).collect();
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let why = format!("send at most {} bytes", limits::API_BODY_BYTES);
            Err((StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", why))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, "Bad Request", format!("no body: {error}"))),
        Err(_) => {
            let why = format!("the body did not come within {patience:?}");
            Err((StatusCode::REQUEST_TIMEOUT, "Request Timeout", why))
        }
    }
}

/// `host:port`, with IPv6 addresses in brackets.
pub(super) fn check_address(address: &str) -> Result<(), &'static str> {
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

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("%5B::1%5d:80").as_deref(), Some("[::1]:80"));
        assert_eq!(unescape("a:1").as_deref(), Some("a:1"));
        for bad in ["%", "%5", "%zz", "%ff"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_this_computer_and_no_foreign_page_may_write() {
        let ask = |peer: &str, fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            may_write(&headers, peer.parse().unwrap()).is_ok()
        };
        assert!(ask("127.0.0.1:5", &[]) && ask("[::1]:5", &[]) && ask("[::ffff:127.0.0.1]:5", &[]));
        assert!(!ask("192.168.1.5:5", &[]));
        assert!(ask("127.0.0.1:5", &[("origin", "http://localhost:8080"), ("host", "localhost:8081")]));
        assert!(!ask("127.0.0.1:5", &[("origin", "http://evil.example"), ("host", "localhost:8081")]));
        assert!(!ask("127.0.0.1:5", &[("origin", "http://evil.example:80"), ("host", "evil.example:80")]));
    }
}
