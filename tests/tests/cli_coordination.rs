//! Coordination from the command line: `roverline`, curl, and the examples of the page about coordination.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_tests::gateway::{Gateway, clean_environment};
use roverline_tests::process::{self, Guard, Signal};
use roverline_tests::wait::eventually;
use roverline_tests::{binary, http};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A command that finds the gateway, and `roverline`, through its environment.
fn program(gateway: &Gateway, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    clean_environment(&mut command);
    let bin = binary::bin("roverline");
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    command.args(args).env("PATH", path).env("HOME", gateway.state()).env_remove("XDG_STATE_HOME");
    command.env("ROVERLINE_ENDPOINTS", gateway.urls().join(",")).env("ROVERLINE_STATE", gateway.state());
    command
}

/// Runs `roverline` until it exits: exit code, standard output and error.
fn roverline(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    finish(program(gateway, "roverline", args))
}

fn finish(mut command: Command) -> (i32, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Guard(child);
    // The output is short: it fits into the pipes.
    let status = process::wait(&mut child.0, PATIENCE);
    let status = status.unwrap_or_else(|| panic!("{command:?} still runs"));
    let (mut out, mut error) = (String::new(), String::new());
    child.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (status.code().unwrap_or(-1), out, error)
}

/// The standard output of a command that must succeed.
fn run_ok(gateway: &Gateway, args: &[&str]) -> String {
    let (code, out, error) = roverline(gateway, args);
    assert_eq!(code, 0, "{args:?}: {out}{error}");
    out.trim_end().to_owned()
}

fn json_of(gateway: &Gateway, args: &[&str]) -> Value {
    serde_json::from_str(&run_ok(gateway, args)).unwrap()
}

/// A running `roverline`, and the lines that it prints.
struct Running {
    child: Guard,
    lines: Receiver<String>,
}

impl Running {
    fn start(gateway: &Gateway, args: &[&str]) -> Running {
        let mut command = program(gateway, "roverline", args);
        let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Waits for its exit: exit code and standard error.
    fn end(mut self) -> (i32, String) {
        let status = process::wait(&mut self.child.0, PATIENCE).unwrap();
        let mut error = String::new();
        self.child.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (status.code().unwrap_or(-1), error)
    }
}

#[test]
fn a_lock_is_held_while_a_command_runs_and_its_loss_ends_the_command() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let first = json_of(&gateway, &["locks", "acquire", "arm", "--client", "ann"]);
    let (code, ..) = roverline(&gateway, &["locks", "acquire", "arm", "--client", "bob"]);
    assert_eq!((first["standing"].as_str(), code), (Some("held"), 1));
    let list = json_of(&gateway, &["locks", "list", "--json"]);
    assert_eq!(list["locks"][0]["waiting"], json!([]), "who gave up waits for nothing");
    run_ok(&gateway, &["locks", "release", "arm", "--client", "ann"]);

    let script = "echo $ROVERLINE_LOCK $ROVERLINE_LOCK_TOKEN; exit 7";
    let (code, out, error) = roverline(&gateway, &["locks", "run", "arm", "--", "sh", "-c", script]);
    assert_eq!(code, 7, "{out}{error}");
    let token: u64 = out.trim().strip_prefix("arm ").unwrap().parse().unwrap();
    assert!(token > first["token"].as_u64().unwrap(), "{token} after {first}");
    assert_eq!(json_of(&gateway, &["locks", "list", "--json"])["locks"], json!([]));

    // Earlier than by the next poll, 5 s after the previous one.
    let args = [
        "locks",
        "run",
        "arm",
        "--client",
        "cat",
        "--ttl",
        "10m",
        "--",
        "sh",
        "-c",
        "echo up; exec sleep 600",
    ];
    let running = Running::start(&gateway, &args);
    assert_eq!(running.line(), "up");
    let start = Instant::now();
    json_of(&gateway, &["locks", "list", "--json"]);
    let baseline = start.elapsed();
    run_ok(&gateway, &["locks", "force", "arm", "cat", "--reason", "dinner"]);
    let taken = Instant::now();
    let (code, error) = running.end();
    let detected = taken.elapsed();
    let bound = Duration::from_secs(3) + 4 * baseline;
    assert!(detected < bound, "detected after {detected:?}, bound {bound:?}");
    assert!(code == 75 && error.contains("arm is lost, the command was ended"), "{code}: {error}");
    assert!(error.contains("dinner"), "{error}");
}

