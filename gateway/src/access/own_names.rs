//! The names under which a browser may know this rover: those that no one else can own, those of this computer
//! and of its certificate, and those that are configured. The owner of any other name in the
//! public DNS can point it at this address and so serve pages of the same origin (DNS rebinding).

use std::net::IpAddr;

use http::uri::Authority;

/// Names in `[access] hosts`.
pub(super) const HOST_ENTRIES: usize = 64;
/// Domains for local use: RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`.
const LOCAL_DOMAINS: [&str; 4] = [".localhost", ".local", ".home.arpa", ".internal"];

/// An invalid configured host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no name of a host; write it without a port (rover.lab.example)")]
pub struct HostError(String);

/// The names of this rover.
#[derive(Debug)]
pub(super) struct OwnNames {
    names: Vec<String>,
}

impl OwnNames {
    /// The configured names and the computer's own.
    pub(super) fn new(listed: &[String], computer: &str) -> Result<OwnNames, HostError> {
        let name = |text: &String| parse(text).ok_or_else(|| HostError(text.clone()));
        let mut names = listed.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        names.extend(parse(computer));
        Ok(OwnNames { names })
    }

    /// Whether a host of a URL is this rover; `certificate` are the names of its certificate.
    pub(super) fn has(&self, host: &str, certificate: &[String]) -> bool {
        let host = canonical(host);
        is_local(&host)
            || self.names.contains(&host)
            || certificate.iter().any(|name| is_covered(&host, &canonical(name)))
    }
}

/// The host of `host` or `host:port`.
pub(super) fn host_of(authority: &str) -> Option<String> {
    Some(canonical(authority.parse::<Authority>().ok()?.host()))
}

/// A configured name: a host without a port.
fn parse(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    (authority.as_str() == authority.host() && !text.is_empty()).then(|| canonical(text))
}

fn canonical(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

/// Whether it is an address, or a name that cannot be registered in the public DNS.
fn is_local(host: &str) -> bool {
    let in_local_domain = || LOCAL_DOMAINS.iter().any(|domain| host.ends_with(domain));
    host.parse::<IpAddr>().is_ok() || !host.contains('.') || in_local_domain()
}

/// Whether a name of a certificate covers the host (RFC 9525, section 6.3): `*` matches one label.
fn is_covered(host: &str, name: &str) -> bool {
    let wildcard = || Some(name.strip_prefix("*.")? == host.split_once('.')?.1);
    host == name || wildcard().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listed: &[&str]) -> OwnNames {
        let listed: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
        OwnNames::new(&listed, "crawler.lab.example").unwrap()
    }

    #[test]
    fn a_public_name_that_resolves_to_this_host_is_not_its_own() {
        let none = names(&[]);
        for bent in ["evil.example", "local.evil.example", "127.0.0.1.evil.example", "evillocal.example."] {
            assert!(!none.has(bent, &[]), "{bent}");
        }
        for own in ["127.0.0.1", "[::1]", "localhost", "ROVER", "rover.local", "rover.local.", "a.localhost"]
        {
            assert!(none.has(own, &[]), "{own}");
        }
    }

    #[test]
    fn names_are_listed_or_those_of_the_computer_and_its_certificate() {
        let listed = names(&["Rover.Lab.Example"]);
        let certificate = ["Base.lab.example".to_owned(), "*.rovers.example".to_owned()];
        let has = |host: &str| listed.has(host, &certificate);
        assert!(has("rover.lab.example.") && has("crawler.lab.example"));
        assert!(!has("lab.example") && !has("x.rover.lab.example"));
        assert!(has("base.lab.example") && has("one.rovers.example"));
        assert!(!has("a.one.rovers.example") && !has("rovers.example"));
        assert!(!listed.has("base.lab.example", &[]));
        for wrong in ["http://rover", "rover:8080", "a b", "", "a/b"] {
            assert_eq!(OwnNames::new(&[wrong.to_owned()], "x").unwrap_err(), HostError(wrong.to_owned()));
        }
    }
}
