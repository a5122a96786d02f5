//! Recovery from a forged packet that silences one writer at one endpoint: it rejoins, and no sample comes twice. Needs
//! `scripts/setup-clients`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use roverline_protocol::status::EventKind;
use roverline_protocol::{Guid, Tier};
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::require;
use roverline_tests::script::Script;

/// How long a phase may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);
/// How long telemetry comes before the attack.
const STEADY: Duration = Duration::from_secs(7);
/// A sequence number that the writer never reaches.
const FORGED: i64 = 1 << 40;

fn number(packet: &mut Vec<u8>, number: i64) {
    packet.extend(((number >> 32) as i32).to_le_bytes());
    packet.extend((number as u32).to_le_bytes());
}

fn header(writer: Guid) -> Vec<u8> {
    let mut packet = b"RTPS\x02\x01\x01\x10".to_vec();
    packet.extend(&writer.0[..12]);
    packet
}

/// HEARTBEAT, little-endian, 28 bytes, to all readers: the writer has only samples behind `FORGED` (DDSI-RTPS 2.5,
/// 9.4.5.7).
fn heartbeat(packet: &mut Vec<u8>, writer: Guid, count: u32) {
    packet.extend([0x07, 0x01, 28, 0, 0, 0, 0, 0]);
    packet.extend(&writer.0[12..]);
    number(packet, FORGED + 1);
    number(packet, FORGED);
    packet.extend(count.to_le_bytes());
}

/// A heartbeat in another writer's name.
fn forged_heartbeat(writer: Guid, count: u32) -> Vec<u8> {
    let mut packet = header(writer);
    heartbeat(&mut packet, writer, count);
    packet
}

/// The same with two samples before it, which make it credible.
fn forged_samples_and_heartbeat(writer: Guid, count: u32) -> Vec<u8> {
    let mut packet = header(writer);
    for forged in [FORGED - 1, FORGED] {
        // DATA, little-endian, with a payload of 4 bytes, to all readers (9.4.5.3).
        packet.extend([0x15, 0x05, 24, 0, 0, 0, 16, 0, 0, 0, 0, 0]);
        packet.extend(&writer.0[12..]);
        number(&mut packet, forged);
        packet.extend([0, 1, 0, 0]);
    }
    heartbeat(&mut packet, writer, count);
    packet
}

/// The UDP ports that a process has bound.
fn udp_ports(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|target| Some(inode(&target)?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let bound = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit_once(':')?.1;
        sockets.iter().any(|inode| Some(&inode.as_str()) == fields.get(9)).then_some(port)
    });
    bound.map(|port| u16::from_str_radix(port, 16).unwrap()).collect()
}

fn inode(target: &Path) -> Option<&str> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')
}

/// The next sample's writer and number.
async fn sample(client: &mut NativeClient) -> Option<(Guid, u64)> {
    let next = async {
        loop {
            if let Received::Sample(_, header, _) = client.next().await {
                return (header.id.source, header.id.seq);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), next).await.ok()
}

fn rejoins(port: u16) -> usize {
    http::status(port).events.iter().filter(|event| event.kind == EventKind::Rejoin).count()
}

/// Four endpoints with a robot, and a client of the primary that hears a topic.
struct Target {
    gateway: Gateway,
    _robot: Script,
    client: NativeClient,
    writer: Guid,
    newest: u64,
    /// Ports of the primary alone: all endpoints share the multicast ports.
    ports: Vec<u16>,
}

impl Target {
    async fn start(python: &Path, domain: &str, topic: &str) -> Target {
        let gateway = Gateway::up(&["--source", "dds", "--domain-id", domain, "--mdns", "off"]);
        let args = ["--domain", domain, "--seconds", "120", "--image-rate", "0", "--slow-rate", "50"];
        let robot = Script::start(python, "dds_publisher.py", &args);
        let mut client = NativeClient::subscribed(gateway.port(Tier::Primary), &[topic]).await;
        let begun = Instant::now();
        let (writer, newest) = loop {
            assert!(begun.elapsed() < DEADLINE, "nothing comes");
            if let Some(first) = sample(&mut client).await {
                break first;
            }
        };
        let others: Vec<u16> =
            Tier::ALL[1..].iter().flat_map(|tier| udp_ports(gateway.endpoint_pid(*tier))).collect();
        let mut ports = udp_ports(gateway.endpoint_pid(Tier::Primary));
        ports.retain(|port| !others.contains(port));
        assert!(!ports.is_empty(), "no sockets of DDS");
        Target { gateway, _robot: robot, client, writer, newest, ports }
    }

    /// The next sample, which is later than the one before; `false` if none comes for a second, or a forged one.
    async fn receives(&mut self) -> bool {
        let Some((_, seq)) = sample(&mut self.client).await else { return false };
        if seq + 1 >= FORGED as u64 {
            return false;
        }
        assert!(seq > self.newest, "{seq} comes after {}", self.newest);
        self.newest = seq;
        true
    }

    fn rejoins(&self) -> usize {
        rejoins(self.gateway.port(Tier::Primary))
    }
}

/// Silences the writer of a topic at the primary, which rejoins; no sample comes twice.
async fn silence(python: &Path, domain: &str, topic: &str) {
    let mut target = Target::start(python, domain, topic).await;
    // A writer that only the primary receives has to be steady before its silence is evidence.
    let steady = Instant::now();
    while steady.elapsed() < STEADY {
        target.receives().await;
    }
    let forge = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (attacked, mut silent, mut count) = (Instant::now(), false, 1 << 20);
    while target.rejoins() == 0 {
        assert!(attacked.elapsed() < DEADLINE, "it does not join anew; silent: {silent}");
        // Until it works: a packet that arrives before the writer is matched has no effect.
        for port in target.ports.iter().filter(|_| !silent) {
            let packet = forged_samples_and_heartbeat(target.writer, count);
            forge.send_to(&packet, ("127.0.0.1", *port)).unwrap();
            count += 1;
        }
        silent |= !target.receives().await;
    }
    assert!(silent, "it joined anew without need");
    let rejoined = Instant::now();
    let mut resumed = 0;
    while resumed < 100 {
        assert!(rejoined.elapsed() < DEADLINE, "telemetry does not resume");
        resumed += i32::from(target.receives().await);
    }
    for tier in [Tier::Secondary, Tier::Tertiary, Tier::Emergency] {
        assert_eq!(rejoins(target.gateway.port(tier)), 0, "{tier} hears everything");
    }
}

/// A heartbeat that gives up samples which no data confirms, while those of the writer contradict it.
#[tokio::test]
async fn a_forged_heartbeat_alone_silences_nobody() {
    let python = require!(python());
    let mut target = Target::start(&python, "176", "/gps/fix").await;
    let forge = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = target.newest;
    for count in 1 << 20..(1 << 20) + 200 {
        for port in &target.ports {
            forge.send_to(&forged_heartbeat(target.writer, count), ("127.0.0.1", *port)).unwrap();
        }
        assert!(target.receives().await, "silent after {} forged packets", count - (1 << 20) + 1);
    }
    assert!(target.newest - first >= 200 && target.rejoins() == 0);
}

#[tokio::test]
async fn a_writer_that_others_receive() {
    let python = require!(python());
    silence(&python, "174", "/gps/fix").await;
}

#[tokio::test]
async fn a_writer_that_only_the_primary_receives() {
    let python = require!(python());
    silence(&python, "175", "/imu/data").await;
}
