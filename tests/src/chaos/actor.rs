//! A child process that performs operations on the store, one per line of its standard input.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::journal::{Operation, Outcome};
use super::store_clients::{StoreClients, open};
use crate::binary;
use crate::process::Guard;

/// A request to the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) operation: Operation,
    /// The lease of a lock.
    pub(crate) ttl_ms: u64,
    /// How long to wait for a lock.
    pub(crate) wait_ms: u64,
}

/// The process's reply: the outcome, and its wall clock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) wall_s: u64,
}

/// Performs operations until standard input ends.
pub(crate) fn run(store: &str) -> ExitCode {
    super::workers::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let clients = runtime.block_on(async { open(store).map(StoreClients::on) }).unwrap();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let request: Request = serde_json::from_str(&line).unwrap();
        let (ttl, wait) = (Duration::from_millis(request.ttl_ms), Duration::from_millis(request.wait_ms));
        let outcome = runtime.block_on(clients.execute(&request.client, &request.operation, ttl, wait));
        let wall_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_secs());
        println!("{}", serde_json::to_string(&Reply { outcome, wall_s }).unwrap());
    }
    ExitCode::SUCCESS
}

/// A running actor, seen from its parent.
#[derive(Debug)]
pub(crate) struct Actor {
    child: Guard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start(store: &str, environment: &[(String, String)]) -> Actor {
        let mut command = Command::new(binary::bin("chaos"));
        command.args(["actor", "--store", store]).envs(environment.iter().cloned());
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Actor { child: Guard(child), stdin, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends a request without waiting for the reply.
    pub(crate) fn send(&mut self, request: &Request) {
        writeln!(self.stdin, "{}", serde_json::to_string(request).unwrap()).unwrap();
    }

    /// The next reply; `None` if the process has ended.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Performs an operation, with this lease for locks.
    pub(crate) fn execute(&mut self, client: &str, operation: Operation, ttl: Duration) -> Option<Reply> {
        let ttl_ms = ttl.as_millis() as u64;
        self.send(&Request { client: client.to_owned(), operation, ttl_ms, wait_ms: 30_000 });
        self.reply()
    }
}
