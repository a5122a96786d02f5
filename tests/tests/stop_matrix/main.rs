//! The emergency stop's matrix: each way to press it in each bad moment; what the operator sees after 100 ms, 1 s
//! and in the end, and what the rover did. `cargo test --test stop_matrix -- --nocapture` prints it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod operators;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway, SharedState};
use roverline_tests::process::{self, Signal};
use roverline_tests::raw;
use roverline_tests::wait::{eventually, observe_for, poll};
use roverline_tests::{binary, http};
use serde_json::{Value, json};

use crate::operators::{Operator, Way};

const PATH: &str = "/api/v2/emergency-stop";
const PATIENCE: Duration = Duration::from_secs(20);
/// When the operator looks, after the press.
const LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// How long a situation lasts in which nothing answers.
const OUTAGE: Duration = Duration::from_secs(3);

/// One row of the matrix.
struct Row {
    way: Way,
    looks: Vec<String>,
    last: String,
    engaged: Option<Duration>,
}

/// What an endpoint says of the stop, if it answers soon.
fn state(port: u16) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Whether the rover is stopped, according to the best endpoint that answers.
fn is_engaged(ports: &[u16]) -> bool {
    ports.iter().find_map(|port| state(*port)).is_some_and(|state| state["engaged"] == true)
}

/// Releases the stop, again if an engage that was sent before arrives late: an engage always engages.
fn release(ports: &[u16]) {
    let body = json!({"engage": false, "reason": "matrix"}).to_string();
    eventually("it is released", PATIENCE, || {
        http::request(ports[0], "POST", PATH, "Content-Type: application/json\r\n", &body);
        !is_engaged(ports)
    });
}

/// Presses stop between `begin` and `end` of a situation, and looks. `end` is called after the second look.
fn press(name: &str, way: Way, operator: &mut Operator, ports: &[u16], end: impl FnOnce()) -> Row {
    let pressed = Instant::now();
    operator.press();
    let watched = ports.to_owned();
    let rover =
        std::thread::spawn(move || poll(PATIENCE, || is_engaged(&watched).then(|| pressed.elapsed())));
    let mut looks = Vec::new();
    for at in LOOKS {
        observe_for(at.saturating_sub(pressed.elapsed()), "the operator looks at set times");
        looks.push(operator.sees());
    }
    end();
    let engaged = rover.join().unwrap();
    if way == Way::Command {
        let _ = poll(PATIENCE, || operator.sees().starts_with("exit").then_some(()));
    }
    observe_for(Duration::from_millis(300), "the answer reaches the screen");
    let row = Row { way, looks, last: operator.sees(), engaged };
    print_row(name, &row);
    row
}

fn print_row(name: &str, row: &Row) {
    println!("{name}, {:?}:", row.way);
    for (when, what) in ["0.1 s", "1 s"].into_iter().zip(&row.looks) {
        println!("    {when:>6}  {what}");
    }
    println!("    {:>6}  {}", "end", row.last);
    match row.engaged {
        Some(after) => println!("    rover   engaged, known {} ms after the press", after.as_millis()),
        None => println!("    rover   NOT engaged"),
    }
}

/// What must hold wherever an endpoint can hear.
fn assert_heard(name: &str, row: &Row) {
    assert!(row.engaged.is_some(), "{name}, {:?}: the rover was not stopped: {}", row.way, row.last);
    let said = row.last.to_lowercase();
    let ok = match row.way {
        Way::Console | Way::SmallConsole => said.contains("e-stop") || said.contains("stop accepted"),
        Way::Command => said.starts_with("exit 0"),
        Way::Http => said.starts_with("200"),
        Way::Native | Way::Plain => said.contains("\"accepted\":true"),
        // ROS has no answer to a publication.
        Way::Rosbridge => true,
    };
    assert!(ok, "{name}, {:?} sees: {}", row.way, row.last);
}

/// What must be on the screen of somebody whose stop nobody has heard.
fn assert_warned(name: &str, row: &Row) {
    let screen = row.looks.last().unwrap().to_lowercase();
    match row.way {
        Way::Console | Way::SmallConsole => {
            assert!(screen.contains("red button"), "{name}, {:?} sees: {screen}", row.way);
        }
        _ => assert!(!screen.contains("accepted\":true") && !screen.contains("exit 0"), "{name}: {screen}"),
    }
}

