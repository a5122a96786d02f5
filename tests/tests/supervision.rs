//! Starting, stopping and being killed: nothing is left behind, and what is wrong is said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::Plain;
use roverline_tests::process::{self, Signal};
use roverline_tests::scratch::Scratch;
use roverline_tests::wait::eventually;
use roverline_tests::{binary, http};

/// A stop takes at most two seconds; a loaded machine gets a little more before the test complains.
const STOP: Duration = Duration::from_millis(2_500);

/// The endpoint processes of a supervisor.
fn endpoints_of(gateway: &Gateway) -> Vec<u32> {
    let children = process::children(gateway.pid());
    let told: Vec<u32> = Tier::ALL.map(|tier| gateway.endpoint_pid(tier)).to_vec();
    assert_eq!(children.len(), 4, "{children:?}");
    assert!(told.iter().all(|pid| children.contains(pid)), "{told:?} are not {children:?}");
    children
}

fn nobody_is_left(children: &[u32]) {
    eventually("the endpoints to be gone", Duration::from_secs(3), || {
        children.iter().all(|pid| !process::runs(*pid))
    });
}

fn stops_cleanly(signal: Signal) {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    let start = Instant::now();
    process::signal(gateway.pid(), signal);
    let status = gateway.wait(STOP).unwrap_or_else(|| panic!("{signal:?}: still running after {STOP:?}"));
    println!("{signal:?}: ended after {:?}", start.elapsed());
    assert_eq!(status.code(), Some(0), "{status}");
    nobody_is_left(&children);
}

#[test]
fn sigterm_stops_everything() {
    stops_cleanly(Signal::TERM);
}

#[test]
fn sigint_stops_everything() {
    stops_cleanly(Signal::INT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_goodbye_to_clients() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let mut client = Plain::connect(gateway.first_port()).await;
    client.next_of("telemetry").await;
    process::signal(gateway.pid(), Signal::TERM);
    let code = loop {
        if let Err(code) = client.next().await {
            break code;
        }
    };
    assert_eq!(code, 1001);
    assert_eq!(gateway.wait(STOP).and_then(|status| status.code()), Some(0));
}

#[test]
fn endpoints_end_with_a_killed_supervisor() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(gateway.pid(), Signal::KILL);
    assert!(gateway.wait(STOP).is_some());
    nobody_is_left(&children);
}

#[test]
fn even_a_frozen_endpoint_ends_with_a_killed_supervisor() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(children[0], Signal::STOP);
    eventually("the freeze", Duration::from_secs(2), || process::state(children[0]) == Some('T'));
    process::signal(gateway.pid(), Signal::KILL);
    assert!(gateway.wait(STOP).is_some());
    nobody_is_left(&children);
}

#[test]
fn a_stop_does_not_wait_for_a_frozen_endpoint() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(children[2], Signal::STOP);
    process::signal(gateway.pid(), Signal::TERM);
    let status = gateway.wait(STOP).unwrap_or_else(|| panic!("still running after {STOP:?}"));
    assert_eq!(status.code(), Some(0), "{status}");
    nobody_is_left(&children);
}

#[test]
fn an_endpoint_comes_back_though_the_binary_was_replaced() {
    let scratch = Scratch::new();
    let copy = scratch.path().join("roverline-gateway");
    std::fs::copy(binary::bin("roverline-gateway"), &copy).unwrap();
    let gateway =
        Gateway::start(gateway::command_of(&copy, &["up", "--base-port", "0", "--source", "sim"]), &[]);
    let first = endpoints_of(&gateway);
    // As an upgrade does.
    std::fs::remove_file(&copy).unwrap();
    process::signal(first[0], Signal::KILL);
    eventually("four endpoints again", Duration::from_secs(10), || {
        let now = process::children(gateway.pid());
        now.len() == 4 && !now.contains(&first[0]) && now.iter().all(|pid| process::runs(*pid))
    });
    endpoints_of(&gateway);
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let state = Scratch::new();
    let directory = state.path().to_str().unwrap();
    let up = ["up", "--source", "sim", "--state", directory, "--base-port", &port];
    let serve = ["serve", "--source", "sim", "--state", directory, "--port", &port];
    for args in [&up, &serve] {
        let (code, _, stderr) = gateway::run(args, Duration::from_secs(10));
        assert_eq!(code, 1, "{stderr}");
        for word in [port.as_str(), &format!("pid {}", std::process::id()), "--base-port"] {
            assert!(stderr.contains(word), "{word} is not in: {stderr}");
        }
    }
}

#[test]
fn bad_flags_and_configurations_are_explained() {
    let scratch = Scratch::new();
    let file = scratch.write("bad.toml", "[gateway]\n\nmax_clients = \"many\"\n");
    let config = file.to_str().unwrap();
    let at = format!("{config}:3: ");
    let explained = |args: &[&str], words: &[&str]| {
        let (code, stdout, stderr) = gateway::run(args, Duration::from_secs(10));
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: {word} is not in: {stderr}");
        }
    };
    explained(&["up", "--config", config], &[&at, "max_clients"]);
    explained(&["up", "--config", "/nowhere/roverline.toml"], &["/nowhere/roverline.toml"]);
    explained(&["up", "--no-such-flag"], &["--no-such-flag", "--help"]);
    explained(&["up", "--source", "radio"], &["radio", "dds", "sim"]);
    explained(&["up", "--source", "bag"], &["--file"]);
    explained(&["up", "--source", "bag", "--file", "/nowhere.mcap"], &["/nowhere.mcap"]);
    explained(&["up", "--source", "sim", "--fault", "rain@3s"], &["rain"]);
    explained(&["serve", "--tier", "fifth"], &["fifth", "emergency"]);
    explained(&["serve", "--peer", "rover:8081"], &["TIER=HOST:PORT"]);
    explained(&["sim"], &["--dds"]);
    explained(&[], &["Usage"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listening_socket_is_taken_over() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = gateway::command(&["serve", "--source", "sim"]);
    command.env("LISTEN_FDS", "1");
    let socket: OwnedFd = socket.into();
    command.fd_mappings(vec![FdMapping { parent_fd: socket, child_fd: 3 }]).unwrap();
    // A client that came before the server waits in the backlog.
    let early = tokio::spawn(Plain::connect(port));
    let gateway = Gateway::start(command, &[]);
    early.await.unwrap().next_of("telemetry").await;
    assert_eq!(http::health(port).endpoint.port, port);
    assert_eq!(gateway.first_port(), port, "the ready line tells the port that is served");
}