#[test]
fn signals_to_locks_run_end_its_command() {
    let gateway = Gateway::up(&["--source", "sim"]);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let script =
            "trap 'sleep 0.2; echo down; exit 3' TERM HUP INT; echo up; while :; do sleep 0.05; done";
        let running = Running::start(&gateway, &["locks", "run", "arm", "--", "sh", "-c", script]);
        assert_eq!(running.line(), "up");
        process::signal(running.child.0.id(), signal);
        assert_eq!(running.line(), "down", "it ends in its own time");
        let (code, error) = running.end();
        assert_eq!((code, error.as_str()), (3, ""));
        assert_eq!(json_of(&gateway, &["locks", "list", "--json"])["locks"], json!([]), "given back");
    }
}

/// Whether there is a process, or a zombie whose parent has not waited for it.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

#[test]
fn what_a_command_has_started_ends_with_it() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let worker = "sh -c 'echo $$; exec sleep 600' & wait";
    let session = "setsid sh -c 'echo $$; exec sleep 600' & wait";
    let orphan = "sh -c 'sh -c \"echo \\$\\$; exec sleep 600\" &'; exec sleep 600";
    let stubborn = "sh -c 'trap \"\" TERM INT HUP; echo $$; while :; do sleep 0.05; done' & wait";
    let ends = "sh -c 'echo $$; exec sleep 600' & sleep 0.2";
    for (how, script) in [
        ("force", worker),
        ("force", session),
        ("force", stubborn),
        ("TERM", worker),
        ("TERM", orphan),
        ("INT", session),
        ("KILL", worker),
        ("KILL", orphan),
        ("KILL", stubborn),
        ("its guard's KILL", worker),
        ("its guard's KILL", stubborn),
        ("its end", ends),
        ("its end", "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' & sleep 0.2"),
    ] {
        let args = ["locks", "run", "arm", "--client", "cat", "--ttl", "10s", "--", "sh", "-c", script];
        let running = Running::start(&gateway, &args);
        let pid: u32 = running.line().parse().unwrap();
        let id = running.child.0.id();
        match how {
            "force" => drop(run_ok(&gateway, &["locks", "force", "arm", "cat", "--reason", "dinner"])),
            "TERM" => process::signal(id, Signal::TERM),
            "INT" => process::signal(id, Signal::INT),
            "KILL" => process::signal(id, Signal::KILL),
            "its guard's KILL" => process::signal(child_of(id), Signal::KILL),
            _ => {}
        }
        drop(running.end());
        eventually(&format!("{how}: the end of {script}"), PATIENCE, || !exists(pid));
        if how == "KILL" {
            // The lock was not released.
            run_ok(&gateway, &["locks", "force", "arm", "cat", "--reason", "killed"]);
        }
    }
}

#[test]
fn two_commands_under_one_lock_are_two_clients_with_their_exit_codes() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let first =
        Running::start(&gateway, &["locks", "run", "arm", "--", "sh", "-c", "echo up; exec sleep 600"]);
    assert_eq!(first.line(), "up");
    let run = |more: &[&str], command: &[&str]| {
        roverline(&gateway, &[&["locks", "run", "arm"], more, &["--"], command].concat())
    };
    let (code, out, error) = run(&[], &["echo", "me too"]);
    assert!(code == 75 && out.is_empty() && error.contains("say --wait TIME"), "{code}: {out}{error}");
    let holder = json_of(&gateway, &["locks", "list", "--json"])["locks"][0]["holders"][0]["client"].clone();
    let (code, out, error) = run(&["--client", holder.as_str().unwrap()], &["echo", "me too"]);
    assert!(code == 75 && out.is_empty() && error.contains("holds arm already"), "{code}: {out}{error}");
    process::signal(first.child.0.id(), Signal::TERM);
    assert_eq!(first.end().0, 143, "ended by a signal");
    for (command, expected) in [
        (&["/no/such/program"][..], 127),
        (&["/etc/passwd"], 126),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["false"], 1),
    ] {
        assert_eq!(run(&["--wait", "5s"], command).0, expected, "{command:?}");
    }
    assert_eq!(json_of(&gateway, &["locks", "list", "--json"])["locks"], json!([]));
    drop(gateway);
}

#[test]
fn bad_arguments_are_rejected_before_any_request() {
    let gateway = Gateway::up(&["--source", "sim"]);
    for args in [
        &["locks", "acquire", ""][..],
        &["locks", "run", "", "--", "true"],
        &["queues", "enqueue", "", "1"],
        &["kv", "put", "", "1"],
        &["kv", "put", "n", "12345678901234567890123"],
    ] {
        let (code, _, error) = roverline(&gateway, args);
        assert_eq!(code, 2, "{args:?}: {error}");
    }
}

