//! Settings: what can be configured, its defaults, and where it is read from. A flag wins over the
//! environment, the environment over the file, the file over the default.

mod file;
mod flags;
mod inherited_settings;

use std::path::PathBuf;
use std::time::Duration;

use roverline_protocol::budget::ByteRate;
use roverline_protocol::routing::Rule;
use roverline_protocol::{ScopeSet, Tier, limits};
use serde::{Deserialize, Serialize};

use crate::access::AccessSettings;
pub use crate::config::file::{ConfigError, load};
pub use crate::config::flags::{Flags, UpstreamFlags, peer_list};
pub use crate::config::inherited_settings::from_supervisor;
use crate::endpoint::Policy;

/// Where samples come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Live ROS 2 over DDS; no ROS installation is needed.
    #[default]
    Dds,
    /// Live ROS 2 through an installed ROS 2 (a build with the `r2r` feature).
    R2r,
    /// A recording: MCAP or rosbag2 .db3.
    Bag,
    /// The built-in rover.
    Sim,
    /// Another gateway, over the network: what `relay` does.
    Upstream,
}

impl SourceKind {
    /// The name used in configuration and documents.
    pub const fn name(self) -> &'static str {
        match self {
            SourceKind::Dds => "dds",
            SourceKind::R2r => "r2r",
            SourceKind::Bag => "bag",
            SourceKind::Sim => "sim",
            SourceKind::Upstream => "upstream",
        }
    }
}

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address, ports, capacity, directories.
    pub gateway: GatewaySettings,
    /// Per tier: port and scopes.
    pub endpoints: EndpointsSettings,
    /// The `dds` and `r2r` sources.
    pub ros: RosSettings,
    /// The `bag` source.
    pub bag: BagSettings,
    /// The `sim` source.
    pub sim: SimSettings,
    /// The `upstream` source.
    pub upstream: UpstreamSettings,
    /// Who may do what.
    pub access: AccessSettings,
    /// What a team shares, and where.
    pub coordination: CoordinationSettings,
    /// The log.
    pub log: LogSettings,
    /// Routing rules, before the built-in ones.
    pub route: Vec<Rule>,
}

/// Address, ports, capacity, directories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// The address to listen on.
    pub host: String,
    /// Port of the primary endpoint; the others follow. 0: any free port for each.
    pub base_port: u16,
    /// Clients per endpoint.
    pub max_clients: usize,
    /// What each session may cost its link; absent: no limit.
    pub session_budget: Option<ByteRate>,
    /// What all sessions of an endpoint may cost; absent: no limit.
    pub endpoint_budget: Option<ByteRate>,
    /// Where samples come from.
    pub source: SourceKind,
    /// Where state is kept; absent: the XDG state directory.
    pub state_dir: Option<PathBuf>,
    /// The topic of the emergency stop (std_msgs/msg/Bool).
    pub emergency_stop_topic: String,
    /// Cover a tier that stays down.
    pub promotion: bool,
    /// How long a tier may be down before it is covered, seconds.
    pub promotion_grace_s: f64,
    /// The rover's name: endpoints of one rover find each other by it; absent: the computer's.
    pub rover: Option<String>,
    /// Announce endpoints in the network, and find others.
    pub mdns: MdnsMode,
}

/// Whether endpoints announce themselves and find each other by mDNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MdnsMode {
    /// Where the gateway listens beyond loopback.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        GatewaySettings {
            host: "127.0.0.1".to_owned(),
            base_port: 8080,
            max_clients: limits::CLIENTS_PER_ENDPOINT,
            session_budget: None,
            endpoint_budget: None,
            source: SourceKind::Dds,
            state_dir: None,
            emergency_stop_topic: "/emergency_stop".to_owned(),
            promotion: true,
            promotion_grace_s: limits::PROMOTION_GRACE_MS as f64 / 1e3,
            rover: None,
            mdns: MdnsMode::Auto,
        }
    }
}

/// What a team shares, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinationSettings {
    /// `sqlite`: this computer's, in the state directory; or `etcd://host:2379,...`: a cluster's.
    pub store: String,
}

impl Default for CoordinationSettings {
    fn default() -> Self {
        CoordinationSettings { store: roverline_coordination::store::SQLITE.to_owned() }
    }
}

