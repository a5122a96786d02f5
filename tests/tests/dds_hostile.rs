//! Damaged and hostile packets of DDS, from a program on the rover's network, against four endpoints. What they
//! cost is printed; judged is that the endpoints are not all away at the same instant, and that telemetry resumes.
//! Needs `scripts/setup-clients`.
//!
//! `cargo test --workspace --release --test dds_hostile -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::process;
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::usage;

/// How long telemetry may take to resume once the packets have ended.
const RESUMES: Duration = Duration::from_secs(8);
/// How long the node goes on, and how long its samples are awaited.
const AFTER: Duration = Duration::from_secs(15);

/// When samples came, over as many sessions as it took.
fn listen(port: u16, begun: Instant, ended: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<Duration>> {
    let listen = async move {
        let mut seen = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let connected = tokio::spawn(NativeClient::subscribed(port, &["/imu/data"])).await;
            // An endpoint that is being replaced does not answer.
            let Ok(mut client) = connected else { continue };
            while !ended.load(Ordering::Relaxed) {
                match tokio::time::timeout(Duration::from_millis(500), client.next()).await {
                    Ok(Received::Sample(..)) => seen.push(begun.elapsed()),
                    Ok(Received::Closed(_)) => break,
                    Ok(_) | Err(_) => {}
                }
            }
        }
        seen
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(listen)
    })
}

fn rss_mib(pid: u32) -> u64 {
    usage::rss_kib(pid).unwrap_or(0.0) as u64 >> 10
}

/// Memory use and restarts of the processes.
#[derive(Debug, Default)]
struct Processes {
    /// The most memory of one endpoint, MiB.
    peak_mib: u64,
    restarts: usize,
    /// Whether at one instant none of the four that were there before was left.
    all_away: bool,
}

fn observe(supervisor: u32, until: Instant) -> Processes {
    let mut before = process::children(supervisor);
    let mut seen = Processes::default();
    while Instant::now() < until {
        let now = process::children(supervisor);
        seen.restarts += now.iter().filter(|pid| !before.contains(pid)).count();
        // A process that has ended, and is not taken note of yet, has no memory.
        seen.all_away |= !now.iter().any(|pid| before.contains(pid) && rss_mib(*pid) > 0);
        seen.peak_mib = seen.peak_mib.max(now.iter().map(|pid| rss_mib(*pid)).max().unwrap_or(0));
        before = now;
        std::thread::sleep(Duration::from_millis(20));
    }
    seen
}

fn attack(kind: &str, domain: &str) {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", domain, "--mdns", "off"]);
    let after = AFTER.as_secs().to_string();
    let mut script =
        Script::start(&python, "dds_hostile.py", &["--domain", domain, "--kind", kind, "--after", &after]);
    script.line();
    let (begun, ended) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let listener = listen(gateway.port(Tier::Primary), begun, ended.clone());
    script.line();
    let attacked = begun.elapsed();
    let (sent, over, processes) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| observe(gateway.pid(), Instant::now() + AFTER));
        let sent = script.line();
        (sent, begun.elapsed(), watching.join().unwrap())
    });
    std::thread::sleep(RESUMES);
    ended.store(true, Ordering::Relaxed);
    let seen = listener.join().unwrap();
    let before = seen.iter().filter(|at| **at < attacked).count();
    let silence = seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let resumed = seen.iter().find(|at| **at > over).map(|at| *at - over);
    println!(
        "{kind}: {} packets; samples {before} before, {} in all; longest silence {silence:?}, resumed after \
         {resumed:?}; {processes:?}",
        sent["sent"],
        seen.len()
    );
    assert!(before > 50, "{kind}: nothing came before");
    assert!(resumed.is_some_and(|after| after < RESUMES), "{kind}: telemetry does not resume");
    assert!(!processes.all_away, "{kind}: all endpoints were away at the same instant");
}

#[test]
#[ignore = "a measurement; RustDDS allocates what a packet promises"]
fn damaged_packets_leave_an_endpoint() {
    attack("damaged", "171");
}

#[test]
#[ignore = "a measurement; RustDDS allocates what a packet promises"]
fn promised_fragments_leave_an_endpoint() {
    attack("promises", "172");
}

#[test]
#[ignore = "a measurement; RustDDS lists each number of a range, and a gap in a writer's name silences the writer"]
fn claimed_ranges_leave_an_endpoint() {
    attack("ranges", "173");
}
