//! Settings: everything configurable, with defaults and sources. Precedence: flag, environment variable,
//! file, default.

mod alarms;
mod dds;
mod file;
mod flags;
mod inherited_settings;
mod path_prefix;
mod peers;
mod process;
mod ros_discovery;
mod secrets;
mod source_kind;
mod tls;
mod trace;
mod upstream;

use std::path::PathBuf;

use roverline_protocol::alarms::rule::AlarmRule;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::routing::Rule;
use roverline_protocol::{ScopeSet, Tier};
use serde::{Deserialize, Serialize};

use crate::access::AccessSettings;
pub use crate::config::alarms::AlarmSettings;
pub use crate::config::dds::{DdsSettings, EngineChoice, Interface};
pub use crate::config::file::{ConfigError, load};
pub(crate) use crate::config::flags::parse_seconds;
pub use crate::config::flags::{Flags, UpstreamFlags};
pub use crate::config::inherited_settings::from_supervisor;
pub use crate::config::peers::PeersSettings;
pub use crate::config::process::ProcessSettings;
pub use crate::config::source_kind::SourceKind;
pub use crate::config::tls::TlsSettings;
pub use crate::config::trace::TraceSettings;
pub use crate::config::upstream::UpstreamSettings;
use crate::limits;

/// Clients per endpoint unless configured.
const CLIENTS_PER_ENDPOINT: usize = 50;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address, ports, capacity, directories.
    pub gateway: GatewaySettings,
    /// Port and scopes per tier.
    pub endpoints: EndpointsSettings,
    /// How endpoints recognize each other.
    pub peers: PeersSettings,
    /// Each endpoint process.
    pub process: ProcessSettings,
    /// The `dds` and `r2r` sources.
    pub ros: RosSettings,
    /// The `dds` source.
    pub dds: DdsSettings,
    /// The `bag` source.
    pub bag: BagSettings,
    /// The `sim` source.
    pub sim: SimSettings,
    /// The `upstream` source.
    pub upstream: UpstreamSettings,
    /// Access control.
    pub access: AccessSettings,
    /// Certificates.
    pub tls: TlsSettings,
    /// The shared coordination store.
    pub coordination: CoordinationSettings,
    /// Logging.
    pub log: LogSettings,
    /// Traces of requests.
    pub trace: TraceSettings,
    /// Alarms that no rule describes.
    pub alarms: AlarmSettings,
    /// Routing rules, applied before the built-in ones.
    pub route: Vec<Rule>,
    /// Rules of limit alarms, besides the built-in ones.
    pub alarm: Vec<AlarmRule>,
}

/// Address, ports, capacity, directories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// The address to listen on.
    pub host: String,
    /// Port of the primary endpoint; the others follow. 0 chooses a free port for each.
    pub base_port: u16,
    /// Maximum number of clients per endpoint.
    pub max_clients: usize,
    /// Bandwidth limit of each session; absent: no limit.
    pub session_budget: Option<ByteRate>,
    /// Bandwidth limit of all sessions of an endpoint together; absent: no limit.
    pub endpoint_budget: Option<ByteRate>,
    /// The source of samples.
    pub source: SourceKind,
    /// The state directory; absent: the XDG state directory.
    pub state_dir: Option<PathBuf>,
    /// The topic of the emergency stop (std_msgs/msg/Bool).
    pub emergency_stop_topic: String,
    /// Whether to cover a tier that stays down.
    pub promotion: bool,
    /// How long a tier may be down before it is covered, seconds.
    pub promotion_grace_s: f64,
    /// The rover's name, by which its endpoints find each other; absent: the computer's name.
    pub rover: Option<String>,
    /// Whether to announce endpoints by mDNS and discover others.
    pub mdns: MdnsMode,
    /// The path under which a proxy publishes the endpoints and that it leaves in requests: `/rover`.
    pub path_prefix: String,
}

/// Whether endpoints announce themselves and find each other by mDNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MdnsMode {
    /// Only if the gateway listens beyond loopback.
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
            max_clients: CLIENTS_PER_ENDPOINT,
            session_budget: None,
            endpoint_budget: None,
            source: SourceKind::Dds,
            state_dir: None,
            emergency_stop_topic: "/emergency_stop".to_owned(),
            promotion: true,
            promotion_grace_s: limits::PROMOTION_GRACE_MS as f64 / 1e3,
            rover: None,
            mdns: MdnsMode::Auto,
            path_prefix: String::new(),
        }
    }
}

/// The shared coordination store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinationSettings {
    /// `sqlite` for a database in this computer's state directory, or `etcd://host:2379,...` for a cluster.
    pub store: String,
}

impl Default for CoordinationSettings {
    fn default() -> Self {
        CoordinationSettings { store: roverline_coordination::store::SQLITE.to_owned() }
    }
}

/// Port and scopes per tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointsSettings {
    /// Full telemetry and commands.
    pub primary: EndpointSettings,
    /// Telemetry that is needed to continue the mission.
    pub secondary: EndpointSettings,
    /// Telemetry that is needed to keep people and the rover safe.
    pub tertiary: EndpointSettings,
    /// Telemetry that is needed to find the rover and stop it.
    pub emergency: EndpointSettings,
}

