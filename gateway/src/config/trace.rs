//! Settings of traces.

use std::path::PathBuf;

use http::Uri;
use serde::{Deserialize, Serialize};

/// Most samples that are traced of a topic, samples per second.
const SAMPLES_PER_S_MAX: u32 = 1_000;
/// What an address of a collector looks like.
const EXAMPLE: &str = "write http://host:4318/v1/traces";

/// Settings of traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Whether requests, and what they cause, are recorded as spans.
    pub enabled: bool,
    /// Samples of each topic whose way is traced, samples per second; 0: none.
    pub samples_per_s: u32,
    /// The address of the collector to which spans are exported by OTLP; absent: they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// A file with header fields of the export's requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_headers_file: Option<PathBuf>,
    /// The authority of the collector's certificate (PEM), for `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_ca: Option<PathBuf>,
    /// Whether spans that observers cause or report are exported as well.
    pub otlp_observers: bool,
}

impl Default for TraceSettings {
    fn default() -> Self {
        let (otlp, otlp_headers_file, otlp_ca) = Default::default();
        TraceSettings {
            enabled: true,
            samples_per_s: 1,
            otlp,
            otlp_headers_file,
            otlp_ca,
            otlp_observers: false,
        }
    }
}

impl TraceSettings {
    /// Checks what the types cannot express; an error is a key and a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let fail = |key, why: &str| Err((key, why.to_owned()));
        if self.samples_per_s > SAMPLES_PER_S_MAX {
            return Err(("samples_per_s", format!("write a number from 0 to {SAMPLES_PER_S_MAX}")));
        }
        let Some(otlp) = &self.otlp else { return Ok(()) };
        if !self.enabled {
            return fail("otlp", "there is nothing to export: set [trace] enabled = true");
        }
        let is_https = check_address(otlp).map_err(|error| ("otlp", error.to_string()))?;
        match (is_https, &self.otlp_ca) {
            (true, None) => fail(
                "otlp",
                "https needs the authority of its certificate: add otlp_ca = \"FILE\" (public ones on Debian: \
                 /etc/ssl/certs/ca-certificates.crt)",
            ),
            (false, Some(_)) => fail("otlp_ca", "otlp has no certificate: write https://"),
            _ => Ok(()),
        }
    }
}

/// Why an address is not that of a collector. No message shows an address that may have a secret.
#[derive(Debug, thiserror::Error)]
enum AddressError {
    #[error(
        "put what authenticates the gateway into otlp_headers_file, and no more than host, port and path here"
    )]
    Secret,
    #[error("'{0}' is no address: {EXAMPLE}")]
    Malformed(String),
    #[error("'{0}' is neither http:// nor https://: {EXAMPLE}")]
    Scheme(String),
    #[error("'{0}' has no path: {EXAMPLE}")]
    NoPath(String),
}

/// Checks the address of a collector; returns whether it is `https`.
fn check_address(address: &str) -> Result<bool, AddressError> {
    if address.contains(['@', '?', '#']) {
        return Err(AddressError::Secret);
    }
    let shown = || address.to_owned();
    let uri: Uri = address.parse().map_err(|_| AddressError::Malformed(shown()))?;
    let is_https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(AddressError::Scheme(shown())),
    };
    let authority = uri.authority().ok_or_else(|| AddressError::Malformed(shown()))?;
    // What follows the host is a port or nothing.
    let rest = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let has_port = authority.port_u16().is_some_and(|port| port > 0);
    if authority.host().is_empty() || (!rest.is_empty() && !has_port) {
        return Err(AddressError::Malformed(shown()));
    }
    match uri.path() {
        "" | "/" => Err(AddressError::NoPath(shown())),
        _ => Ok(is_https),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked() {
        for (address, expected) in [
            ("http://collector:4318/v1/traces", "ok"),
            ("http://[::1]:4318/v1/traces", "ok"),
            ("http://collector/v1/traces", "ok"),
            ("https://collector/v1/traces", "otlp_ca"),
            ("collector:4318", "neither"),
            ("grpc://collector:4317/v1/traces", "neither"),
            ("http://collector:4318", "no path"),
            ("http://collector:4318/", "no path"),
            ("http://collector:0/v1/traces", "no address"),
            ("http:///v1/traces", "write http://host"),
            ("http://collector:99999/v1/traces", "write http://host"),
            ("http://a b/v1/traces", "write http://host"),
            ("", "write http://host"),
            ("http://ann:5ec2e7@collector/v1/traces", "otlp_headers_file"),
            ("http://collector/v1/traces?key=5ec2e7", "otlp_headers_file"),
        ] {
            let settings = TraceSettings { otlp: Some(address.to_owned()), ..TraceSettings::default() };
            match settings.check() {
                Ok(()) => assert_eq!(expected, "ok", "{address}"),
                Err((key, why)) => {
                    assert!(key == "otlp" && why.contains(expected), "{address}: {why}");
                    assert!(!why.contains("5ec2e7"), "{why}");
                }
            }
        }
    }

    #[test]
    fn what_would_have_no_effect_is_an_error() {
        let http = || TraceSettings {
            otlp: Some("http://collector:4318/v1/traces".to_owned()),
            ..TraceSettings::default()
        };
        let key = |settings: TraceSettings| settings.check().map_err(|(key, _)| key);
        assert_eq!(key(TraceSettings { enabled: false, ..http() }), Err("otlp"));
        assert_eq!(key(TraceSettings { otlp_ca: Some("ca.pem".into()), ..http() }), Err("otlp_ca"));
        // A flag may add the address.
        let file = Some("headers".into());
        assert_eq!(key(TraceSettings { otlp: None, otlp_headers_file: file, ..http() }), Ok(()));
        assert_eq!(key(TraceSettings::default()), Ok(()));
    }
}
