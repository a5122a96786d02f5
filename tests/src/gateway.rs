//! Runs the gateway as a child process: one endpoint (`serve`) or a supervisor with four (`up`).

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use roverline_protocol::Tier;

use crate::process::{self, Signal};
use crate::temp::{self, TempDir};
use crate::{binary, http};

/// Deadline for a start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// Ends the endpoints of a supervisor with it, even if it is killed.
pub const DIE_WITH_SUPERVISOR: &str = "ROVERLINE_DIE_WITH_SUPERVISOR";

/// A running gateway. Stopped when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// Tier and port of every endpoint, best tier first.
    pub endpoints: Vec<(Tier, u16)>,
    state: PathBuf,
    /// Owns the state directory if the caller gave none.
    _scratch: Option<TempDir>,
    stderr: std::thread::JoinHandle<String>,
}

/// A state directory for endpoints that survive their supervisor; `down` ends them when it is dropped.
#[derive(Debug)]
pub struct SharedState(TempDir);

impl Default for SharedState {
    fn default() -> SharedState {
        SharedState(temp::dir())
    }
}

impl SharedState {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `down`: its exit code, standard output and standard error.
    pub fn down(&self) -> (i32, String, String) {
        run(&["down", "--state", &self.path().to_string_lossy()], START)
    }
}

impl Drop for SharedState {
    fn drop(&mut self) {
        self.down();
    }
}

/// A command that runs the gateway's binary in a clean environment.
pub fn command(args: &[&str]) -> Command {
    command_of(&binary::bin("roverline-gateway"), args)
}

/// A command that runs a copy of the gateway's binary in a clean environment.
pub fn command_of(binary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    clean_environment(&mut command);
    command.args(args);
    command
}

/// Removes the user's ROS and Roverline settings, and the terminal, from a command.
pub fn clean_environment(command: &mut Command) {
    let is_user_setting = |name: &str| name.starts_with("ROVERLINE_") || name.starts_with("ROS_");
    for (name, _) in std::env::vars().filter(|(name, _)| is_user_setting(name)) {
        command.env_remove(name);
    }
    command.env_remove("AMENT_PREFIX_PATH").stdin(Stdio::null());
}

/// Runs a command that exits by itself: its exit code, standard output and standard error.
pub fn run(args: &[&str], patience: Duration) -> (i32, String, String) {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) =
        (read_to_end(child.stdout.take().unwrap()), read_to_end(child.stderr.take().unwrap()));
    let status = process::wait(&mut child, patience);
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let status = status.unwrap_or_else(|| panic!("{args:?} still ran after {patience:?}: {stdout}{stderr}"));
    (status.code().unwrap_or(-1), stdout, stderr)
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Gateway {
    /// Starts `up` on free ports.
    pub fn up(args: &[&str]) -> Gateway {
        Gateway::start(command(&["up", "--base-port", "0"]), args)
    }

    /// Starts `serve` on a free port.
    pub fn serve(args: &[&str]) -> Gateway {
        Gateway::start(command(&["serve", "--port", "0"]), args)
    }

    /// Starts `up` on free ports with this state directory, whose endpoints survive it.
    pub fn up_with_survivors(state: &Path, args: &[&str]) -> Gateway {
        let mut command = command(&["up", "--base-port", "0"]);
        command.env(DIE_WITH_SUPERVISOR, "false");
        Gateway::launch(state.to_owned(), None, command, args)
    }

    /// Starts a command that prints the `ready` line, with extra arguments and a fresh state directory.
    pub fn start(command: Command, args: &[&str]) -> Gateway {
        let scratch = temp::dir();
        Gateway::launch(scratch.path().to_owned(), Some(scratch), command, args)
    }

    /// Starts a command that prints the `ready` line, with this state directory.
    pub fn start_in(state: &Path, command: Command, args: &[&str]) -> Gateway {
        Gateway::launch(state.to_owned(), None, command, args)
    }

    fn launch(state: PathBuf, scratch: Option<TempDir>, mut command: Command, args: &[&str]) -> Gateway {
        command.args(args).arg("--state").arg(&state);
        // Nothing that a test starts outlives it, unless the test sets it otherwise.
        if !command.get_envs().any(|(name, value)| name == DIE_WITH_SUPERVISOR && value.is_some()) {
            command.env(DIE_WITH_SUPERVISOR, "true");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = read_to_end(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::sync_channel(64);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Read until the end: a full pipe would block the gateway.
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let endpoints = match lines.recv_timeout(START) {
            Ok(line) => parse_ready(&line),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{args:?} was not ready in {START:?}: {}", stderr.join().unwrap());
            }
        };
        Gateway { child, endpoints, state, _scratch: scratch, stderr }
    }

    /// The process that was started: the supervisor of `up`, or the endpoint of `serve`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A tier's port.
    pub fn port(&self, tier: Tier) -> u16 {
        self.endpoints.iter().find(|(other, _)| *other == tier).unwrap().1
    }

    /// The port of the best tier.
    pub fn first_port(&self) -> u16 {
        self.endpoints[0].1
    }

    /// The process id that a tier's endpoint reports in `/status`.
    pub fn endpoint_pid(&self, tier: Tier) -> u32 {
        http::status(self.port(tier)).pid
    }

    /// Suspends every process: the supervisor first, or it would replace the others. Returns their pids for
    /// [`process::resume`].
    pub fn suspend(&self) -> Vec<u32> {
        let endpoints = Tier::ALL.map(|tier| self.endpoint_pid(tier));
        let all: Vec<u32> = [self.pid()].into_iter().chain(endpoints).collect();
        all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        all
    }

    /// The URL `ws://127.0.0.1:PORT` of every endpoint, best tier first.
    pub fn urls(&self) -> Vec<String> {
        self.endpoints.iter().map(|(_, port)| format!("ws://127.0.0.1:{port}")).collect()
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Waits for the process to exit; `None` if it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        process::wait(&mut self.child, patience)
    }

    /// Stops the gateway and returns its standard error.
    pub fn stop_and_read_stderr(mut self) -> String {
        self.stop();
        let stderr = std::mem::replace(&mut self.stderr, std::thread::spawn(String::new));
        stderr.join().unwrap()
    }

    fn stop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        process::signal(self.child.id(), Signal::TERM);
        if process::wait(&mut self.child, Duration::from_secs(5)).is_none() {
            // The kernel ends the endpoints together with their supervisor.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Parses the line `ready {"endpoints":[{"tier":…,"url":…}]}`.
fn parse_ready(line: &str) -> Vec<(Tier, u16)> {
    let json = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not the ready line: {line}"));
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let endpoint = |entry: &serde_json::Value| {
        let port = entry["url"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        (entry["tier"].as_str().unwrap().parse().unwrap(), port)
    };
    value["endpoints"].as_array().unwrap().iter().map(endpoint).collect()
}
