//! CycloneDDS on the other side: scripts of `tests/clients`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The Python that has the clients; `None` means: skip, and it has been said.
pub(crate) fn python() -> Option<PathBuf> {
    let python = root().join(".clients/python/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
        "the foreign clients are required here: run scripts/setup-clients"
    );
    // Not by a macro: the test runner would keep it to itself.
    let line = "SKIPPED: run scripts/setup-clients to test against CycloneDDS\n";
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A running script; it is killed when dropped.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(python: &Path, script: &str, domain: u16, args: &str) -> Peer {
        let mut child = Command::new(python)
            .arg(root().join("tests/clients").join(script))
            .args(["--domain", &domain.to_string()])
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Peer { child, stdin, stdout }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends it; the last line that it printed.
    pub(crate) fn end(mut self) -> serde_json::Value {
        drop(self.stdin.take());
        self.finish()
    }

    /// Waits for its end; the last line that it printed.
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
