//! The rover, links and plain clients of the figures, and random choices that can be repeated.

use std::time::{Duration, Instant};

use roverline_protocol::Tier;

use crate::faults::child::Listener;
use crate::faults::listener::Options;
use crate::faults::net::Net;
use crate::faults::stage::{free_base_port, up};
use crate::faults::usage;
use crate::gateway::Gateway;
use crate::process::{self, Signal};

/// What all clients may take until each has heard something.
const FIRST: Duration = Duration::from_secs(60);

/// A rover and its network. The rover goes first.
#[derive(Debug)]
pub(super) struct Rover {
    pub(super) gateway: Gateway,
    pub(super) net: Net,
    pub(super) base_port: u16,
}

impl Rover {
    /// On this computer's loopback.
    pub(super) fn loopback(arguments: &[&str]) -> Rover {
        Rover::on(Net::loopback(), free_base_port(), arguments)
    }

    /// On this network.
    pub(super) fn on(net: Net, base_port: u16, arguments: &[&str]) -> Rover {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let gateway = up(&net, base_port, &arguments, &[]);
        Rover { gateway, net, base_port }
    }

    /// A tier's address for clients.
    pub(super) fn url(&self, tier: Tier) -> String {
        format!("ws://{}:{}", self.net.host, self.base_port + tier.port_offset())
    }

    /// All of them, best first.
    pub(super) fn urls(&self) -> Vec<String> {
        Tier::ALL.map(|tier| self.url(tier)).to_vec()
    }

    /// Links to all endpoints.
    pub(super) fn links(&self, links: usize, topics: &[&str]) -> Options {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Options { urls: self.urls(), topics, links, plains: 1, retry_ms: 50, ..Options::default() }
    }

    /// Starts clients on the ground, and waits until each has heard something.
    pub(super) fn listen(&self, options: &Options) -> Listener {
        let mut listener = Listener::start(&self.net.ground, options, &[]);
        until_all(&mut listener, options);
        listener
    }

    /// Endpoint processes by age, oldest first.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = process::children(self.gateway.pid());
        pids.sort_by_key(|pid| std::cmp::Reverse(usage::age(*pid)));
        pids
    }

    /// The newest process of a tier.
    pub(super) fn pid(&self, tier: Tier) -> Option<u32> {
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--tier", tier.name().as_bytes()])
        };
        self.pids().into_iter().rfind(is_it)
    }

    /// Ends a tier's process at once; whether there was one.
    pub(super) fn kill(&self, tier: Tier) -> bool {
        let pid = self.pid(tier);
        if let Some(pid) = pid {
            process::signal(pid, Signal::KILL);
        }
        pid.is_some()
    }
}

/// Waits until every link is served and every plain client connected; forgets what was before.
pub(super) fn until_all(listener: &mut Listener, options: &Options) {
    let start = Instant::now();
    let links = if options.urls.is_empty() { 0 } else { options.links };
    let plains = options.plain.len() * options.plains;
    loop {
        let report = listener.report();
        if report.served >= links && report.plain.connected >= plains {
            break;
        }
        if start.elapsed() > FIRST {
            let (served, connected) = (report.served, report.plain.connected);
            eprintln!(
                "after {FIRST:?} only {served} of {links} links and {connected} of {plains} plain clients are served"
            );
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    // A first choice is often changed soon.
    std::thread::sleep(Duration::from_secs(1));
    listener.report();
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the tiers.
    pub(super) fn tier(&mut self) -> Tier {
        Tier::ALL[(self.next() % 4) as usize]
    }

    /// Seconds between these.
    pub(super) fn seconds(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
