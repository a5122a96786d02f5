//! Traced samples: where the time goes between a publisher's stamp and a client's screen, stage by stage, as
//! `/api/v2/traces/topics` and `roverline traces --topic` show it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roverline_client::{Config, Event, Link};
use roverline_protocol::Tier;
use roverline_protocol::api::traces::{
    SampleStage, StageTimes, TopicStages, TopicStagesList, TraceDocument, TraceList,
};
use roverline_protocol::native::{ClientMessage, FLAG_TRACED};
use roverline_tests::gateway::{self, Gateway, clean_environment};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::stepped_clock::SteppedClock;
use roverline_tests::wait::poll;
use roverline_tests::{binary, http, temp};

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "/imu/data";

/// The rover of the simulator, with so many traced samples of each topic in a second.
fn rover(samples_per_s: u32) -> Gateway {
    let folder = temp::dir();
    let text = format!("[trace]\nsamples_per_s = {samples_per_s}\n");
    let file = temp::write(&folder, "roverline.toml", &text);
    Gateway::up(&["--source", "sim", "--config", file.to_str().unwrap()])
}

fn stages(port: u16, query: &str) -> TopicStagesList {
    let response = http::get(port, &format!("/api/v2/traces/topics{query}"));
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.body))
}

/// The stages of the topic at the primary endpoint.
fn of_topic(port: u16) -> Option<TopicStages> {
    let list = stages(port, &format!("?topic={TOPIC}&local=true"));
    list.topics.into_iter().find(|topic| topic.service == "primary")
}

fn stage(stages: &TopicStages, stage: SampleStage) -> Option<StageTimes> {
    stages.stages.iter().find(|document| document.stage == stage).map(|document| document.times)
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// A command of the console that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn echo(gateway: &Gateway, environment: &[(String, String)]) -> Running {
    let mut command = Command::new(binary::bin("roverline"));
    clean_environment(&mut command);
    command.args(["echo", TOPIC]).env("HOME", gateway.state()).env_remove("XDG_STATE_HOME");
    command.env("ROVERLINE_ENDPOINTS", gateway.urls().join(","));
    command.envs(environment.iter().cloned()).stdout(Stdio::null());
    Running(command.spawn().unwrap())
}

#[tokio::test]
async fn the_stages_add_up_to_what_a_client_measures() {
    let rover = rover(100);
    let (link, mut events) = Link::open(Config::with_urls(&rover.urls()).unwrap());
    link.subscribe(TOPIC, None);
    let (mut measured, mut settled) = (Vec::new(), false);
    let end = tokio::time::Instant::now() + PATIENCE;
    while measured.len() < 800 {
        let event = tokio::time::timeout_at(end, events.next()).await.unwrap().unwrap();
        let Event::Sample(sample) = event else { continue };
        // Until the clocks' offset is known nothing is reported.
        settled |= sample.receipt.is_some();
        if settled && !sample.stored && !sample.replayed {
            measured.push(unix_ns() - sample.source_time_ns);
        }
        if let Some(receipt) = &sample.receipt {
            link.report_sample(receipt, Some(receipt.elapsed()), None);
        }
    }
    let port = rover.port(Tier::Primary);
    let at_primary = poll(PATIENCE, || {
        of_topic(port)
            .filter(|topic| stage(topic, SampleStage::Decode).is_some_and(|times| times.count >= 20))
    });
    let topic = at_primary.unwrap();
    for wanted in SampleStage::ALL.into_iter().filter(|stage| *stage != SampleStage::Draw) {
        assert!(stage(&topic, wanted).is_some(), "{wanted:?} in {topic:#?}");
    }
    measured.sort_unstable();
    let median_us = measured[measured.len() / 2] as f64 / 1e3;
    let sum_us = topic.stages.iter().map(|stage| stage.times.median_ns as f64).sum::<f64>() / 1e3;
    println!(
        "{TOPIC} at 100 Hz: a client measures {median_us:.0} us (median), the stages' medians are {sum_us:.0} us"
    );
    for stage in &topic.stages {
        let StageTimes { count, median_ns, p99_ns, .. } = stage.times;
        println!(
            "{:8} {count:5} {:>9.1} us {:>9.1} us",
            stage.stage.name(),
            median_ns as f64 / 1e3,
            p99_ns as f64 / 1e3
        );
    }
    // On a busy machine the samples that are reported may wait otherwise than the rest: a wide margin.
    assert!((sum_us - median_us).abs() <= 0.3 * median_us + 500.0, "{sum_us} of {median_us} us");
}

#[tokio::test]
async fn a_sample_is_a_trace_at_each_endpoint_that_delivers_it() {
    let rover = rover(1);
    let _echo = echo(&rover, &[]);
    let port = rover.port(Tier::Primary);
    let listed = poll(PATIENCE, || {
        let body = http::get(port, &format!("/api/v2/traces?topic={TOPIC}")).body;
        serde_json::from_str::<TraceList>(&body).ok()?.traces.into_iter().find(|trace| trace.spans >= 10)
    });
    let summary = listed.unwrap();
    assert_eq!(summary.name, format!("deliver {TOPIC}"));
    // Another endpoint asks the one that has it.
    let other = rover.port(Tier::Emergency);
    let body = http::get(other, &format!("/api/v2/traces/{}", summary.trace_id)).body;
    let trace: TraceDocument = serde_json::from_str(&body).unwrap();
    let root = trace.spans.iter().find(|span| span.parent_span_id.is_none()).unwrap();
    assert_eq!(root.attributes["messaging.destination.name"], TOPIC);
    let children = trace.spans.iter().filter(|span| span.parent_span_id.as_ref() == Some(&root.span_id));
    let names: Vec<_> = children.map(|span| (span.name.as_str(), span.service.as_str())).collect();
    assert!(names.contains(&("socket", "primary")) && names.contains(&("decode", "client")), "{names:?}");
    let client = trace.spans.iter().find(|span| span.name == "network").unwrap();
    assert!(client.attributes.contains_key("roverline.clock_error_ns") && client.reported_by.is_some());
}

