//! Command line flags for settings; each has an environment variable.

use std::path::{Path, PathBuf};

use roverline_protocol::Tier;
use roverline_protocol::budget::ByteRate;

use crate::access::Role;
use crate::config::file::{ConfigError, check};
use crate::config::ros_discovery;
use crate::config::{LogFormat, MdnsMode, Settings, SourceKind};

/// Flags common to `up` and `serve`. An absent flag leaves the file's value or the default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file [default: ./roverline.toml, then the XDG and /etc directories]
    #[arg(long, value_name = "FILE", env = "ROVERLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, env = "ROVERLINE_HOST")]
    pub host: Option<String>,
    /// Port of the primary endpoint, the other three follow; 0 picks free ports [default: 8080]
    #[arg(long, value_name = "PORT", env = "ROVERLINE_BASE_PORT")]
    pub base_port: Option<u16>,
    /// Where samples come from [default: dds]
    #[arg(long, value_enum, env = "ROVERLINE_SOURCE")]
    pub source: Option<SourceKind>,
    /// Recording to play, with --source bag: MCAP, .db3 or a rosbag2 directory
    #[arg(long, value_name = "FILE", env = "ROVERLINE_BAG_FILE")]
    pub file: Option<PathBuf>,
    /// Playback speed relative to the recording [default: 1]
    #[arg(long, env = "ROVERLINE_BAG_RATE")]
    pub rate: Option<f64>,
    /// Restart the recording at its end
    #[arg(long = "loop", env = "ROVERLINE_BAG_LOOP")]
    pub looped: bool,
    /// Start this far into the recording: 90s, 2m, 1500ms
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, env = "ROVERLINE_BAG_START")]
    pub start: Option<f64>,
    /// Seed of the built-in rover [default: 1]
    #[arg(long, env = "ROVERLINE_SIM_SEED")]
    pub seed: Option<u64>,
    /// Scripted fault of the built-in rover, may be repeated: gps-loss@60s
    #[arg(long = "fault", value_name = "FAULT", env = "ROVERLINE_SIM_FAULTS", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// ROS 2 domain [default: 0]
    #[arg(long, value_name = "ID", value_parser = ros_discovery::parse_domain_id, env = "ROS_DOMAIN_ID")]
    pub domain_id: Option<u16>,
    /// Maximum number of clients per endpoint [default: 50]
    #[arg(long, value_name = "N", env = "ROVERLINE_MAX_CLIENTS")]
    pub max_clients: Option<usize>,
    /// Bandwidth limit of each session: 250kbit, 30kB [default: no limit]
    #[arg(long, value_name = "RATE", env = "ROVERLINE_SESSION_BUDGET")]
    pub session_budget: Option<ByteRate>,
    /// Bandwidth limit of all sessions of an endpoint together: 2Mbit, 250kB [default: no limit]
    #[arg(long, value_name = "RATE", env = "ROVERLINE_ENDPOINT_BUDGET")]
    pub endpoint_budget: Option<ByteRate>,
    /// Token file of operators and commanders, written by `token add` [default: none]
    #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// Certificate of this computer, for TLS; `cert node` makes it [default: none]
    #[arg(long, value_name = "FILE", env = "ROVERLINE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", env = "ROVERLINE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Role of clients on this computer without a token [default: commander]
    #[arg(long, value_enum, value_name = "ROLE", env = "ROVERLINE_LOOPBACK_ROLE")]
    pub loopback_role: Option<Role>,
    /// Announce endpoints by mDNS and discover others [default: auto]
    #[arg(long, value_enum, env = "ROVERLINE_MDNS")]
    pub mdns: Option<MdnsMode>,
    /// File with the key by which the rover's endpoints recognize each other: 32 characters or more, mode
    /// 600; copy it to each of the rover's computers [default: peers.key in the state directory, made at the
    /// first start]
    #[arg(long, value_name = "FILE", env = "ROVERLINE_PEERS_KEY")]
    pub peers_key: Option<PathBuf>,
    /// Directory for state and logs [default: the XDG state directory]
    #[arg(long, value_name = "DIR", env = "ROVERLINE_STATE")]
    pub state: Option<PathBuf>,
    /// Where coordination state is stored: sqlite, or an etcd cluster as etcd://USER@host:2379,.../PREFIX
    /// or etcds://...?ca=FILE&cert=FILE&key=FILE [default: sqlite]
    #[arg(long, value_name = "STORE", env = "ROVERLINE_STORE")]
    pub store: Option<String>,
    /// Collector to which traces are exported by OTLP, as http/protobuf: http://host:4318/v1/traces
    /// [default: none]
    #[arg(long, value_name = "URL", env = "ROVERLINE_OTLP")]
    pub otlp: Option<String>,
    /// File with header fields for the collector, lines of 'Name: value', mode 600 [default: none]
    #[arg(long, value_name = "FILE", env = "ROVERLINE_OTLP_HEADERS_FILE")]
    pub otlp_headers_file: Option<PathBuf>,
    /// Log level or filter [default: info]
    #[arg(long, value_name = "LEVEL", env = "ROVERLINE_LOG")]
    pub log_level: Option<String>,
    /// Log format [default: text]
    #[arg(long, value_enum, env = "ROVERLINE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Flags of `relay`: the upstream endpoints and which topics to read.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UpstreamFlags {
    /// The rover's endpoints, best first: ws://rover:8080,ws://rover:8081,...
    #[arg(long, value_name = "URL,...", env = "ROVERLINE_UPSTREAM", value_delimiter = ',')]
    pub upstream: Vec<String>,
    /// Token that authenticates this relay at the rover, so that the rover accepts emergency stops from it.
    /// Every user of this computer can read a command line: rather use --token-file or the variable
    #[arg(long, value_name = "TOKEN", env = "ROVERLINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File whose first line is that token, which goes before the variable
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Authority of the rover's certificates, for wss://; without it, the first certificate is remembered
    #[arg(long, value_name = "FILE", env = "ROVERLINE_CA")]
    pub ca: Option<PathBuf>,
    /// This relay's certificate, instead of a token
    #[arg(long, value_name = "FILE", env = "ROVERLINE_CERT")]
    pub cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", env = "ROVERLINE_KEY")]
    pub key: Option<PathBuf>,
    /// Topics to read over the radio, besides the emergency stop [default: **]
    #[arg(long, value_name = "GLOB,...", env = "ROVERLINE_UPSTREAM_TOPICS", value_delimiter = ',')]
    pub topics: Vec<String>,
    /// Maximum rate per topic over the radio, in samples per second [default: all samples]
    #[arg(long, value_name = "HZ", env = "ROVERLINE_UPSTREAM_MAX_RATE")]
    pub max_rate: Option<f64>,
}

