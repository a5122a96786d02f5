//! What a scenario plays on: the rover, its network, its clients.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;

use super::child::Listener;
use super::liar::Liar;
use super::listener::Options;
use super::net::Net;
use super::proxy::Proxy;
use super::scenario::{Scenario, Side, Target};
use super::usage;
use crate::binary;
use crate::gateway::{self, Gateway};
use crate::process::{self, Signal};
use crate::scratch::Scratch;

/// Where Debian keeps it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// What the first connection and sample may take.
const FIRST: Duration = Duration::from_secs(30);

/// A clock that can be stepped, for the processes that are started with its environment.
#[derive(Debug)]
pub(crate) struct SteppedClock(Scratch);

impl SteppedClock {
    fn new() -> Result<SteppedClock, String> {
        if !Path::new(FAKETIME).exists() {
            return Err("libfaketime is needed: apt-get install faketime".to_owned());
        }
        let clock = SteppedClock(Scratch::new());
        clock.step_to(0);
        Ok(clock)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let file = self.0.path().join("offset").display().to_string();
        let pairs = [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// So many hours ahead from now on.
    pub(crate) fn step_to(&self, hours: i64) {
        self.0.write("offset", &format!("+{hours}h\n"));
    }
}

/// All of it. What is in the network goes before the network does.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The measuring client.
    pub(crate) client: Listener,
    /// Those who are not to notice.
    pub(crate) bystanders: Option<Listener>,
    /// The proxies before the four ports, best first.
    pub(crate) proxies: Vec<Proxy>,
    gateway: Option<Gateway>,
    // The one more primary, its liar.
    lied_to: Option<(Gateway, Liar)>,
    /// The clock that one side has.
    pub(crate) clock: Option<SteppedClock>,
    arguments: Vec<String>,
    base_port: u16,
    environment: Vec<(String, String)>,
    /// The network.
    pub(crate) net: Net,
}

impl Stage {
    /// Everything in place and the first samples heard; why it cannot be, where something is missing.
    pub(crate) fn set(scenario: &Scenario) -> Result<Stage, String> {
        let net = match scenario.radio {
            Some(radio) => Net::radio(radio, 7)?,
            None => Net::loopback(),
        };
        let clock = scenario.stepped_clock.map(|_| SteppedClock::new()).transpose()?;
        let environment = |side: Side| match &clock {
            Some(clock) if scenario.stepped_clock == Some(side) => clock.environment(),
            _ => Vec::new(),
        };
        let base_port = if net.is_radio() { 8080 } else { free_base_port() };
        let arguments = scenario.gateway.clone();
        let gateway = up(&net, base_port, &arguments, &environment(Side::Gateway));
        let ports: Vec<u16> = Tier::ALL.iter().map(|tier| base_port + tier.port_offset()).collect();
        let proxies: Vec<Proxy> =
            ports.iter().filter(|_| scenario.proxied).map(|port| Proxy::to(*port)).collect();
        let shown: Vec<u16> =
            if scenario.proxied { proxies.iter().map(|proxy| proxy.port).collect() } else { ports };
        let url = |port: &u16| format!("ws://{}:{port}", net.host);
        let lied_to = scenario.lying_peer.map(|lie| {
            let liar = Liar::telling(lie);
            let peer = format!("secondary=127.0.0.1:{}", liar.port);
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            arguments.extend(["--peer", &peer]);
            (Gateway::serve(&arguments), liar)
        });
        // With a liar, the client is at the endpoint that is lied to.
        let urls = match &lied_to {
            Some((gateway, _)) => gateway.urls(),
            None => shown.iter().map(url).collect(),
        };
        let options = Options { urls, topics: scenario.topics.clone(), links: 1, ..Options::default() };
        let mut client = Listener::start(&net.ground, &options, &environment(Side::Client));
        let mut bystanders = scenario.bystanders.map(|tier| {
            let port = base_port + tier.port_offset();
            let options = Options {
                urls: vec![url(&port)],
                plain: vec![url(&port)],
                plains: 1,
                retry_ms: 50,
                ..options.clone()
            };
            Listener::start(&net.ground, &options, &[])
        });
        all_served("the clients", [Some(&mut client), bystanders.as_mut()].into_iter().flatten());
        let environment = environment(Side::Gateway);
        let gateway = Some(gateway);
        Ok(Stage {
            client,
            bystanders,
            proxies,
            gateway,
            lied_to,
            clock,
            arguments,
            base_port,
            environment,
            net,
        })
    }

