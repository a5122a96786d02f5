//! A process that does to the store what it is told, line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::clients::{Hands, open};
use super::journal::{Act, Got};
use crate::binary;
use crate::process::Guard;

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) client: String,
    pub(crate) act: Act,
    /// How long a lock lives.
    pub(crate) ttl_ms: u64,
    /// How long one is waited for.
    pub(crate) wait_ms: u64,
}

/// What it answers: what it got, and its wall clock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) got: Got,
    pub(crate) wall_s: u64,
}

/// Does as told until standard input ends.
pub(crate) fn run(store: &str) -> ExitCode {
    super::crew::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let hands = runtime.block_on(async { open(store).map(Hands::on) }).unwrap();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let order: Order = serde_json::from_str(&line).unwrap();
        let (ttl, wait) = (Duration::from_millis(order.ttl_ms), Duration::from_millis(order.wait_ms));
        let got = runtime.block_on(hands.act(&order.client, &order.act, ttl, wait));
        let wall_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_secs());
        println!("{}", serde_json::to_string(&Reply { got, wall_s }).unwrap());
    }
    ExitCode::SUCCESS
}

/// Such a process, as the one who tells it what to do sees it.
#[derive(Debug)]
pub(crate) struct Actor {
    child: Guard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start(store: &str, environment: &[(String, String)]) -> Actor {
        let mut command = Command::new(binary::bin("coordination"));
        command.args(["actor", "--store", store]).envs(environment.iter().cloned());
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Actor { child: Guard(child), stdin, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Tells it to, without waiting for the answer.
    pub(crate) fn order(&mut self, order: &Order) {
        writeln!(self.stdin, "{}", serde_json::to_string(order).unwrap()).unwrap();
    }

    /// Its next answer; nothing when it is gone.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Does it, with a lock that lives so long.
    pub(crate) fn act(&mut self, client: &str, act: Act, ttl: Duration) -> Option<Reply> {
        let ttl_ms = ttl.as_millis() as u64;
        self.order(&Order { client: client.to_owned(), act, ttl_ms, wait_ms: 30_000 });
        self.reply()
    }
}
