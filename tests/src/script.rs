//! Runs the foreign clients, which are scripts in `tests/clients`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::net::Namespace;
use crate::{clients, process};

/// A running script. Killed when dropped.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    /// Starts `tests/clients/NAME`.
    pub fn start<S: AsRef<str>>(python: &Path, name: &str, args: &[S]) -> Script {
        Script::start_in(&Namespace::default(), python, name, args)
    }

    /// The same in a network namespace.
    pub fn start_in<S: AsRef<str>>(namespace: &Namespace, python: &Path, name: &str, args: &[S]) -> Script {
        let mut child = namespace
            .command(python)
            .arg(clients::root().join("tests/clients").join(name))
            .args(args.iter().map(AsRef::as_ref))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        Script { name: name.to_owned(), child, stdin, stdout }
    }

    /// Its process id, valid as long as this value.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a command to its standard input; the line that it answers with.
    pub fn request(&mut self, command: &str) -> Value {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
        self.line()
    }

    /// The next line that it prints, as JSON; `None` after the last one.
    pub fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// The next line that it prints, as JSON.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line:?}", self.name))
    }

    /// Waits up to `patience` for the script to exit; the last line that it printed, as JSON.
    pub fn finish(mut self, patience: Duration) -> Value {
        self.stdin = None;
        // The scripts print little, so the pipe does not fill up.
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
