//! The gateway as a child process, for the demo.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roverline_protocol::Tier;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::DemoArgs;
use crate::command::Failure;

const NAME: &str = "roverline-gateway";
/// Longest time until the gateway is ready.
const START: Duration = Duration::from_secs(20);
/// Time for a clean exit.
const STOP: Duration = Duration::from_secs(2);
/// Log lines kept for an error message, and their length.
const KEPT_LINES: usize = 20;
const LINE_BYTES: u64 = 64 << 10;

/// An endpoint announced by the gateway.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its tier.
    pub(super) tier: Tier,
    /// Its URL.
    pub(super) url: String,
}

#[derive(Deserialize)]
struct Ready {
    endpoints: Vec<Endpoint>,
}

/// The endpoints in the line `ready {...}`; `None` for any other line.
fn parse_ready(line: &str) -> Option<Vec<Endpoint>> {
    let json = line.trim().strip_prefix("ready ")?;
    let ready: Ready = serde_json::from_str(json).ok()?;
    (!ready.endpoints.is_empty()).then_some(ready.endpoints)
}

/// A running gateway. It exits with this program, in every case.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
    /// Endpoints, best first.
    pub(super) endpoints: Vec<Endpoint>,
}

impl Gateway {
    /// Starts the gateway and waits until all endpoints listen.
    pub(super) async fn start(demo: &DemoArgs) -> Result<Gateway, Failure> {
        let program = find(demo.gateway.as_deref())?;
        let mut child = command(&program, demo)
            .spawn()
            .map_err(|error| Failure::Nothing(format!("cannot start {}: {error}", program.display())))?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let listener = child.stderr.take().map(|stderr| tokio::spawn(listen(stderr, said.clone())));
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::Nothing("the gateway has no output".to_owned()));
        };
        let mut lines = BufReader::new(stdout);
        match tokio::time::timeout(START, ready(&mut lines)).await {
            Ok(Some(endpoints)) => {
                // Its output is always read, or its pipe would fill and block it.
                tokio::spawn(async move { while next_line(&mut lines).await.is_some() {} });
                Ok(Gateway { child, endpoints })
            }
            outcome => {
                Gateway { child, endpoints: Vec::new() }.stop().await;
                if let Some(listener) = listener {
                    let _ = tokio::time::timeout(Duration::from_secs(1), listener).await;
                }
                let why =
                    if outcome.is_err() { "did not get ready in time" } else { "ended before it was ready" };
                let said = said.lock().unwrap_or_else(PoisonError::into_inner);
                let said: String = said.iter().map(|line| format!("\n{line}")).collect();
                Err(Failure::Nothing(format!("the gateway {why}{said}")))
            }
        }
    }

    /// Asks it to exit, then kills it.
    pub(super) async fn stop(mut self) {
        let id =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            tracing::warn!("the gateway did not end in time and is killed");
            let _ = self.child.kill().await;
        }
    }
}

fn command(program: &Path, demo: &DemoArgs) -> Command {
    let mut command = Command::new(program);
    command.args(["up", "--source", "sim", "--base-port", &demo.base_port.to_string()]);
    if let Some(seed) = demo.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    for fault in &demo.fault {
        command.args(["--fault", fault]);
    }
    command
        .env("ROVERLINE_EXIT_WITH_PARENT", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Beside this program, else in PATH.
fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(NAME)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(NAME));
    beside.into_iter().chain(on_path).find(|candidate| candidate.is_file()).ok_or_else(|| {
        Failure::Nothing(format!(
            "{NAME} is neither beside this program nor on the PATH; build it with 'cargo build --release'"
        ))
    })
}

async fn ready(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<Endpoint>> {
    loop {
        let line = next_line(lines).await?;
        if let Some(endpoints) = parse_ready(&line) {
            return Some(endpoints);
        }
    }
}

/// A line, or a part of an endless one.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let read = lines.take(LINE_BYTES).read_until(b'\n', &mut line).await.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Forwards its messages to the log; the last lines are kept for an error message.
async fn listen(stderr: impl AsyncRead + Unpin, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr);
    while let Some(line) = next_line(&mut lines).await {
        tracing::info!(target: "gateway", "{line}");
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == KEPT_LINES {
            said.pop_front();
        }
        said.push_back(crate::format::printable(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_among_others() {
        let line = r#"ready {"endpoints":[{"tier":"primary","url":"ws://127.0.0.1:8080"}]}"#;
        let endpoint = Endpoint { tier: Tier::Primary, url: "ws://127.0.0.1:8080".to_owned() };
        assert_eq!(parse_ready(line), Some(vec![endpoint]));
        for other in ["", "ready", "ready {}", "ready {\"endpoints\":[]}", "{\"tier\":\"primary\"}"] {
            assert_eq!(parse_ready(other), None, "{other}");
        }
    }
}
