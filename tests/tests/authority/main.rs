//! Authority over what moves the rover: one client at a time commands it, and it stops when that client is gone, whatever
//! happens to the endpoint that served it. The rover is a node on CycloneDDS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod driver;
mod loss;
mod rover;

use std::time::Duration;

use futures_util::SinkExt as _;
use roverline_protocol::Tier;
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::skip::{Missing, skip};
use roverline_tests::wait::eventually;
use roverline_tests::{http, require, temp};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::driver::{Dialect, Driver};
use crate::loss::{LOCAL, Loss, LossTrials, REMOTE};
use crate::rover::{Rover, authority, wait_confirmed};

const PATIENCE: Duration = Duration::from_secs(20);
/// The configured silence after which the rover is stopped.
const TIMEOUT: Duration = Duration::from_millis(500);
/// What the stop may take beyond it, of optimized binaries.
const LIMIT: Duration = Duration::from_millis(100);
/// What a loaded machine may add to it.
const MARGIN: Duration = Duration::from_millis(1_500);
/// Interval of the driver's commands.
const PERIOD: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn two_joysticks_do_not_fight() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "96"]);
    let rover = Rover::start(&python, "96", 50);
    let port = gateway.port(Tier::Primary);
    tokio::task::block_in_place(|| wait_confirmed(port));
    let mut one = Driver::connect(port, Dialect::Rosbridge).await;
    let mut other = Driver::connect(port, Dialect::Foxglove).await;
    one.drive_for(1.0, Duration::from_millis(500)).await;
    tokio::select! {
        () = one.drive_for(1.0, Duration::from_secs(2)) => {}
        () = other.drive_for(2.0, Duration::from_secs(60)) => {}
    }
    let received = rover.take();
    assert!(received.len() > 20 && received.iter().all(|(_, x)| *x == 1.0), "{received:?}");
    let why = other.refusal().await;
    assert!(why.contains("drive is held by 127.0.0.1 (rosbridge session primary-"), "{why}");
    // Every endpoint knows the holder.
    for (_, port) in &gateway.endpoints {
        let drive = authority(*port, "drive");
        assert!(drive.holder.unwrap().client.starts_with("rosbridge session primary-"));
    }
    // The first one leaves; the rover is stopped, and the other may drive.
    drop(one);
    let stopped = tokio::task::block_in_place(|| rover.time_to_stop_from(&received));
    assert!(stopped < TIMEOUT + MARGIN, "{stopped:?}");
    other.drive_for(2.0, Duration::from_secs(6)).await;
    tokio::task::block_in_place(|| rover.until(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_velocity_that_is_no_number_or_too_high_does_not_pass() {
    let python = require!(python());
    let scratch = temp::dir();
    let config = temp::write(
        &scratch,
        "roverline.toml",
        "[[authority]]\nname = \"drive\"\ntopics = [\"/cmd_vel\"]\nlink_loss = \"zero\"\nmax_linear_m_s = 0.5\n",
    );
    let config = config.to_str().unwrap();
    let gateway =
        Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", "98", "--config", config]);
    let rover = Rover::start(&python, "98", 60);
    let port = gateway.port(Tier::Primary);
    tokio::task::block_in_place(|| wait_confirmed(port));
    let mut driver = Driver::connect(port, Dialect::Rosbridge).await;
    driver.drive_for(4.0, Duration::from_secs(1)).await;
    let message = r#"{"op":"publish","topic":"/cmd_vel","msg":{"linear":{"x":NaN}}}"#;
    driver.socket.send(Message::text(message)).await.unwrap();
    let received = rover.take();
    assert!(received.len() > 5 && received.iter().all(|(_, x)| *x == 0.5), "{received:?}");
    let stopped = tokio::task::block_in_place(|| rover.time_to_stop_from(&received));
    assert!(stopped < TIMEOUT + MARGIN, "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rover_stops_when_its_driver_is_gone() {
    let python = require!(python());
    let trials = LossTrials::start(&python, "97", 120, Loss::Silence).unwrap();
    for loss in LOCAL {
        let time = trials.lose(loss).await;
        // On a busy computer the last command itself arrives late.
        assert!(time >= TIMEOUT - 4 * PERIOD && time < TIMEOUT + MARGIN, "{loss:?}: {time:?}");
    }
    // One for each loss, though every endpoint notices it; the log has them a little later.
    let causes = || {
        let port = trials.gateway.port(Tier::Emergency);
        let events = http::get(port, "/api/v2/events?type=authority.link_loss&limit=50");
        let events: Value = serde_json::from_str(&events.body).unwrap();
        let causes = events["events"].as_array().unwrap().iter();
        causes.filter_map(|event| event["data"]["cause"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    tokio::task::block_in_place(|| eventually("an event of each loss", PATIENCE, || causes().len() == 4));
    let causes = causes();
    assert!(causes[0].contains("for 500 ms; zero is published"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rover_stops_when_the_radio_or_the_relay_of_its_driver_is_gone() {
    let python = require!(python());
    for (loss, domain) in REMOTE.into_iter().zip(["94", "95"]) {
        let trials = require!(LossTrials::start(&python, domain, 120, loss).map_err(Missing::capability));
        let time = trials.lose(loss).await;
        assert!(time >= TIMEOUT - 2 * PERIOD && time < TIMEOUT + MARGIN, "{loss:?}: {time:?}");
    }
}

/// Prints the times from the last command to the stop, of many trials each. `scripts/faults commands` runs it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a quarter of an hour"]
async fn figures_of_link_loss() {
    let python = require!(python());
    let trials: usize = std::env::var("TRIALS").ok().and_then(|trials| trials.parse().ok()).unwrap_or(50);
    println!(
        "the stop after the loss of a driver, from its last command at the rover to the first zero (timeout 500 ms)"
    );
    println!("{:<16} {:>8} {:>8} {:>8} {:>8}", "loss", "trials", "p50 ms", "p99 ms", "max ms");
    let mut local = None;
    let mut late = Vec::new();
    for (loss, domain) in LOCAL.into_iter().chain(REMOTE).zip(["99", "99", "99", "99", "94", "95"]) {
        if local.is_none() || REMOTE.contains(&loss) {
            drop(local.take());
            match LossTrials::start(&python, domain, 3_600, loss) {
                Ok(started) => local = Some(started),
                Err(why) => {
                    println!("{:<16} skipped: {why}", loss.name());
                    skip(&Missing::capability(why));
                    continue;
                }
            }
        }
        let Some(rover) = &local else { continue };
        let mut times = Vec::new();
        for _ in 0..trials {
            times.push(rover.lose(loss).await.as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() as f64 * part).ceil() as usize).clamp(1, times.len()) - 1];
        println!("{:<16} {trials:>8} {:>8.1} {:>8.1} {:>8.1}", loss.name(), at(0.5), at(0.99), at(1.0));
        if at(0.99) > (TIMEOUT + LIMIT).as_secs_f64() * 1e3 {
            late.push(format!("{}: p99 {:.1} ms", loss.name(), at(0.99)));
        }
    }
    // Binaries that are not optimized on a computer that is not idle have no limit.
    assert!(cfg!(debug_assertions) || late.is_empty(), "{late:?}");
}
