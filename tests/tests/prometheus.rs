//! `/metrics`, alert rules and the Grafana dashboard, judged by Prometheus itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::clients::{prometheus, root};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::Guard;
use roverline_tests::wait::eventually;
use roverline_tests::{http, require, temp};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
/// Interval of the scrapes. A rate needs two of them.
const SCRAPE_S: u32 = 1;

/// The rate of a topic of the built-in rover, so that there is something to compare.
const EXPECTED_RATE: &str =
    "[[route]]\ntopic = \"/imu/data\"\nscopes = [\"sensors\"]\nexpected_rate_hz = 50.0\n";

/// Runs promtool with this input until it exits; panics with what it says if it is not content.
fn promtool(args: &[&str], input: &str) -> Result<(), roverline_tests::skip::Missing> {
    let mut command = Command::new(prometheus("promtool")?);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    Ok(())
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let rover = Gateway::up(&["--source", "sim"]);
    for tier in Tier::ALL {
        let page = http::get(rover.port(tier), "/metrics").body;
        require!(promtool(&["check", "metrics"], &page));
    }
}

#[test]
fn alerts_fire_when_they_should() {
    let file = |name: &str| root().join("scripts").join(name).display().to_string();
    require!(promtool(&["check", "rules", &file("prometheus-alerts.yml")], ""));
    require!(promtool(&["test", "rules", &file("prometheus-alerts-test.yml")], ""));
}

/// A name or an expression in a query (RFC 3986).
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The number of series that an expression yields; Prometheus must understand it.
fn series(port: u16, expression: &str) -> usize {
    let answer = http::get(port, &format!("/api/v1/query?query={}", escaped(expression)));
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    answer["data"]["result"].as_array().unwrap().len()
}

#[tokio::test]
async fn prometheus_scrapes_a_rover_and_answers_the_dashboard() {
    let program = require!(prometheus("prometheus"));
    let folder = temp::dir();
    let config = temp::write(&folder, "roverline.toml", EXPECTED_RATE);
    let rover = Gateway::up(&["--source", "sim", "--config", config.to_str().unwrap()]);
    let relay = gateway::command(&["relay", "--base-port", "0"]);
    let relay = Gateway::start(relay, &["--upstream", &rover.urls().join(",")]);
    // A client, so that there are sessions and deliveries.
    let mut client = PlainClient::connect(rover.port(Tier::Primary)).await;
    let reading = tokio::spawn(async move { while client.next().await.is_ok() {} });
    let ports = Tier::ALL.map(|tier| rover.port(tier)).into_iter().chain([relay.port(Tier::Primary)]);
    let targets: Vec<String> = ports.map(|port| format!("'127.0.0.1:{port}'")).collect();
    let config = format!(
        "global: {{scrape_interval: {SCRAPE_S}s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         scrape_configs:\n- job_name: roverline\n  static_configs: [{{targets: [{}]}}]\n",
        root().join("scripts/prometheus-alerts.yml").canonicalize().unwrap().display(),
        targets.join(", ")
    );
    let config = temp::write(&folder, "prometheus.yml", &config);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _running = Guard(
        Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("Prometheus is ready", PATIENCE, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && http::get(port, "/-/ready").status == 200
    });
    let up = |count| series(port, "up{job=\"roverline\"} == 1") == count;
    eventually("all endpoints are scraped", PATIENCE, || up(targets.len()));
    let dashboard: Value =
        serde_json::from_str(include_str!("../../scripts/grafana-dashboard.json")).unwrap();
    let mut expressions = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let concrete = expression.replace("$__rate_interval", "10s").replace("$tier", ".+");
            assert!(!concrete.contains('$'), "{concrete}");
            let title = panel["title"].as_str().unwrap();
            // Of what did not happen there is nothing to show, and this computer may have no sensors.
            let may_be_empty = concrete.contains("> 0") || concrete.contains("_temp");
            let answered = || may_be_empty || series(port, &concrete) > 0;
            eventually(&format!("{title}: {concrete} has an answer"), PATIENCE, answered);
            expressions += 1;
        }
    }
    assert!(expressions >= 60, "{expressions}");
    // This computer may be busy with other tests.
    let firing = "ALERTS{alertstate=\"firing\", alertname!~\"RoverlineComputer.*|RoverlineDiskFull|RoverlineHot|\
                  RoverlineRuntimeHeld\"}";
    assert_eq!(series(port, firing), 0, "a healthy rover raises no alert");
    reading.abort();
}
