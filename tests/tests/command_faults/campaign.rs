//! The clients of a campaign: each command is sent by two of them, and repeated at random endpoints until there is an answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::api::commands::CommandDocument;
use roverline_tests::clock::monotonic_ns;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::rover::CommandedRover;

const CLIENTS: usize = 16;
/// A client that has no answer by then goes to another endpoint.
const ATTEMPT: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// A client without an answer after this time has lost its command.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Times to live, in turn; the shortest ones end within a fault.
const TTL_MS: [u64; 4] = [500, 1_000, 2_000, 5_000];
/// How long the service may take.
const TIMEOUT_MS: u64 = 1_000;
/// Least time between two commands of a client, so that a campaign lasts for several faults.
const CLIENT_PERIOD: Duration = Duration::from_millis(100);

/// A command, which is the same whoever sends it and however often.
pub(crate) struct Command {
    n: usize,
    ttl_ms: u64,
    first: OnceLock<Sent>,
    /// What its clients were told last; one entry each.
    pub(crate) answers: [OnceLock<CommandDocument>; 2],
}

struct Sent {
    at_ns: u64,
    body: String,
}

impl Command {
    pub(crate) fn new(n: usize) -> Command {
        Command { n, ttl_ms: TTL_MS[n % TTL_MS.len()], first: OnceLock::new(), answers: Default::default() }
    }

    /// The request; its time to live begins when it is sent first.
    fn request(&self) -> &str {
        let first = self.first.get_or_init(|| {
            let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            let id = format!("0198c2a4-7d3e-7000-8000-{:012x}", self.n);
            let command = json!({"id": id, "kind": "call", "target": "/rover/do", "body": {"a": self.n},
                "type": "example_interfaces/srv/AddTwoInts", "sent_ns": unix_ns, "ttl_ms": self.ttl_ms,
                "timeout_ms": TIMEOUT_MS});
            Sent { at_ns: monotonic_ns(), body: command.to_string() }
        });
        &first.body
    }

    /// The number by which the rover knows it.
    pub(crate) fn number(&self) -> usize {
        self.n
    }

    /// The end of its time to live, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.first.get().map_or(0, |first| first.at_ns + self.ttl_ms * 1_000_000)
    }
}

/// Sends a command once: the status and the answer; `None` if there is none.
pub(crate) fn send(server: SocketAddr, token: &str, command: &Command) -> Option<(u16, Value)> {
    let body = command.request();
    let shown = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "POST /api/v2/commands HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {shown}Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect_timeout(&server, CONNECT).ok()?;
    stream.set_read_timeout(Some(ATTEMPT)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8(answer).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Sends it to random endpoints until one says what became of it.
fn until_answered(rover: &CommandedRover, command: &Command) -> Option<CommandDocument> {
    let end = Instant::now() + GIVE_UP;
    while Instant::now() < end {
        let entrance = rover.entrances[fastrand::usize(..rover.entrances.len())];
        match send(entrance, &rover.token, command) {
            Some((200..=202, answer)) => return serde_json::from_value(answer).ok(),
            // Down, away, busy, or not its scope: another one.
            _ => std::thread::sleep(PAUSE),
        }
    }
    None
}

/// Sends commands while the fault comes again and again; the commands, and how often it came.
pub(crate) fn campaign(rover: &CommandedRover, fault: Fault, count: usize) -> (Vec<Command>, usize) {
    let commands: Vec<Command> = (0..count).map(Command::new).collect();
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let client = || {
        rover.ground.enter();
        loop {
            // Neighbours are the same command.
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(command) = commands.get(at / 2) else { return };
            let begin = Instant::now();
            if let Some(answer) = until_answered(rover, command) {
                let _ = command.answers[at % 2].set(answer);
            }
            std::thread::sleep(CLIENT_PERIOD.saturating_sub(begin.elapsed()));
        }
    };
    let faults = std::thread::scope(|scope| {
        let faults = scope.spawn(|| {
            let mut happened = 0;
            while fault != Fault::Nothing && !is_over.load(Ordering::Relaxed) {
                fault.happen(rover, happened);
                happened += 1;
            }
            happened
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        faults.join().unwrap()
    });
    // What was handed to DDS last has arrived by then.
    roverline_tests::wait::observe_for(Duration::from_millis(500), "the last calls arrive at the rover");
    (commands, faults)
}
