//! The operating system's side of a worker process: a child, or a process that an earlier supervisor
//! started.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use crate::supervisor::socket_peer::SocketPeer;

/// How long the system may take to end a killed process that is not a child.
const KILLED: Duration = Duration::from_secs(1);

/// Between two checks whether a process that is not a child has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// A process.
pub(super) enum ProcessHandle {
    /// A child, killed on drop.
    Child(Child),
    /// A process that an earlier supervisor started. It survives this one as well: a supervisor that fails to
    /// start must not take it along.
    Adopted(AdoptedProcess),
}

/// A process that is not a child, held by its descriptor.
pub(super) struct AdoptedProcess(pub(super) SocketPeer);

impl AdoptedProcess {
    /// Waits for its end. Its link has usually closed before, so this takes one check or two.
    async fn ended(&self) {
        while !self.0.wait(Duration::ZERO) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}

impl ProcessHandle {
    /// Waits for its end, and describes it.
    pub(super) async fn wait(&mut self) -> io::Result<String> {
        match self {
            ProcessHandle::Child(child) => child.wait().await.map(|status| status.to_string()),
            ProcessHandle::Adopted(process) => {
                process.ended().await;
                Ok("its exit status is unknown: an earlier supervisor started it".to_owned())
            }
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read its files again.
    pub(super) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        match self {
            ProcessHandle::Child(child) => {
                if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
                    let _ = kill_process(pid, signal);
                }
            }
            ProcessHandle::Adopted(process) => process.0.signal(signal),
        }
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        match self {
            ProcessHandle::Child(child) => drop(child.kill().await),
            ProcessHandle::Adopted(process) => {
                process.0.signal(Signal::KILL);
                drop(timeout(KILLED, process.ended()).await);
            }
        }
    }
}
