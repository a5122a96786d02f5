//! Ends a gateway from outside: its supervisor, and endpoints that an earlier one left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::limits;
use crate::process::adoption::AdoptionRequest;
use crate::process::control_socket::socket_port;
use crate::supervisor::orphans::{self, adoption_sockets};
use crate::supervisor::socket_peer::SocketPeer;

/// A supervisor stops its endpoints within their time limit and a margin.
const SUPERVISOR_STOP: Duration = Duration::from_millis(limits::STOP_MS * 2);
const ENDPOINT_STOP: Duration = Duration::from_millis(limits::STOP_MS);
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(1);
/// An endpoint that a killed supervisor has just started is found at the second look.
const ATTEMPTS: usize = 3;

/// A process that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The role of the process: `supervisor` or `endpoint`.
    pub role: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Whether it had to be killed.
    pub killed: bool,
}

/// The primary ports of the gateways in a state directory of which a process runs.
pub fn running(dir: &Path) -> Vec<u16> {
    let mut ports: Vec<u16> = sockets(dir)
        .into_iter()
        .filter(|(_, path)| std::os::unix::net::UnixStream::connect(path).is_ok())
        .map(|(port, _)| port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn sockets(dir: &Path) -> Vec<(u16, PathBuf)> {
    let mut sockets = control_sockets(dir);
    sockets.extend(adoption_sockets(dir));
    sockets
}

fn control_sockets(dir: &Path) -> Vec<(u16, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sockets = entries.filter_map(|entry| {
        let path = entry.path();
        Some((socket_port(path.file_name()?.to_str()?)?, path))
    });
    sockets.take(limits::CONTROL_SOCKET_FILES).collect()
}

/// Ends every process of the gateways in a state directory, supervisors first, and waits until they are
/// gone.
pub fn end_all(dir: &Path) -> Vec<Ended> {
    let mut ended = Vec::new();
    for (_, path) in control_sockets(dir) {
        if let Ok((_, peer)) = SocketPeer::connect(&path) {
            ended.push(end(&peer, "supervisor", SUPERVISOR_STOP));
        }
    }
    for _ in 0..ATTEMPTS {
        let orphans = orphans::find(dir, AdoptionRequest::Describe);
        if orphans.is_empty() {
            break;
        }
        orphans.iter().for_each(|orphan| orphan.peer.signal(Signal::TERM));
        ended.extend(orphans.iter().map(|orphan| end(&orphan.peer, "endpoint", ENDPOINT_STOP)));
    }
    ended
}

/// Ends a process, gracefully if possible.
fn end(peer: &SocketPeer, role: &'static str, limit: Duration) -> Ended {
    peer.signal(Signal::TERM);
    let killed = !peer.wait(limit);
    if killed {
        peer.signal(Signal::KILL);
        peer.wait(KILLED);
    }
    Ended { role, pid: peer.pid, killed }
}
