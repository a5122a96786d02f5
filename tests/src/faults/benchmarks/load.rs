//! The rover and the clients of the benchmarks, and their seeded random choices.

use std::time::Duration;

use roverline_protocol::Tier;

use crate::faults::environment::{free_base_port, up};
use crate::faults::listener::Options;
use crate::faults::listener_process::Listener;
use crate::gateway::Gateway;
use crate::net::Net;
use crate::process::{self, Signal};
use crate::usage;
use crate::wait::{observe_for, poll};

/// Deadline for every client's first sample.
const FIRST: Duration = Duration::from_secs(60);

/// A rover and its network. The gateway is dropped before its network.
#[derive(Debug)]
pub(super) struct Rover {
    pub(super) gateway: Gateway,
    pub(super) net: Net,
    pub(super) base_port: u16,
}

impl Rover {
    /// Starts a rover on loopback.
    pub(super) fn loopback(arguments: &[&str]) -> Rover {
        Rover::on(Net::loopback(), free_base_port(), arguments)
    }

    /// Starts a rover on this network.
    pub(super) fn on(net: Net, base_port: u16, arguments: &[&str]) -> Rover {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let gateway = up(&net, base_port, &arguments, &[]);
        Rover { gateway, net, base_port }
    }

    /// The URL of a tier as clients see it.
    pub(super) fn url(&self, tier: Tier) -> String {
        format!("ws://{}:{}", self.net.host, self.base_port + tier.port_offset())
    }

    /// All URLs, best tier first.
    pub(super) fn urls(&self) -> Vec<String> {
        Tier::ALL.map(|tier| self.url(tier)).to_vec()
    }

    /// Options for links to all endpoints.
    pub(super) fn links(&self, links: usize, topics: &[&str]) -> Options {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Options { urls: self.urls(), topics, links, plains: 1, retry_ms: 50, ..Options::default() }
    }

    /// Starts clients on the ground side, and waits until each has received a sample.
    pub(super) fn listen(&self, options: &Options) -> Listener {
        let mut listener = Listener::start(&self.net.ground, options, &[]);
        wait_until_ready(&mut listener, options);
        listener
    }

    /// The endpoint processes, oldest first.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = process::children(self.gateway.pid());
        pids.sort_by_key(|pid| std::cmp::Reverse(usage::age(*pid)));
        pids
    }

    /// The newest process of a tier.
    pub(super) fn pid(&self, tier: Tier) -> Option<u32> {
        let is_tier = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--tier", tier.name().as_bytes()])
        };
        self.pids().into_iter().rfind(is_tier)
    }

    /// Kills a tier's process; whether there was one.
    pub(super) fn kill(&self, tier: Tier) -> bool {
        let pid = self.pid(tier);
        if let Some(pid) = pid {
            process::signal(pid, Signal::KILL);
        }
        pid.is_some()
    }
}

/// Waits until every link is served and every plain client is connected; discards the reports until then.
pub(super) fn wait_until_ready(listener: &mut Listener, options: &Options) {
    let links = if options.urls.is_empty() { 0 } else { options.links };
    let plains = options.plain.len() * options.plains;
    let (mut served, mut connected) = (0, 0);
    let ready = poll(FIRST, || {
        let report = listener.report();
        (served, connected) = (report.served, report.plain.connected);
        (served >= links && connected >= plains).then_some(())
    });
    if ready.is_none() {
        eprintln!(
            "after {FIRST:?} only {served} of {links} links and {connected} of {plains} plain clients are served"
        );
    }
    observe_for(Duration::from_secs(1), "the first choice of an endpoint is often changed soon");
    listener.report();
}

/// A random tier.
pub(super) fn random_tier(rng: &mut fastrand::Rng) -> Tier {
    Tier::ALL[rng.usize(..Tier::ALL.len())]
}

/// A random number of seconds in this range.
pub(super) fn random_seconds(rng: &mut fastrand::Rng, from: f64, to: f64) -> f64 {
    from + (to - from) * rng.f64()
}