impl UpstreamFlags {
    /// Resolves `flags` for a relay, applies these flags on top, and validates the result.
    pub fn resolve(&self, flags: &Flags) -> Result<Settings, ConfigError> {
        let flags = Flags { source: Some(SourceKind::Upstream), ..flags.clone() };
        let mut settings = flags.resolve()?;
        if !self.upstream.is_empty() {
            settings.upstream.urls.clone_from(&self.upstream);
        }
        if self.token.is_some() {
            settings.upstream.token.clone_from(&self.token);
        }
        if let Some(path) = &self.token_file {
            settings.upstream.token = Some(read_token(path)?);
        }
        let upstream = &mut settings.upstream;
        for (setting, flag) in
            [(&mut upstream.ca, &self.ca), (&mut upstream.cert, &self.cert), (&mut upstream.key, &self.key)]
        {
            *setting = flag.clone().or(setting.take());
        }
        if !self.topics.is_empty() {
            settings.upstream.topics.clone_from(&self.topics);
        }
        settings.upstream.max_rate_hz = self.max_rate.or(settings.upstream.max_rate_hz);
        check(&settings).map_err(|(key, why)| ConfigError(format!("{key}: {why}")))?;
        Ok(settings)
    }
}

/// The token in the first line of a file.
fn read_token(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read the token in {}: {error}", path.display())))?;
    match text.lines().next().map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => Ok(token.to_owned()),
        None => Err(ConfigError(format!("the first line of {} is no token", path.display()))),
    }
}

