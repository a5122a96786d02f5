//! Options of TLS to the endpoints.

use std::path::PathBuf;

use clap::Args;
use roverline_client::{Config, TlsOptions};

use crate::command::Failure;

const HEADING: &str = "TLS";

/// TLS to the endpoints.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TlsArgs {
    /// Use TLS (wss://) for endpoints that are given without a scheme; implied by --ca and --cert
    #[arg(long, global = true, help_heading = HEADING)]
    tls: bool,
    /// The team's authority (ca.crt), which signed the endpoints' certificates; without it, the certificate
    /// that an endpoint shows at first is remembered
    #[arg(long, global = true, value_name = "FILE", env = "ROVERLINE_CA", help_heading = HEADING)]
    ca: Option<PathBuf>,
    /// Your certificate, instead of a token
    #[arg(long, global = true, value_name = "FILE", env = "ROVERLINE_CERT", help_heading = HEADING)]
    cert: Option<PathBuf>,
    /// The key of your certificate
    #[arg(id = "cert_key", long = "key", global = true, value_name = "FILE", env = "ROVERLINE_KEY", help_heading = HEADING)]
    key: Option<PathBuf>,
}

impl TlsArgs {
    fn is_wanted(&self) -> bool {
        self.tls || self.ca.is_some() || self.cert.is_some()
    }

    /// An endpoint as it was given, with the scheme that these options imply if it has none.
    pub(super) fn with_scheme(&self, endpoint: &str) -> String {
        match self.is_wanted() && !endpoint.contains("://") {
            true => format!("wss://{endpoint}"),
            false => endpoint.to_owned(),
        }
    }

    /// The endpoints of a host, over TLS if these options imply it.
    pub(super) fn of_host(&self, config: Config) -> Config {
        if self.is_wanted() { config.over_tls() } else { config }
    }

    /// The configuration with these files.
    pub(super) fn apply(&self, config: Config) -> Result<Config, Failure> {
        let TlsArgs { ca, cert, key, .. } = self.clone();
        let options = TlsOptions { ca, cert, key, known_hosts: None };
        config.with_tls(options).map_err(|error| Failure::Usage(error.to_string()))
    }
}
