//! What a link is told at its start.

use std::time::Duration;

use roverline_protocol::{Tier, limits};

/// Endpoints, a name, and the times by which a link decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ws://host:port`, in order of preference among equals.
    pub endpoints: Vec<String>,
    /// How the client shows in the endpoints' lists.
    pub client_name: String,
    /// When a link is suspect or dead.
    pub timings: Timings,
}

/// When a link is suspect or dead, and how it returns.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// A time exchange this often; any frame counts as a sign of life.
    pub probe: Duration,
    /// Silence after which the next link is subscribed as well.
    pub suspect: Duration,
    /// Silence after which the link is closed.
    pub dead: Duration,
    /// Connecting takes no longer than this.
    pub connect: Duration,
    /// First and last delay before connecting again.
    pub backoff: (Duration, Duration),
    /// A better link must have been better for this long.
    pub hold: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            probe: Duration::from_millis(limits::PROBE_MS),
            suspect: Duration::from_millis(limits::SUSPECT_MS),
            dead: Duration::from_millis(limits::DEAD_MS),
            connect: Duration::from_secs(3),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            hold: Duration::from_secs(5),
        }
    }
}

/// An endpoint address that cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not an endpoint: {why}; write ws://HOST:PORT, for example ws://192.168.1.10:8080")]
pub struct ConfigError {
    given: String,
    why: String,
}

impl Config {
    /// The four endpoints of a gateway on this computer.
    pub fn local() -> Config {
        Config::at("127.0.0.1", 8080)
    }

    /// The four endpoints of a gateway at `host`, the primary on `base_port`.
    pub fn at(host: &str, base_port: u16) -> Config {
        let url = |tier: Tier| format!("ws://{host}:{}", base_port.saturating_add(tier.port_offset()));
        Config {
            endpoints: Tier::ALL.map(url).to_vec(),
            client_name: "roverline".to_owned(),
            timings: Timings::default(),
        }
    }

    /// The given endpoints. `HOST:PORT` and `http://` are understood as well.
    pub fn with_urls<S: AsRef<str>>(urls: &[S]) -> Result<Config, ConfigError> {
        let endpoints = urls.iter().map(|url| normalize(url.as_ref())).collect::<Result<_, _>>()?;
        Ok(Config { endpoints, ..Config::local() })
    }
}

fn normalize(given: &str) -> Result<String, ConfigError> {
    let error = |why: &str| ConfigError { given: given.to_owned(), why: why.to_owned() };
    let rest = match given.split_once("://") {
        None => given,
        Some(("ws" | "http", rest)) => rest,
        Some((scheme, _)) => return Err(error(&format!("the scheme {scheme}:// is not supported"))),
    };
    let authority = rest.trim_end_matches('/');
    let uri: http::Uri = format!("ws://{authority}").parse().map_err(|_| error("it is not a URL"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(error("it names no host"));
    }
    if uri.port_u16().is_none() {
        return Err(error("it names no port"));
    }
    Ok(format!("ws://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood_or_explained() {
        assert_eq!(Config::local().endpoints[3], "ws://127.0.0.1:8083");
        let config = Config::with_urls(&["rover:8080", "http://10.0.0.2:81/", "ws://[::1]:9"]).unwrap();
        assert_eq!(config.endpoints, ["ws://rover:8080", "ws://10.0.0.2:81", "ws://[::1]:9"]);
        for bad in ["", "rover", "ftp://rover:1", "ws://:8080", "ws://a b:1"] {
            let error = Config::with_urls(&[bad]).unwrap_err().to_string();
            assert!(error.contains("write ws://HOST:PORT"), "{bad}: {error}");
        }
    }
}