#[test]
fn a_message_is_delivered_until_it_is_acknowledged() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let waiting =
        Running::start(&gateway, &["queues", "dequeue", "work", "--wait", "50s", "--json", "--ack"]);
    let id = run_ok(&gateway, &["queues", "enqueue", "work", "-5", "--dedup", "one"]);
    let taken = waiting.json();
    assert_eq!((&taken["message"], taken["message_id"].as_str()), (&json!(-5), Some(id.as_str())));
    assert_eq!(waiting.end().0, 0);
    assert_eq!(run_ok(&gateway, &["queues", "enqueue", "work", "-5", "--dedup", "one"]), id);

    let (code, _, error) = roverline(&gateway, &["queues", "enqueue", "work", "north gate"]);
    assert!(code == 2 && error.contains(r#"'"north gate"'"#), "{code}: {error}");

    run_ok(&gateway, &["queues", "enqueue", "work", r#"{"x": 1}"#]);
    run_ok(&gateway, &["queues", "enqueue", "work", "\"a\\u001b[2Jb\"", "--priority", "9"]);
    let urgent = run_ok(&gateway, &["queues", "dequeue", "work"]);
    let parts: Vec<&str> = urgent.split('\t').collect();
    assert_eq!(parts[1..], ["1", r#""a\u001b[2Jb""#]);
    run_ok(&gateway, &["queues", "extend", parts[0], "1m"]);
    run_ok(&gateway, &["queues", "ack", parts[0]]);
    assert_eq!(roverline(&gateway, &["queues", "ack", parts[0]]).0, 1);

    for delivery in 1..=5 {
        let taken = run_ok(&gateway, &["queues", "dequeue", "work", "--wait", "10s"]);
        let (id, rest) = taken.split_once('\t').unwrap();
        assert_eq!(rest, format!("{delivery}\t{{\"x\":1}}"));
        run_ok(&gateway, &["queues", "nak", id, "--reason", "wheel stuck"]);
    }
    assert_eq!(roverline(&gateway, &["queues", "dequeue", "work"]).0, 1);
    let dead = json_of(&gateway, &["queues", "dead", "work", "--json"]);
    assert_eq!(dead["messages"][0]["reason"], "wheel stuck", "{dead}");
    run_ok(&gateway, &["queues", "redrive", "work"]);
    assert_eq!(json_of(&gateway, &["queues", "status", "work", "--json"])["ready"], 1);
    let purged = json_of(&gateway, &["queues", "purge", "work", "--reason", "over", "--json"]);
    assert_eq!(purged, json!({"messages": 1}));
}

#[test]
fn values_have_versions_and_are_watched() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let watching = Running::start(&gateway, &["kv", "watch", "mission/", "--json"]);
    assert_eq!(run_ok(&gateway, &["kv", "put", "mission/goal", "\"north\"", "--if-version", "0"]), "1");
    assert_eq!(watching.json()["value"], "north");
    let (code, _, error) = roverline(&gateway, &["kv", "put", "mission/goal", "3", "--if-version", "0"]);
    assert!(code == 1 && error.contains("it has version 1"), "{code}: {error}");
    let first = json_of(&gateway, &["kv", "get", "mission/goal", "--json", "--linearizable"]);
    assert_eq!(run_ok(&gateway, &["kv", "put", "mission/goal", "[3, 4]", "--if-version", "1"]), "2");
    assert_eq!(watching.json()["value"], json!([3, 4]));
    run_ok(&gateway, &["kv", "put", "other", "1"]);
    let before = first["revision"].to_string();
    assert_eq!(run_ok(&gateway, &["kv", "get", "mission/goal", "--at", &before]), "\"north\"");
    let list = json_of(&gateway, &["kv", "list", "mission/", "--json"]);
    assert_eq!(list["keys"].as_array().unwrap().len(), 1, "{list}");
    run_ok(&gateway, &["kv", "delete", "mission/goal"]);
    assert_eq!(watching.json(), json!({"key": "mission/goal", "deleted": true}));
    let (code, _, error) = roverline(&gateway, &["kv", "get", "mission/goal", "--linearizable"]);
    assert!(code == 1 && error.contains("there is no key"), "{code}: {error}");
    // A key that expires is reported to watchers.
    run_ok(&gateway, &["kv", "put", "mission/here", "true", "--ttl", "2s"]);
    assert_eq!(watching.json()["expires"], true);
    assert_eq!(watching.json(), json!({"key": "mission/here", "deleted": true}));
}

/// Appends an event through an endpoint that is not killed.
fn append(gateway: &Gateway, number: u64) {
    let body = json!({"stream": "mission/alpha", "type": "step", "data": number}).to_string();
    let fields = "Content-Type: application/json\r\n";
    let answer = http::request(gateway.port(Tier::Secondary), "POST", "/api/v2/events", fields, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn events_tail_shows_each_event_once_although_endpoints_are_killed() {
    const EVENTS: u64 = 240;
    let gateway = Gateway::up(&["--source", "sim"]);
    let all = Running::start(&gateway, &["events", "tail", "-f", "-n", "10000", "--json"]);
    let args = ["events", "tail", "--follow", "-n", "10000", "--json", "--stream", "mission/alpha"];
    let some = Running::start(&gateway, &args);
    for number in 1..=EVENTS {
        append(&gateway, number);
        if number % 60 == 30 {
            // It serves the followers again by now, or never did: both cases count.
            let start = Instant::now();
            let serves = || http::get(gateway.port(Tier::Primary), "/health").status == 200;
            eventually("the primary to serve", PATIENCE, || start.elapsed() > PATIENCE / 2 || serves());
            process::signal(gateway.endpoint_pid(Tier::Primary), Signal::KILL);
        }
    }
    for number in 1..=EVENTS {
        let event = some.json();
        assert_eq!((&event["version"], &event["data"]), (&json!(number), &json!(number)), "{event}");
    }
    let (mut seq, mut step) = (0, 0);
    while step < EVENTS {
        let event = all.json();
        seq += 1;
        assert_eq!(event["seq"], seq, "{event}");
        if event["stream"] == "mission/alpha" {
            step += 1;
            assert_eq!(event["data"], step, "{event}");
        }
    }
    let (code, out, _) = roverline(&gateway, &["events", "verify"]);
    assert!(code == 0 && out.starts_with("sound:"), "{code}: {out}");
    let newest = json_of(&gateway, &["events", "--stream", "mission/alpha", "-n", "2", "--json"]);
    assert_eq!(newest["events"][0]["data"], EVENTS - 1, "{newest}");
}

#[test]
fn messages_enqueued_while_endpoints_are_killed_are_stored_once() {
    const MESSAGES: usize = 40;
    let gateway = Gateway::up(&["--source", "sim"]);
    let over = AtomicBool::new(false);
    let accepted: Vec<usize> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let serves = || http::get(gateway.port(Tier::Primary), "/health").status == 200;
                eventually("the primary to serve", PATIENCE, || over.load(Ordering::Relaxed) || serves());
                if !over.load(Ordering::Relaxed) {
                    process::signal(gateway.endpoint_pid(Tier::Primary), Signal::KILL);
                }
            }
        });
        let enqueue = |n: &usize| roverline(&gateway, &["queues", "enqueue", "work", &n.to_string()]).0 == 0;
        let accepted = (0..MESSAGES).filter(enqueue).collect();
        over.store(true, Ordering::Relaxed);
        accepted
    });
    assert!(accepted.len() > MESSAGES / 2, "{accepted:?}");
    // The last kill may have been a moment ago.
    eventually("the primary serves", PATIENCE, || {
        http::get(gateway.port(Tier::Primary), "/health").status == 200
    });
    let mut found = Vec::new();
    loop {
        let (code, out, error) =
            roverline(&gateway, &["queues", "dequeue", "work", "-n", "20", "--ack", "--json"]);
        let taken = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].as_u64());
        found.extend(taken.map(|n| n.unwrap() as usize));
        match code {
            0 => {}
            _ if error.is_empty() => break,
            _ => panic!("{error}"),
        }
    }
    assert!(accepted.iter().all(|n| found.contains(n)), "accepted {accepted:?}, found {found:?}");
    let once: std::collections::BTreeSet<usize> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "{found:?}");
}

