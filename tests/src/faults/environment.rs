//! The environment of a scenario: the rover, its network and its clients.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use roverline_protocol::Tier;

use super::listener::Options;
use super::listener_process::Listener;
use super::live_rover::{self, LiveRover};
use super::lying_peer::LyingPeer;
use super::proxy::Proxy;
use super::scenario::{Scenario, Side, Target};
use crate::binary;
use crate::certs::Certs;
use crate::gateway::{self, DIE_WITH_SUPERVISOR, Gateway, SharedState};
use crate::net::Net;
use crate::process::{self, Signal};
use crate::stepped_clock::{self, SteppedClock};
use crate::temp::{self, TempDir};
use crate::usage;
use crate::wait::{eventually, observe_for, poll};

/// Deadline for the first connection and sample.
const FIRST: Duration = Duration::from_secs(30);

/// All processes of a scenario. Fields are dropped in order: processes before their network.
#[derive(Debug)]
pub(crate) struct ScenarioEnv {
    /// The measuring client.
    pub(crate) client: Listener,
    /// The clients that must not be affected.
    pub(crate) bystanders: Option<Listener>,
    /// The proxies in front of the four ports, best tier first.
    pub(crate) proxies: Vec<Proxy>,
    gateway: Option<Gateway>,
    /// The certificates, if the links use TLS.
    _certs: Option<Certs>,
    // The additional primary and its lying peer.
    with_lying_peer: Option<(Gateway, LyingPeer)>,
    /// The stepped clock of one side.
    pub(crate) clock: Option<SteppedClock>,
    arguments: Vec<String>,
    base_port: u16,
    environment: Vec<(String, String)>,
    /// The rover's state directory, if its endpoints survive.
    state: Option<SharedState>,
    /// The rover in a live ROS graph, and its state directory.
    _rover: (Option<LiveRover>, Option<TempDir>),
    /// The network.
    pub(crate) net: Net,
}

impl ScenarioEnv {
    /// Starts everything and waits for the first samples; or the reason why that is impossible here.
    pub(crate) fn start(scenario: &Scenario, live: bool) -> Result<ScenarioEnv, String> {
        let net = match scenario.radio {
            Some(radio) => Net::radio(radio, 7)?,
            None => Net::loopback(),
        };
        let clock = scenario.stepped_clock.map(|_| SteppedClock::new()).transpose()?;
        let environment = |side: Side| {
            let mut environment = match &clock {
                Some(clock) if scenario.stepped_clock == Some(side) => clock.environment(),
                _ => Vec::new(),
            };
            if side == Side::Gateway && live {
                environment.extend(live_rover::environment());
            }
            if side == Side::Gateway && scenario.survivors {
                environment.push((DIE_WITH_SUPERVISOR.to_owned(), "false".to_owned()));
            }
            environment
        };
        let base_port = if net.is_radio() { 8080 } else { free_base_port() };
        let rover_state = live.then(temp::dir);
        let rover = rover_state.as_ref().map(|state| LiveRover::start(&net, state.path()));
        let mut arguments = match &rover {
            Some(rover) => rover.arguments(&scenario.gateway),
            None => scenario.gateway.clone(),
        };
        let certs = scenario.tls.then(|| Certs::with_node("rover"));
        if let Some(certs) = &certs {
            arguments.extend(["--config".to_owned(), certs.config("rover", "")]);
        }
        let state = scenario.survivors.then(SharedState::default);
        let directory = state.as_ref().map(SharedState::path);
        let gateway = up_in(directory, &net, base_port, &arguments, &environment(Side::Gateway));
        let ports: Vec<u16> = Tier::ALL.iter().map(|tier| base_port + tier.port_offset()).collect();
        let proxies: Vec<Proxy> =
            ports.iter().filter(|_| scenario.proxied).map(|port| Proxy::to(*port)).collect();
        let shown: Vec<u16> =
            if scenario.proxied { proxies.iter().map(|proxy| proxy.port).collect() } else { ports };
        let plain_url = |port: &u16| format!("ws://{}:{port}", net.host);
        let scheme = if scenario.tls { "wss" } else { "ws" };
        let url = |port: &u16| format!("{scheme}://{}:{port}", net.host);
        let with_lying_peer = scenario.lying_peer.map(|fault| {
            let lying_peer = LyingPeer::start(fault);
            let peer = format!("secondary=127.0.0.1:{}", lying_peer.port);
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            arguments.extend(["--peer", &peer]);
            (Gateway::serve(&arguments), lying_peer)
        });
        // With a lying peer, the client connects to the endpoint that polls it.
        let urls = match &with_lying_peer {
            Some((gateway, _)) => gateway.urls(),
            None => shown.iter().map(url).collect(),
        };
        let ca = certs.as_ref().map(|certs| certs.path("ca.crt"));
        let options = Options { urls, ca, topics: scenario.topics.clone(), links: 1, ..Options::default() };
        let mut client = Listener::start(&net.ground, &options, &environment(Side::Client));
        let mut bystanders = scenario.bystanders.map(|tier| {
            let port = base_port + tier.port_offset();
            let options = Options {
                urls: vec![url(&port)],
                plain: vec![plain_url(&port)],
                plains: 1,
                retry_ms: 50,
                ..options.clone()
            };
            Listener::start(&net.ground, &options, &[])
        });
        wait_until_served("the clients", [Some(&mut client), bystanders.as_mut()].into_iter().flatten());
        let environment = environment(Side::Gateway);
        let gateway = Some(gateway);
        Ok(ScenarioEnv {
            client,
            bystanders,
            proxies,
            gateway,
            _certs: certs,
            with_lying_peer,
            clock,
            arguments,
            base_port,
            environment,
            state,
            _rover: (rover, rover_state),
            net,
        })
    }

