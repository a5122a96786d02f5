//! Requirements of a request's head: one `Host` (RFC 9112, section 3.2), and at most one `Origin`
//! (RFC 6454, section 7.3). A proxy and this server could otherwise see two different requests in it.

use http::header::{self, HeaderMap};
use http::uri::Authority;
use http::{Request, Version};

use crate::api::error::ApiError;

/// Checks the head; an error is a 400.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    check_fields(request.version(), request.headers()).map_err(ApiError::bad_request)
}

/// The error says what is wrong with the fields.
pub fn check_fields(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version >= Version::HTTP_11 => return Err("a request of HTTP/1.1 has a Host field"),
        (None, _) => {}
        (Some(_), Some(_)) => return Err("a request has one Host field"),
        (Some(host), None) if host.to_str().is_ok_and(is_authority) => {}
        (Some(_), None) => return Err("the Host field is a name or an address, with or without a port"),
    }
    match headers.get_all(header::ORIGIN).iter().count() {
        0 | 1 => Ok(()),
        _ => Err("a request has one Origin field"),
    }
}

/// Whether it is `host` or `host:port`. An empty host belongs to no URI of HTTP (RFC 9110, section 4.2.1).
fn is_authority(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let port = host.strip_prefix(authority.host());
    let is_port = |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
    !authority.host().is_empty() && port.is_some_and(is_port)
}

/// A port may be empty, which is the default one.
fn is_number(port: &str) -> bool {
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(version: Version, fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        check_fields(version, &headers).is_ok()
    }

    #[test]
    fn there_is_one_host_and_it_is_one() {
        let host = |host: &str| is_valid(Version::HTTP_11, &[("host", host)]);
        for right in ["rover", "rover:8080", "10.0.0.1:80", "[::1]:8080", "[::1]", "rover.local.", "rover:"] {
            assert!(host(right), "{right}");
        }
        for wrong in
            ["", ":80", "a b", "a@rover", "a/b", "rover:x", "rover:99999", "rover:80:80", "[::1", "a,b "]
        {
            assert!(!host(wrong), "{wrong}");
        }
        assert!(!is_valid(Version::HTTP_11, &[]));
        assert!(is_valid(Version::HTTP_10, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(!is_valid(version, &[("host", "a"), ("host", "a")]));
        }
    }

    #[test]
    fn there_is_one_origin_at_most() {
        let origin = ("origin", "http://rover:8080");
        assert!(is_valid(Version::HTTP_11, &[("host", "a"), origin]));
        assert!(!is_valid(Version::HTTP_11, &[("host", "a"), origin, origin]));
    }
}
