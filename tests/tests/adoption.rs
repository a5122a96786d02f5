//! The supervisor is killed: its endpoints serve on, and the next supervisor adopts them.
//!
//! The measurement is the ignored test:
//! `cargo test -p roverline-tests --release --test adoption -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roverline_client::{Config, Event, Events, Link};
use roverline_protocol::Tier;
use roverline_protocol::status::HealthStatus;
use roverline_tests::gateway::{self, Gateway, SharedState};
use roverline_tests::http;
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that outlives its supervisor: its state directory, from which it can be started again.
#[derive(Default)]
struct GatewayFixture(SharedState);

impl GatewayFixture {
    fn new() -> GatewayFixture {
        GatewayFixture::default()
    }

    fn state(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn up(&self, args: &[&str]) -> Gateway {
        Gateway::up_with_survivors(self.0.path(), &[&["--source", "sim"], args].concat())
    }

    fn down(&self) -> String {
        let (code, stdout, stderr) = self.0.down();
        assert_eq!(code, 0, "{stdout}{stderr}");
        stdout
    }
}

/// Writes a configuration file with a gateway's ports; its path.
fn ports_file(fixture: &GatewayFixture, gateway: &Gateway) -> String {
    let ports = gateway.endpoints.iter().map(|(tier, port)| format!("[endpoints.{tier}]\nport = {port}\n"));
    let config = fixture.0.path().join("ports.toml");
    std::fs::write(&config, ports.collect::<String>()).unwrap();
    config.to_str().unwrap().to_owned()
}

fn pids(gateway: &Gateway) -> [u32; 4] {
    Tier::ALL.map(|tier| gateway.endpoint_pid(tier))
}

/// Kills the supervisor, and waits until it is gone and its endpoints have detected that.
fn kill_supervisor(gateway: &mut Gateway) {
    process::signal(gateway.pid(), Signal::KILL);
    assert!(gateway.wait(PATIENCE).is_some());
    eventually("the endpoints to miss their supervisor", PATIENCE, || {
        gateway.endpoints.iter().all(|(_, port)| {
            let health = http::health(*port).endpoint;
            health.status == HealthStatus::Degraded
                && health.reasons.iter().any(|reason| reason.starts_with("no supervisor since 2"))
        })
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_serve_on_and_the_next_supervisor_adopts_them() {
    let fixture = GatewayFixture::new();
    let mut first = fixture.up(&[]);
    let before = pids(&first);
    let mut client = PlainClient::connect(first.first_port()).await;
    client.next_of("telemetry").await;
    kill_supervisor(&mut first);
    assert_eq!(http::get(first.first_port(), "/health").status, 200);
    client.next_of("telemetry").await;
    let mut second = fixture.up(&[]);
    assert_eq!((&second.endpoints, pids(&second)), (&first.endpoints, before));
    eventually("healthy endpoints", PATIENCE, || {
        second.endpoints.iter().all(|(_, port)| http::health(*port).endpoint.status == HealthStatus::Healthy)
    });
    client.next_of("telemetry").await;
    process::signal(second.pid(), Signal::TERM);
    assert_eq!(second.wait(PATIENCE).and_then(|status| status.code()), Some(0));
    assert!(before.iter().all(|pid| !process::is_running(*pid)), "a stop ends adopted processes, too");
    assert_eq!(client_close_code(&mut client).await, 1001);
}

async fn client_close_code(client: &mut PlainClient) -> u16 {
    loop {
        if let Err(code) = client.next().await {
            return code;
        }
    }
}

#[test]
fn adopted_endpoints_are_watched_restarted_and_replaced() {
    let fixture = GatewayFixture::new();
    let mut first = fixture.up(&[]);
    let before = pids(&first);
    kill_supervisor(&mut first);
    let second = fixture.up(&[]);
    let wait_until_replaced = |tier: Tier| {
        let at = tier as usize;
        eventually("a new process", PATIENCE, || {
            !process::is_running(before[at]) && second.endpoint_pid(tier) != before[at]
        })
    };
    // A connection during the restart waits in the backlog: the new process has the same socket.
    process::signal(before[1], Signal::KILL);
    println!("killed: back after {:?}", wait_until_replaced(Tier::Secondary));
    process::signal(before[0], Signal::STOP);
    let took = wait_until_replaced(Tier::Primary);
    println!("hung: back after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let args = ["restart", "--rolling", "--tier", "emergency", "--state", fixture.state()];
    let (code, stdout, stderr) = gateway::run(&args, Duration::from_secs(60));
    assert_eq!(code, 0, "{stdout}{stderr}");
    wait_until_replaced(Tier::Emergency);
    assert_eq!(second.endpoint_pid(Tier::Tertiary), before[2], "the others were left alone");
}

#[test]
fn an_endpoint_that_hangs_without_a_supervisor_is_replaced_by_the_next_one() {
    let fixture = GatewayFixture::new();
    let mut first = fixture.up(&[]);
    let before = pids(&first);
    kill_supervisor(&mut first);
    process::signal(before[2], Signal::STOP);
    eventually("the freeze", PATIENCE, || process::state(before[2]) == Some('T'));
    // Its socket is lost with it, so its port has to be known.
    let mut command = gateway::command(&["up", "--source", "sim", "--config", &ports_file(&fixture, &first)]);
    command.env(gateway::DIE_WITH_SUPERVISOR, "false");
    let second = Gateway::start_in(fixture.0.path(), command, &[]);
    assert_eq!(second.endpoints, first.endpoints);
    let after = pids(&second);
    assert_eq!([after[0], after[1], after[3]], [before[0], before[1], before[3]]);
    assert_ne!(after[2], before[2]);
    assert!(!process::is_running(before[2]));
}

#[test]
fn down_ends_endpoints_without_a_supervisor_and_is_idempotent() {
    let fixture = GatewayFixture::new();
    let mut gateway = fixture.up(&[]);
    let endpoints = pids(&gateway);
    kill_supervisor(&mut gateway);
    process::signal(endpoints[3], Signal::STOP);
    let stdout = fixture.down();
    for pid in endpoints {
        assert!(!process::is_running(pid) && stdout.contains(&format!("(pid {pid})")), "{pid}: {stdout}");
    }
    assert!(stdout.contains("was killed"), "{stdout}");
    assert!(fixture.down().contains("no gateway"));
}

#[test]
fn down_ends_a_gateway_with_its_supervisor() {
    let fixture = GatewayFixture::new();
    let mut gateway = fixture.up(&[]);
    let endpoints = pids(&gateway);
    let stdout = fixture.down();
    assert!(stdout.contains(&format!("supervisor stopped (pid {})", gateway.pid())), "{stdout}");
    assert_eq!(gateway.wait(PATIENCE).and_then(|status| status.code()), Some(0));
    assert!(endpoints.iter().all(|pid| !process::is_running(*pid)));
}

#[test]
fn a_second_supervisor_of_a_state_directory_is_refused() {
    let fixture = GatewayFixture::new();
    let gateway = fixture.up(&[]);
    let before = pids(&gateway);
    let args = ["up", "--source", "sim", "--base-port", "0", "--state", fixture.state()];
    let (code, _, stderr) = gateway::run(&args, PATIENCE);
    assert_eq!(code, 1, "{stderr}");
    for word in [&format!("(pid {})", gateway.pid()), fixture.state(), "roverline-gateway down"] {
        assert!(stderr.contains(word), "{word} is not in: {stderr}");
    }
    assert_eq!(pids(&gateway), before);
}

#[test]
fn other_settings_reach_adopted_endpoints_by_a_rolling_restart() {
    let fixture = GatewayFixture::new();
    let mut first = fixture.up(&[]);
    let before = pids(&first);
    kill_supervisor(&mut first);
    let second = fixture.up(&["--max-clients", "7"]);
    assert_eq!(second.endpoints, first.endpoints);
    eventually("all endpoints to have the new settings", Duration::from_secs(90), || {
        second.endpoints.iter().all(|(_, port)| http::health(*port).endpoint.max_clients == 7)
    });
    let after = pids(&second);
    assert!(before.iter().all(|pid| !after.contains(pid)));
    let stderr = second.stop_and_read_stderr();
    assert!(stderr.contains("other settings") && stderr.contains("replaced"), "{stderr}");
}

#[test]
fn a_relay_is_adopted_as_one_process() {
    let rover = Gateway::up(&["--source", "sim"]);
    let fixture = GatewayFixture::new();
    let urls = rover.urls().join(",");
    let relay = || {
        let mut command = gateway::command(&["relay", "--base-port", "0", "--upstream", &urls]);
        command.env(gateway::DIE_WITH_SUPERVISOR, "false");
        Gateway::start_in(fixture.0.path(), command, &[])
    };
    let mut first = relay();
    let before = pids(&first);
    assert!(before.iter().all(|pid| *pid == before[0]));
    kill_supervisor(&mut first);
    let second = relay();
    assert_eq!((&second.endpoints, pids(&second)), (&first.endpoints, before));
    drop(second);
    assert!(!process::is_running(before[0]));
}

/// Effects on clients while the supervisor is killed and started again.
#[derive(Debug, Default)]
struct ClientImpact {
    /// Connections that were refused, of a client that connects again and again.
    refused: u32,
    connected: u32,
    /// Samples of a 50 Hz topic that a native client lost.
    lost: u64,
    longest_gap: Duration,
    failovers: u32,
    /// Sessions of a plain client that ended.
    closed: u32,
}

/// Connects again and again.
fn try_connect(port: u16, impact: &Mutex<ClientImpact>) {
    match std::net::TcpStream::connect(("127.0.0.1", port)) {
        Ok(_) => impact.lock().unwrap().connected += 1,
        Err(_) => impact.lock().unwrap().refused += 1,
    }
}

async fn read_link(mut events: Events, impact: Arc<Mutex<ClientImpact>>) {
    let (mut newest, mut at) = (0, Instant::now());
    while let Some(event) = events.next().await {
        let mut impact = impact.lock().unwrap();
        match event {
            Event::Sample(sample) => {
                if newest != 0 {
                    impact.lost += sample.id.seq.saturating_sub(newest + 1);
                    impact.longest_gap = impact.longest_gap.max(at.elapsed());
                }
                (newest, at) = (sample.id.seq, Instant::now());
            }
            Event::Failover(_) => impact.failovers += 1,
            _ => {}
        }
    }
}

/// Kills the supervisor `times` times under clients, as systemd would start it again. Prints how long a
/// hung endpoint takes to be replaced afterwards.
async fn supervisor_killed(times: u32) {
    let fixture = GatewayFixture::new();
    let mut gateway = fixture.up(&[]);
    let before = pids(&gateway);
    let (link, mut events) = Link::open(Config::with_urls(&gateway.urls()).unwrap());
    link.subscribe("/odom", None);
    let mut plain = PlainClient::connect(gateway.first_port()).await;
    plain.next_of("telemetry").await;
    let primary = gateway.urls()[0].clone();
    tokio::time::timeout(Duration::from_secs(40), async {
        // The first endpoint that answers is used first, the primary in the end.
        loop {
            match events.next().await.unwrap() {
                Event::Failover(view) if view.to.as_deref() == Some(primary.as_str()) => break,
                _ => {}
            }
        }
    })
    .await
    .unwrap();
    let impact = Arc::<Mutex<ClientImpact>>::default();
    tokio::spawn(read_link(events, impact.clone()));
    let reading = tokio::spawn({
        let impact = impact.clone();
        async move {
            while plain.next().await.is_ok() {}
            impact.lock().unwrap().closed += 1;
        }
    });
    let port = gateway.first_port();
    let connecting = tokio::spawn({
        let impact = impact.clone();
        async move {
            loop {
                try_connect(port, &impact);
                roverline_tests::wait::observe_for_async(Duration::from_millis(5), "the next connection")
                    .await;
            }
        }
    });
    let mut adoptions = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        process::signal(gateway.pid(), Signal::KILL);
        assert!(gateway.wait(PATIENCE).is_some());
        gateway = tokio::task::block_in_place(|| fixture.up(&[]));
        adoptions.push(start.elapsed());
        assert_eq!(pids(&gateway), before);
    }
    let report = std::mem::take(&mut *impact.lock().unwrap());
    connecting.abort();
    reading.abort();
    drop(link);
    println!("{times} times: {report:?}, supervised again after {:?}", adoptions.iter().max());
    assert_eq!((report.refused, report.lost, report.failovers, report.closed), (0, 0, 0, 0));
    let hung = before[1];
    process::signal(hung, Signal::STOP);
    let took = eventually("the hang to be noticed", PATIENCE, || !process::is_running(hung));
    println!("a hung endpoint was killed after {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_notice_nothing_of_a_killed_supervisor() {
    supervisor_killed(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_killed_supervisors() {
    supervisor_killed(20).await;
}

#[test]
fn a_supervisor_that_cannot_start_leaves_the_endpoints_alone() {
    let fixture = GatewayFixture::new();
    let mut first = fixture.up(&[]);
    let before = pids(&first);
    kill_supervisor(&mut first);
    // One endpoint ends meanwhile, and another program takes its port.
    process::signal(before[2], Signal::KILL);
    let port = first.endpoints[2].1;
    let mut taken = None;
    eventually("the port to be free", PATIENCE, || {
        taken = std::net::TcpListener::bind(("127.0.0.1", port)).ok();
        taken.is_some()
    });
    let config = ports_file(&fixture, &first);
    let args = ["up", "--source", "sim", "--config", &config, "--state", fixture.state()];
    let (code, _, stderr) = gateway::run(&args, PATIENCE);
    assert!(code == 1 && stderr.contains(&format!("port {port} (tertiary) is taken")), "{code} {stderr}");
    for at in [0, 1, 3] {
        assert!(process::is_running(before[at]));
        assert_eq!(http::status(first.endpoints[at].1).pid, before[at]);
    }
}