    /// The tier of a target. `None` if the target is the endpoint in use and there is none.
    pub(crate) fn tier(&self, target: Target) -> Option<Tier> {
        match target {
            Target::Primary => Some(Tier::Primary),
            Target::Secondary => Some(Tier::Secondary),
            Target::Tertiary => Some(Tier::Tertiary),
            Target::Emergency => Some(Tier::Emergency),
            Target::Active => {
                let port = self.client.active()?.rsplit_once(':')?.1.parse::<u16>().ok()?;
                let index = self.proxies.iter().position(|proxy| proxy.port == port);
                Tier::ALL
                    .get(index.unwrap_or_else(|| usize::from(port.wrapping_sub(self.base_port))))
                    .copied()
            }
        }
    }

    /// A tier's port at the gateway.
    pub(crate) fn port(&self, tier: Tier) -> u16 {
        self.base_port + tier.port_offset()
    }

    /// The newest process of a tier.
    pub(crate) fn pid(&self, tier: Tier) -> Option<u32> {
        let supervisor = self.gateway.as_ref()?.pid();
        let is_tier = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--tier", tier.name().as_bytes()])
        };
        process::children(supervisor).into_iter().filter(is_tier).max()
    }

    /// All current endpoint processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let with_lying_peer = self.with_lying_peer.iter().map(|(gateway, _)| gateway.pid());
        let children = self.gateway.iter().flat_map(|gateway| process::children(gateway.pid()));
        children.chain(with_lying_peer).collect()
    }

    /// Ends the supervisor: with SIGKILL or with SIGTERM.
    pub(crate) fn stop_rover(&mut self, kill: bool) {
        if let Some(mut gateway) = self.gateway.take() {
            let signal = if kill { Signal::KILL } else { Signal::TERM };
            process::signal(gateway.pid(), signal);
            assert!(gateway.wait(Duration::from_secs(10)).is_some(), "the supervisor does not end");
        }
    }

    /// Starts the rover again on the same ports.
    pub(crate) fn start_rover(&mut self) {
        let directory = self.state.as_ref().map(SharedState::path);
        self.gateway = Some(up_in(directory, &self.net, self.base_port, &self.arguments, &self.environment));
    }

    /// Waits until the primary is in use, and old enough that its next exit does not count as a repeated
    /// crash; and, if it delivered less for a while, until it delivers everything and has sent what it left out.
    pub(crate) fn settle(&self) {
        let primary = || self.with_lying_peer.is_some() || self.tier(Target::Active) == Some(Tier::Primary);
        poll(Duration::from_secs(40), || primary().then_some(()));
        let is_young = || {
            self.pid(Tier::Primary).and_then(usage::age).is_some_and(|age| age < Duration::from_millis(2_500))
        };
        poll(Duration::from_secs(5), || (!is_young()).then_some(()));
        if !self.client.is_full_service() {
            poll(Duration::from_secs(30), || self.client.is_full_service().then_some(()));
            observe_for(Duration::from_secs(2), "what was left out is sent");
        }
    }

    /// Whether the processes of a side use the stepped clock.
    pub(crate) fn has_stepped_clock(&self, side: Side) -> bool {
        let pids = if side == Side::Client { vec![self.client.pid()] } else { self.pids() };
        !pids.is_empty() && pids.into_iter().all(stepped_clock::is_used_by)
    }

    /// The number of requests to the lying peer.
    pub(crate) fn lying_peer_requests(&self) -> Option<u64> {
        self.with_lying_peer.as_ref().map(|(_, peer)| peer.requests())
    }
}

/// Waits until every link receives samples, and discards the reports until then.
pub(crate) fn wait_until_served<'a>(who: &str, listeners: impl Iterator<Item = &'a mut Listener>) {
    for listener in listeners {
        eventually(&format!("{who} receive samples"), FIRST, || listener.report().served > 0);
    }
}

/// Starts `up` on the rover's side of the network.
pub(crate) fn up(
    net: &Net,
    base_port: u16,
    arguments: &[String],
    environment: &[(String, String)],
) -> Gateway {
    up_in(None, net, base_port, arguments, environment)
}

fn up_in(
    state: Option<&Path>,
    net: &Net,
    base_port: u16,
    arguments: &[String],
    environment: &[(String, String)],
) -> Gateway {
    let base_port = base_port.to_string();
    let mut command: Command = net.rover.command(&binary::bin("roverline-gateway"));
    gateway::clean_environment(&mut command);
    command.args(["up", "--host", &net.host, "--base-port", &base_port]);
    command.envs(environment.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match state {
        Some(state) => Gateway::start_in(state, command, &arguments),
        None => Gateway::start(command, &arguments),
    }
}

/// The first of four consecutive free ports outside of the ephemeral range.
pub(crate) fn free_base_port() -> u16 {
    // Different ranges for different processes, and for the threads of this one.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start =
        20_000 + (std::process::id() % 128) as u16 * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 16 * 4;
    let free = |port: &u16| (0..4).all(|n| std::net::TcpListener::bind(("127.0.0.1", port + n)).is_ok());
    (start..32_000).step_by(4).find(free).expect("four free ports in a row")
}
