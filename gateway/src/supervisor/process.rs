//! A worker process: started with its socket or adopted, monitored and controlled through its pipes or the
//! link to an adopted one.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use roverline_protocol::Tier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits;
use crate::process::adoption::socket_name;
use crate::process::heartbeat::{
    DIE_WITH_SUPERVISOR, EXIT_WITH_PARENT, FAILURE, NOT_ACCEPTING, READY, SETTINGS, SupervisorCommand,
};
use crate::supervisor::allocator;
use crate::supervisor::process_handle::{AdoptedProcess, ProcessHandle};
use crate::supervisor::socket_peer::SocketPeer;

/// Silence after which the supervisor considers an endpoint process hung and kills it.
const CHILD_HUNG_MS: u64 = 1_500;
/// Bytes of an endpoint process's final error report to its supervisor.
const CHILD_FAILURE_REPORT_BYTES: usize = 512;

const HUNG: Duration = Duration::from_millis(CHILD_HUNG_MS);

/// The launch parameters of the process that serves one tier or, as a relay, all of them.
pub(super) struct Launch {
    pub(super) tiers: Vec<Tier>,
    pub(super) sockets: Vec<TcpListener>,
    pub(super) settings: String,
    /// Where the processes bind their adoption sockets; absent if they end with the supervisor.
    pub(super) adoption: Option<(PathBuf, u16)>,
    /// What the processes have in their environment for their source.
    pub(super) environment: Vec<(String, OsString)>,
    /// The memory limit of the processes, MiB; 0: none.
    pub(super) memory_mib: u64,
    /// The path of this program at startup; after an upgrade it holds another version.
    pub(super) path: PathBuf,
    /// Whether to start the running program instead, because the one at the path did not work.
    pub(super) fall_back: bool,
}

impl Launch {
    /// The program at our path, which is the new one after an upgrade. If it is missing or does not work,
    /// the kernel still has the running one.
    pub(super) fn program(&self) -> &Path {
        match !self.fall_back && self.path.is_file() {
            true => &self.path,
            false => Path::new("/proc/self/exe"),
        }
    }

    /// The first tier, which represents them all.
    pub(super) fn tier(&self) -> Tier {
        self.tiers.first().copied().unwrap_or(Tier::Primary)
    }

    /// The display name: `primary endpoint`.
    pub(super) fn name(&self) -> String {
        match &self.tiers[..] {
            [tier] => format!("{tier} endpoint"),
            _ => "relay".to_owned(),
        }
    }

    /// The command line: `serve` for one tier, `relay` for all of them in one process.
    fn arguments(&self) -> Vec<&'static str> {
        match &self.tiers[..] {
            [tier] => vec!["serve", "--tier", tier.name(), "--supervised"],
            _ => vec!["relay", "--supervised"],
        }
    }

    /// Starts a process. With `hold`, it accepts only on command.
    pub(super) fn start(&self, hold: bool) -> std::io::Result<Process> {
        let mut mappings = Vec::new();
        for (socket, child_fd) in self.sockets.iter().zip(3..) {
            let parent_fd: OwnedFd = socket.try_clone()?.into();
            mappings.push(FdMapping { parent_fd, child_fd });
        }
        let mut command = std::process::Command::new(self.program());
        command
            .args(self.arguments())
            .arg(std::process::id().to_string())
            .args(hold.then_some("--hold"))
            .env(SETTINGS, &self.settings)
            .env_remove(EXIT_WITH_PARENT)
            .env_remove(DIE_WITH_SUPERVISOR)
            .envs(self.adoption.is_none().then_some((DIE_WITH_SUPERVISOR, "1")))
            // The systemd protocol (sd_listen_fds); LISTEN_PID is not known before the fork.
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env_remove("LISTEN_PID")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(allocator::settings(|name| std::env::var_os(name).is_some()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
        let mut command = Command::from(command);
        // The supervisor handles ^C at the terminal and sends its children SIGTERM in order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(command_pipe), Some(heartbeat)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no pipes"));
        };
        let started_at = Instant::now();
        let pid = child.id().unwrap_or_default();
        let deadline = started_at + Duration::from_millis(limits::CHILD_START_MS);
        Ok(Process {
            handle: ProcessHandle::Child(child),
            commands: Box::new(command_pipe),
            heartbeat: Box::new(heartbeat),
            pid,
            started_at,
            deadline,
            grace_used: false,
            ready: false,
            failure: None,
        })
    }

    /// Adds to the description of an exit what is known of its cause.
    pub(super) fn explain(&self, why: String) -> String {
        // The standard library aborts the process when an allocation fails.
        match self.memory_mib > 0 && why.contains("SIGABRT") {
            true => format!(
                "{why}; a process aborts if it needs more memory than its limit, {} MiB ([process] memory_mib)",
                self.memory_mib
            ),
            false => why,
        }
    }

    /// Removes what a process that ended without cleaning up has left behind.
    pub(super) fn remove_remains(&self, pid: u32) {
        if let Some((dir, port)) = &self.adoption {
            let _ = std::fs::remove_file(dir.join(socket_name(*port, pid)));
        }
    }
}

