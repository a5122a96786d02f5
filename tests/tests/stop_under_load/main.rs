//! The emergency stop while 10,000 commands a second come from hostile clients, and while the disk of the store is full: the
//! time from the press to the rover, a node on CycloneDDS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod load;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use roverline_client::{Config, Events, Link};
use roverline_protocol::Tier;
use roverline_tests::clients::python;
use roverline_tests::clock::monotonic_ns;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::script::Script;
use roverline_tests::skip::Missing;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, poll};
use roverline_tests::{binary, http, require};
use serde_json::json;

use crate::load::{Load, RATE};

const PATIENCE: Duration = Duration::from_secs(30);
const STOP: &str = "/api/v2/emergency-stop";
const JSON: &str = "Content-Type: application/json\r\n";
/// The longest way from the press to the rover, of optimized binaries.
const LIMIT_MS: f64 = 50.0;
/// The same of others, on a computer that runs other tests.
const SHORT_LIMIT_MS: f64 = 1_500.0;

/// A rover whose state directory is a small disk of its own.
struct SmallRover {
    gateway: Gateway,
    stops: Receiver<(u64, bool)>,
    link: Link,
    _events: Events,
    /// Fills the disk; as the gateway's processes see it.
    ballast: PathBuf,
    _state: TempDir,
}

impl SmallRover {
    async fn start(python: &Path, domain: &str) -> Result<SmallRover, Missing> {
        let state = temp::dir();
        let script = "mount -t tmpfs -o size=12m none \"$1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        gateway::clean_environment(&mut command);
        command.args(["-rm", "sh", "-c", script, "sh"]).arg(state.path());
        command.arg(binary::bin("roverline-gateway")).args(["up", "--base-port", "0"]);
        let works = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
        if !works.is_ok_and(|status| status.success()) {
            return Err(Missing::capability("a small disk needs unshare with mount namespaces"));
        }
        let gateway = Gateway::start_in(state.path(), command, &["--source", "dds", "--domain-id", domain]);
        let inside = state.path().strip_prefix("/").unwrap();
        let ballast =
            Path::new("/proc").join(gateway.pid().to_string()).join("root").join(inside).join("ballast");
        let stops = stops(python, domain);
        let (link, events) = Link::open(Config::with_urls(&gateway.urls()).unwrap());
        link.subscribe("/diagnostics", None);
        let rover = SmallRover { gateway, stops, link, _events: events, ballast, _state: state };
        tokio::task::block_in_place(|| rover.wait_ready());
        Ok(rover)
    }

    /// The subscriber has found the writers of all endpoints once a stop arrives.
    fn wait_ready(&self) {
        eventually("the rover hears of a stop", PATIENCE, || {
            self.post(Tier::Emergency, true);
            self.stops.recv_timeout(Duration::from_millis(500)).is_ok_and(|(_, engaged)| engaged)
        });
        self.release();
    }

    fn post(&self, tier: Tier, engage: bool) -> u16 {
        let body = json!({"engage": engage, "reason": "test"}).to_string();
        http::request(self.gateway.port(tier), "POST", STOP, JSON, &body).status
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(&self.ballast).unwrap();
        let block = [0xaa; 4_096];
        while file.write_all(&block).is_ok() {}
    }

    fn release(&self) {
        let _ = std::fs::remove_file(&self.ballast);
        eventually("the stop is released", PATIENCE, || {
            self.post(Tier::Emergency, false);
            let engaged = |tier| http::get(self.gateway.port(tier), STOP).body.contains("\"engaged\":true");
            !Tier::ALL.into_iter().any(engaged)
        });
        self.stops.try_iter().for_each(drop);
    }

    /// Fills the disk, presses stop, and returns the time until the rover knows, in milliseconds.
    fn press(&self, way: Way) -> f64 {
        self.fill();
        let pressed = monotonic_ns();
        match way {
            Way::Console => drop(self.link.emergency_stop(true, "test")),
            Way::Http => drop(self.post(Tier::ALL[fastrand::usize(..4)], true)),
        }
        let arrived =
            poll(PATIENCE, || self.stops.try_iter().find(|(at, engaged)| *engaged && *at >= pressed));
        let (at, _) = arrived.unwrap_or_else(|| panic!("{way:?}: the stop does not arrive"));
        self.release();
        (at - pressed) as f64 / 1e6
    }
}