/// The settings of one tier; absent values follow from the tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSettings {
    /// The port; absent: base port plus 0 to 3.
    pub port: Option<u16>,
    /// The served scopes; absent: the tier's default scopes.
    pub scopes: Option<ScopeSet>,
    /// `host:port`, if it runs on another computer.
    pub address: Option<String>,
    /// Bandwidth limit of each session; absent: the gateway's.
    pub session_budget: Option<ByteRate>,
    /// Bandwidth limit of all its sessions together; absent: the gateway's.
    pub endpoint_budget: Option<ByteRate>,
}

/// Live ROS 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RosSettings {
    /// `ROS_DOMAIN_ID`.
    pub domain_id: u16,
    /// The name of the gateway's nodes in the ROS graph; each adds its tier: `roverline_primary`.
    pub node_name: String,
    /// Whether to communicate on this computer only (`ROS_LOCALHOST_ONLY`).
    pub localhost_only: bool,
    /// Whether to find others by multicast; off: only `static_peers` (`ROS_AUTOMATIC_DISCOVERY_RANGE=OFF`).
    pub multicast: bool,
    /// Addresses or names of computers that multicast does not reach (`ROS_STATIC_PEERS`).
    pub static_peers: Vec<String>,
}

impl Default for RosSettings {
    fn default() -> Self {
        RosSettings {
            domain_id: 0,
            node_name: "roverline".to_owned(),
            localhost_only: false,
            multicast: true,
            static_peers: Vec::new(),
        }
    }
}

/// Playback of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BagSettings {
    /// An MCAP file, a .db3 file, or a rosbag2 directory.
    pub file: Option<PathBuf>,
    /// Playback speed relative to the recording.
    pub rate: f64,
    /// Whether to restart at the end.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// Start position in the recording, seconds.
    pub start_s: f64,
    /// When playback started, so that all endpoints are in sync; set by the supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_ns: Option<i64>,
    /// The same moment on the monotonic clock, which cannot be set.
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
    /// The seed; equal seeds produce equal rovers.
    pub seed: u64,
    /// Scripted faults: `gps-loss@60s`.
    pub faults: Vec<String>,
    /// When the simulation started, so that all endpoints simulate the same; set by the supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_ns: Option<i64>,
    /// The same moment on the monotonic clock, which cannot be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_monotonic_ns: Option<i64>,
}

impl Default for SimSettings {
    fn default() -> Self {
        SimSettings { seed: 1, faults: Vec::new(), epoch_ns: None, epoch_monotonic_ns: None }
    }
}

/// The log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging.
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

    /// The settings of one tier, mutable.
    pub fn endpoint_mut(&mut self, tier: Tier) -> &mut EndpointSettings {
        match tier {
            Tier::Primary => &mut self.endpoints.primary,
            Tier::Secondary => &mut self.endpoints.secondary,
            Tier::Tertiary => &mut self.endpoints.tertiary,
            Tier::Emergency => &mut self.endpoints.emergency,
        }
    }

    /// The port of a tier; 0 means any free port.
    pub fn port(&self, tier: Tier) -> u16 {
        self.endpoint(tier).port.unwrap_or(match self.gateway.base_port {
            0 => 0,
            base => base.saturating_add(tier.port_offset()),
        })
    }

    /// The `host:port` at which a tier can be reached.
    pub fn address(&self, tier: Tier) -> String {
        let host = match self.gateway.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "[::1]",
            host => host,
        };
        self.endpoint(tier).address.clone().unwrap_or_else(|| format!("{host}:{}", self.port(tier)))
    }

    /// The configured rover name, otherwise the computer's name.
    pub fn rover(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut name = self.gateway.rover.clone().unwrap_or_else(host);
        // It must fit into one DNS label.
        while name.len() > 63 {
            name.pop();
        }
        name
    }

    /// The scopes that a tier serves.
    pub fn scopes(&self, tier: Tier) -> ScopeSet {
        self.endpoint(tier).scopes.unwrap_or_else(|| tier.scopes())
    }

    /// The bandwidth limit of each session of a tier.
    pub fn session_budget(&self, tier: Tier) -> Option<ByteRate> {
        self.endpoint(tier).session_budget.or(self.gateway.session_budget)
    }

    /// The bandwidth limit of all sessions of a tier together.
    pub fn endpoint_budget(&self, tier: Tier) -> Option<ByteRate> {
        self.endpoint(tier).endpoint_budget.or(self.gateway.endpoint_budget)
    }

    /// The gateway's state directory: the configured one, or one per base port in the XDG state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.gateway
            .state_dir
            .clone()
            .unwrap_or_else(|| xdg_state_home().join(format!("gateway-{}", self.port(Tier::Primary))))
    }

    /// The directory for the rover's state, such as the emergency stop: the state directory, except for the
    /// built-in rover, which is new in every run and must not inherit an emergency stop.
    pub fn rover_dir(&self) -> PathBuf {
        match self.sim.epoch_ns {
            Some(epoch) if self.gateway.source.is_new_rover_each_run() => {
                self.state_dir().join("sim").join(epoch.to_string())
            }
            _ => self.state_dir(),
        }
    }
}

/// `$XDG_STATE_HOME/roverline`, `~/.local/state/roverline`, or a temporary directory.
pub fn xdg_state_home() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("roverline")
}