/// Per tier: port and scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointsSettings {
    /// Full telemetry and commands.
    pub primary: EndpointSettings,
    /// The mission goes on.
    pub secondary: EndpointSettings,
    /// Keep people and rover safe.
    pub tertiary: EndpointSettings,
    /// Find it and stop it.
    pub emergency: EndpointSettings,
}

/// One tier: absent values follow from the tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSettings {
    /// The port; absent: base port + 0 to 3.
    pub port: Option<u16>,
    /// What it serves; absent: the tier's scopes.
    pub scopes: Option<ScopeSet>,
    /// `host:port` where it listens, if on another computer.
    pub address: Option<String>,
    /// What each session may cost its link; absent: as for all tiers.
    pub session_budget: Option<ByteRate>,
    /// What all its sessions may cost; absent: as for all tiers.
    pub endpoint_budget: Option<ByteRate>,
}

/// Live ROS 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RosSettings {
    /// `ROS_DOMAIN_ID`.
    pub domain_id: u16,
    /// The gateway's name in the ROS graph.
    pub node_name: String,
    /// Talk to this computer only (`ROS_LOCALHOST_ONLY`).
    pub localhost_only: bool,
}

impl Default for RosSettings {
    fn default() -> Self {
        RosSettings { domain_id: 0, node_name: "roverline_gateway".to_owned(), localhost_only: false }
    }
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BagSettings {
    /// MCAP, .db3, or a rosbag2 directory.
    pub file: Option<PathBuf>,
    /// How much faster than recorded.
    pub rate: f64,
    /// Start again at the end.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// Seconds into the recording.
    pub start_s: f64,
    /// When playing began, so that all endpoints play in step; set by the supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_ns: Option<i64>,
    /// The same moment on the computer's monotonic clock, which nobody sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_monotonic_ns: Option<i64>,
}

impl Default for BagSettings {
    fn default() -> Self {
        BagSettings {
            file: None,
            rate: 1.0,
            looped: false,
            start_s: 0.0,
            epoch_ns: None,
            epoch_monotonic_ns: None,
        }
    }
}

/// The built-in rover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimSettings {
    /// Equal seeds make equal rovers.
    pub seed: u64,
    /// Scripted faults: `gps-loss@60s`.
    pub faults: Vec<String>,
    /// When the rover's clock began, so that all endpoints simulate the same; set by the supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_ns: Option<i64>,
    /// The same moment on the computer's monotonic clock, which nobody sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_monotonic_ns: Option<i64>,
}

impl Default for SimSettings {
    fn default() -> Self {
        SimSettings { seed: 1, faults: Vec::new(), epoch_ns: None, epoch_monotonic_ns: None }
    }
}

/// The gateway that a relay reads from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// `ws://host:port` of its endpoints.
    pub urls: Vec<String>,
    /// What proves to them who this relay is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Topic globs: what crosses the radio, besides the emergency stop.
    pub topics: Vec<String>,
    /// At most so many samples per second and topic; the newest is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_hz: Option<f64>,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        UpstreamSettings { urls: Vec::new(), token: None, topics: vec!["**".to_owned()], max_rate_hz: None }
    }
}