struct Stage {
    runtime: tokio::runtime::Runtime,
    gateway: Gateway,
    ports: Vec<u16>,
}

impl Stage {
    fn of(gateway: Gateway) -> Stage {
        let ports = gateway.endpoints.iter().map(|(_, port)| *port).collect();
        Stage { runtime: runtime(), gateway, ports }
    }

    fn up(args: &[&str]) -> Stage {
        Stage::of(Gateway::up(&[&["--source", "sim"], args].concat()))
    }

    fn operator(&self, way: Way) -> Operator {
        let operator = Operator::open(way, &self.ports, self.runtime.handle());
        eventually("the operator is ready", PATIENCE, || operator.is_connected());
        observe_for(Duration::from_millis(300), "standbys connect");
        operator
    }

    /// Every way, while the situation lasts. It begins before the press and ends a second after it.
    fn each(&self, name: &str, begin: impl Fn(), end: impl Fn()) -> Vec<Row> {
        let mut rows = Vec::new();
        for way in Way::ALL {
            let mut operator = self.operator(way);
            begin();
            rows.push(press(name, way, &mut operator, &self.ports, &end));
            drop(operator);
            release(&self.ports);
            eventually("all clients have left", PATIENCE, || {
                self.ports.iter().all(|port| http::health(*port).endpoint.clients == 0)
            });
        }
        rows
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_good_moment() {
    for row in Stage::up(&[]).each("all serve", || {}, || {}) {
        assert_heard("all serve", &row);
    }
}

#[test]
fn all_endpoints_hang_and_come_back() {
    let stage = Stage::up(&[]);
    // Their ids are asked before they hang.
    let pids = Tier::ALL.map(|tier| stage.gateway.endpoint_pid(tier));
    let all: Vec<u32> = [stage.gateway.pid()].into_iter().chain(pids).collect();
    let begin = || {
        all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        observe_for(Duration::from_millis(1_500), "clients notice");
    };
    let end = || {
        observe_for(OUTAGE, "nothing answers");
        all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    };
    for row in stage.each("all hang", begin, end) {
        assert_warned("all hang", &row);
        assert!(row.engaged.is_some(), "{:?}: {}", row.way, row.last);
    }
}

#[test]
fn the_primary_hangs() {
    let stage = Stage::up(&[]);
    for way in [Way::Console, Way::SmallConsole, Way::Command] {
        let mut operator = stage.operator(way);
        let pids = [stage.gateway.pid(), stage.gateway.endpoint_pid(Tier::Primary)];
        pids.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        let others = &stage.ports[1..];
        let row = press("primary hangs", way, &mut operator, others, || {});
        pids.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
        assert_heard("primary hangs", &row);
        drop(operator);
        eventually("the primary serves", PATIENCE, || is_engaged(&stage.ports[..1]));
        release(&stage.ports);
    }
}

#[test]
fn all_places_are_taken() {
    let stage = Stage::up(&["--max-clients", "2"]);
    let taken: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let begin = || {
        for port in &stage.ports {
            for _ in 0..3 {
                let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
                stream.write_all(raw::handshake("/telemetry").as_bytes()).unwrap();
                taken.lock().unwrap().push(stream);
            }
        }
    };
    for row in stage.each("full", begin, || taken.lock().unwrap().clear()) {
        assert_heard("full", &row);
    }
}

#[test]
fn under_hostile_load() {
    let stage = Stage::up(&[]);
    let stop = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (0..4)
        .map(|n| {
            let (stop, port) = (stop.clone(), stage.ports[n % stage.ports.len()]);
            std::thread::spawn(move || {
                let request = b"GET /api/v2/topics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
                let mut buffer = vec![0; 1 << 20];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                    while !stop.load(Ordering::Relaxed)
                        && stream.write_all(&request).is_ok()
                        && stream.read(&mut buffer).is_ok_and(|n| n > 0)
                    {}
                }
            })
        })
        .collect();
    let rows = stage.each("hostile load", || {}, || {});
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    rows.iter().for_each(|row| assert_heard("hostile load", row));
}

#[test]
fn nothing_listens_at_first() {
    let base = free_block();
    let ports: Vec<u16> = (base..base + 4).collect();
    let runtime = runtime();
    for way in Way::ALL.into_iter().filter(|way| way.repeats()) {
        let mut operator = Operator::open(way, &ports, runtime.handle());
        eventually("the console is there", PATIENCE, || operator.is_ready());
        let mut gateway = None;
        let start = || {
            observe_for(OUTAGE, "nothing listens");
            let base = base.to_string();
            let command = gateway::command(&["up", "--base-port", &base]);
            gateway = Some(Gateway::start(command, &["--source", "sim"]));
        };
        let row = press("nothing listens", way, &mut operator, &ports, start);
        assert_warned("nothing listens", &row);
        assert_heard("nothing listens", &row);
    }
}

/// Four free ports in a row.
fn free_block() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let bases = (0..200).map(|n| 21_000 + 16 * n + (std::process::id() % 4) as u16 * 4);
    bases.into_iter().find(|base| (*base..*base + 4).all(is_free)).unwrap()
}

