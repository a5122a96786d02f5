//! Traced samples behind a slow radio, reported by a client whose clock is right and by one whose clock is an hour off: the
//! stages add up to what a client measures. Needs network namespaces.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roverline_client::{Config, Event, Link};
use roverline_protocol::api::traces::{SampleStage, TopicStages, TopicStagesList};
use roverline_tests::gateway::{Gateway, clean_environment};
use roverline_tests::net::{Net, Radio};
use roverline_tests::skip::{Missing, skip};
use roverline_tests::stepped_clock::SteppedClock;
use roverline_tests::wait::poll;
use roverline_tests::{binary, temp};

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "/imu/data";
const PORT: &str = "8080";
/// The way to the rover and the way back.
const DELAY_MS: f64 = 200.0;
/// Samples that are measured; at 100 Hz.
const MEASURED_SAMPLES: usize = 300;

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// Measures samples from their publisher's stamp until they are decoded; reports those that are traced if it `reports`.
async fn measure(urls: Vec<String>, reports: bool) -> i64 {
    let (link, mut events) = Link::open(Config::with_urls(&urls).unwrap());
    link.subscribe(TOPIC, None);
    let (mut measured, mut settled) = (Vec::new(), false);
    let end = tokio::time::Instant::now() + PATIENCE;
    while measured.len() < MEASURED_SAMPLES {
        let event = tokio::time::timeout_at(end, events.next()).await.unwrap().unwrap();
        let Event::Sample(sample) = event else { continue };
        settled |= sample.receipt.is_some();
        if settled && !sample.stored && !sample.replayed {
            measured.push(unix_ns() - sample.source_time_ns);
        }
        if let Some(receipt) = sample.receipt.as_ref().filter(|_| reports) {
            link.report_sample(receipt, Some(receipt.elapsed()), None);
        }
    }
    measured.sort_unstable();
    measured[measured.len() / 2]
}

/// The stages at the primary endpoint.
fn stages(net: &Net) -> Option<TopicStages> {
    let url = format!("http://{}:{PORT}/api/v2/traces/topics?topic={TOPIC}&local=true", net.host);
    let output = net.ground.command(Path::new("curl")).args(["-s", "-m", "5", &url]).output().ok()?;
    let list: TopicStagesList = serde_json::from_slice(&output.stdout).ok()?;
    list.topics.into_iter().find(|topic| topic.service == "primary")
}

/// A console's command that reports as its clock says.
fn echo(net: &Net, state: &Path, url: &str, clock: &SteppedClock) -> Command {
    let mut command = net.ground.command(&binary::bin("roverline"));
    clean_environment(&mut command);
    command.args(["echo", TOPIC, url]).env("HOME", state).env_remove("XDG_STATE_HOME");
    command.envs(clock.environment()).stdout(Stdio::null());
    command
}

/// What a client measures, and the sum of the stages' medians; in milliseconds. The reports are those of a command whose
/// clock is as `clock` says, if there is one.
fn trial(clock: Option<&SteppedClock>) -> Result<(f64, f64), String> {
    let radio = Radio { delay_ms: DELAY_MS, jitter_ms: 0.0, loss: 0.0, rate_kbit: 0.0 };
    let net = Net::radio(radio, 7)?;
    let folder = temp::dir();
    let file = temp::write(
        &folder,
        "roverline.toml",
        "[trace]\nsamples_per_s = 100\n[access]\nremote = \"operator\"\n",
    );
    let mut command = net.rover.command(&binary::bin("roverline-gateway"));
    clean_environment(&mut command);
    command.args(["up", "--host", &net.host, "--base-port", PORT]);
    let _rover = Gateway::start(command, &["--source", "sim", "--config", file.to_str().unwrap()]);
    let url = format!("ws://{}:{PORT}", net.host);
    let mut echo = clock.map(|clock| echo(&net, folder.path(), &url, clock).spawn().unwrap());
    let (ground, reports) = (net.ground.clone(), clock.is_none());
    let client = std::thread::spawn(move || {
        ground.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(measure(vec![url], reports))
    });
    let measured_ns = client.join().unwrap();
    let topic = poll(PATIENCE, || {
        stages(&net).filter(|topic| {
            let mut decoded = topic.stages.iter().filter(|stage| stage.stage == SampleStage::Decode);
            decoded.any(|stage| stage.times.count >= 5)
        })
    });
    if let Some(echo) = &mut echo {
        echo.kill().unwrap();
        echo.wait().unwrap();
    }
    let topic = topic.unwrap();
    for stage in &topic.stages {
        let (median_us, p99_us) = (stage.times.median_ns as f64 / 1e3, stage.times.p99_ns as f64 / 1e3);
        println!("{:8} {:5} {median_us:>10.1} us {p99_us:>10.1} us", stage.stage.name(), stage.times.count);
    }
    let sum_ns: u64 = topic.stages.iter().map(|stage| stage.times.median_ns).sum();
    let (measured_ms, sum_ms) = (measured_ns as f64 / 1e6, sum_ns as f64 / 1e6);
    println!("a client measures {measured_ms:.2} ms (median), the stages' medians are {sum_ms:.2} ms");
    Ok((measured_ms, sum_ms))
}

fn check(trial: Result<(f64, f64), String>) {
    match trial {
        Ok((measured_ms, sum_ms)) => {
            assert!(measured_ms >= DELAY_MS, "{measured_ms}");
            assert!((sum_ms - measured_ms).abs() <= 0.05 * measured_ms, "{sum_ms} of {measured_ms} ms");
        }
        Err(why) => skip(&Missing::capability(why)),
    }
}

#[test]
fn the_stages_add_up_behind_a_slow_radio() {
    check(trial(None));
}

#[test]
fn the_stages_add_up_behind_a_slow_radio_for_a_clock_that_is_an_hour_off() {
    let Ok(clock) = SteppedClock::new() else { return };
    clock.step_to(1);
    check(trial(Some(&clock)));
}
