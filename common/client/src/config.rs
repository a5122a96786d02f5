//! Configuration of a link: endpoints, client name, token and timings.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use roverline_protocol::{ScopeSet, Tier};

use crate::limits;
use crate::tls::{TlsError, TlsOptions};

/// Interval of a client's time exchange, from which it estimates round trip and clock offset.
const PROBE_MS: u64 = 500;
/// Silence after which a link is suspect.
const SUSPECT_MS: u64 = 350;

/// Endpoints, client name and the timings that control failover. Start with one of the constructors
/// and adjust it with the builder methods or field by field:
///
/// ```
/// use roverline_client::Config;
/// use roverline_protocol::{Scope, ScopeSet};
/// let config = Config::at("rover", 8080).named("map").with_scopes(ScopeSet::of(&[Scope::Location]));
/// assert_eq!(config.endpoints.len(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// `ws://host:port` or `wss://host:port`, in order of preference among equal endpoints.
    pub endpoints: Vec<String>,
    /// Name under which the client appears in the endpoints' session lists.
    pub client_name: String,
    /// Bearer token; without it the endpoints assign the role by the client's address.
    pub token: Option<String>,
    /// Which endpoints are trusted over `wss://`.
    pub tls: TlsOptions,
    /// Scopes the program needs: of two endpoints, the link uses the one that serves more of them.
    pub scopes: ScopeSet,
    /// Thresholds for suspect and dead links.
    pub timings: Timings,
    /// Seed of this client's jitter. It is random, so clients that lose an endpoint together do not
    /// reconnect together.
    pub seed: u64,
}

/// Probe interval, failure detection and reconnection.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Interval of the time exchanges; any received frame counts as a sign of life.
    pub probe: Duration,
    /// Silence after which the next endpoint is subscribed as well. This and `dead` apply to the
    /// endpoint in use; a standby sends fewer heartbeats, so its limits are scaled up by the same
    /// factor.
    pub suspect: Duration,
    /// Silence after which the link is closed, unless all links are silent.
    pub dead: Duration,
    /// Connect timeout.
    pub connect: Duration,
    /// First and longest delay before reconnecting.
    pub backoff: (Duration, Duration),
    /// How long a cheaper link must have been cheaper before the link switches to it.
    pub hold: Duration,
    /// First and longest time an endpoint with better coverage must have been healthy before the
    /// link returns to it; doubles with each of its recent failures.
    pub failback: (Duration, Duration),
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            probe: Duration::from_millis(PROBE_MS),
            suspect: Duration::from_millis(SUSPECT_MS),
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

/// An unusable endpoint address; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{given}' is not an endpoint: {reason}; write ws://HOST:PORT or wss://HOST:PORT, for example ws://192.168.1.10:8080"
)]
pub struct ConfigError {
    given: String,
    reason: String,
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
            tls: TlsOptions::default(),
            scopes: ScopeSet::ALL,
            timings: Timings::default(),
            seed: RandomState::new().hash_one(std::process::id()),
        }
    }

    /// The given endpoints. `HOST:PORT`, `http://` and `https://` are accepted as well.
    ///
    /// ```
    /// use roverline_client::Config;
    /// let config = Config::with_urls(&["rover:8080", "http://rover:8081/"])?;
    /// assert_eq!(config.endpoints, ["ws://rover:8080", "ws://rover:8081"]);
    /// assert!(Config::with_urls(&["rover"]).is_err());
    /// # Ok::<(), roverline_client::ConfigError>(())
    /// ```
    pub fn with_urls<S: AsRef<str>>(urls: &[S]) -> Result<Config, ConfigError> {
        let endpoints = urls.iter().map(|url| normalize(url.as_ref())).collect::<Result<_, _>>()?;
        Ok(Config { endpoints, ..Config::local() })
    }

    /// Sets the name by which operators recognize the client.
    #[must_use]
    pub fn named(mut self, client_name: &str) -> Config {
        client_name.clone_into(&mut self.client_name);
        self
    }

    /// Sets which endpoints are trusted over `wss://`, and this client's certificate; reads the files to
    /// report mistakes.
    pub fn with_tls(mut self, tls: TlsOptions) -> Result<Config, TlsError> {
        tls.check()?;
        self.tls = tls;
        Ok(self)
    }

    /// The same endpoints over TLS.
    #[must_use]
    pub fn over_tls(mut self) -> Config {
        for url in &mut self.endpoints {
            if let Some(authority) = url.strip_prefix("ws://") {
                *url = format!("wss://{authority}");
            }
        }
        self
    }

    /// Restricts the link to the scopes the program needs.
    #[must_use]
    pub fn with_scopes(mut self, scopes: ScopeSet) -> Config {
        self.scopes = scopes;
        self
    }

    /// Replaces the timings.
    #[must_use]
    pub fn with_timings(mut self, timings: Timings) -> Config {
        self.timings = timings;
        self
    }

    /// Sets the jitter seed: two links with the same seed draw the same jitter.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Config {
        self.seed = seed;
        self
    }

    /// Disables hysteresis, for a short-lived program: the best endpoint that answers is used at
    /// once.
    #[must_use]
    pub fn without_hysteresis(mut self) -> Config {
        self.timings.hold = Duration::ZERO;
        self.timings.failback = (Duration::ZERO, Duration::ZERO);
        self
    }
}

fn normalize(given: &str) -> Result<String, ConfigError> {
    let error = |reason: &str| ConfigError { given: given.to_owned(), reason: reason.to_owned() };
    let (scheme, rest) = match given.split_once("://") {
        None => ("ws", given),
        Some(("ws" | "http", rest)) => ("ws", rest),
        Some(("wss" | "https", rest)) => ("wss", rest),
        Some((scheme, _)) => return Err(error(&format!("the scheme {scheme}:// is not supported"))),
    };
    let authority = rest.trim_end_matches('/');
    let uri: http::Uri = format!("{scheme}://{authority}").parse().map_err(|_| error("it is not a URL"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(error("it names no host"));
    }
    if uri.port_u16().is_none() {
        return Err(error("it names no port"));
    }
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized_or_rejected_with_an_explanation() {
        assert_eq!(Config::local().endpoints[3], "ws://127.0.0.1:8083");
        let config = Config::with_urls(&["rover:8080", "http://10.0.0.2:81/", "ws://[::1]:9"]).unwrap();
        assert_eq!(config.endpoints, ["ws://rover:8080", "ws://10.0.0.2:81", "ws://[::1]:9"]);
        let config = Config::with_urls(&["wss://rover:1", "https://rover:2/"]).unwrap();
        assert_eq!(config.endpoints, ["wss://rover:1", "wss://rover:2"]);
        assert_eq!(Config::local().over_tls().endpoints[0], "wss://127.0.0.1:8080");
        for bad in ["", "rover", "ftp://rover:1", "ws://:8080", "ws://a b:1"] {
            let error = Config::with_urls(&[bad]).unwrap_err().to_string();
            assert!(error.contains("write ws://HOST:PORT"), "{bad}: {error}");
        }
    }
}