#[test]
fn an_event_has_a_type_and_an_expected_version() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let append = ["events", "append", "mission/beta", "sample.collected", r#"{"tube": 3}"#, "--id", "x"];
    let seq = run_ok(&gateway, &append);
    assert_eq!(run_ok(&gateway, &append), seq);
    let again = ["events", "append", "mission/beta", "sample.lost", "--if-version", "0"];
    assert_eq!(roverline(&gateway, &again).0, 1);
    let line = run_ok(&gateway, &["events", "--type", "sample.collected"]);
    assert!(line.contains("mission/beta") && line.ends_with(r#"{"tube":3}"#), "{line}");
    assert_eq!(roverline(&gateway, &["events", "--stream", "a", "tail"]).0, 2);
    assert_eq!(json_of(&gateway, &["events", "head"])["head"]["kind"], "head");
}

/// The shell blocks of a page.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let parts = text.split("```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix("sh\n").map(str::to_owned)).collect()
}

#[test]
fn the_examples_of_the_page_work() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let examples = examples("coordination.md");
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let script = example.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", gateway.first_port()));
        let mut command = program(&gateway, "sh", &["-eu", "-c", &script]);
        command.current_dir(gateway.state());
        let (code, out, error) = finish(command);
        assert_eq!(code, 0, "{example}\n{out}{error}");
        println!("{example}{out}");
    }
}
