//! The bad moments of gateway, network and disk.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::binary;
use roverline_tests::gateway::{self, Gateway, SharedState};
use roverline_tests::process::{self, Signal};
use roverline_tests::raw;
use roverline_tests::wait::{eventually, observe_for};
use serde_json::json;

use crate::Pace;
use crate::operators::{Operator, Way};
use crate::press::{PATIENCE, assert_heard, assert_warned, command, is_engaged, press, release};
use crate::stage::{Stage, runtime, ways};

pub(crate) fn all_serve(pace: Pace) {
    for row in Stage::up(&[]).each("all serve", pace, &ways(), |_| {}, |_| {}) {
        assert_heard("all serve", &row);
    }
}

pub(crate) fn all_hang(pace: Pace) {
    let stage = Stage::up(&[]);
    // Their ids are asked before they hang.
    let pids = Tier::ALL.map(|tier| stage.gateway.endpoint_pid(tier));
    let all: Vec<u32> = [stage.gateway.pid()].into_iter().chain(pids).collect();
    let begin = |_: &mut Operator| {
        all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        observe_for(Duration::from_millis(1_500), "clients notice");
    };
    let end = |_: &Operator| {
        observe_for(pace.outage, "nothing answers");
        all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    };
    for row in stage.each("all hang", pace, &ways(), begin, end) {
        assert_warned("all hang", &row);
        assert!(row.engaged.is_some(), "{:?}: {}", row.way, row.last);
    }
}

pub(crate) fn primary_hangs(pace: Pace) {
    let stage = Stage::up(&[]);
    for way in ways() {
        let mut operator = stage.operator(way);
        let pids = [stage.gateway.pid(), stage.gateway.endpoint_pid(Tier::Primary)];
        pids.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        let go_on = |operator: &Operator| {
            if operator.way.repeats() {
                let heard = || is_engaged(&stage.ports[1..]);
                eventually("another endpoint hears the stop while the primary hangs", PATIENCE, heard);
            }
            pids.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
        };
        let row = press("primary hangs", pace, &mut operator, &stage.ports[1..], go_on);
        if way.repeats() {
            assert_heard("primary hangs", &row);
        } else {
            assert_warned("primary hangs", &row);
        }
        drop(operator);
        eventually("the primary serves", PATIENCE, || {
            command(stage.ports[0], &json!({"engage": true})) == 200 && is_engaged(&stage.ports[..1])
        });
        release(&stage.ports);
    }
}

/// Takes all slots of a gateway that has two at each endpoint.
fn take_places(ports: &[u16]) -> Vec<TcpStream> {
    let connect = |port: &u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
        stream.write_all(raw::handshake("/telemetry").as_bytes()).unwrap();
        stream
    };
    ports.iter().flat_map(|port| [port; 3]).map(connect).collect()
}

pub(crate) fn full(pace: Pace) {
    let stage = Stage::up(&["--max-clients", "2"]);
    let taken: Mutex<Vec<TcpStream>> = Mutex::default();
    let begin = |_: &mut Operator| *taken.lock().unwrap() = take_places(&stage.ports);
    for row in stage.each("full", pace, &ways(), begin, |_| taken.lock().unwrap().clear()) {
        assert_heard("full", &row);
    }
}

/// The places are taken before the operator comes. A socket is refused then, so it has nothing to press.
pub(crate) fn full_before(pace: Pace) {
    let stage = Stage::up(&["--max-clients", "2"]);
    for way in ways().into_iter().filter(|way| way.repeats() || *way == Way::Http) {
        let taken = take_places(&stage.ports);
        observe_for(Duration::from_millis(300), "the places are taken");
        let mut operator = Operator::open(way, &stage.ports, stage.runtime.handle());
        eventually("the operator is there", PATIENCE, || operator.is_ready());
        let row = press("full before", pace, &mut operator, &stage.ports, |_| {});
        drop((operator, taken));
        assert_heard("full before", &row);
        stage.clear();
    }
}

pub(crate) fn hostile_load(pace: Pace) {
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
    let rows = stage.each("hostile load", pace, &ways(), |_| {}, |_| {});
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    rows.iter().for_each(|row| assert_heard("hostile load", row));
}

/// For the page the gateway ends before the press: a page comes from somewhere.
pub(crate) fn nothing_listens(pace: Pace) {
    let base = free_block();
    let ports: Vec<u16> = (base..base + 4).collect();
    let runtime = runtime();
    let start = || {
        let command = gateway::command(&["up", "--base-port", &base.to_string()]);
        Gateway::start(command, &["--source", "sim"])
    };
    for way in ways().into_iter().filter(|way| way.repeats()) {
        let before = (way == Way::Page).then(start);
        let mut operator = Operator::open(way, &ports, runtime.handle());
        eventually("the operator is there", PATIENCE, || operator.is_ready());
        drop(before);
        let mut gateway = None;
        let begin_to_listen = |_: &Operator| {
            observe_for(pace.outage, "nothing listens");
            gateway = Some(start());
        };
        let row = press("nothing listens", pace, &mut operator, &ports, begin_to_listen);
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

pub(crate) fn damaged_latch(pace: Pace) {
    let stage = Stage::up(&[]);
    stage.operator(Way::Http).press();
    eventually("it is engaged", PATIENCE, || is_engaged(&stage.ports));
    release(&stage.ports);
    let latch = find(stage.gateway.state(), "emergency_stop.json").unwrap();
    let begin = |_: &mut Operator| std::fs::write(&latch, b"\0\xff{").unwrap();
    for row in stage.each("damaged latch", pace, &ways(), begin, |_| {}) {
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
pub(crate) fn disk_full(pace: Pace) {
    let state = SharedState::default();
    let script = "mount -t tmpfs -o size=32m none \"$0\" || exit 99; exec \"$@\"";
    let mut program = Command::new("unshare");
    program.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    program.arg(state.path()).arg(binary::bin("roverline-gateway")).args(["up", "--base-port", "0"]);
    gateway::clean_environment(&mut program);
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return println!("SKIPPED: no mount namespaces here");
    }
    let stage = Stage::of(Gateway::start_in(state.path(), program, &["--source", "sim"]));
    let inside = PathBuf::from(format!("/proc/{}/root", stage.gateway.pid()));
    let fill = inside.join(state.path().strip_prefix("/").unwrap()).join("fill");
    let begin = || {
        let mut file = std::fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    };
    for way in ways() {
        let mut operator = stage.operator(way);
        begin();
        let row = press("disk full", pace, &mut operator, &stage.ports, |_| {});
        assert_heard("disk full", &row);
        if way == Way::Console {
            assert!(row.last.contains("■ E-STOP"), "{}", row.last);
        }
        // A release that cannot be stored is refused.
        let release = json!({"engage": false});
        assert_eq!(command(stage.ports[0], &release), 503, "{way:?}");
        assert!(is_engaged(&stage.ports));
        drop(operator);
        std::fs::remove_file(&fill).unwrap();
        eventually("it can be released again", PATIENCE, || command(stage.ports[0], &release) == 200);
        eventually("it is released", PATIENCE, || !is_engaged(&stage.ports));
    }
}