    /// The tier that a target means now. `None` when no endpoint is in use.
    pub(crate) fn tier(&self, target: Target) -> Option<Tier> {
        match target {
            Target::Primary => Some(Tier::Primary),
            Target::Secondary => Some(Tier::Secondary),
            Target::Tertiary => Some(Tier::Tertiary),
            Target::Emergency => Some(Tier::Emergency),
            Target::Active => {
                let port = self.client.active()?.rsplit_once(':')?.1.parse::<u16>().ok()?;
                let place = self.proxies.iter().position(|proxy| proxy.port == port);
                Tier::ALL
                    .get(place.unwrap_or_else(|| usize::from(port.wrapping_sub(self.base_port))))
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
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--tier", tier.name().as_bytes()])
        };
        process::children(supervisor).into_iter().filter(is_it).max()
    }

    /// Endpoint processes, all that there are now.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let lied_to = self.lied_to.iter().map(|(gateway, _)| gateway.pid());
        let children = self.gateway.iter().flat_map(|gateway| process::children(gateway.pid()));
        children.chain(lied_to).collect()
    }

    /// Ends the supervisor: at once, or as it should be.
    pub(crate) fn end_rover(&mut self, at_once: bool) {
        if let Some(mut gateway) = self.gateway.take() {
            let signal = if at_once { Signal::KILL } else { Signal::TERM };
            process::signal(gateway.pid(), signal);
            assert!(gateway.wait(Duration::from_secs(10)).is_some(), "the supervisor does not end");
        }
    }

    /// Starts it again on the same ports.
    pub(crate) fn start_rover(&mut self) {
        self.gateway = Some(up(&self.net, self.base_port, &self.arguments, &self.environment));
    }

    /// Waits until the primary is in use and older than what makes its next end a first one.
    pub(crate) fn settle(&self) {
        let primary = || self.lied_to.is_some() || self.tier(Target::Active) == Some(Tier::Primary);
        let start = Instant::now();
        while !primary() && start.elapsed() < Duration::from_secs(40) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_young = || {
            self.pid(Tier::Primary).and_then(usage::age).is_some_and(|age| age < Duration::from_millis(2_500))
        };
        while is_young() && start.elapsed() < Duration::from_secs(45) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the processes of a side see the clock that is stepped.
    pub(crate) fn has_stepped_clock(&self, side: Side) -> bool {
        let pids = if side == Side::Client { vec![self.client.pid()] } else { self.pids() };
        let sees = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/maps"))
                .is_ok_and(|maps| maps.contains("libfaketime"))
        };
        !pids.is_empty() && pids.iter().all(sees)
    }

    /// How often the liar was asked.
    pub(crate) fn lies_told(&self) -> Option<u64> {
        self.lied_to.as_ref().map(|(_, liar)| liar.asked())
    }
}

/// Waits until every link hears samples, and forgets what was before.
pub(crate) fn all_served<'a>(who: &str, listeners: impl Iterator<Item = &'a mut Listener>) {
    let start = Instant::now();
    for listener in listeners {
        while listener.report().served == 0 {
            assert!(start.elapsed() < FIRST, "{who} heard nothing within {FIRST:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// `up` in the rover's place. It has the ports to itself.
pub(crate) fn up(
    net: &Net,
    base_port: u16,
    arguments: &[String],
    environment: &[(String, String)],
) -> Gateway {
    let base_port = base_port.to_string();
    let mut command: Command = net.rover.command(&binary::bin("roverline-gateway"));
    gateway::undisturbed(&mut command);
    command.args(["up", "--host", &net.host, "--base-port", &base_port]);
    command.envs(environment.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Gateway::start(command, &arguments)
}

/// The first of four free ports in a row, away from those that the system hands out.
pub(crate) fn free_base_port() -> u16 {
    // Away from those of other processes, and of other threads of this one.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start =
        20_000 + (std::process::id() % 128) as u16 * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 16 * 4;
    let free = |port: &u16| (0..4).all(|n| std::net::TcpListener::bind(("127.0.0.1", port + n)).is_ok());
    (start..32_000).step_by(4).find(free).expect("four free ports in a row")
}
