//! Takeover: which of the endpoint processes that an earlier supervisor left behind are adopted, with which
//! settings, and which of them end.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use roverline_protocol::Tier;
use rustix::process::Signal;

use crate::config::{Settings, SourceKind, from_supervisor};
use crate::limits;
use crate::process::adoption::AdoptionRequest;
use crate::supervisor::orphans::{self, Answer, Orphan};
use crate::supervisor::process::Process;
use crate::supervisor::socket_peer::SocketPeer;

/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(1);

/// An adopted process with its listening sockets.
pub(super) struct Adopted {
    pub(super) process: Process,
    pub(super) sockets: Vec<(Tier, TcpListener)>,
    same_program: bool,
    settings: Option<Settings>,
}

/// Processes left behind by an earlier supervisor.
#[derive(Default)]
pub(super) struct Takeover {
    /// One for each group of tiers at most.
    pub(super) adopted: Vec<Adopted>,
    /// Processes that share a socket with an adopted one: they drain.
    pub(super) surplus: Vec<Process>,
}

/// The facts on which the decision about a process depends.
#[derive(Clone, Debug)]
struct Candidate {
    tiers: Vec<Tier>,
    addresses: Vec<SocketAddr>,
    accepting: bool,
    ready: bool,
    started_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Adopt,
    /// It shares a socket with an adopted process.
    Drain,
    /// Its sockets are not wanted.
    End,
}

/// Decides about all candidates. A tier that is served at the wanted address is adopted from the process
/// that accepts there and was started last.
fn judge(candidates: &[Candidate], wanted: impl Fn(Tier, SocketAddr) -> bool) -> Vec<Verdict> {
    let fits = |candidate: &Candidate| {
        let mut pairs = candidate.tiers.iter().zip(&candidate.addresses);
        candidate.tiers.len() == candidate.addresses.len()
            && pairs.all(|(tier, address)| wanted(*tier, *address))
    };
    let mut order: Vec<usize> = (0..candidates.len()).filter(|at| fits(&candidates[*at])).collect();
    order.sort_by_key(|at| {
        let candidate = &candidates[*at];
        std::cmp::Reverse((candidate.accepting, candidate.ready, candidate.started_ns))
    });
    let mut verdicts = vec![Verdict::End; candidates.len()];
    let mut taken: Vec<(Tier, SocketAddr)> = Vec::new();
    for at in order {
        let candidate = &candidates[at];
        let pairs: Vec<_> =
            candidate.tiers.iter().copied().zip(candidate.addresses.iter().copied()).collect();
        verdicts[at] = if pairs.iter().all(|(tier, _)| taken.iter().all(|(other, _)| other != tier)) {
            taken.extend(pairs);
            Verdict::Adopt
        } else if pairs.iter().all(|pair| taken.contains(pair)) {
            Verdict::Drain
        } else {
            Verdict::End
        };
    }
    verdicts
}

/// Adopts what an earlier supervisor left behind in the state directory and ends the rest. Everything that
/// hangs or is not wanted has ended when this returns.
pub(super) fn take_over(settings: &Settings, program: &Path) -> Takeover {
    let is_relay = settings.gateway.source.is_relay();
    let hosts = resolve(&settings.gateway.host);
    let wanted = |tier: Tier, address: SocketAddr| {
        let port = settings.port(tier);
        (port == 0 || port == address.port()) && hosts.contains(&address.ip())
    };
    let mut answered = Vec::new();
    for Orphan { peer, answer } in orphans::find(&settings.state_dir(), AdoptionRequest::Adopt) {
        match answer {
            Some(answer) => answered.push((peer, answer)),
            None => end(&peer, "it hangs", Signal::KILL),
        }
    }
    let candidates: Vec<_> = answered.iter().map(|(_, answer)| candidate(answer)).collect();
    let verdicts = judge(&candidates, wanted);
    let mut takeover = Takeover::default();
    for ((peer, answer), verdict) in answered.into_iter().zip(verdicts) {
        // A relay has one process for all tiers, a gateway has one for each.
        let grouped = (answer.description.tiers.len() > 1) == is_relay;
        match verdict {
            Verdict::Drain if grouped => takeover.surplus.extend(surplus(peer, answer)),
            Verdict::Adopt if grouped => takeover.adopted.extend(adopt(peer, answer, program)),
            _ => end(&peer, "its ports or addresses are not configured any more", Signal::TERM),
        }
    }
    takeover
}

fn candidate(answer: &Answer) -> Candidate {
    let description = &answer.description;
    Candidate {
        tiers: description.tiers.clone(),
        addresses: answer.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
        accepting: description.accepting,
        ready: description.ready,
        started_ns: description.started_ns,
    }
}

fn adopt(peer: SocketPeer, answer: Answer, program: &Path) -> Option<Adopted> {
    let Answer { description, listeners, stream } = answer;
    let same_program = same_program(&peer, &description.version, program);
    let settings = from_supervisor(&description.settings).ok();
    let sockets = description.tiers.iter().copied().zip(listeners).collect();
    let pid = peer.pid;
    match Process::adopted(peer, stream, description.ready) {
        Ok(process) => {
            tracing::info!(pid, tiers = ?description.tiers, "adopted");
            Some(Adopted { process, sockets, same_program, settings })
        }
        Err(error) => {
            tracing::warn!(pid, %error, "an endpoint could not be adopted");
            None
        }
    }
}

