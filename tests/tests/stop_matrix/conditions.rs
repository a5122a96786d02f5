//! Conditions of gateway, network and disk under which the stop is pressed.

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

use crate::Timing;
use crate::fixture::{StopFixture, runtime, ways};
use crate::operators::{Operator, Way};
use crate::press::{PATIENCE, assert_engaged, assert_warned, command, is_engaged, press, release};

pub(crate) fn all_serve(timing: Timing) {
    for row in StopFixture::start(&[]).press_in_each_way("all serve", timing, &ways(), |_| {}, |_| {}) {
        assert_engaged("all serve", &row);
    }
}

pub(crate) fn all_hang(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    // The process ids are read before the endpoints hang.
    let pids = Tier::ALL.map(|tier| fixture.gateway.endpoint_pid(tier));
    let all: Vec<u32> = [fixture.gateway.pid()].into_iter().chain(pids).collect();
    let begin = |_: &mut Operator| {
        all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        observe_for(Duration::from_millis(1_500), "clients detect the hang");
    };
    let end = |_: &Operator| {
        observe_for(timing.outage, "nothing answers");
        all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    };
    for row in fixture.press_in_each_way("all hang", timing, &ways(), begin, end) {
        assert_warned("all hang", &row);
        assert!(row.engaged.is_some(), "{:?}: {}", row.way, row.last);
    }
}

pub(crate) fn primary_hangs(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    for way in ways() {
        let mut operator = fixture.operator(way);
        let pids = [fixture.gateway.pid(), fixture.gateway.endpoint_pid(Tier::Primary)];
        pids.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
        let go_on = |operator: &Operator| {
            if operator.way.repeats() {
                let engaged = || is_engaged(&fixture.ports[1..]);
                eventually("another endpoint receives the stop while the primary hangs", PATIENCE, engaged);
            }
            pids.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
        };
        let row = press("primary hangs", timing, &mut operator, &fixture.ports[1..], go_on);
        if way.repeats() {
            assert_engaged("primary hangs", &row);
        } else {
            assert_warned("primary hangs", &row);
        }
        drop(operator);
        eventually("the primary serves", PATIENCE, || {
            command(fixture.ports[0], &json!({"engage": true})) == 200 && is_engaged(&fixture.ports[..1])
        });
        release(&fixture.ports);
    }
}

/// Takes all slots of a gateway that has two at each endpoint.
fn take_slots(ports: &[u16]) -> Vec<TcpStream> {
    let connect = |port: &u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
        stream.write_all(raw::handshake("/telemetry").as_bytes()).unwrap();
        stream
    };
    ports.iter().flat_map(|port| [port; 3]).map(connect).collect()
}

pub(crate) fn full(timing: Timing) {
    let fixture = StopFixture::start(&["--max-clients", "2"]);
    let taken: Mutex<Vec<TcpStream>> = Mutex::default();
    let begin = |_: &mut Operator| *taken.lock().unwrap() = take_slots(&fixture.ports);
    for row in fixture.press_in_each_way("full", timing, &ways(), begin, |_| taken.lock().unwrap().clear()) {
        assert_engaged("full", &row);
    }
}

/// The slots are taken before the operator connects. A WebSocket client is refused then, so it is not tested.
pub(crate) fn full_before(timing: Timing) {
    let fixture = StopFixture::start(&["--max-clients", "2"]);
    for way in ways().into_iter().filter(|way| way.repeats() || *way == Way::Http) {
        let taken = take_slots(&fixture.ports);
        observe_for(Duration::from_millis(300), "the slots are taken");
        let mut operator = Operator::open(way, &fixture.ports, fixture.runtime.handle());
        eventually("the operator is ready", PATIENCE, || operator.is_ready());
        let row = press("full before", timing, &mut operator, &fixture.ports, |_| {});
        drop((operator, taken));
        assert_engaged("full before", &row);
        fixture.reset();
    }
}

pub(crate) fn hostile_load(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    let stop = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (0..4)
        .map(|n| {
            let (stop, port) = (stop.clone(), fixture.ports[n % fixture.ports.len()]);
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
    let one_of_each_kind = [Way::Console, Way::Page, Way::Native, Way::Http];
    let ways: Vec<Way> = ways()
        .into_iter()
        .filter(|way| timing.every_way_under_load || one_of_each_kind.contains(way))
        .collect();
    let rows = fixture.press_in_each_way("hostile load", timing, &ways, |_| {}, |_| {});
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    rows.iter().for_each(|row| assert_engaged("hostile load", row));
}

/// For the page a gateway runs first, which serves the page and ends before the press.
pub(crate) fn nothing_listens(timing: Timing) {
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
        eventually("the operator is ready", PATIENCE, || operator.is_ready());
        drop(before);
        let mut gateway = None;
        let start_gateway = |_: &Operator| {
            observe_for(timing.outage, "nothing listens");
            gateway = Some(start());
        };
        let row = press("nothing listens", timing, &mut operator, &ports, start_gateway);
        assert_warned("nothing listens", &row);
        assert_engaged("nothing listens", &row);
    }
}

/// Four free ports in a row.
fn free_block() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let bases = (0..200).map(|n| 21_000 + 16 * n + (std::process::id() % 4) as u16 * 4);
    bases.into_iter().find(|base| (*base..*base + 4).all(is_free)).unwrap()
}

pub(crate) fn damaged_latch(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    fixture.operator(Way::Http).press();
    eventually("it is engaged", PATIENCE, || is_engaged(&fixture.ports));
    release(&fixture.ports);
    let latch = find(fixture.gateway.state(), "emergency_stop.json").unwrap();
    let begin = |_: &mut Operator| std::fs::write(&latch, b"\0\xff{").unwrap();
    for row in fixture.press_in_each_way("damaged latch", timing, &ways(), begin, |_| {}) {
        assert_engaged("damaged latch", &row);
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
pub(crate) fn disk_full(timing: Timing) {
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
    let fixture = StopFixture::with_gateway(Gateway::start_in(state.path(), program, &["--source", "sim"]));
    let inside = PathBuf::from(format!("/proc/{}/root", fixture.gateway.pid()));
    let fill = inside.join(state.path().strip_prefix("/").unwrap()).join("fill");
    let begin = || {
        let mut file = std::fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    };
    for way in ways() {
        let mut operator = fixture.operator(way);
        begin();
        let row = press("disk full", timing, &mut operator, &fixture.ports, |_| {});
        assert_engaged("disk full", &row);
        if way == Way::Console {
            // The second line is the state, or the answer as long as that is shown.
            let shown = ["■ E-STOP", "emergency stop engaged, but not stored"];
            assert!(shown.iter().any(|text| row.last.contains(text)), "{}", row.last);
        }
        // A release that cannot be stored is refused.
        let release = json!({"engage": false});
        assert_eq!(command(fixture.ports[0], &release), 503, "{way:?}");
        assert!(is_engaged(&fixture.ports));
        drop(operator);
        std::fs::remove_file(&fill).unwrap();
        eventually("it can be released again", PATIENCE, || command(fixture.ports[0], &release) == 200);
        eventually("it is released", PATIENCE, || !is_engaged(&fixture.ports));
    }
}