impl Flags {
    /// Loads the file's settings (or the defaults), applies these flags on top, and validates the result.
    pub fn resolve(&self) -> Result<Settings, ConfigError> {
        let (mut settings, _) = crate::config::load(self.config.as_deref())?;
        self.apply(&mut settings);
        ros_discovery::apply(&mut settings.ros, |name| std::env::var(name).ok());
        check(&settings).map_err(|(key, why)| ConfigError(format!("{key}: {why}")))?;
        if settings.gateway.source == SourceKind::Bag && settings.bag.file.is_none() {
            return Err(ConfigError("--source bag needs a recording: add --file FILE".to_owned()));
        }
        Ok(settings)
    }

    fn apply(&self, settings: &mut Settings) {
        fn set<T: Clone>(target: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *target = value.clone();
            }
        }
        set(&mut settings.gateway.host, &self.host);
        if let Some(port) = self.base_port {
            settings.gateway.base_port = port;
            for tier in Tier::ALL {
                // The flag covers all four ports, so it overrides ports in the file.
                settings.endpoint_mut(tier).port = None;
            }
        }
        set(&mut settings.gateway.source, &self.source);
        if self.file.is_some() {
            settings.bag.file = self.file.clone();
        }
        set(&mut settings.bag.rate, &self.rate);
        settings.bag.looped |= self.looped;
        set(&mut settings.bag.start_s, &self.start);
        set(&mut settings.sim.seed, &self.seed);
        if !self.faults.is_empty() {
            settings.sim.faults.clone_from(&self.faults);
        }
        set(&mut settings.ros.domain_id, &self.domain_id);
        set(&mut settings.gateway.max_clients, &self.max_clients);
        if self.session_budget.is_some() {
            settings.gateway.session_budget = self.session_budget;
        }
        if self.endpoint_budget.is_some() {
            settings.gateway.endpoint_budget = self.endpoint_budget;
        }
        set(&mut settings.gateway.mdns, &self.mdns);
        if self.tokens.is_some() {
            settings.access.tokens.clone_from(&self.tokens);
        }
        for (setting, flag) in
            [(&mut settings.tls.cert, &self.tls_cert), (&mut settings.tls.key, &self.tls_key)]
        {
            *setting = flag.clone().or(setting.take());
        }
        set(&mut settings.access.loopback, &self.loopback_role);
        if self.peers_key.is_some() {
            settings.peers.key.clone_from(&self.peers_key);
        }
        if self.state.is_some() {
            settings.gateway.state_dir = self.state.clone();
        }
        set(&mut settings.coordination.store, &self.store);
        if self.otlp.is_some() {
            settings.trace.otlp.clone_from(&self.otlp);
        }
        if self.otlp_headers_file.is_some() {
            settings.trace.otlp_headers_file.clone_from(&self.otlp_headers_file);
        }
        set(&mut settings.log.level, &self.log_level);
        set(&mut settings.log.format, &self.log_format);
    }
}

/// Parses `90s`, `2m`, `1500ms`, `1.5h` or plain seconds into seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write a time such as 90s, 2m or 1500ms".to_owned()),
    };
    match text[..end].parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number * factor),
        _ => Err("write a time such as 90s, 2m or 1500ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_seconds("90s"), Ok(90.0));
        assert_eq!(parse_seconds("1500ms"), Ok(1.5));
        assert_eq!(parse_seconds("2m"), Ok(120.0));
        assert!(parse_seconds("soon").is_err());
        assert!(parse_seconds("-1s").is_err());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let mut settings = Settings::default();
        settings.endpoints.primary.port = Some(9_999);
        settings.gateway.max_clients = 7;
        settings.coordination.store = "etcd://file:1".to_owned();
        let store = Some("etcd://flag:1".to_owned());
        let flags = Flags { base_port: Some(9_000), store, ..Flags::default() };
        flags.apply(&mut settings);
        assert_eq!(settings.coordination.store, "etcd://flag:1");
        assert_eq!((settings.port(Tier::Primary), settings.port(Tier::Emergency)), (9_000, 9_003));
        assert_eq!(settings.gateway.max_clients, 7);
    }
}
