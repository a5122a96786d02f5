//! Credentials in an HTTP request: its token, and whether another site's page made it.

use std::net::IpAddr;

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

/// Whether a browser opened the WebSocket from another site's page, which may read but not command. Only a
/// page from this host, on any port, may command. A public DNS name never counts as this host: its owner
/// may point it at this address to serve a page from it (DNS rebinding).
pub fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host_of = |authority: &str| {
        authority.parse::<http::uri::Authority>().ok().map(|a| a.host().to_ascii_lowercase())
    };
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).and_then(|(_, a)| host_of(a));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
    page != host || !page.is_some_and(|host| is_local_name(&host))
}

/// Whether a lower-case host is an IP address or a name that nobody can own in the public DNS: a single
/// label, or below a domain reserved for local use (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`).
fn is_local_name(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let local = [".localhost", ".local", ".home.arpa", ".internal"];
    host.parse::<IpAddr>().is_ok() || !host.contains('.') || local.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_recognized() {
        let foreign = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Origin", origin.parse().unwrap());
            headers.insert("Host", "rover:8080".parse().unwrap());
            is_foreign_page(&headers)
        };
        assert!(!foreign("http://rover:8081"));
        assert!(foreign("http://evil.example") && foreign("null"));
    }

    #[test]
    fn a_public_name_that_resolves_to_this_host_is_foreign() {
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
