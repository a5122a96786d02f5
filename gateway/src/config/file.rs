//! The configuration file `roverline.toml`: lookup, parsing and validation.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use roverline_protocol::Routing;
use roverline_protocol::routing::topic_glob;

use crate::access::forwarded::proxy_network;
use crate::config::Settings;

/// An invalid configuration; the text names file, line and key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads `explicit`, or the first file that exists of `./roverline.toml`, the XDG configuration directory
/// and `/etc/roverline`; otherwise returns the defaults.
pub fn load(explicit: Option<&Path>) -> Result<(Settings, Option<PathBuf>), ConfigError> {
    let path = match explicit {
        Some(path) => Some(path.to_owned()),
        None => candidates().into_iter().find(|path| path.is_file() && is_ours(path)),
    };
    let Some(path) = path else { return Ok((Settings::default(), None)) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
    let settings = parse(&text, &path.display().to_string())?;
    Ok((settings, Some(path)))
}

/// Whether a file that was found and not named may be used: anybody may have put one into this directory. Says
/// so if not.
fn is_ours(path: &Path) -> bool {
    let Ok(about) = std::fs::metadata(path) else { return false };
    let why = match about.uid() {
        _ if about.mode() & 0o002 != 0 => "anybody may write it",
        0 => return true,
        owner if owner == rustix::process::geteuid().as_raw() => return true,
        _ => "it is another user's",
    };
    eprintln!(
        "roverline-gateway: {} is not used, because {why}; name it with --config if it is right",
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display()
    );
    false
}

fn candidates() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let mut paths = vec![PathBuf::from("roverline.toml")];
    paths.extend(config.map(|config| config.join("roverline/roverline.toml")));
    paths.push(PathBuf::from("/etc/roverline/roverline.toml"));
    paths
}

/// A line for a message: what it assigns is left out if it may be a secret.
fn without_secret(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    match line.split_once('=') {
        Some((key, _)) if ["tok", "pass", "secret"].iter().any(|word| lower.contains(word)) => {
            format!("{}= ...", key)
        }
        _ => line.to_owned(),
    }
}

/// Parses the text of the file called `name`.
pub(super) fn parse(text: &str, name: &str) -> Result<Settings, ConfigError> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let shown = without_secret(text.lines().nth(line - 1).unwrap_or_default().trim());
        ConfigError(format!("{name}:{line}: {} (at `{shown}`)", error.message().replace('\n', ", ")))
    })?;
    check(&settings).map_err(|(key, why)| {
        let line = line_of(text, key);
        ConfigError(format!("{name}:{line}: {key}: {why}"))
    })?;
    Ok(settings)
}

/// Checks what the types cannot express; an error is a key and a message.
pub(super) fn check(settings: &Settings) -> Result<(), (&'static str, String)> {
    if settings.gateway.max_clients == 0 || settings.gateway.max_clients > 10_000 {
        return Err(("max_clients", "write a number from 1 to 10000".to_owned()));
    }
    if settings.gateway.base_port > u16::MAX - 3 {
        return Err(("base_port", "write a port up to 65532: three more follow it".to_owned()));
    }
    if settings.ros.domain_id > 232 {
        return Err(("domain_id", "write a number from 0 to 232".to_owned()));
    }
    if !(settings.bag.rate > 0.0 && settings.bag.rate.is_finite()) {
        return Err(("rate", "write a number greater than 0".to_owned()));
    }
    if !(settings.bag.start_s >= 0.0 && settings.bag.start_s < 1e9) {
        return Err(("start_s", "write seconds, 0 or more".to_owned()));
    }
    let upstream = &settings.upstream;
    if upstream.max_rate_hz.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0)) {
        return Err(("max_rate_hz", "write a number greater than 0, at most 10000".to_owned()));
    }
    for topic in &upstream.topics {
        topic_glob(topic).map_err(|why| ("topics", format!("'{topic}': {why}")))?;
    }
    if !settings.gateway.emergency_stop_topic.starts_with('/') {
        return Err(("emergency_stop_topic", "write a ROS name that begins with /".to_owned()));
    }
    if !(0.5..=3_600.0).contains(&settings.gateway.promotion_grace_s) {
        return Err(("promotion_grace_s", "write seconds from 0.5 to 3600".to_owned()));
    }
    if settings.gateway.rover.as_ref().is_some_and(|rover| rover.is_empty() || rover.len() > 63) {
        return Err(("rover", "write a name of 1 to 63 bytes".to_owned()));
    }
    settings.process.check()?;
    settings.peers.networks()?;
    roverline_coordination::store::check_name(&settings.coordination.store)
        .map_err(|error| ("store", error.to_string()))?;
    if let Some(proxy) = settings.access.trusted_proxies.iter().find(|text| proxy_network(text).is_none()) {
        let why = format!("'{proxy}' is no address (10.0.0.1) and no network (10.0.0.0/8)");
        return Err(("trusted_proxies", why));
    }
    if let Some(jwt) = &settings.access.jwt {
        jwt.check().map_err(|why| ("access.jwt", why.to_owned()))?;
    }
    for allow in &settings.access.allow {
        for glob in allow.publish.iter().chain(&allow.call).chain(&allow.set) {
            topic_glob(glob).map_err(|why| ("allow", format!("'{glob}': {why}")))?;
        }
    }
    Routing::new(&settings.route).map(drop).map_err(|error| ("route", error.to_string()))
}

fn line_of(text: &str, key: &str) -> usize {
    let names_key = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    text.lines().position(names_key).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_contains_the_defaults() {
        let sample = include_str!("../../../roverline.example.toml");
        assert_eq!(parse(sample, "sample").unwrap(), Settings::default());
        // Lines that are commented out must be valid as well.
        let uncommented: String =
            sample.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let all = parse(&uncommented, "sample").unwrap();
        assert_eq!(all.route.len(), 1);
        assert!(all.gateway.state_dir.is_some());
    }

    #[test]
    fn errors_do_not_show_secrets() {
        let error = parse("[upstream]\ntokn = \"5ec2e7\"\n", "r.toml").unwrap_err().to_string();
        assert!(error.contains("tokn = ...") && !error.contains("5ec2e7"), "{error}");
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, line, word) in [
            ("[gateway]\nhots = \"x\"\n", 2, "hots"),
            ("[gateway]\n\nbase_port = \"x\"\n", 3, "base_port"),
            ("[gateway]\nmax_clients = 0\n", 2, "max_clients"),
            ("[ros]\ndomain_id = 500\n", 2, "domain_id"),
            ("[process]\nmemory_mib = 8\n", 2, "64"),
            ("[access]\ntrusted_proxies = [\"nginx\"]\n", 2, "nginx"),
            ("[peers]\nnetworks = [\"10.0.0.0/33\"]\n", 2, "192.168.1.0/24"),
            ("[endpoints.primary]\nscopes = [\"speed\"]\n", 2, "speed"),
            ("[[route]]\ntopic = \"/a\"\nscopes = []\n", 1, "scope"),
            ("[coordination]\nstore = \"redis://x\"\n", 2, "etcd://"),
            ("[gateway\n", 1, "gateway"),
        ] {
            let error = parse(text, "r.toml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("r.toml:{line}: ")), "{error}");
            assert!(error.contains(word), "{error}");
        }
    }
}
