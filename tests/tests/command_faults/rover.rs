//! The rover of one campaign: its network, its gateway, perhaps a relay, and the node that records what it is commanded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::binary;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::net::{Namespace, Net, Radio};
use roverline_tests::process::{self, Signal};
use roverline_tests::script::Script;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::poll;

use crate::campaign::{Command, send};
use crate::fault::Fault;

const PATIENCE: Duration = Duration::from_secs(30);
const LAN: Radio = Radio { delay_ms: 1.0, jitter_ms: 1.0, loss: 0.0, rate_kbit: 100_000.0 };
/// The first port of a gateway in a namespace of its own.
const BASE_PORT: u16 = 8_080;
/// Commands above it are no part of a campaign.
const WARM_UP: usize = 1_000_000;
/// Keeps DDS on the rover's computer.
const LOCAL_DDS: (&str, &str) = ("ROS_LOCALHOST_ONLY", "1");

/// Times at which the rover received each command, by its number: nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Arrivals = BTreeMap<usize, Vec<u64>>;

/// Everything that a campaign needs. Fields are dropped in order: processes before their network.
pub(crate) struct CommandedRover {
    relay: Option<Gateway>,
    pub(crate) gateway: Gateway,
    _node: Node,
    _config: TempDir,
    arrivals: Arc<Mutex<Arrivals>>,
    /// Where clients send commands.
    pub(crate) entrances: Vec<SocketAddr>,
    /// The clients' side of the network.
    pub(crate) ground: Namespace,
    /// Their token, if they need one.
    pub(crate) token: String,
    pub(crate) net: Mutex<Net>,
}

impl CommandedRover {
    /// Starts what this fault needs, and waits until a command is done.
    pub(crate) fn start(python: &Path, fault: Fault) -> Result<CommandedRover, String> {
        let net = if fault.is_of_radio() { Net::radio(LAN, 7)? } else { Net::loopback() };
        let domain = fault.domain();
        let mut command = net.rover.command(&binary::bin("roverline-gateway"));
        gateway::clean_environment(&mut command);
        let base_port = if net.is_radio() { BASE_PORT } else { 0 }.to_string();
        command.args(["up", "--host", &net.host, "--base-port", &base_port]).envs([LOCAL_DDS]);
        let scratch = temp::dir();
        let tokens = scratch.path().join("tokens").display().to_string();
        let add = ["token", "add", "--tokens", &tokens, "--role", "operator", "ada"];
        let (_, token, _) = gateway::run(&add, PATIENCE);
        let access = format!("[access]\ninsecure = true\ntokens = {tokens:?}\n");
        let config = temp::write(&scratch, "roverline.toml", &access);
        let config = config.to_str().unwrap();
        let args = ["--source", "dds", "--domain-id", &domain, "--config", config];
        let gateway = Gateway::start(command, &args);
        let arrivals: Arc<Mutex<Arrivals>> = Arc::default();
        let node = record(&net.rover, python, &domain, arrivals.clone());
        let relay = (fault == Fault::RelayKilled).then(|| {
            let relay = gateway::command(&["relay", "--base-port", "0"]);
            Gateway::start(relay, &["--upstream", &gateway.urls().join(",")])
        });
        let host = net.host.parse().unwrap();
        let behind = relay.as_ref().unwrap_or(&gateway);
        let entrances = behind.endpoints.iter().map(|(_, port)| SocketAddr::new(host, *port)).collect();
        let ground = net.ground.clone();
        let token = if net.is_radio() { token.trim().to_owned() } else { String::new() };
        let rover = CommandedRover {
            relay,
            gateway,
            _node: node,
            _config: scratch,
            arrivals,
            entrances,
            ground,
            token,
            net: Mutex::new(net),
        };
        rover.wait_reachable();
        Ok(rover)
    }

    fn wait_reachable(&self) {
        let (mut n, mut last) = (WARM_UP, None);
        let is_done = || {
            n += 1;
            let command = Command::new(n);
            last = self.on_ground(|| send(self.entrances[0], &self.token, &command));
            last.as_ref().is_some_and(|(_, answer)| answer["state"] == "verified").then_some(())
        };
        assert!(poll(PATIENCE, is_done).is_some(), "no command is done: {last:?}");
        self.arrivals.lock().unwrap().clear();
    }

    /// Runs this on the clients' side of the network.
    pub(crate) fn on_ground<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let enter_and_run = || {
            self.ground.enter();
            run()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_run).join().unwrap())
    }

    /// The port of an endpoint that a fault kills or suspends, on this computer's own network: the relay's, if there is one.
    pub(crate) fn victim(&self, tier: Tier) -> u16 {
        self.relay.as_ref().unwrap_or(&self.gateway).port(tier)
    }

    /// What the rover was commanded so far.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals.lock().unwrap().clone()
    }
}

/// The node; the thread that reads what it prints ends with it.
struct Node {
    pid: u32,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        process::signal(self.pid, Signal::KILL);
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// Starts the node, and records what arrives there.
fn record(namespace: &Namespace, python: &Path, domain: &str, arrivals: Arc<Mutex<Arrivals>>) -> Node {
    let args = ["--domain", domain, "--seconds", "3600"];
    let mut node = Script::start_in(namespace, python, "dds_commands.py", &args);
    assert_eq!(node.line()["ready"], true);
    let pid = node.pid();
    let reader = std::thread::spawn(move || {
        while let Some(line) = node.next_line() {
            let n = usize::try_from(line["n"].as_u64().unwrap()).unwrap();
            arrivals.lock().unwrap().entry(n).or_default().push(line["at"].as_u64().unwrap());
        }
    });
    Node { pid, reader: Some(reader) }
}