fn surplus(peer: SocketPeer, answer: Answer) -> Option<Process> {
    Process::adopted(peer, answer.stream, answer.description.ready).ok()
}

/// Whether the process runs the program that would be started now.
fn same_program(peer: &SocketPeer, version: &str, program: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let running = identity(Path::new(&format!("/proc/{}/exe", peer.pid)));
    match (running, identity(program)) {
        (Some(running), Some(installed)) => running == installed,
        _ => version == env!("CARGO_PKG_VERSION"),
    }
}

/// Ends a process: with `first`, or at last by force.
fn end(peer: &SocketPeer, why: &str, first: Signal) {
    tracing::warn!(pid = peer.pid, why, "an endpoint that was left behind ends");
    peer.signal(first);
    if !peer.wait(Duration::from_millis(limits::STOP_MS)) {
        peer.signal(Signal::KILL);
        peer.wait(KILLED);
    }
}

fn resolve(host: &str) -> Vec<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, 0).to_socket_addrs().map(|addresses| addresses.map(|at| at.ip()).collect()).unwrap_or_default()
}

impl Adopted {
    /// Continues the run of the simulated rover or the recording that one of these processes is in, if the
    /// settings are for the same one. Returns whether there is one to continue.
    pub(super) fn inherit_run<'a>(
        settings: &mut Settings,
        mut all: impl Iterator<Item = &'a Adopted>,
    ) -> bool {
        all.any(|adopted| adopted.settings.as_ref().is_some_and(|earlier| continue_run(settings, earlier)))
    }

    /// Why the process has to be replaced, if it has to be.
    pub(super) fn outdated(&self, settings: &Settings) -> Option<&'static str> {
        match self.settings.as_ref() == Some(settings) {
            true => (!self.same_program).then_some("another program"),
            false => Some("other settings"),
        }
    }

    /// Whether the process serves exactly these tiers.
    pub(super) fn serves(&self, tiers: &[Tier]) -> bool {
        self.sockets.iter().map(|(tier, _)| tier).eq(tiers)
    }
}

/// Takes the times of an earlier run over into `settings`, if both are about the same one.
fn continue_run(settings: &mut Settings, earlier: &Settings) -> bool {
    if settings.gateway.source != earlier.gateway.source {
        return false;
    }
    match settings.gateway.source {
        SourceKind::Sim => {
            let (sim, before) = (&mut settings.sim, &earlier.sim);
            let same = sim.seed == before.seed && sim.faults == before.faults && before.epoch_ns.is_some();
            if same {
                (sim.epoch_ns, sim.epoch_monotonic_ns) = (before.epoch_ns, before.epoch_monotonic_ns);
            }
            same
        }
        SourceKind::Bag => {
            let (bag, before) = (&mut settings.bag, &earlier.bag);
            let same = bag.file == before.file
                && bag.rate == before.rate
                && bag.looped == before.looped
                && bag.start_s == before.start_s
                && before.epoch_ns.is_some();
            if same {
                (bag.epoch_ns, bag.epoch_monotonic_ns) = (before.epoch_ns, before.epoch_monotonic_ns);
            }
            same
        }
        SourceKind::Dds | SourceKind::R2r | SourceKind::Upstream => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tier: Tier, port: u16, accepting: bool, started_ns: i64) -> Candidate {
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        Candidate { tiers: vec![tier], addresses, accepting, ready: true, started_ns }
    }

    #[test]
    fn the_newest_that_accepts_is_adopted_and_others_on_its_socket_drain() {
        let candidates = [
            one(Tier::Primary, 1, true, 1),
            one(Tier::Primary, 1, true, 2),
            one(Tier::Primary, 1, false, 3),
            one(Tier::Secondary, 2, false, 4),
        ];
        let verdicts = judge(&candidates, |_, _| true);
        assert_eq!(verdicts, [Verdict::Drain, Verdict::Adopt, Verdict::Drain, Verdict::Adopt]);
    }

    #[test]
    fn a_process_at_another_address_ends() {
        let candidates = [
            one(Tier::Primary, 1, true, 1),
            one(Tier::Primary, 5, true, 2),
            one(Tier::Emergency, 4, true, 1),
        ];
        let verdicts = judge(&candidates, |_, address| address.port() < 5);
        assert_eq!(verdicts, [Verdict::Adopt, Verdict::End, Verdict::Adopt]);
        // Two of one tier at different addresses that both would do: one of them.
        let verdicts = judge(&candidates, |_, _| true);
        assert_eq!(verdicts, [Verdict::End, Verdict::Adopt, Verdict::Adopt]);
    }

    #[test]
    fn a_run_is_continued_if_it_is_the_same() {
        let mut earlier = Settings::default();
        earlier.gateway.source = SourceKind::Sim;
        let mut settings = earlier.clone();
        assert!(!continue_run(&mut settings, &earlier), "it has no times");
        (earlier.sim.epoch_ns, earlier.sim.epoch_monotonic_ns) = (Some(7), Some(8));
        assert!(continue_run(&mut settings, &earlier));
        assert_eq!(settings, earlier);
        settings.sim.seed = 2;
        assert!(!continue_run(&mut settings, &earlier));
        settings.gateway.source = SourceKind::Dds;
        assert!(!continue_run(&mut settings, &earlier));
    }
}
