//! Starting, stopping and killing: no process is left behind, and errors are explained.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::scheduler_stall::StallWatch;
use roverline_tests::temp;
use roverline_tests::wait::eventually;
use roverline_tests::{binary, http};

/// Deadline for a stop: it takes at most two seconds, plus a margin for a loaded machine.
const STOP: Duration = Duration::from_millis(2_500);

/// The endpoint processes of a supervisor.
fn endpoints_of(gateway: &Gateway) -> Vec<u32> {
    let children = process::children(gateway.pid());
    let reported: Vec<u32> = Tier::ALL.map(|tier| gateway.endpoint_pid(tier)).to_vec();
    assert_eq!(children.len(), 4, "{children:?}");
    assert!(reported.iter().all(|pid| children.contains(pid)), "{reported:?} are not {children:?}");
    children
}

fn expect_no_process(children: &[u32]) {
    eventually("the endpoints to be gone", Duration::from_secs(3), || {
        children.iter().all(|pid| !process::is_running(*pid))
    });
}

fn stops_cleanly(signal: Signal) {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    let (start, watch) = (Instant::now(), StallWatch::start());
    process::signal(gateway.pid(), signal);
    let status = gateway.wait(4 * STOP).unwrap_or_else(|| panic!("{signal:?}: it does not end"));
    let took = start.elapsed();
    let bound = STOP + 2 * watch.stop();
    println!("{signal:?}: ended after {took:?}, bound {bound:?}");
    assert!(took <= bound, "{signal:?}: {took:?}, bound {bound:?}");
    assert_eq!(status.code(), Some(0), "{status}");
    expect_no_process(&children);
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
    let mut client = PlainClient::connect(gateway.first_port()).await;
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
fn endpoints_that_must_not_survive_end_with_a_killed_supervisor() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(gateway.pid(), Signal::KILL);
    assert!(gateway.wait(STOP).is_some());
    expect_no_process(&children);
}

#[test]
fn even_a_frozen_one_of_them_ends_with_a_killed_supervisor() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(children[0], Signal::STOP);
    eventually("the freeze", Duration::from_secs(2), || process::state(children[0]) == Some('T'));
    process::signal(gateway.pid(), Signal::KILL);
    assert!(gateway.wait(STOP).is_some());
    expect_no_process(&children);
}

#[test]
fn a_stop_does_not_wait_for_a_frozen_endpoint() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let children = endpoints_of(&gateway);
    process::signal(children[2], Signal::STOP);
    process::signal(gateway.pid(), Signal::TERM);
    let status = gateway.wait(STOP).unwrap_or_else(|| panic!("still running after {STOP:?}"));
    assert_eq!(status.code(), Some(0), "{status}");
    expect_no_process(&children);
}

#[test]
fn an_endpoint_comes_back_though_the_binary_was_replaced() {
    let scratch = temp::dir();
    let copy = scratch.path().join("roverline-gateway");
    std::fs::copy(binary::bin("roverline-gateway"), &copy).unwrap();
    let gateway =
        Gateway::start(gateway::command_of(&copy, &["up", "--base-port", "0", "--source", "sim"]), &[]);
    let first = endpoints_of(&gateway);
    // Like an upgrade does.
    std::fs::remove_file(&copy).unwrap();
    process::signal(first[0], Signal::KILL);
    eventually("four endpoints again", Duration::from_secs(10), || {
        let now = process::children(gateway.pid());
        now.len() == 4 && !now.contains(&first[0]) && now.iter().all(|pid| process::is_running(*pid))
    });
    endpoints_of(&gateway);
}

#[test]
fn an_occupied_port_is_reported_with_its_owner_and_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let state = temp::dir();
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
    let scratch = temp::dir();
    let file = temp::write(&scratch, "bad.toml", "[gateway]\n\nmax_clients = \"many\"\n");
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
async fn an_inherited_listening_socket_is_used() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = gateway::command(&["serve", "--source", "sim"]);
    command.env("LISTEN_FDS", "1");
    let socket: OwnedFd = socket.into();
    command.fd_mappings(vec![FdMapping { parent_fd: socket, child_fd: 3 }]).unwrap();
    // A client that connects before the server starts waits in the backlog.
    let early = tokio::spawn(PlainClient::connect(port));
    let gateway = Gateway::start(command, &[]);
    early.await.unwrap().next_of("telemetry").await;
    assert_eq!(http::health(port).endpoint.port, port);
    assert_eq!(gateway.first_port(), port, "the ready line tells the port that is served");
}

/// The lines of a supervisor's log.
fn supervisor_log(gateway: &Gateway) -> String {
    let logs = std::fs::read_dir(gateway.state().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let own = logs.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("supervisor"));
    own.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn an_endpoint_without_memory_is_restarted_and_the_others_go_on() {
    let scratch = temp::dir();
    let config = temp::write(&scratch, "memory.toml", "[process]\nmemory_mib = 300\n");
    let gateway = Gateway::up(&["--source", "sim", "--config", config.to_str().unwrap()]);
    let before = Tier::ALL.map(|tier| gateway.endpoint_pid(tier));
    let memory = http::status(gateway.first_port()).memory;
    assert_eq!(memory.limit_bytes, Some(300 << 20));
    assert!(memory.data_bytes > 0 && memory.data_bytes < 200 << 20, "{memory:?}");
    let page = http::get(gateway.first_port(), "/metrics").body;
    assert!(page.contains("roverline_memory_limit_bytes 314572800"), "{page}");
    // As if it had used everything: the next allocation that the kernel has to serve fails.
    process::limit_data(before[0], 1 << 20);
    eventually("another process", Duration::from_secs(30), || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", gateway.first_port())).unwrap();
        let _ = std::io::Write::write_all(&mut stream, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
        !process::is_running(before[0])
    });
    eventually("the primary again", Duration::from_secs(10), || {
        http::get(gateway.first_port(), "/status").status == 200
    });
    assert_ne!(gateway.endpoint_pid(Tier::Primary), before[0]);
    for (tier, pid) in Tier::ALL.into_iter().zip(before).skip(1) {
        assert_eq!(gateway.endpoint_pid(tier), pid, "{tier}");
    }
    eventually("the reason in the log", Duration::from_secs(5), || {
        supervisor_log(&gateway).contains("its limit, 300 MiB")
    });
}

#[test]
fn four_that_end_at_once_come_back_one_after_another() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let before = endpoints_of(&gateway);
    before.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
    let start = Instant::now();
    // Connections wait in the backlog until the tier's new process accepts them.
    let back: Vec<_> = Tier::ALL
        .map(|tier| {
            let port = gateway.port(tier);
            std::thread::spawn(move || {
                let started_ns = http::health(port).endpoint.started_ns;
                (tier, started_ns, start.elapsed())
            })
        })
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    println!("{back:?}");
    let started: Vec<_> = back.iter().map(|(_, started_ns, _)| *started_ns).collect();
    assert!(started[1..].iter().all(|other| *other > started[0]), "the primary is the first");
    assert!(started[3] - started[0] >= 300_000_000, "the emergency endpoint is the last");
    assert!(back.iter().all(|(.., after)| *after < Duration::from_secs(4)), "{back:?}");
}