/// A started or adopted process; the first is killed on drop.
pub(super) struct Process {
    handle: ProcessHandle,
    commands: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    heartbeat: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pub(super) pid: u32,
    pub(super) started_at: Instant,
    /// Whether it reported that it serves or is ready.
    pub(super) ready: bool,
    /// The time by which its next heartbeat is due.
    deadline: Instant,
    grace_used: bool,
    failure: Option<String>,
}

/// A signal from a process's pipe, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildSignal {
    Ready,
    Alive,
    NotAccepting,
    Silent,
    Closed,
}

impl Process {
    /// A process that an earlier supervisor started, linked to this one by `stream`.
    pub(super) fn adopted(peer: SocketPeer, stream: UnixStream, ready: bool) -> std::io::Result<Process> {
        stream.set_nonblocking(true)?;
        let (heartbeat, commands) = tokio::net::UnixStream::from_std(stream)?.into_split();
        let (pid, started_at) = (peer.pid, Instant::now());
        let patience = if ready { HUNG } else { Duration::from_millis(limits::CHILD_START_MS) };
        Ok(Process {
            handle: ProcessHandle::Adopted(AdoptedProcess(peer)),
            commands: Box::new(commands),
            heartbeat: Box::new(heartbeat),
            pid,
            started_at,
            deadline: started_at + patience,
            grace_used: false,
            ready: false,
            failure: None,
        })
    }

    /// Returns the next signal, or that the deadline has passed. Cancel-safe.
    pub(super) async fn next_signal(&mut self) -> ChildSignal {
        let mut bytes = [0; 256];
        loop {
            match timeout_at(self.deadline, self.heartbeat.read(&mut bytes)).await {
                // This process may have been suspended itself; bytes written meanwhile are still in the
                // pipe.
                Err(_) if !self.grace_used => {
                    self.grace_used = true;
                    self.deadline = Instant::now() + Duration::from_millis(limits::CHILD_HEARTBEAT_MS * 2);
                }
                Err(_) => return ChildSignal::Silent,
                Ok(Ok(0) | Err(_)) => return ChildSignal::Closed,
                Ok(Ok(n)) => return self.parse_signal(&bytes[..n]),
            }
        }
    }

    fn parse_signal(&mut self, bytes: &[u8]) -> ChildSignal {
        let last = bytes.iter().position(|byte| *byte == FAILURE).map(|at| &bytes[at + 1..]);
        if let Some(more) = self.failure.as_ref().map(|_| bytes).or(last) {
            let failure = self.failure.get_or_insert_default();
            let room = CHILD_FAILURE_REPORT_BYTES.saturating_sub(failure.len());
            failure.push_str(&String::from_utf8_lossy(&more[..more.len().min(room)]));
            return ChildSignal::Alive;
        }
        let announced = bytes.contains(&READY) && !self.ready;
        self.ready |= announced;
        if self.ready {
            self.grace_used = false;
            self.deadline = Instant::now() + HUNG;
        }
        match announced {
            true => ChildSignal::Ready,
            false if bytes.contains(&NOT_ACCEPTING) => ChildSignal::NotAccepting,
            false => ChildSignal::Alive,
        }
    }

    /// Sends a command; a process that does not receive it shows in its heartbeat.
    pub(super) async fn send_command(&mut self, command: SupervisorCommand) {
        let line = command.line();
        let _ = timeout(Duration::from_millis(100), self.commands.write_all(line.as_bytes())).await;
    }

    /// Called when its standard output has closed: makes sure that it exits and returns the reason.
    pub(super) async fn exited(&mut self) -> String {
        let status = match timeout(Duration::from_millis(500), self.handle.wait()).await {
            Ok(Ok(status)) => format!("it ended ({status})"),
            _ => {
                self.handle.kill().await;
                "it closed its heartbeat and was killed".to_owned()
            }
        };
        match &self.failure {
            Some(failure) => format!("{status}: {failure}"),
            None => status,
        }
    }

    pub(super) async fn kill(&mut self) {
        self.handle.kill().await;
    }

    /// Asks it to read its files again. One that is not ready has just read them, and does not listen yet.
    pub(super) fn reload(&self) {
        if self.ready {
            self.handle.reload();
        }
    }

    /// Stops it, gracefully if possible.
    pub(super) async fn stop(&mut self) {
        self.handle.terminate();
        if timeout(Duration::from_millis(limits::STOP_MS), self.handle.wait()).await.is_err() {
            self.handle.kill().await;
        }
    }

    /// Waits for the exit of a process that was told to drain within `window`, and kills it if necessary.
    /// Returns a description of the exit.
    pub(super) async fn wait_drained(&mut self, window: Duration) -> String {
        let start = Instant::now();
        let limit = window + Duration::from_millis(limits::STOP_MS * 2);
        let how = timeout(limit, async {
            loop {
                match self.next_signal().await {
                    ChildSignal::Closed => return self.exited().await,
                    ChildSignal::Silent => break,
                    _ => {}
                }
            }
            self.kill().await;
            "it hung and was killed".to_owned()
        });
        let how = match how.await {
            Ok(how) => how,
            Err(_) => {
                self.kill().await;
                "it did not end by itself and was killed".to_owned()
            }
        };
        format!("{how}, {:.1} s after it was told to drain", start.elapsed().as_secs_f64())
    }
}
