//! Clients that are not ours, in Python: `scripts/setup-clients` installs them.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process;

/// Says that a test was skipped. Not by a macro: the test runner would keep it to itself.
pub fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

/// The Python that has the clients; `None` means: skip, and it has been said.
pub fn python() -> Option<PathBuf> {
    let python = root().join(".clients/python/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
        "the foreign clients are required here: run scripts/setup-clients"
    );
    skipped("run scripts/setup-clients");
    None
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A running script. Ends when dropped.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    /// Starts `tests/clients/NAME`.
    pub fn start<S: AsRef<str>>(python: &Path, name: &str, args: &[S]) -> Script {
        let mut child = Command::new(python)
            .arg(root().join("tests/clients").join(name))
            .args(args.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Script { name: name.to_owned(), child, stdout }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line:?}", self.name))
    }

    /// Waits for its end, at most `patience`; the last line that it printed.
    pub fn finish(mut self, patience: Duration) -> Value {
        // All of them print little: the pipe holds it.
        let Some(status) = process::wait(&mut self.child, patience) else {
            panic!("{} still runs after {patience:?}", self.name);
        };
        assert!(status.success(), "{}: {status}", self.name);
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
