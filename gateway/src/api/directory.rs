//! The directory of endpoints, read by anybody, and changed from this computer or with a token.

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use roverline_protocol::api::{Registration, RegistrationDocument};
use roverline_protocol::status::{DirectoryDocument, DirectoryEntry, EventKind, Origin, PeerDocument};

use crate::api::request::Ask;
use crate::api::response::{Answer, Failure, JSON, document};
use crate::endpoint::{Endpoint, Facts, Peer};

const ENDPOINTS: &str = "/api/v2/endpoints";
/// The longest host name there can be (RFC 1035, section 3.1).
const HOST_CHARS: usize = 253;

/// Everything this endpoint knows of the others and itself.
pub(crate) fn directory(endpoint: &Endpoint) -> DirectoryDocument {
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

/// Registers another endpoint.
pub(crate) fn register(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let endpoint = ask.endpoint;
    let example = r#"send for example {"tier":"secondary","address":"192.168.1.11:8081"}"#;
    let asked: Registration = ask.json().map_err(|failure: Failure| failure.and(example))?;
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
pub(crate) fn remove(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (endpoint, address) = (ask.endpoint, &ask.name()?);
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
}
