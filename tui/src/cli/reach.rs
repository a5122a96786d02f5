//! The endpoints to connect to: from the command line, else from the environment.

use std::net::{IpAddr, ToSocketAddrs as _};

use clap::{Args, CommandFactory as _};
use roverline_client::{Config, ConfigError};

use crate::cli::tls::TlsArgs;
use crate::cli::{Cli, token_file};
use crate::command::Failure;

/// Port of the primary, unless `--base-port` says another one.
const BASE_PORT: u16 = 8080;
/// Most letters in which a mistyped command differs.
const MISTYPED_LETTERS: usize = 2;
/// Commands of the other program, which people type here.
const GATEWAY_COMMANDS: [&str; 7] = ["up", "down", "serve", "relay", "restart", "token", "config"];

/// The endpoints to connect to; before or behind a command.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ReachArgs {
    /// Host of all four endpoints
    #[arg(long, value_name = "HOST", global = true)]
    host: Option<String>,
    /// Port of the primary; the others follow it
    #[arg(long, value_name = "PORT", global = true)]
    base_port: Option<u16>,
    /// Token that proves your role; required to command a rover from another computer. Every user of this
    /// computer can read a command line: rather use --token-file or the variable
    #[arg(long, value_name = "TOKEN", global = true, env = "ROVERLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File whose first line is the token, which goes before the variable
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Endpoints as arguments.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct UrlArgs {
    /// Endpoints: ws://HOST:PORT, wss://HOST:PORT or HOST:PORT, the preferred one first; HOST means its four
    /// endpoints
    #[arg(value_name = "URL")]
    pub(super) urls: Vec<String>,
}

/// Endpoints as an option, for commands with arguments of their own.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct UrlOption {
    /// An endpoint: ws://HOST:PORT, wss://HOST:PORT or HOST:PORT, or HOST for its four endpoints; may be
    /// repeated
    #[arg(long = "url", value_name = "URL", global = true)]
    pub(super) url: Vec<String>,
}

impl ReachArgs {
    /// The client configuration; `urls` are the endpoints that were given as arguments.
    pub(super) fn config(&self, urls: &[String]) -> Result<Config, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(token_file::read(path)?),
            None => self.token.clone(),
        };
        self.tls.apply(Config { token, ..self.endpoints(urls)? })
    }

    fn endpoints(&self, urls: &[String]) -> Result<Config, Failure> {
        let usage = |error: ConfigError| Failure::Usage(error.to_string());
        if !urls.is_empty() {
            return Config::with_urls(&self.expand(urls)?).map_err(usage);
        }
        let set = std::env::var("ROVERLINE_ENDPOINTS").ok();
        match (&self.host, self.base_port, set) {
            (None, None, Some(set)) if !set.trim().is_empty() => {
                let urls = set.split(',').map(str::trim).filter(|url| !url.is_empty());
                let urls: Vec<String> = urls.map(str::to_owned).collect();
                Config::with_urls(&self.expand(&urls)?).map_err(usage)
            }
            (None, None, _) => Ok(self.tls.of_host(Config::local())),
            (host, port, _) => {
                let host = host.as_deref().unwrap_or("127.0.0.1");
                Config::with_urls(&self.four(host, port.unwrap_or(BASE_PORT))).map_err(usage)
            }
        }
    }

    /// Puts the four endpoints in the place of a host without a port.
    fn expand(&self, urls: &[String]) -> Result<Vec<String>, Failure> {
        if self.host.is_some() {
            return Err(Failure::Usage("say either --host or the endpoints, not both".to_owned()));
        }
        let mut all = Vec::new();
        let mut has_host = false;
        for url in urls {
            match host_alone(url) {
                Some(host) => {
                    is_no_command(&host)?;
                    has_host = true;
                    all.extend(self.four(&host, self.base_port.unwrap_or(BASE_PORT)));
                }
                None => all.push(self.tls.with_scheme(url)),
            }
        }
        match self.base_port {
            Some(port) if !has_host => Err(Failure::Usage(format!(
                "the endpoints name their ports: --base-port {port} belongs to a host without one"
            ))),
            _ => Ok(all),
        }
    }

    fn four(&self, host: &str, base_port: u16) -> Vec<String> {
        self.tls.of_host(Config::at(host, base_port)).endpoints
    }
}

/// The host, if the text names no port. A host is a name or an address.
fn host_alone(given: &str) -> Option<String> {
    if let Ok(IpAddr::V6(address)) = given.parse() {
        return Some(format!("[{address}]"));
    }
    let bracketed = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_some_and(|address| matches!(address.parse(), Ok(IpAddr::V6(_)))) {
        return Some(given.to_owned());
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!given.is_empty() && given.chars().all(is_name)).then(|| given.to_owned())
}

