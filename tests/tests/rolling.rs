//! Rolling restart: all four processes are replaced, no client is refused, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Guard, Signal};
use roverline_tests::raw;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, observe_for_async};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running `restart --rolling`.
struct Restart {
    child: Guard,
    output: BufReader<std::process::ChildStdout>,
}

impl Restart {
    fn of(gateway: &Gateway, args: &[&str]) -> Restart {
        let mut command = gateway::command(&["restart", "--rolling"]);
        command.args(args).arg("--state").arg(gateway.state());
        let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap());
        let output = BufReader::new(child.0.stdout.take().unwrap());
        Restart { child, output }
    }

    /// Reads lines until a step of this name.
    fn until(&mut self, step: &str) {
        let mut line = String::new();
        while line.split_whitespace().nth(1) != Some(step) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended without: {step}");
            print!("{line}");
        }
    }

    /// Waits for its exit and prints the rest of its output; the exit code.
    fn end(mut self) -> i32 {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        print!("{rest}");
        process::wait(&mut self.child.0, PATIENCE).unwrap().code().unwrap()
    }
}

fn pids(gateway: &Gateway) -> Vec<u32> {
    Tier::ALL.map(|tier| gateway.endpoint_pid(tier)).to_vec()
}

/// The measurements of clients that reconnect immediately.
#[derive(Debug, Default)]
struct ReconnectLog {
    connected: usize,
    closed: Vec<u16>,
    closed_at: Vec<Instant>,
    failures: Vec<String>,
}

/// Starts plain clients on one port, each of which reconnects immediately when closed.
async fn reconnecting_clients(port: u16, count: usize) -> Arc<Mutex<ReconnectLog>> {
    let log = Arc::<Mutex<ReconnectLog>>::default();
    for _ in 0..count {
        let log = log.clone();
        tokio::spawn(async move {
            loop {
                match PlainClient::try_connect(port).await {
                    Err(error) => {
                        log.lock().unwrap().failures.push(error.to_string());
                        observe_for_async(Duration::from_millis(20), "the client's reconnect delay").await;
                    }
                    Ok(mut client) => {
                        log.lock().unwrap().connected += 1;
                        let code = loop {
                            if let Err(code) = client.next().await {
                                break code;
                            }
                        };
                        let mut log = log.lock().unwrap();
                        log.closed.push(code);
                        log.closed_at.push(Instant::now());
                    }
                }
            }
        });
    }
    connected(&log, count).await;
    log
}

