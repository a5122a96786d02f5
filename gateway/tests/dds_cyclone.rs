//! The DDS source and sink against CycloneDDS, over the loopback interface. Needs
//! `scripts/setup-clients`; without it the tests print SKIPPED, or fail if
//! `ROVERLINE_REQUIRE_CLIENTS=1`.
//!
//! The figures (latency, loss, memory) come from the ignored tests: `cargo test --release -p
//! roverline-gateway --test dds_cyclone -- --ignored --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dds_common::peer::python;
use dds_common::program::{CLIENT_DEADLINE, client, finish};
use dds_common::{
    Recorder, RunningSource, domain, each_engine, eventually, no_gap, now_ns, options, repeat_until,
};
use roverline_protocol::SampleId;
use roverline_source::dds::{DdsOptions, DdsSink};
use roverline_source::{Graph, NodeInfo, Publication, PublishError, Qos, RawSample, Sink, TopicDecl};
use roverline_test_support::wait::observe_for;

fn everything_that_cyclone_publishes_arrives_once() {
    let Some(python) = python() else { return };
    let domain = domain();
    let running = RunningSource::start(domain, Recorder { ignore: vec!["/gps/fix"], ..Recorder::default() });
    let robot =
        client(&python, "dds_publisher.py", domain, "--seconds 3 --wait 2 --image-reliable --slow-rate 5");
    eventually("nodes", Duration::from_secs(5), || {
        running.sink.nodes.lock().unwrap().iter().any(|node| node.name == "cyclone_robot")
    });
    eventually("samples", Duration::from_secs(8), || running.sink.count("/imu/data") > 300);
    // A late participant receives the latched samples under the same identities.
    let late = RunningSource::start(domain, Recorder::default());
    eventually("the latched sample", Duration::from_secs(3), || late.sink.count("/tf_static") == 1);
    let published = finish(robot);

    let counts: BTreeMap<String, usize> = serde_json::from_value(published["published"].clone()).unwrap();
    for topic in ["/imu/data", "/tf_static", "/camera/image", "/battery_state"] {
        assert_eq!(running.sink.count(topic), counts[topic], "{topic}");
        assert!(no_gap(&running.sink.ids(topic)), "{topic}");
    }
    assert_eq!(running.sink.count("/gps/fix"), 0, "not wanted");
    let declared = |topic| running.sink.with(topic, |received| received.decl.clone().unwrap()).unwrap();
    assert_eq!(declared("/imu/data").type_name, "sensor_msgs/msg/Imu");
    assert_eq!(declared("/imu/data").qos, Qos { reliable: true, transient_local: false });
    assert_eq!(declared("/tf_static").qos, Qos { reliable: true, transient_local: true });
    assert_eq!(declared("/battery_state").qos, Qos::default());
    let image = running.sink.with("/camera/image", |received| received.samples[0].1).unwrap();
    assert!((100_000..100_100).contains(&image), "{image}");
    let all: HashSet<SampleId> = running.sink.ids("/imu/data").into_iter().collect();
    assert!(late.sink.ids("/imu/data").iter().all(|id| all.contains(id)));
    assert_eq!(late.sink.ids("/tf_static"), running.sink.ids("/tf_static"));

    eventually("topics go with their publisher", Duration::from_secs(3), || {
        running.sink.topics.lock().unwrap().iter().all(|(_, received)| !received.up)
    });
    eventually("nodes go with their context", Duration::from_secs(3), || {
        running.sink.nodes.lock().unwrap().iter().all(|node| node.name != "cyclone_robot")
    });
    late.shutdown();
    let took = running.shutdown();
    // The contract says 200 ms; a loaded machine gets ten times that.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

fn a_writer_with_the_default_reliability_is_reliable() {
    let Some(python) = python() else { return };
    let domain = domain();
    let early = RunningSource::start(domain, Recorder::default());
    let args = "--seconds 600 --image-rate 0 --slow-rate 0 --imu-rate 1 --description <robot/>";
    let mut robot = client(&python, "dds_publisher.py", domain, args);
    eventually("the description", CLIENT_DEADLINE, || early.sink.count("/robot_description") == 1);
    let late = RunningSource::start(domain, Recorder::default());
    eventually("the latched value", CLIENT_DEADLINE, || late.sink.count("/robot_description") == 1);
    for running in [&early, &late] {
        let qos = running.sink.with("/robot_description", |received| received.decl.clone().unwrap().qos);
        assert_eq!(qos, Some(Qos { reliable: true, transient_local: true }));
    }
    robot.kill().unwrap();
    robot.wait().unwrap();
    early.shutdown();
    late.shutdown();
}

fn messages_of_every_size_arrive() {
    let Some(python) = python() else { return };
    let domain = domain();
    let running = RunningSource::start(domain, Recorder::default());
    let publish = |topic: &str, text: &str| {
        let mut payload = vec![0, 1, 0, 0];
        payload.extend((text.len() as u32 + 1).to_le_bytes());
        payload.extend(text.as_bytes());
        payload.push(0);
        let (topic, type_name) = (topic.to_owned(), "std_msgs/msg/String".to_owned());
        running
            .control
            .publish(Publication { topic, type_name, payload: payload.into(), latched: false })
            .unwrap();
    };
    // Around the size of a fragment, and larger, with each remainder by four.
    let sizes = [0, 1_400, 20_000, 65_000, 200_000].into_iter().flat_map(|size| size..size + 5);
    let texts: Vec<String> = sizes.enumerate().map(|(n, size)| format!("{n} {}", "x".repeat(size))).collect();
    let last = texts.len() - 1;
    let args = format!("--seconds 30 --until-number {last} /text=std_msgs/msg/String");
    let subscriber = client(&python, "dds_subscriber.py", domain, &args);
    eventually("the subscriber", CLIENT_DEADLINE, || {
        let graph = running.sink.graph.borrow().clone();
        graph.topic("/text").is_some_and(|topic| !topic.subscribers.is_empty())
    });
    // Messages are lost until the subscriber has matched the writer; a text without a number is not counted.
    for _ in 0..10 {
        publish("/text", "warming up");
        observe_for(Duration::from_millis(50), "the match of our writer with the subscriber");
    }
    for text in &texts {
        publish("/text", text);
        std::thread::sleep(Duration::from_millis(20));
    }
    let received = finish(subscriber);
    let text = &received["received"]["/text"];
    assert_eq!((&text["gaps"], &text["numbered"]), (&0.into(), &texts.len().into()), "{received}");
    running.shutdown();
}

fn cyclone_receives_what_is_published() {
    let Some(python) = python() else { return };
    let domain = domain();
    let running = RunningSource::start(domain, Recorder::default());
    let bool_true = Bytes::from_static(&[0, 1, 0, 0, 1]);
    let publish = |topic: &str, latched| {
        running.control.publish(Publication {
            topic: topic.into(),
            type_name: "std_msgs/msg/Bool".into(),
            payload: bool_true.clone(),
            latched,
        })
    };
    publish("/emergency_stop", true).unwrap();
    publish("/ping", false).unwrap();
    let subscriber = client(
        &python,
        "dds_subscriber.py",
        domain,
        "--seconds 8 --until 1 /emergency_stop=std_msgs/msg/Bool:latched /ping=std_msgs/msg/Bool",
    );
    // Our own topics are ordinary topics: this endpoint's clients see them too.
    eventually("our own topic", Duration::from_secs(3), || running.sink.count("/emergency_stop") == 1);
    let subscriber = std::thread::spawn(move || finish(subscriber));
    repeat_until(
        "the subscriber's end",
        CLIENT_DEADLINE,
        Duration::from_millis(50),
        || publish("/ping", false).unwrap(),
        || subscriber.is_finished(),
    );
    let received = subscriber.join().unwrap();
    assert_eq!(received["received"]["/emergency_stop"]["count"], 1, "{received}");
    assert!(received["received"]["/ping"]["count"].as_u64().unwrap() >= 1, "{received}");
    assert!(no_gap(&running.sink.ids("/ping")));
    running.shutdown();
}

fn a_hung_subscriber_does_not_block_publishing() {
    let Some(python) = python() else { return };
    let domain = domain();
    let running = RunningSource::start(domain, Recorder::default());
    let publish = |topic: &str| {
        running.control.publish(Publication {
            topic: topic.into(),
            type_name: "std_msgs/msg/Bool".into(),
            payload: Bytes::from_static(&[0, 1, 0, 0, 1]),
            latched: false,
        })
    };
    let listen = |topic: &str, until: u32| {
        let args = format!("--seconds 20 --until {until} {topic}=std_msgs/msg/Bool");
        client(&python, "dds_subscriber.py", domain, &args)
    };
    let hung = listen("/cmd", 5000);
    let healthy = std::thread::spawn({
        let child = listen("/stop", 1);
        move || (finish(child), Instant::now())
    });
    let subscribed = |topic: &str| {
        let graph = running.sink.graph.borrow().clone();
        graph.topic(topic).is_some_and(|topic| !topic.subscribers.is_empty())
    };
    eventually("both subscribers", CLIENT_DEADLINE, || subscribed("/cmd") && subscribed("/stop"));
    publish("/cmd").unwrap();
    observe_for(Duration::from_millis(500), "the match of our writer with the subscriber");
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &hung.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let mut accepted = 0;
    while accepted < 1500 {
        match publish("/cmd") {
            Ok(()) => accepted += 1,
            Err(PublishError::Busy(_)) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    let published_at = Instant::now();
    repeat_until(
        "the stop",
        Duration::from_secs(10),
        Duration::from_millis(20),
        || drop(publish("/stop")),
        || healthy.is_finished(),
    );
    signal("-CONT");
    let (received, at) = healthy.join().unwrap();
    assert_eq!(received["received"]["/stop"]["count"].as_u64().map(|count| count > 0), Some(true));
    println!("the stop arrived and its subscriber exited after {:?}", at - published_at);
    let mut hung = hung;
    hung.kill().unwrap();
    hung.wait().unwrap();
    running.shutdown();
}

fn a_source_can_be_published_as_a_robot() {
    let Some(python) = python() else { return };
    let domain = domain();
    let sink = DdsSink::new(&DdsOptions { ros_distro: "jazzy".into(), ..options(domain) }).unwrap();
    let latched = Qos { reliable: true, transient_local: true };
    let declare = |name: &str, type_name: &str, qos| {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        sink.topic_up(TopicDecl {
            name,
            type_name,
            qos,
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        })
        .unwrap()
    };
    let text = declare("/text", "std_msgs/msg/String", Qos { reliable: true, ..Qos::default() });
    let state = declare("/state", "std_msgs/msg/Bool", latched);
    sink.graph(Graph::of_nodes(vec![NodeInfo { namespace: "/".into(), name: "built_in_rover".into() }]));
    let sample = |seq: u64, payload: Vec<u8>| RawSample {
        id: SampleId { seq, ..SampleId::default() },
        source_time_ns: now_ns(),
        receive_time_ns: now_ns(),
        payload: payload.into(),
    };
    sink.sample(state, sample(1, vec![0, 1, 0, 0, 1]));
    let subscriber = client(
        &python,
        "dds_subscriber.py",
        domain,
        "--seconds 8 --until 1 /text=std_msgs/msg/String /state=std_msgs/msg/Bool:latched \
         /ros_discovery_info=rmw_dds_common/msg/ParticipantEntitiesInfo:latched",
    );
    let subscriber = std::thread::spawn(move || finish(subscriber));
    let mut seq = 0;
    let publish_text = || {
        seq += 1;
        let words = format!("{seq} hello");
        let mut payload = vec![0, 1, 0, 0];
        payload.extend_from_slice(&(words.len() as u32 + 1).to_le_bytes());
        payload.extend_from_slice(words.as_bytes());
        payload.push(0);
        sink.sample(text, sample(seq, payload));
    };
    let interval = Duration::from_millis(10);
    repeat_until("the subscriber's end", CLIENT_DEADLINE, interval, publish_text, || {
        subscriber.is_finished()
    });
    let received = &subscriber.join().unwrap()["received"];
    assert_eq!(received["/state"]["count"], 1, "{received}");
    assert!(received["/text"]["count"].as_u64().unwrap() > 0, "{received}");
    assert_eq!(received["/text"]["gaps"], 0, "{received}");
    assert_eq!(received["/ros_discovery_info"]["nodes"][0], "built_in_rover", "{received}");
    assert_eq!(sink.dropped(), 0);
}

/// Waits until everything has arrived, or for one second: the loss is part of the measurement.
fn settle(complete: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !complete() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn percentile(sorted: &[i64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 / 1000.0
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn measure(what: &str, topic: &str, args: &str) {
    let Some(python) = python() else { return };
    let domain = domain();
    let before = resident_kib();
    let running = RunningSource::start(domain, Recorder::default());
    let robot = finish(client(&python, "dds_publisher.py", domain, args));
    let published = robot["published"][topic].as_u64().unwrap() as usize;
    settle(|| running.sink.count(topic) >= published);
    let mut delays = running.sink.with(topic, |received| received.delays.clone()).unwrap_or_default();
    delays.sort_unstable();
    println!(
        "{what}: {} of {published} received, lost {}; publisher → sink p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs; \
         resident {} → {} KiB; publisher late by up to {} ms",
        delays.len(),
        published - delays.len(),
        percentile(&delays, 0.5),
        percentile(&delays, 0.99),
        percentile(&delays, 1.0),
        before,
        resident_kib(),
        robot["latest_by_ms"],
    );
    println!("  stopped in {:?}", running.shutdown());
    assert_eq!(delays.len(), published);
}

fn imu_at_200_hz_is_complete() {
    measure("Imu 200 Hz × 30 s", "/imu/data", "--seconds 30.5 --count 6000 --wait 3 --slow-rate 5");
}

fn one_kilobyte_at_1_khz_is_complete() {
    let args =
        "--seconds 11 --wait 3 --text-rate 1000 --count 10000 --image-rate 0 --imu-rate 1 --slow-rate 0";
    measure("String 1 KiB 1 kHz × 10 s", "/text", args);
}

fn images_are_complete() {
    let args = "--seconds 10 --wait 3 --imu-rate 1 --slow-rate 0";
    measure("Image 100 KB best effort 10 Hz × 10 s", "/camera/image", args);
    measure("Image 100 KB reliable 10 Hz × 10 s", "/camera/image", &format!("{args} --image-reliable"));
}

fn idle_and_start() {
    let Some(python) = python() else { return };
    let domain = domain();
    let robot = client(&python, "dds_publisher.py", domain, "--seconds 9 --image-rate 0");
    let observer = RunningSource::start(domain, Recorder::default());
    eventually("the robot", CLIENT_DEADLINE, || observer.sink.count("/tf_static") > 0);
    observer.shutdown();
    let (before, start) = (resident_kib(), Instant::now());
    let running = RunningSource::start(domain, Recorder { ignore: vec!["/imu/data"], ..Recorder::default() });
    eventually("a first sample", Duration::from_secs(5), || running.sink.count("/tf_static") > 0);
    println!("joined a running graph: first sample after {:?}", start.elapsed());
    finish(robot);
    let (before_idle, clock) = (thread_times(), Instant::now());
    observe_for(Duration::from_secs(5), "the measured time of the idle threads");
    println!(
        "resident {before} → {} KiB; processor time of the threads while idle for {:?}:",
        resident_kib(),
        clock.elapsed()
    );
    for (thread, time) in thread_times() {
        let idle = time - before_idle.get(&thread).copied().unwrap_or(0);
        println!("  {:.3} ms {}", idle as f64 / 1e6, thread.1);
    }
    println!("stopped in {:?}", running.shutdown());
}

/// Processor time by thread, nanoseconds.
fn thread_times() -> BTreeMap<(String, String), u64> {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let time = read(path.join("schedstat")).split(' ').next().unwrap().parse().unwrap();
            ((path.display().to_string(), read(path.join("comm")).trim().to_owned()), time)
        })
        .collect()
}

fn four_endpoints_receive_the_same() {
    let Some(python) = python() else { return };
    let domain = domain();
    let endpoints: Vec<RunningSource> =
        (0..4).map(|_| RunningSource::start(domain, Recorder::default())).collect();
    let args = "--seconds 5 --wait 5 --readers 4 --text-rate 500 --count 2000 --image-reliable";
    let robot = finish(client(&python, "dds_publisher.py", domain, args));
    for topic in ["/imu/data", "/text", "/camera/image", "/gps/fix", "/tf_static"] {
        let published = robot["published"][topic].as_u64().unwrap() as usize;
        settle(|| endpoints.iter().all(|endpoint| endpoint.sink.count(topic) >= published));
        let counts: Vec<usize> = endpoints.iter().map(|e| e.sink.count(topic)).collect();
        println!("{topic}: {published} published, received {counts:?}");
        let first = endpoints[0].sink.ids(topic);
        assert!(first.len() == published && endpoints.iter().all(|e| e.sink.ids(topic) == first), "{topic}");
    }
    println!("resident {} KiB with four participants", resident_kib());
    for endpoint in endpoints {
        println!("stopped in {:?}", endpoint.shutdown());
    }
}

each_engine! {
    everything_that_cyclone_publishes_arrives_once,
    a_writer_with_the_default_reliability_is_reliable,
    messages_of_every_size_arrive,
    cyclone_receives_what_is_published,
    a_hung_subscriber_does_not_block_publishing,
    a_source_can_be_published_as_a_robot,
    #[ignore = "takes half a minute and wants a quiet machine"]
    imu_at_200_hz_is_complete,
    #[ignore = "wants a quiet machine"]
    one_kilobyte_at_1_khz_is_complete,
    #[ignore = "wants a quiet machine"]
    images_are_complete,
    #[ignore = "wants a quiet machine"]
    idle_and_start,
    #[ignore = "wants a quiet machine"]
    four_endpoints_receive_the_same,
}
