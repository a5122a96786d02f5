//! Proof of peers: an endpoint that proves the rover's key is a peer, and one that only claims it is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::status::{DirectoryEntry, EventKind, HealthStatus, Origin, PeerProof, Problem};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::process::{self, Signal};
use roverline_tests::temp;
use roverline_tests::wait::{eventually, observe_for};

const PATIENCE: Duration = Duration::from_secs(20);
const SIM: [&str; 2] = ["--source", "sim"];

fn directory(port: u16) -> Vec<DirectoryEntry> {
    let answer: serde_json::Value = serde_json::from_str(&http::get(port, "/api/v2/endpoints").body).unwrap();
    serde_json::from_value(answer["endpoints"].clone()).unwrap()
}

fn register(port: u16, address: &str) -> http::Response {
    let body = serde_json::json!({"tier": "secondary", "address": address}).to_string();
    http::request(port, "POST", "/api/v2/endpoints", "Content-Type: application/json\r\n", &body)
}

/// The page's policy: whom it may connect to.
fn policy(port: u16) -> String {
    let page = http::request(port, "GET", "/", "Accept: text/html\r\n", "");
    page.header("content-security-policy").unwrap().to_owned()
}

#[test]
fn the_endpoints_of_one_supervisor_share_a_key() {
    let gateway = Gateway::up(&SIM);
    let file = gateway.state().join("peers.key");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    for (_, port) in &gateway.endpoints {
        eventually("the other three have proven themselves", PATIENCE, || {
            let peers = http::status(*port).peers;
            peers.len() == 3
                && peers.iter().all(|peer| peer.proof == Some(PeerProof::Key) && peer.unproven.is_none())
        });
    }
}

#[test]
fn an_announced_impostor_keeps_no_dead_primary_from_being_covered() {
    let scratch = temp::dir();
    let config = format!("[gateway]\nrover = \"covered-{}\"\n", std::process::id());
    let config = temp::write(&scratch, "roverline.toml", &config);
    let config = config.to_str().unwrap();
    let up = [&SIM[..], &["--mdns", "on", "--config", config]].concat();
    let rover = Gateway::up(&up);
    let port = rover.port(Tier::Secondary);
    // It has the rover's name and no key, and reports itself healthy.
    let impostor = Gateway::serve(&[&up[..], &["--tier", "primary"]].concat());
    let announced = || directory(port).into_iter().find(|entry| entry.origin == Origin::Mdns);
    eventually("the impostor is listed", PATIENCE, || announced().is_some());
    let entry = announced().unwrap();
    let address = entry.peer.endpoint.address.unwrap();
    assert!(address.ends_with(&format!(":{}", impostor.first_port())), "{address}");

    // The primary hangs, and so does every process that its supervisor starts instead.
    process::signal(rover.endpoint_pid(Tier::Primary), Signal::STOP);
    eventually("the primary is covered", PATIENCE, || {
        let primary = rover.port(Tier::Primary);
        if let Some(pid) =
            std::net::TcpStream::connect(("127.0.0.1", primary)).ok().and_then(|_| primary_pid(rover.pid()))
        {
            process::signal(pid, Signal::STOP);
        }
        http::health(port).endpoint.covers == [Tier::Primary]
    });
    let entry = announced().unwrap();
    assert!(entry.peer.unproven.as_ref().unwrap().contains("the rover's key"), "{entry:?}");
    assert_eq!((entry.peer.endpoint.status, entry.peer.proof), (HealthStatus::Down, None));
    assert!(!policy(port).contains(&address), "{}", policy(port));
    let events = http::status(port).events;
    assert!(events.iter().all(|event| event.kind != EventKind::PeerAdded), "{events:?}");
}

/// The supervisor's child that serves the primary tier.
fn primary_pid(supervisor: u32) -> Option<u32> {
    let is_primary = |pid: &u32| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let parent = read("stat").rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok());
        parent == Some(supervisor) && read("cmdline").contains("\0primary\0")
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_primary)
}

#[test]
fn registering_says_nothing_of_what_is_at_an_address() {
    let gateway = Gateway::serve(&[&SIM[..], &["--tier", "primary"]].concat());
    let port = gateway.first_port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let other = Gateway::serve(&[&SIM[..], &["--tier", "secondary"]].concat());
    let ssh = TcpListener::bind("127.0.0.1:0").unwrap();
    let ssh_address = ssh.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in ssh.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n");
        }
    });
    let addresses = [
        closed,
        silent.local_addr().unwrap().to_string(),
        ssh_address,
        format!("127.0.0.1:{}", other.first_port()),
    ];
    let shown = |address: &str| {
        let all = http::get(port, "/api/v2/endpoints").body;
        let all: serde_json::Value = serde_json::from_str(&all).unwrap();
        let mut entries = all["endpoints"].as_array().unwrap().iter();
        let mut entry = entries.find(|entry| entry["endpoint"]["address"] == address).cloned().unwrap();
        entry["endpoint"]["address"].take();
        entry["endpoint"]["port"].take();
        entry
    };
    let mut answers = Vec::new();
    for address in &addresses {
        let begun = Instant::now();
        let answer = register(port, address);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(begun.elapsed() < Duration::from_millis(900), "it waits for nothing: {:?}", begun.elapsed());
        answers.push(shown(address));
    }
    observe_for(Duration::from_secs(3), "what the probes of these addresses change");
    answers.extend(addresses.iter().map(|address| shown(address)));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(answers[0]["unproven"].as_str().unwrap().contains("peers.key"), "{}", answers[0]);
    let events = http::status(port).events;
    assert!(events.iter().all(|event| event.kind != EventKind::EndpointDown), "{events:?}");
}

#[test]
fn no_peer_is_registered_outside_the_rovers_networks() {
    let gateway = Gateway::serve(&[&SIM[..], &["--tier", "primary"]].concat());
    let port = gateway.first_port();
    let mut answers = Vec::new();
    for address in
        ["169.254.169.254:80", "[fe80::1]:80", "224.0.0.251:80", "0.0.0.0:80", "203.0.113.7:22", "[::]:1"]
    {
        let answer = register(port, address);
        assert_eq!(answer.status, 403, "{address}: {answer:?}");
        let problem: Problem = serde_json::from_str(&answer.body).unwrap();
        answers.push(problem.detail);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(answers[0].contains("[peers] networks"), "{}", answers[0]);
}

#[test]
fn a_configured_key_has_to_be_one() {
    let scratch = temp::dir();
    let path = temp::write(&scratch, "key", "short");
    let serve = |path: &str| {
        let args = ["serve", "--port", "0", "--source", "sim", "--peers-key", path, "--state"];
        gateway::run(&[&args[..], &[scratch.path().to_str().unwrap()]].concat(), PATIENCE)
    };
    let (code, _, why) = serve(path.to_str().unwrap());
    assert!(code == 1 && why.contains("chmod 600"), "{code}: {why}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, _, why) = serve(path.to_str().unwrap());
    assert!(code == 1 && why.contains("holds no key"), "{code}: {why}");
    let (code, _, why) = serve("/nowhere/key");
    assert!(code == 1 && why.contains("/nowhere/key"), "{code}: {why}");
}
