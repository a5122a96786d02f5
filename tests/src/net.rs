//! The network of a test: this computer's own, or two namespaces at the ends of an emulated radio.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;

use crate::process;

/// A network namespace, or none.
#[derive(Clone, Debug, Default)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// A command that runs the program in this namespace.
    pub fn command(&self, program: &Path) -> Command {
        match &self.0 {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                // `ip netns exec` becomes the program: the process id is the same.
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
    }

    /// Moves the calling thread into this namespace; sockets that it opens from now on belong to it.
    pub fn enter(&self) {
        let Some(name) = &self.0 else { return };
        let file = std::fs::File::open(Path::new("/run/netns").join(name)).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

/// The initial properties of the emulated radio.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Radio {
    /// One-way delay.
    pub delay_ms: f64,
    /// Added to the delay, uniformly distributed.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Share of lost packets, 0 to 1.
    #[serde(default)]
    pub loss: f64,
    /// 0: unlimited.
    #[serde(default)]
    pub rate_kbit: f64,
}

/// Traffic handed to the radio, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Bytes with IP headers.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// Traffic in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Ground to rover.
    pub up: Count,
    /// Rover to ground.
    pub down: Count,
}

/// The network of one test.
#[derive(Debug)]
pub struct Net {
    emulator: Option<Emulator>,
    /// The namespace of the gateway.
    pub rover: Namespace,
    /// The namespace of its clients.
    pub ground: Namespace,
    /// The rover's address as seen from the ground.
    pub host: String,
}

#[derive(Debug)]
struct Emulator {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ready {
    Up { rover: String, ground: String, host: String },
    Failed { error: String },
}

impl Net {
    /// This computer's own network.
    pub fn loopback() -> Net {
        let host = "127.0.0.1".to_owned();
        Net { emulator: None, rover: Namespace(None), ground: Namespace(None), host }
    }

    /// A radio between two namespaces, or the reason why that is impossible here.
    pub fn radio(radio: Radio, seed: u64) -> Result<Net, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        if !Path::new("/dev/net/tun").exists() {
            return Err("there is no /dev/net/tun".to_owned());
        }
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/netem/link_emulator.py"));
        // Two digits at the end keep device names short, and distinguish the runs of one process.
        let n = NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let mut child = Command::new("python3")
            .arg(script)
            .args(["--tag", &format!("{}{n:02}", std::process::id()), "--seed", &seed.to_string()])
            .args(["--delay-ms", &radio.delay_ms.to_string(), "--jitter-ms", &radio.jitter_ms.to_string()])
            .args(["--loss", &radio.loss.to_string(), "--rate-kbit", &radio.rate_kbit.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3 does not start: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut emulator = Emulator { child, stdin, stdout };
        match emulator.response() {
            Some(Ready::Up { rover, ground, host }) => Ok(Net {
                emulator: Some(emulator),
                rover: Namespace(Some(rover)),
                ground: Namespace(Some(ground)),
                host,
            }),
            Some(Ready::Failed { error }) => Err(format!("the link emulator cannot work here: {error}")),
            None => Err("the link emulator ended at once".to_owned()),
        }
    }

    /// Whether there is an emulated radio.
    pub fn is_radio(&self) -> bool {
        self.emulator.is_some()
    }

    /// Sends a command to the radio; see `tests/netem/link_emulator.py`.
    pub fn send(&mut self, command_line: &str) {
        let stdin = self.emulator.as_mut().and_then(|emulator| emulator.stdin.as_mut());
        writeln!(stdin.expect("this step needs [radio] in the scenario"), "{command_line}").unwrap();
    }

    /// Traffic over the radio so far.
    pub fn counts(&mut self) -> Counts {
        self.send("count");
        self.emulator.as_mut().and_then(Emulator::response).unwrap()
    }
}

impl Emulator {
    fn response<T: for<'a> Deserialize<'a>>(&mut self) -> Option<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The emulator exits and removes the namespaces when its input ends.
        self.stdin = None;
        if process::wait(&mut self.child, Duration::from_secs(5)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
