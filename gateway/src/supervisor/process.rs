//! One endpoint process as its keeper sees it: started with its socket, heard through its pipes.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use roverline_protocol::{Tier, limits};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::supervisor::heartbeat::{EXIT_WITH_PARENT, LAST_WORDS, QUIET, READY, SETTINGS, Word};

const HUNG: Duration = Duration::from_millis(limits::CHILD_HUNG_MS);

/// What is needed to start the process that serves one tier or, as a relay, all of them.
pub(super) struct Launch {
    pub(super) tiers: Vec<Tier>,
    pub(super) sockets: Vec<TcpListener>,
    pub(super) settings: String,
    /// Where this program was when it was started; after an upgrade there is another version.
    pub(super) path: PathBuf,
    /// Rather the program that runs: what is at the path did not serve.
    pub(super) fall_back: bool,
}

impl Launch {
    /// The program at our path: after an upgrade the new one. Where there is none, or it is of no
    /// use, the kernel still has the one that runs.
    pub(super) fn program(&self) -> &Path {
        match !self.fall_back && self.path.is_file() {
            true => &self.path,
            false => Path::new("/proc/self/exe"),
        }
    }

    /// The first tier stands for all.
    pub(super) fn tier(&self) -> Tier {
        self.tiers.first().copied().unwrap_or(Tier::Primary)
    }

    /// For people: `primary endpoint`.
    pub(super) fn name(&self) -> String {
        match &self.tiers[..] {
            [tier] => format!("{tier} endpoint"),
            _ => "relay".to_owned(),
        }
    }

    /// One tier is served by `serve`, all of them in one process by `relay`.
    fn arguments(&self) -> Vec<&'static str> {
        match &self.tiers[..] {
            [tier] => vec!["serve", "--tier", tier.name(), "--supervised"],
            _ => vec!["relay", "--supervised"],
        }
    }

    /// Starts a process. If `hold`, it accepts only when it is told to.
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
        let mut child = command.spawn()?;
        let (Some(lifeline), Some(heart)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no pipes"));
        };
        let born = Instant::now();
        let pid = child.id().unwrap_or_default();
        let deadline = born + Duration::from_millis(limits::CHILD_START_MS);
        Ok(Process { child, lifeline, heart, pid, born, deadline, doubted: false, ready: false, words: None })
    }
}

/// A started process. It is killed when dropped.
pub(super) struct Process {
    child: Child,
    lifeline: ChildStdin,
    heart: ChildStdout,
    pub(super) pid: u32,
    pub(super) born: Instant,
    /// It has said that it serves, or could.
    pub(super) ready: bool,
    /// By when it must have said something.
    deadline: Instant,
    doubted: bool,
    words: Option<String>,
}

/// What a process says by its pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Ready,
    Alive,
    Quiet,
    Silent,
    Closed,
}

impl Process {
    /// The next thing it says, or that it says nothing. May be cancelled.
    pub(super) async fn hear(&mut self) -> Beat {
        let mut bytes = [0; 256];
        loop {
            match timeout_at(self.deadline, self.heart.read(&mut bytes)).await {
                // We may have been the one who slept: what was written meanwhile is in the pipe.
                Err(_) if !self.doubted => {
                    self.doubted = true;
                    self.deadline = Instant::now() + Duration::from_millis(limits::CHILD_HEARTBEAT_MS * 2);
                }
                Err(_) => return Beat::Silent,
                Ok(Ok(0) | Err(_)) => return Beat::Closed,
                Ok(Ok(n)) => return self.understand(&bytes[..n]),
            }
        }
    }

    fn understand(&mut self, bytes: &[u8]) -> Beat {
        let last = bytes.iter().position(|byte| *byte == LAST_WORDS).map(|at| &bytes[at + 1..]);
        if let Some(more) = self.words.as_ref().map(|_| bytes).or(last) {
            let words = self.words.get_or_insert_default();
            let room = limits::CHILD_LAST_WORDS_BYTES.saturating_sub(words.len());
            words.push_str(&String::from_utf8_lossy(&more[..more.len().min(room)]));
            return Beat::Alive;
        }
        let announced = bytes.contains(&READY) && !self.ready;
        self.ready |= announced;
        if self.ready {
            self.doubted = false;
            self.deadline = Instant::now() + HUNG;
        }
        match announced {
            true => Beat::Ready,
            false if bytes.contains(&QUIET) => Beat::Quiet,
            false => Beat::Alive,
        }
    }

    /// Says something to it; what it does not hear shows in its heartbeat.
    pub(super) async fn say(&mut self, word: Word) {
        let line = word.line();
        let _ = timeout(Duration::from_millis(100), self.lifeline.write_all(line.as_bytes())).await;
    }

    /// Its standard output closed: it is ending. Why, and its end made sure.
    pub(super) async fn exited(&mut self) -> String {
        let status = match timeout(Duration::from_millis(500), self.child.wait()).await {
            Ok(Ok(status)) => format!("it ended ({status})"),
            _ => {
                let _ = self.child.kill().await;
                "it closed its heartbeat and was killed".to_owned()
            }
        };
        match &self.words {
            Some(words) => format!("{status}: {words}"),
            None => status,
        }
    }

    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Ends it, cleanly if it can.
    pub(super) async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(Duration::from_millis(limits::STOP_MS), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Waits for the end of a process that was told to drain within `window`, and makes sure of it.
    /// Says how it went.
    pub(super) async fn leave(&mut self, window: Duration) -> String {
        let start = Instant::now();
        let patience = window + Duration::from_millis(limits::STOP_MS * 2);
        let how = timeout(patience, async {
            loop {
                match self.hear().await {
                    Beat::Closed => return self.exited().await,
                    Beat::Silent => break,
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
