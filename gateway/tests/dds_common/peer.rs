//! DDS peers: the scripts on CycloneDDS in `tests/clients`, and the node on Fast DDS.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use roverline_test_support::clients;
use roverline_test_support::skip::skip;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The Python with the client libraries; `None` means skip, which has been reported.
pub(crate) fn python() -> Option<PathBuf> {
    clients::python().inspect_err(skip).ok()
}

/// A running script, killed on drop.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(python: &Path, script: &str, domain: u16, args: &str) -> Peer {
        let mut command = Command::new(python);
        command.arg(root().join("tests/clients").join(script));
        Peer::run(command, domain, args)
    }

    /// Starts the node on Fast DDS; `None` means skip, which has been reported.
    pub(crate) fn fastdds(domain: u16, args: &str) -> Option<Peer> {
        let node = clients::fastdds_node().inspect_err(skip).ok()?;
        Some(Peer::run(Command::new(node), domain, args))
    }

    fn run(mut command: Command, domain: u16, args: &str) -> Peer {
        let mut child = command
            .args(["--domain", &domain.to_string()])
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Peer { child, stdin, stdout }
    }

    /// Writes a line to its input.
    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Closes its input and waits; returns the last line of its output.
    pub(crate) fn shutdown(mut self) -> serde_json::Value {
        drop(self.stdin.take());
        self.finish()
    }

    /// Waits for its exit; returns the last line of its output.
    pub(crate) fn finish(mut self) -> serde_json::Value {
        let lines: Vec<String> = self.stdout.by_ref().lines().map(Result::unwrap).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status:?}");
        serde_json::from_str(lines.last().unwrap()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