/// Waits until there have been so many connections.
async fn connected(log: &Arc<Mutex<ReconnectLog>>, count: usize) {
    let log = log.clone();
    let all = move || log.lock().unwrap().connected >= count;
    let waiting =
        tokio::task::spawn_blocking(move || eventually("the clients", Duration::from_secs(20), all));
    waiting.await.unwrap();
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_clients_are_never_refused() {
    let gateway = Arc::new(blocking(|| Gateway::up(&["--source", "sim"])).await);
    let log = reconnecting_clients(gateway.first_port(), 10).await;
    let (before, code, after) = blocking({
        let gateway = gateway.clone();
        move || {
            let before = pids(&gateway);
            let code = Restart::of(&gateway, &[]).end();
            (before, code, pids(&gateway))
        }
    })
    .await;
    assert_eq!(code, 0);
    assert!(
        before.iter().all(|pid| !after.contains(pid) && !process::is_running(*pid)),
        "{before:?} {after:?}"
    );
    connected(&log, 20).await;
    let log = log.lock().unwrap();
    assert_eq!(log.closed, [4200; 10], "each is moved once");
    let spread = log.closed_at[9] - log.closed_at[0];
    assert!(spread > Duration::from_millis(300), "all at once: {spread:?}");
    assert!(log.failures.is_empty(), "{log:?}");
}

/// A native client that receives `/odom` and follows drain messages by hand. Returns the sequence numbers it
/// received, and between which samples it switched.
async fn follow_drains(port: u16, until: Arc<Mutex<bool>>) -> (BTreeSet<u64>, Vec<RangeInclusive<u64>>) {
    let mut seen = BTreeSet::new();
    let mut current = NativeClient::subscribed(port, &["/odom"]).await;
    let mut moves = Vec::new();
    while !*until.lock().unwrap() {
        match current.next().await {
            Received::Sample(_, header, _) => drop(seen.insert(header.id.seq)),
            Received::Text(message) => {
                if let ServerMessage::Drain { deadline_ms, to } = *message {
                    assert!((1_000..=2_000).contains(&deadline_ms), "{deadline_ms}");
                    assert!(to.iter().all(|other| other.address.is_some() && other.tier != Tier::Primary));
                    assert_eq!(to.len(), 3);
                    let newest = *seen.last().unwrap();
                    current = switch_over(current, port, &mut seen).await;
                    moves.push(newest..=*seen.last().unwrap());
                }
            }
            Received::Heartbeat(_) => {}
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }
    (seen, moves)
}

/// Opens the second connection first, and closes the old one once it has delivered the earlier samples.
async fn switch_over(mut old: NativeClient, port: u16, seen: &mut BTreeSet<u64>) -> NativeClient {
    let mut new = NativeClient::connect(port).await;
    let topics = vec!["/odom".to_owned()];
    new.send(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
    let (mut newest_of_old, mut oldest_of_new) = (0, u64::MAX);
    while newest_of_old < oldest_of_new {
        let (message, is_old) = tokio::select! {
            message = old.next() => (message, true),
            message = new.next() => (message, false),
        };
        if let Received::Sample(_, header, _) = message {
            seen.insert(header.id.seq);
            match is_old {
                true => newest_of_old = header.id.seq,
                false => oldest_of_new = oldest_of_new.min(header.id.seq),
            }
        } else if let Received::Closed(code) = message {
            panic!("closed with {code} before it could go over");
        }
    }
    new
}

/// The samples that a native client loses while all four are replaced; `None` if the trial is inconclusive
/// because the machine stalls so much that the rover skips samples at other times as well.
async fn lost_while_draining() -> Option<Vec<u64>> {
    let gateway = Arc::new(blocking(|| Gateway::up(&["--source", "sim"])).await);
    let over = Arc::<Mutex<bool>>::default();
    let following = tokio::spawn(follow_drains(gateway.first_port(), over.clone()));
    let code = blocking({
        let gateway = gateway.clone();
        move || Restart::of(&gateway, &[]).end()
    })
    .await;
    *over.lock().unwrap() = true;
    assert_eq!(code, 0);
    let (seen, moves) = following.await.unwrap();
    assert_eq!(moves.len(), 1);
    let (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
    let lost: Vec<u64> = (first..=last).filter(|seq| !seen.contains(seq)).collect();
    println!("/odom {first} to {last}, went over within {moves:?}, lost {lost:?}");
    lost.iter().all(|seq| moves[0].contains(seq)).then_some(lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_client_loses_nothing() {
    for _ in 0..3 {
        if let Some(lost) = lost_while_draining().await {
            return assert!(lost.is_empty(), "{lost:?}");
        }
    }
    panic!("this machine stalls too much for a result");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_native_client_that_stays_is_closed_at_the_end_of_the_window() {
    let gateway = Arc::new(blocking(|| Gateway::up(&["--source", "sim"])).await);
    let mut client = NativeClient::subscribed(gateway.first_port(), &["/odom"]).await;
    let restarting = tokio::task::spawn_blocking({
        let gateway = gateway.clone();
        move || Restart::of(&gateway, &["--tier", "primary"]).end()
    });
    let mut drained = false;
    let code = loop {
        match client.next().await {
            Received::Text(message) => drained |= matches!(*message, ServerMessage::Drain { .. }),
            Received::Closed(code) => break code,
            _ => {}
        }
    };
    assert_eq!((drained, code), (true, 4200));
    assert_eq!(restarting.await.unwrap(), 0);
}

/// Copies a program in another process: a file that this process has written may still be open in a child
/// that another thread is about to start, and could not be executed ("text file busy").
fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

/// A gateway whose program is a replaceable copy, and the copy.
fn copied(scratch: &TempDir) -> (Gateway, PathBuf) {
    let copy = scratch.path().join("roverline-gateway");
    copy_program(&roverline_tests::binary::bin("roverline-gateway"), &copy);
    let up = ["up", "--base-port", "0", "--source", "sim"];
    (Gateway::start(gateway::command_of(&copy, &up), &[]), copy)
}

/// Replaces a program like an installation does: with another file at the same path.
fn install(path: &Path, script: &str, mode: u32) {
    let new = path.with_extension("new");
    let source = path.with_extension("source");
    std::fs::write(&source, script).unwrap();
    copy_program(&source, &new);
    std::fs::set_permissions(&new, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn a_replacement_that_does_not_start_leaves_the_old_one_serving() {
    let scratch = temp::dir();
    let (gateway, path) = copied(&scratch);
    let before = pids(&gateway);
    let state = gateway.state().to_str().unwrap();
    let broken = [
        (
            "#!/bin/sh
exit 3
",
            0o755,
            "exit status: 3",
        ),
        ("", 0o644, "could not be started"),
    ];
    for (script, mode, word) in broken {
        install(&path, script, mode);
        let (code, stdout, stderr) = gateway::run(&["restart", "--rolling", "--state", state], PATIENCE);
        assert_eq!(code, 1, "{stdout}{stderr}");
        for word in ["emergency", word, "goes on", "0 replaced"] {
            assert!(stderr.contains(word), "{word} is not in: {stderr}");
        }
        assert_eq!(pids(&gateway), before);
    }
    // The program at the path is broken now, but the running one can still be started.
    process::signal(before[0], Signal::KILL);
    eventually("the primary again", Duration::from_secs(10), || {
        http::get(gateway.first_port(), "/status").status == 200
            && gateway.endpoint_pid(Tier::Primary) != before[0]
    });
}

#[test]
fn after_an_upgrade_the_new_program_runs() {
    let scratch = temp::dir();
    let (gateway, path) = copied(&scratch);
    let old = std::fs::read_link(format!("/proc/{}/exe", gateway.endpoint_pid(Tier::Tertiary))).unwrap();
    assert_eq!(old, path);
    let new = path.with_extension("new");
    copy_program(&path, &new);
    std::fs::rename(new, &path).unwrap();
    assert_eq!(Restart::of(&gateway, &["--tier", "tertiary"]).end(), 0);
    let exe = |tier| std::fs::read_link(format!("/proc/{}/exe", gateway.endpoint_pid(tier))).unwrap();
    assert_eq!(exe(Tier::Tertiary), path);
    assert_ne!(exe(Tier::Emergency), path, "the others still run what is gone from the path");
}

#[test]
fn the_control_socket_is_private_and_lists_the_processes() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let state = gateway.state().to_str().unwrap();
    let files = std::fs::read_dir(state).unwrap().map(Result::unwrap);
    let sockets: Vec<_> = files.filter(|file| file.file_type().unwrap().is_socket()).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(sockets[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let port = gateway.first_port().to_string();
    let (code, stdout, stderr) =
        gateway::run(&["status", "--json", "--state", state, "--base-port", &port], PATIENCE);
    assert_eq!(code, 0, "{stderr}");
    let processes: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let reported: Vec<u32> = (0..4).map(|at| processes[at]["pid"].as_u64().unwrap() as u32).collect();
    assert_eq!(reported, pids(&gateway));
    let (code, _, stderr) = gateway::run(&["restart", "--state", state], PATIENCE);
    assert!(code == 2 && stderr.contains("--rolling"), "{code} {stderr}");
    let (code, _, stderr) = gateway::run(&["restart", "--rolling", "--state", "/nowhere"], PATIENCE);
    assert!(code == 1 && stderr.contains("/nowhere"), "{code} {stderr}");
}

/// Kills the old process after this step of its replacement; the close codes of the clients.
async fn killed_after(step: &'static str) -> Vec<u16> {
    let gateway = Arc::new(blocking(|| Gateway::up(&["--source", "sim"])).await);
    let log = reconnecting_clients(gateway.first_port(), 10).await;
    let code = blocking({
        let gateway = gateway.clone();
        move || {
            let old = gateway.endpoint_pid(Tier::Primary);
            let mut restart = Restart::of(&gateway, &["--tier", "primary"]);
            restart.until(step);
            process::signal(old, Signal::KILL);
            let code = restart.end();
            assert!(!process::is_running(old));
            assert_ne!(gateway.endpoint_pid(Tier::Primary), old);
            assert_eq!(process::children(gateway.pid()).len(), 4);
            code
        }
    })
    .await;
    assert_eq!(code, 0);
    connected(&log, 20).await;
    let log = log.lock().unwrap();
    assert!(log.failures.is_empty(), "{log:?}");
    log.closed.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_refused_when_a_draining_process_is_killed() {
    let closed = killed_after("accepts").await;
    assert!(closed.contains(&1006), "it was killed too late to matter: {closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_refused_when_a_process_is_killed_during_the_warm_up() {
    assert_eq!(killed_after("started").await, [1006; 10]);
}

/// Sends a request and reads the response: its head, and a body of the announced length.
fn exchange(stream: &mut TcpStream, request: &str) -> Response {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let length = Response::parse(&head).header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Response::parse(&[head, body].concat())
}

#[test]
fn a_draining_endpoint_serves_new_connections_and_redirects_old_ones() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", gateway.first_port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut kept, mut other, mut fresh) = (connect(), connect(), connect());
    for stream in [&mut kept, &mut other] {
        assert!(!exchange(stream, health).body.contains("draining"));
    }
    let mut restart = Restart::of(&gateway, &["--tier", "primary"]);
    restart.until("accepts");
    let refused = exchange(&mut kept, &raw::handshake("/"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
    assert!(refused.body.contains("alternatives") && refused.body.contains("secondary"), "{refused:?}");
    let draining = exchange(&mut other, health);
    assert!(draining.body.contains("\"draining\":true"), "{draining:?}");
    assert_eq!(draining.header("connection"), Some("close"));
    // It was accepted before the drain, and sends its first request now.
    assert_eq!(exchange(&mut fresh, &raw::handshake("/")).status, 101);
    assert_eq!(raw::RawClient(fresh).close_code(), 4200);
    assert_eq!(restart.end(), 0);
}

#[test]
fn a_stop_in_the_middle_leaves_nothing_behind() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let mut restart = Restart::of(&gateway, &[]);
    restart.until("started");
    let all = process::children(gateway.pid());
    assert_eq!(all.len(), 5);
    process::signal(gateway.pid(), Signal::TERM);
    assert_eq!(gateway.wait(Duration::from_millis(2_500)).and_then(|status| status.code()), Some(0));
    eventually("the endpoints to be gone", Duration::from_secs(3), || {
        !all.iter().any(|pid| process::is_running(*pid))
    });
    assert_eq!(restart.end(), 1);
}