#[tokio::test]
async fn a_client_whose_clock_is_an_hour_off_reports_the_same_way() {
    let Ok(clock) = SteppedClock::new() else { return };
    clock.step_to(1);
    let rover = rover(20);
    let _echo = echo(&rover, &clock.environment());
    let port = rover.port(Tier::Primary);
    let reported = poll(PATIENCE, || {
        of_topic(port).filter(|topic| stage(topic, SampleStage::Decode).is_some_and(|times| times.count >= 3))
    });
    let network = stage(&reported.unwrap(), SampleStage::Network).unwrap();
    // An hour is 3.6e12 ns; loopback takes far less than a second on any machine.
    assert!(network.max_ns < 5_000_000_000, "{network:?}");
}

#[tokio::test]
async fn only_so_many_samples_are_traced() {
    let rover = rover(2);
    let mut client = NativeClient::subscribed(rover.port(Tier::Primary), &[TOPIC]).await;
    let (mut traced, mut all) = (Vec::new(), 0);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let Received::Sample(_, header, _) = client.next().await else { continue };
        all += 1;
        if header.flags & FLAG_TRACED != 0 {
            traced.push(header.id);
        }
    }
    assert!((4..=9).contains(&traced.len()) && all > 100, "{} of {all}", traced.len());
    // Reports of what is not traced, of what others got, and repeated ones change nothing.
    let report = |seq: u64| {
        let times = serde_json::json!({"source": traced[0].source, "seq": seq, "received_ns": i64::MAX, "decoded_ns": u64::MAX});
        serde_json::from_value(serde_json::json!({"op": "sample_times", "samples": vec![times; 100]}))
            .unwrap()
    };
    let messages: [ClientMessage; 2] = [report(traced[0].seq), report(traced[0].seq + 1)];
    for message in &messages {
        client.send(message).await;
    }
    let refused = poll(PATIENCE, || {
        let metrics = http::get(rover.port(Tier::Primary), "/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("roverline_trace_refused_samples_total "))?;
        line.rsplit(' ').next()?.parse::<f64>().ok().filter(|refused| *refused >= 199.0)
    });
    let metrics = http::get(rover.port(Tier::Primary), "/metrics").body;
    let shown: Vec<_> =
        metrics.lines().filter(|line| line.contains("trace_") || line.contains("bad_input")).collect();
    assert_eq!(refused, Some(199.0), "{shown:#?}");
    let topic = of_topic(rover.port(Tier::Primary)).unwrap();
    assert!(
        stage(&topic, SampleStage::Socket).is_some() && stage(&topic, SampleStage::Network).is_none(),
        "{topic:#?}"
    );
}

#[tokio::test]
async fn a_relay_traces_the_samples_that_the_rover_traces() {
    let rover = rover(5);
    let urls = rover.urls().join(",");
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &["--upstream", &urls]);
    let _echo = echo(&relay, &[]);
    let both = poll(PATIENCE, || {
        let list = stages(relay.port(Tier::Primary), &format!("?topic={TOPIC}&local=true"));
        let topic = list.topics.into_iter().find(|topic| topic.service == "relay")?;
        let body =
            http::get(rover.port(Tier::Primary), &format!("/api/v2/traces/{}", topic.newest_trace_id)).body;
        serde_json::from_str::<TraceDocument>(&body).ok()
    });
    assert!(both.is_some(), "one trace id at both");
    // The relay asks its rover for the rest of the trace.
    let joined = poll(PATIENCE, || {
        let list = stages(relay.port(Tier::Primary), &format!("?topic={TOPIC}&local=true"));
        let id = list.topics.into_iter().find(|topic| topic.service == "relay")?.newest_trace_id;
        let body = http::get(relay.port(Tier::Secondary), &format!("/api/v2/traces/{id}")).body;
        let trace: TraceDocument = serde_json::from_str(&body).ok()?;
        let has = |service: &str| trace.spans.iter().any(|span| span.service == service);
        (has("relay") && has("primary")).then_some(trace)
    });
    assert!(joined.is_some(), "relay and rover in one trace");
}

#[tokio::test]
async fn no_sample_is_traced_at_rate_zero() {
    let rover = rover(0);
    let mut client = NativeClient::subscribed(rover.port(Tier::Primary), &[TOPIC]).await;
    let received = client.receive_for(Duration::from_secs(1)).await;
    let flags = received.iter().filter_map(|received| match received {
        Received::Sample(_, header, _) => Some(header.flags & FLAG_TRACED),
        _ => None,
    });
    assert_eq!(flags.max(), Some(0));
    let off = http::get(rover.port(Tier::Primary), "/api/v2/traces/topics");
    assert!(off.status == 404 && off.body.contains("samples_per_s"), "{}", off.body);
}