#[test]
fn the_latch_is_damaged() {
    let stage = Stage::up(&[]);
    stage.operator(Way::Http).press();
    eventually("it is engaged", PATIENCE, || is_engaged(&stage.ports));
    release(&stage.ports);
    let latch = find(stage.gateway.state(), "emergency_stop.json").unwrap();
    for row in stage.each("damaged latch", || std::fs::write(&latch, b"\0\xff{").unwrap(), || {}) {
        assert_heard("damaged latch", &row);
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => find(&path, name),
        path if path.ends_with(name) => Some(path),
        _ => None,
    })
}

/// A gateway whose state is on a small file system of its own, which `fill` fills.
#[test]
fn the_disk_is_full() {
    let state = SharedState::default();
    let script = "mount -t tmpfs -o size=32m none \"$0\" || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command.arg(state.path()).arg(binary::bin("roverline-gateway")).args(["up", "--base-port", "0"]);
    gateway::clean_environment(&mut command);
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return println!("SKIPPED: no mount namespaces here");
    }
    let stage = Stage::of(Gateway::start_in(state.path(), command, &["--source", "sim"]));
    let inside = PathBuf::from(format!("/proc/{}/root", stage.gateway.pid()));
    let fill = inside.join(state.path().strip_prefix("/").unwrap()).join("fill");
    let begin = || {
        let mut file = std::fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    };
    for way in Way::ALL {
        let mut operator = stage.operator(way);
        begin();
        let row = press("disk full", way, &mut operator, &stage.ports, || {});
        assert_heard("disk full", &row);
        if way == Way::Console {
            assert!(row.last.contains("■ E-STOP"), "{}", row.last);
        }
        // A release that cannot be stored is refused.
        let body = json!({"engage": false}).to_string();
        let refused =
            http::request(stage.ports[0], "POST", PATH, "Content-Type: application/json\r\n", &body);
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(is_engaged(&stage.ports));
        drop(operator);
        std::fs::remove_file(&fill).unwrap();
        eventually("it can be released again", PATIENCE, || {
            http::request(stage.ports[0], "POST", PATH, "Content-Type: application/json\r\n", &body).status
                == 200
        });
        eventually("it is released", PATIENCE, || !is_engaged(&stage.ports));
    }
}

#[test]
fn each_order_of_ids() {
    let stage = Stage::up(&[]);
    let post = |engage: bool, id: &str| {
        let body = json!({"engage": engage, "id": id}).to_string();
        http::request(stage.ports[0], "POST", PATH, "Content-Type: application/json\r\n", &body).status
    };
    // Engage, release, and engage again with each combination of two ids: the last engage always engages.
    for first in ["1", "2"] {
        for second in ["1", "2"] {
            for third in ["1", "2"] {
                let ids = format!("{first}{second}{third}");
                let name = |id: &str, kind: &str| format!("{ids}-{id}-{kind}");
                assert_eq!(post(true, &name(first, "x")), 200, "{ids}");
                assert!(is_engaged(&stage.ports), "{ids}");
                let released = post(false, &name(second, "x"));
                assert_eq!(released, if first == second { 409 } else { 200 }, "{ids}");
                post(true, &name(third, "x"));
                assert!(is_engaged(&stage.ports), "{ids}: the last engage");
                assert_eq!(post(false, &name("0", "end")), 200, "{ids}");
            }
        }
    }
}
