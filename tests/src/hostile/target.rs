//! What an act is played against, and who plays it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Priority of the attackers' threads (nice value).
const ATTACKERS_NICE: i32 = 15;

/// What an attacker needs.
#[derive(Debug)]
pub(super) struct Target {
    /// The primary endpoint's port; the other tiers' follow.
    pub(super) ports: [u16; 4],
    /// The token of an operator who is up to no good.
    pub(super) token: String,
    /// The name of the rover, for endpoints that claim to be part of it.
    pub(super) rover: String,
    /// What was done so far: requests, messages, connections.
    pub(super) count: AtomicU64,
    stop: AtomicBool,
}

impl Target {
    pub(super) fn new(ports: [u16; 4], token: &str, rover: &str) -> Arc<Target> {
        let (token, rover) = (token.to_owned(), rover.to_owned());
        Arc::new(Target { ports, token, rover, count: AtomicU64::new(0), stop: AtomicBool::new(false) })
    }

    /// The primary's port.
    pub(super) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Whether the act goes on.
    pub(super) fn runs(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Counts what was done.
    pub(super) fn did(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
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
    pub(super) what: &'static str,
    /// Whether the endpoints look for others by mDNS.
    pub(super) mdns: bool,
    attackers: usize,
    attack: Attack,
}

impl Act {
    pub(super) const fn new(name: &'static str, what: &'static str, attackers: usize, attack: Attack) -> Act {
        Act { name, what, mdns: false, attackers, attack }
    }

    /// The same, with endpoints that look for others by mDNS.
    pub(super) const fn with_mdns(self) -> Act {
        Act { mdns: true, ..self }
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
