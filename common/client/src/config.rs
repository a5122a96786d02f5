//! What a link is told at its start.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use roverline_protocol::{ScopeSet, Tier, limits};

/// Endpoints, a name, and the times by which a link decides. Made by one of the constructors, and
/// changed by the builders or field by field:
///
/// ```
/// use roverline_client::Config;
/// use roverline_protocol::{Scope, ScopeSet};
/// let config = Config::at("rover", 8080).named("map").wanting(ScopeSet::of(&[Scope::Location]));
/// assert_eq!(config.endpoints.len(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// `ws://host:port`, in order of preference among equals.
    pub endpoints: Vec<String>,
    /// How the client shows in the endpoints' lists.
    pub client_name: String,
    /// What proves to the endpoints who the client is; without it, it is whatever its address is.
    pub token: Option<String>,
    /// What the program wants: of two endpoints, the one that serves more of it is used.
    pub scopes: ScopeSet,
    /// When a link is suspect or dead.
    pub timings: Timings,
    /// Seed of this client's jitter; chosen at random, so that clients that lose an endpoint
    /// together do not return together.
    pub seed: u64,
}

/// When a link is suspect or dead, and how it returns.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// A time exchange this often; any frame counts as a sign of life.
    pub probe: Duration,
    /// Silence after which the next link is subscribed as well. This and `dead` hold for the
    /// endpoint in use; a standby is asked for fewer heartbeats and given as many times longer.
    pub suspect: Duration,
    /// Silence after which the link is closed, unless all are silent.
    pub dead: Duration,
    /// Connecting takes no longer than this.
    pub connect: Duration,
    /// First and last delay before connecting again.
    pub backoff: (Duration, Duration),
    /// A cheaper link must have been cheaper for this long.
    pub hold: Duration,
    /// First and longest time for which an endpoint that serves more must have been healthy; it
    /// doubles with each of the endpoint's recent failures.
    pub failback: (Duration, Duration),
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
            failback: (
                Duration::from_millis(limits::FAILBACK_MS.0),
                Duration::from_millis(limits::FAILBACK_MS.1),
            ),
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
            token: None,
            scopes: ScopeSet::ALL,
            timings: Timings::default(),
            seed: RandomState::new().hash_one(std::process::id()),
        }
    }

    /// The given endpoints. `HOST:PORT` and `http://` are understood as well.
    pub fn with_urls<S: AsRef<str>>(urls: &[S]) -> Result<Config, ConfigError> {
        let endpoints = urls.iter().map(|url| normalize(url.as_ref())).collect::<Result<_, _>>()?;
        Ok(Config { endpoints, ..Config::local() })
    }

    /// The same, with a name by which operators recognize the client.
    #[must_use]
    pub fn named(mut self, client_name: &str) -> Config {
        client_name.clone_into(&mut self.client_name);
        self
    }

    /// The same, for a program that wants these scopes only.
    #[must_use]
    pub fn wanting(mut self, scopes: ScopeSet) -> Config {
        self.scopes = scopes;
        self
    }

    /// The same, with other times.
    #[must_use]
    pub fn timed(mut self, timings: Timings) -> Config {
        self.timings = timings;
        self
    }

    /// The same, with a seed: two links with the same seed draw the same jitter.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Config {
        self.seed = seed;
        self
    }

    /// The same, for a program that looks once: the best endpoint that answers, without waiting
    /// whether it stays the best.
    #[must_use]
    pub fn hasty(mut self) -> Config {
        self.timings.hold = Duration::ZERO;
        self.timings.failback = (Duration::ZERO, Duration::ZERO);
        self
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
