//! One endpoint process: started with its socket, watched by its exit and its heartbeat, started
//! again with backoff.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::{Tier, limits};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::ChildEvent;
use super::heartbeat::{EXIT_WITH_PARENT, READY, SETTINGS};
use crate::config::Settings;

/// Keeps one process alive, which serves one tier or, as a relay, all of them.
pub(super) struct Keeper {
    tiers: Vec<Tier>,
    sockets: Vec<TcpListener>,
    /// For people: `primary endpoint`.
    name: String,
    settings: String,
    events: mpsc::Sender<ChildEvent>,
}

/// How a child's life ended.
enum End {
    Exited(String),
    Hung,
    Stopping,
}

impl Keeper {
    pub(super) fn new(
        tiers_and_sockets: Vec<(Tier, TcpListener)>,
        settings: &Settings,
        events: mpsc::Sender<ChildEvent>,
    ) -> Result<Keeper, String> {
        let settings = serde_json::to_string(settings).map_err(|error| error.to_string())?;
        let (tiers, sockets): (Vec<_>, Vec<_>) = tiers_and_sockets.into_iter().unzip();
        let name = match &tiers[..] {
            [tier] => format!("{tier} endpoint"),
            _ => "relay".to_owned(),
        };
        Ok(Keeper { tiers, sockets, name, settings, events })
    }

    /// Until `stopping` turns true.
    pub(super) async fn keep(self, mut stopping: watch::Receiver<bool>) {
        let millis = |(first, last)| (Duration::from_millis(first), Duration::from_millis(last));
        let (first, last) = millis(limits::RESTART_BACKOFF_MS);
        let mut backoff = Backoff::new(first, last);
        let mut jitter =
            Jitter::new(u64::from(std::process::id()) ^ self.tiers.first().map_or(0, |tier| *tier as u64));
        while !*stopping.borrow() {
            let born = Instant::now();
            let why = match self.start() {
                Ok(child) => match self.live(child, &mut stopping).await {
                    End::Stopping => break,
                    End::Hung => "it hung and was killed".to_owned(),
                    End::Exited(status) => status,
                },
                Err(error) => format!("it could not be started: {error}"),
            };
            if born.elapsed() > Duration::from_millis(limits::RESTART_HEALTHY_MS) {
                backoff.reset();
            }
            let pause = backoff.fail(jitter.unit());
            tracing::warn!(
                name = self.name,
                why,
                pause_ms = pause.as_millis() as u64,
                "it ended, starting it again"
            );
            eprintln!("roverline-gateway: {}: {why}; starting it again", self.name);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.changed() => {}
            }
        }
        let _ = self.events.send(ChildEvent::Stopped).await;
    }

    /// One tier is served by `serve`, all of them in one process by `relay`.
    fn arguments(&self) -> Vec<&'static str> {
        match &self.tiers[..] {
            [tier] => vec!["serve", "--tier", tier.name(), "--supervised"],
            _ => vec!["relay", "--supervised"],
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut mappings = Vec::new();
        for (socket, child_fd) in self.sockets.iter().zip(3..) {
            let parent_fd: OwnedFd = socket.try_clone()?.into();
            mappings.push(FdMapping { parent_fd, child_fd });
        }
        let mut command = std::process::Command::new(own_binary()?);
        command
            .args(self.arguments())
            .arg(std::process::id().to_string())
            .env(SETTINGS, &self.settings)
            .env_remove(EXIT_WITH_PARENT)
            // The systemd protocol (sd_listen_fds); LISTEN_PID is not known before the fork.
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env_remove("LISTEN_PID")
            // glibc keeps an arena per thread and core; two hold the same and cost megabytes less.
            .env("MALLOC_ARENA_MAX", std::env::var_os("MALLOC_ARENA_MAX").unwrap_or_else(|| "2".into()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
        let mut command = Command::from(command);
        // A ^C at the terminal is the supervisor's to handle: its children get SIGTERM in turn.
        command.process_group(0).kill_on_drop(true);
        command.spawn()
    }

    async fn live(&self, mut child: Child, stopping: &mut watch::Receiver<bool>) -> End {
        let Some(mut heart) = child.stdout.take() else { return End::Hung };
        // Its lifeline; waiting for the child would close it.
        let _lifeline = child.stdin.take();
        let mut patience = Duration::from_millis(limits::CHILD_START_MS);
        loop {
            tokio::select! {
                beat = hear(&mut heart, patience) => match beat {
                    Beat::Ready => {
                        tracing::info!(name = self.name, pid = child.id(), "it serves");
                        for tier in &self.tiers {
                            let _ = self.events.send(ChildEvent::Ready(*tier)).await;
                        }
                        patience = Duration::from_millis(limits::CHILD_HUNG_MS);
                    }
                    Beat::Alive => {}
                    Beat::Silent => {
                        let _ = child.kill().await;
                        return End::Hung;
                    }
                    Beat::Closed => return exited(&mut child).await,
                },
                _ = stopping.changed() => {
                    stop(&mut child).await;
                    return End::Stopping;
                }
            }
        }
    }
}

/// This program. After an upgrade its path is gone or is another version, which may not understand
/// our settings; the kernel still has the one that runs.
fn own_binary() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}

enum Beat {
    Ready,
    Alive,
    Silent,
    Closed,
}

async fn hear(heart: &mut ChildStdout, patience: Duration) -> Beat {
    let mut bytes = [0; 64];
    let read = match timeout(patience, heart.read(&mut bytes)).await {
        // We may have been the one who slept: what was written meanwhile is in the pipe.
        Err(_) => {
            match timeout(Duration::from_millis(limits::CHILD_HEARTBEAT_MS * 2), heart.read(&mut bytes)).await
            {
                Err(_) => return Beat::Silent,
                Ok(read) => read,
            }
        }
        Ok(read) => read,
    };
    match read {
        Ok(0) | Err(_) => Beat::Closed,
        Ok(n) if bytes[..n].contains(&READY) => Beat::Ready,
        Ok(_) => Beat::Alive,
    }
}

/// Its standard output closed: it is ending. Its status, and its end made sure.
async fn exited(child: &mut Child) -> End {
    match timeout(Duration::from_millis(500), child.wait()).await {
        Ok(Ok(status)) => End::Exited(format!("it ended ({status})")),
        _ => {
            let _ = child.kill().await;
            End::Exited("it closed its heartbeat and was killed".to_owned())
        }
    }
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(Duration::from_millis(limits::STOP_MS), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