/// In which form the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a tracing filter.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Settings {
    /// The settings of one tier.
    pub fn endpoint(&self, tier: Tier) -> &EndpointSettings {
        match tier {
            Tier::Primary => &self.endpoints.primary,
            Tier::Secondary => &self.endpoints.secondary,
            Tier::Tertiary => &self.endpoints.tertiary,
            Tier::Emergency => &self.endpoints.emergency,
        }
    }

    /// The settings of one tier, to be changed.
    pub fn endpoint_mut(&mut self, tier: Tier) -> &mut EndpointSettings {
        match tier {
            Tier::Primary => &mut self.endpoints.primary,
            Tier::Secondary => &mut self.endpoints.secondary,
            Tier::Tertiary => &mut self.endpoints.tertiary,
            Tier::Emergency => &mut self.endpoints.emergency,
        }
    }

    /// The port of a tier; 0 means any.
    pub fn port(&self, tier: Tier) -> u16 {
        self.endpoint(tier).port.unwrap_or(match self.gateway.base_port {
            0 => 0,
            base => base.saturating_add(tier.port_offset()),
        })
    }

    /// Where a tier can be reached.
    pub fn address(&self, tier: Tier) -> String {
        let host = match self.gateway.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "[::1]",
            host => host,
        };
        self.endpoint(tier).address.clone().unwrap_or_else(|| format!("{host}:{}", self.port(tier)))
    }

    /// The rover's name: as given, else the computer's.
    pub fn rover(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut name = self.gateway.rover.clone().unwrap_or_else(host);
        // It travels as one DNS label's worth of text.
        while name.len() > 63 {
            name.pop();
        }
        name
    }

    /// How a tier's endpoint, which listens on `port`, treats the others.
    pub fn policy(&self, tier: Tier, port: u16) -> Policy {
        let gateway = &self.gateway;
        let anywhere = matches!(gateway.host.as_str(), "0.0.0.0" | "::");
        let host = gateway.host.trim_start_matches('[').trim_end_matches(']');
        let loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let mdns = match gateway.mdns {
            MdnsMode::Auto => !loopback,
            MdnsMode::On => true,
            MdnsMode::Off => false,
        };
        Policy {
            // A relay's four tiers are one process: none of them is down alone.
            promotion: (gateway.promotion && gateway.source != SourceKind::Upstream)
                .then(|| Duration::from_secs_f64(gateway.promotion_grace_s)),
            // Who listens everywhere cannot tell under which name a client reaches it.
            address: match &self.endpoint(tier).address {
                Some(address) => Some(address.clone()),
                None => (!anywhere).then(|| format!("{}:{port}", gateway.host)),
            },
            rover: self.rover(),
            mdns: mdns.then(|| gateway.host.clone()),
        }
    }

    /// What a tier serves.
    pub fn scopes(&self, tier: Tier) -> ScopeSet {
        self.endpoint(tier).scopes.unwrap_or_else(|| tier.scopes())
    }

    /// What each session of a tier may cost its link.
    pub fn session_budget(&self, tier: Tier) -> Option<ByteRate> {
        self.endpoint(tier).session_budget.or(self.gateway.session_budget)
    }

    /// What all sessions of a tier may cost.
    pub fn endpoint_budget(&self, tier: Tier) -> Option<ByteRate> {
        self.endpoint(tier).endpoint_budget.or(self.gateway.endpoint_budget)
    }

    /// Where this gateway keeps its state: the given directory, else one for its base port in the
    /// XDG state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.gateway
            .state_dir
            .clone()
            .unwrap_or_else(|| xdg_state_home().join(format!("gateway-{}", self.port(Tier::Primary))))
    }

    /// Where what was done to the rover is kept: with the state, but for the built-in rover, which
    /// is born anew with every run and must not inherit an emergency stop.
    pub fn rover_dir(&self) -> PathBuf {
        match (self.gateway.source, self.sim.epoch_ns) {
            (SourceKind::Sim, Some(epoch)) => self.state_dir().join("sim").join(epoch.to_string()),
            _ => self.state_dir(),
        }
    }

    /// A new run of the recording for four processes, a second from now unless another time was given:
    /// time for them to start and for clients to attach.
    pub fn begin_bag(&mut self) {
        if self.gateway.source != SourceKind::Bag {
            return;
        }
        let (unix_ns, monotonic_ns) = roverline_source::bag::moment();
        let epoch = *self.bag.epoch_ns.get_or_insert(unix_ns.saturating_add(1_000_000_000));
        let ahead = epoch.saturating_sub(unix_ns);
        self.bag.epoch_monotonic_ns = Some(monotonic_ns.saturating_add(ahead));
        roverline_source::bag::forget_orders(&self.state_dir(), epoch);
    }

    /// A new life for the built-in rover, from now on; what was kept of earlier ones is removed.
    pub fn begin_sim(&mut self) {
        if self.gateway.source != SourceKind::Sim {
            return;
        }
        let _ = std::fs::remove_dir_all(self.state_dir().join("sim"));
        let rover = roverline_source::sim::SimOptions::starting_now(self.sim.seed);
        self.sim.epoch_ns = Some(rover.epoch_unix_ns);
        self.sim.epoch_monotonic_ns = rover.epoch_monotonic_ns;
    }
}

/// `$XDG_STATE_HOME/roverline`, `~/.local/state/roverline`, or a folder for temporary files.
pub fn xdg_state_home() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("roverline")
}
