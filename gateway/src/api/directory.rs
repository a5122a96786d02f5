//! The directory of endpoints: readable by everyone, changed from this computer or with a token.

use http::{HeaderValue, StatusCode, header};
use roverline_protocol::api::{Registration, RegistrationDocument};
use roverline_protocol::status::{EventKind, Origin};
use roverline_source::clock::monotonic;

use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, JSON, document, empty};
use crate::endpoint::Endpoint;
use crate::endpoint::events::EventDetails;
use crate::endpoint::peers::Peer;

const ENDPOINTS: &str = "/api/v2/endpoints";
/// The longest possible host name (RFC 1035, section 3.1).
const HOST_CHARS: usize = 253;

/// Registers another endpoint.
pub(crate) fn register(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let endpoint = request.endpoint;
    let example = r#"send for example {"tier":"secondary","address":"192.168.1.11:8081"}"#;
    let sent: Registration = request.json().map_err(|error: ApiError| error.with_hint(example))?;
    let unfit = |why: &str| ApiError::unprocessable(why);
    check_address(&sent.address).map_err(unfit)?;
    check_network(endpoint, &sent.address)?;
    let own = endpoint.known_endpoints().iter().any(|entry| {
        entry.started_ns == endpoint.started_ns && entry.address.as_deref() == Some(&sent.address)
    });
    if own {
        return Err(ApiError::new(StatusCode::CONFLICT, "this is the address of this very endpoint"));
    }
    endpoint.peers.count_registration(monotonic()).map_err(|wait| {
        let seconds = (wait.as_secs() + 1).to_string();
        let why = format!("too many endpoints were registered here in a minute; try again in {seconds} s");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, why).with_header(header::RETRY_AFTER, &seconds)
    })?;
    let Registration { tier, address } = sent;
    let peer = Peer { tier, address: address.clone(), expected: false };
    let known = endpoint.peers.add(peer, Origin::Api);
    known.map_err(|why| ApiError::new(StatusCode::CONFLICT, why.to_string()))?;
    let details = EventDetails { to: Some(address.clone()), ..caused_by(request) };
    endpoint.events.record(EventKind::PeerAdded, &format!("{tier} {address} was registered"), details);
    let registered = RegistrationDocument { tier, address, origin: Origin::Api };
    let mut answer = document(StatusCode::CREATED, JSON, &registered);
    if let Ok(location) = HeaderValue::from_str(&format!("{ENDPOINTS}/{}", registered.address)) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// Removes a registered endpoint.
pub(crate) fn remove(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let (endpoint, address) = (request.endpoint, &request.name()?);
    match endpoint.peers.remove(address) {
        None => {
            let shown = address.chars().take(80).collect::<String>();
            Err(ApiError::not_found(format!("no peer is known at {shown}; see {ENDPOINTS}")))
        }
        Some(Err(why)) => Err(ApiError::new(StatusCode::CONFLICT, why.to_string())),
        Some(Ok(tier)) => {
            let details = EventDetails { from: Some(address.to_owned()), ..caused_by(request) };
            endpoint.events.record(EventKind::PeerRemoved, &format!("{tier} {address} was removed"), details);
            Ok(empty(StatusCode::NO_CONTENT))
        }
    }
}

/// Refuses an address where no peer may be, before anything connects to it. The addresses of a name are checked
/// whenever it is resolved.
fn check_network(endpoint: &Endpoint, address: &str) -> Result<(), ApiError> {
    match address.parse() {
        Ok(socket) if !endpoint.peer_trust.networks.allow(socket) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "a peer is in the networks of [peers] networks, by default those of this computer and loopback, and \
             never link-local, multicast or unspecified",
        )),
        _ => Ok(()),
    }
}

/// Details of an event that the request's client caused.
fn caused_by(request: &ApiRequest<'_>) -> EventDetails {
    EventDetails { by: Some(request.by()), client: request.client(), ..EventDetails::default() }
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