/// How it is pressed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Over the console's link, to all endpoints at once.
    Console,
    /// Over HTTP, at a random endpoint.
    Http,
}

/// The stops that the rover's node receives, with their times of arrival.
fn stops(python: &Path, domain: &str) -> Receiver<(u64, bool)> {
    let args = ["--domain", domain, "--seconds", "3600", "--bool", "/emergency_stop"];
    let mut script = Script::start(python, "dds_velocity.py", &args);
    assert_eq!(script.line()["ready"], true);
    let (sender, received) = sync_channel(100_000);
    std::thread::spawn(move || {
        while let Some(line) = script.next_line() {
            if sender.send((line["at"].as_u64().unwrap(), line["x"] == 1.0)).is_err() {
                return;
            }
        }
    });
    received
}

struct Figures {
    rate: f64,
    ways: Vec<(Way, Vec<f64>)>,
}

/// Presses stop again and again under load, with the disk full each time.
async fn measure(python: &Path, domain: &str, trials: usize) -> Result<Figures, Missing> {
    let rover = SmallRover::start(python, domain).await?;
    let ports: Vec<u16> = rover.gateway.endpoints.iter().map(|(_, port)| *port).collect();
    tokio::task::block_in_place(|| {
        // Without the store nothing else is accepted.
        rover.fill();
        let command =
            json!({"id": "0198c2a4-7d3e-7000-8000-000000000001", "kind": "publish", "target": "/led",
            "type": "std_msgs/Bool", "body": {"data": true}})
            .to_string();
        let mut last = None;
        let is_refused = || {
            let answer =
                http::request(rover.gateway.port(Tier::Primary), "POST", "/api/v2/commands", JSON, &command);
            let is_refused = answer.status == 503;
            last = Some(answer);
            is_refused.then_some(())
        };
        assert!(poll(PATIENCE, is_refused).is_some(), "a full disk refuses commands: {last:?}");
        rover.release();
        let load = Load::start(&ports);
        let mut ways = vec![(Way::Console, Vec::new()), (Way::Http, Vec::new())];
        for _ in 0..trials {
            for (way, times) in &mut ways {
                times.push(rover.press(*way));
            }
        }
        let rate = load.rate();
        ways.iter_mut().for_each(|(_, times)| times.sort_by(f64::total_cmp));
        Ok(Figures { rate, ways })
    })
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1]
}

fn print(figures: &Figures) {
    println!(
        "the emergency stop from the press to the rover, under {:.0} commands/s, the disk of the store full",
        figures.rate
    );
    println!("{:<16} {:>8} {:>8} {:>8} {:>8}", "pressed", "trials", "p50 ms", "p99 ms", "max ms");
    for (way, times) in &figures.ways {
        let at = |part| quantile(times, part);
        let name = format!("{way:?}");
        println!("{name:<16} {:>8} {:>8.1} {:>8.1} {:>8.1}", times.len(), at(0.5), at(0.99), at(1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_passes_under_load_and_with_a_full_disk() {
    let python = require!(python());
    let figures = require!(measure(&python, "112", 2).await);
    print(&figures);
    for (way, times) in &figures.ways {
        assert!(quantile(times, 1.0) < SHORT_LIMIT_MS, "{way:?}: {times:?}");
    }
}

/// Prints the times of many presses. `scripts/faults commands` runs it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes"]
async fn figures_of_stops() {
    let python = require!(python());
    let trials = std::env::var("TRIALS").ok().and_then(|trials| trials.parse().ok()).unwrap_or(50);
    let figures = require!(measure(&python, "113", trials).await);
    print(&figures);
    // Binaries that are not optimized on a computer that is not idle have no limit.
    let is_late = |(_, times): &(Way, Vec<f64>)| quantile(times, 0.99) > LIMIT_MS;
    assert!(cfg!(debug_assertions) || !figures.ways.iter().any(is_late), "p99 above {LIMIT_MS} ms");
    assert!(figures.rate >= RATE as f64 * 0.5, "{:.0} commands/s are too few", figures.rate);
}
