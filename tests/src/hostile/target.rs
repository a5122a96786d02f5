//! The attacked gateway, and the threads of the attackers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::ClientConfig;

/// Limit of all attackers together, bytes per second: 1 Gbit/s, the network of a rover's computer. Over
/// loopback they would send twenty times as much, and its interrupts would delay those of the disk, which no attacker
/// on a network can.
const LINK_BYTES_PER_SECOND: f64 = 125e6;
/// Limit of all attackers together, acts per second: five times the load that a stop has to withstand. Each act is a
/// packet at least, and over loopback the computer itself spends its processors on sending them.
const ACTS_PER_SECOND: f64 = 50e3;
/// Priority of the attackers' threads (nice value).
const ATTACKERS_NICE: i32 = 15;

/// The parameters of an attacker.
#[derive(Debug)]
pub(super) struct Target {
    /// The primary endpoint's port; the other tiers' follow.
    pub(super) ports: [u16; 4],
    /// The token of a malicious operator.
    pub(super) token: String,
    /// The name of the rover, for endpoints that claim to be part of it.
    pub(super) rover: String,
    /// How to connect over TLS, if the endpoints have a certificate.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Requests, messages and connections so far.
    pub(super) count: AtomicU64,
    /// When the act began, and the bytes that it has sent since then, as far as they are counted.
    begun: Instant,
    sent: AtomicU64,
    /// Attackers that have a number so far.
    numbered: AtomicUsize,
    stop: AtomicBool,
}

impl Target {
    pub(super) fn new(
        ports: [u16; 4],
        token: &str,
        rover: &str,
        tls: Option<Arc<ClientConfig>>,
    ) -> Arc<Target> {
        let (token, rover) = (token.to_owned(), rover.to_owned());
        let (count, numbered, stop) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let (begun, sent) = (Instant::now(), AtomicU64::new(0));
        Arc::new(Target { ports, token, rover, tls, count, begun, sent, numbered, stop })
    }

    /// The primary's port.
    pub(super) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// A new number for each attacker that calls this.
    pub(super) fn next_number(&self) -> usize {
        self.numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the act goes on.
    pub(super) fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Counts operations, and waits until the limit allows more.
    pub(super) fn add_operations(&self, count: u64) {
        let all = self.count.fetch_add(count, Ordering::Relaxed) + count;
        let needs = Duration::from_secs_f64(all as f64 / ACTS_PER_SECOND);
        std::thread::sleep(needs.saturating_sub(self.begun.elapsed()));
    }

    /// Counts bytes that were sent, and waits as long as the link of all attackers needs for them.
    pub(super) fn add_bytes(&self, bytes: usize) {
        let all = self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let needs = Duration::from_secs_f64(all as f64 / LINK_BYTES_PER_SECOND);
        std::thread::sleep(needs.saturating_sub(self.begun.elapsed()));
    }

    /// Ends the act.
    pub(super) fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How one attacker acts until the act ends.
pub(super) type Attack = fn(&Target);

/// One act.
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// Whether the endpoints look for others by mDNS.
    pub(super) mdns: bool,
    /// Whether the endpoints have a certificate, and an operator stops the rover over TLS as well.
    pub(super) tls: bool,
    attackers: usize,
    attack: Attack,
}

impl Act {
    pub(super) const fn new(
        name: &'static str,
        description: &'static str,
        attackers: usize,
        attack: Attack,
    ) -> Act {
        Act { name, description, mdns: false, tls: false, attackers, attack }
    }

    /// The same, with endpoints that look for others by mDNS.
    pub(super) const fn with_mdns(self) -> Act {
        Act { mdns: true, ..self }
    }

    /// The same, with endpoints that have a certificate.
    pub(super) const fn with_tls(self) -> Act {
        Act { tls: true, ..self }
    }

    /// Starts the attackers.
    pub(super) fn start(&self, target: &Arc<Target>) -> Vec<JoinHandle<()>> {
        let attack = self.attack;
        let start = |_| {
            let target = target.clone();
            std::thread::spawn(move || {
                // Attackers have computers of their own: here they do not take the processor from the gateway
                // and from the clients that measure it.
                let _ = rustix::process::setpriority_process(None, ATTACKERS_NICE);
                attack(&target);
            })
        };
        (0..self.attackers).map(start).collect()
    }
}