/// A single word may be a computer's name or a mistyped command.
fn is_no_command(word: &str) -> Result<(), Failure> {
    if word.contains(['.', ':', '[']) || word == "localhost" {
        return Ok(());
    }
    let program = Cli::command();
    let near = |name: &&str| strsim::damerau_levenshtein(name, word) <= MISTYPED_LETTERS.min(word.len() / 2);
    let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    let hint = match names.iter().copied().find(near) {
        Some(name) => format!("did you mean 'roverline {name}'?"),
        None if GATEWAY_COMMANDS.contains(&word) => {
            format!("did you mean 'roverline-gateway {word}'?")
        }
        None if (word, BASE_PORT).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) => {
            return Ok(());
        }
        None => "no computer of this name is found either: 'roverline --help' lists the commands".to_owned(),
    };
    Err(Failure::Usage(format!("'{word}' is not a command: {hint} A computer of this name: --host {word}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn endpoints(args: &[&str]) -> Result<Vec<String>, String> {
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        cli.config().map(|config| config.endpoints).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_by_url_by_host_and_by_default() {
        assert_eq!(endpoints(&["roverline", "a:1", "ws://b:2"]).unwrap(), ["ws://a:1", "ws://b:2"]);
        assert_eq!(
            endpoints(&["roverline", "--host", "a", "--base-port", "9000"]).unwrap()[3],
            "ws://a:9003"
        );
        assert!(endpoints(&["roverline", "a:1", "--host", "b"]).unwrap_err().contains("not both"));
        assert!(endpoints(&["roverline", "a:1", "--base-port", "9"]).unwrap_err().contains("--base-port 9"));
    }

    #[test]
    fn options_of_tls_imply_the_scheme() {
        assert_eq!(endpoints(&["roverline", "--tls", "a:1", "ws://b:2"]).unwrap(), ["wss://a:1", "ws://b:2"]);
        assert_eq!(endpoints(&["roverline", "--tls", "--host", "a"]).unwrap()[3], "wss://a:8083");
        assert_eq!(
            endpoints(&["roverline", "status", "rover.local", "--tls"]).unwrap()[0],
            "wss://rover.local:8080"
        );
        let missing = endpoints(&["roverline", "--ca", "/nonexistent/ca.crt"]).unwrap_err();
        assert!(missing.starts_with("/nonexistent/ca.crt: "), "{missing}");
    }

    #[test]
    fn a_host_alone_means_its_four_endpoints() {
        for (given, expected) in [
            ("10.0.0.5", "ws://10.0.0.5:8083"),
            ("rover.local", "ws://rover.local:8083"),
            ("::1", "ws://[::1]:8083"),
            ("[::1]", "ws://[::1]:8083"),
            ("localhost", "ws://localhost:8083"),
        ] {
            assert_eq!(endpoints(&["roverline", given]).unwrap()[3], expected);
            assert_eq!(endpoints(&["roverline", "status", given]).unwrap()[3], expected);
            assert_eq!(endpoints(&["roverline", given, "status"]).unwrap()[3], expected);
        }
        assert_eq!(
            endpoints(&["roverline", "10.0.0.5", "--base-port", "9000"]).unwrap()[0],
            "ws://10.0.0.5:9000"
        );
    }

    #[test]
    fn options_stand_before_or_behind_a_command() {
        for args in [
            &["roverline", "--base-port", "9000", "status"][..],
            &["roverline", "status", "--base-port", "9000"],
            &["roverline", "--base-port", "9000", "echo", "/odom"],
            &["roverline", "--base-port", "9000", "locks", "list"],
            &["roverline", "locks", "--base-port", "9000", "list"],
            &["roverline", "locks", "list", "--base-port", "9000"],
            &["roverline", "--log-level", "debug", "--base-port", "9000", "stop"],
        ] {
            assert_eq!(endpoints(args).unwrap()[0], "ws://127.0.0.1:9000", "{args:?}");
        }
        assert_eq!(endpoints(&["roverline", "locks", "--url", "a:1", "list"]).unwrap(), ["ws://a:1"]);
    }

    #[test]
    fn a_mistyped_command_is_explained() {
        for (word, hint) in [
            ("stauts", "did you mean 'roverline status'?"),
            ("topcis", "did you mean 'roverline topics'?"),
            ("lock", "did you mean 'roverline locks'?"),
            ("up", "did you mean 'roverline-gateway up'?"),
        ] {
            let error = endpoints(&["roverline", word]).unwrap_err();
            assert!(error.contains(hint) && error.contains(&format!("--host {word}")), "{error}");
        }
        assert!(endpoints(&["roverline", "ftp://a:1"]).unwrap_err().contains("not an endpoint"));
    }
}
