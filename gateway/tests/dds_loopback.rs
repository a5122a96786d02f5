//! The DDS source against our own DDS sink: conflicting, appearing and disappearing publishers.

#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dds_common::{Recorder, RunningSource, domain, each_engine, eventually, now_ns, options, repeat_until};
use roverline_protocol::SampleId;
use roverline_source::dds::DdsSink;
use roverline_source::{Qos, RawSample, Sink, TopicDecl, TopicKey};

const BEST_EFFORT: Qos = Qos { reliable: false, transient_local: false };
const RELIABLE: Qos = Qos { reliable: true, transient_local: false };
const LATCHED: Qos = Qos { reliable: true, transient_local: true };
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two publications.
const INTERVAL: Duration = Duration::from_millis(10);

/// A participant with one topic.
struct Robot {
    sink: DdsSink,
    key: TopicKey,
}

impl Robot {
    fn new(domain: u16, name: &str, type_name: &str, qos: Qos) -> Robot {
        let sink = DdsSink::new(&options(domain)).unwrap();
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        let key = sink
            .topic_up(TopicDecl {
                name,
                type_name,
                qos,
                encoding: Default::default(),
                history_depth: 1,
                schema: None,
                route: None,
            })
            .unwrap();
        Robot { sink, key }
    }

    /// Publishes a byte; the timestamp tells which robot it was.
    fn publish(&self, value: u8) {
        let payload = vec![0, 1, 0, 0, value].into();
        let (id, now) = (SampleId::default(), now_ns());
        self.sink.sample(self.key, RawSample { id, source_time_ns: now, receive_time_ns: now, payload });
    }
}

fn values(running: &RunningSource, topic: &str) -> Vec<u8> {
    running.sink.with(topic, |received| received.samples.iter().map(|s| s.2[4]).collect()).unwrap_or_default()
}

fn distinct(running: &RunningSource, topic: &str) -> bool {
    let ids = running.sink.ids(topic);
    ids.iter().collect::<HashSet<_>>().len() == ids.len()
}

fn publishers_of_every_qos_are_received_once_on_one_topic() {
    let domain = domain();
    let robots: Vec<Robot> = [LATCHED, RELIABLE, BEST_EFFORT]
        .into_iter()
        .map(|qos| Robot::new(domain, "/state", "std_msgs/msg/UInt8", qos))
        .collect();
    robots[0].publish(1);
    let running = RunningSource::start(domain, Recorder::default());
    eventually("the latched value", DEADLINE, || values(&running, "/state") == [1]);
    let publish_each = || {
        for (n, robot) in robots.iter().enumerate() {
            robot.publish(10 * (n as u8 + 1));
        }
    };
    let all_three = || {
        let received = values(&running, "/state");
        [10, 20, 30].iter().all(|value| received.contains(value))
    };
    repeat_until("all three", DEADLINE, INTERVAL, publish_each, all_three);
    let count = |value: u8| values(&running, "/state").iter().filter(|v| **v == value).count();
    for value in 100..150 {
        robots.iter().for_each(|robot| robot.publish(value));
        eventually("the value from all three", DEADLINE, || count(value) >= 3);
    }
    assert_eq!((100..150).map(count).sum::<usize>(), 150);
    assert!(distinct(&running, "/state"));
    let qos = running.sink.with("/state", |received| received.decl.clone().unwrap().qos).unwrap();
    assert_eq!(qos, LATCHED, "the strongest offer is declared");
    running.shutdown();
}

fn a_returning_publisher_delivers_nothing_stale() {
    for qos in [BEST_EFFORT, RELIABLE, LATCHED] {
        let domain = domain();
        let running = RunningSource::start(domain, Recorder::default());
        let up = || running.sink.with("/x", |received| received.up) == Some(true);
        let first = Robot::new(domain, "/x", "std_msgs/msg/UInt8", qos);
        eventually("up", DEADLINE, up);
        repeat_until("received", DEADLINE, INTERVAL, || first.publish(1), || running.sink.count("/x") > 3);
        drop(first);
        eventually("down", DEADLINE, || !up());
        let before = running.sink.count("/x");
        let second = Robot::new(domain, "/x", "std_msgs/msg/UInt8", qos);
        eventually("up again", DEADLINE, up);
        let received = || running.sink.count("/x") > before;
        repeat_until("the new value", DEADLINE, INTERVAL, || second.publish(2), received);
        assert!(values(&running, "/x")[before..].iter().all(|value| *value == 2), "{qos:?}");
        assert!(distinct(&running, "/x"), "{qos:?}");
        running.shutdown();
    }
}

fn a_topic_wanted_again_starts_with_new_samples() {
    let domain = domain();
    let running = RunningSource::start(domain, Recorder::default());
    let robot = Robot::new(domain, "/x", "std_msgs/msg/UInt8", RELIABLE);
    repeat_until("received", DEADLINE, INTERVAL, || robot.publish(1), || running.sink.count("/x") > 3);
    running.sink.closed.store(true, Ordering::Relaxed);
    eventually("narrowed", DEADLINE, || running.sink.with("/x", |received| received.up) == Some(false));
    running.sink.closed.store(false, Ordering::Relaxed);
    eventually("widened", DEADLINE, || running.sink.with("/x", |received| received.up) == Some(true));
    let before = running.sink.count("/x");
    let received = || running.sink.count("/x") > before + 3;
    repeat_until("received again", DEADLINE, INTERVAL, || robot.publish(2), received);
    assert!(values(&running, "/x")[before..].iter().all(|value| *value == 2));
    assert!(distinct(&running, "/x"));
    running.shutdown();
}

fn the_first_type_of_a_topic_wins() {
    let domain = domain();
    let running = RunningSource::start(domain, Recorder::default());
    let first = Robot::new(domain, "/x", "std_msgs/msg/UInt8", RELIABLE);
    eventually("up", DEADLINE, || running.sink.with("/x", |received| received.up) == Some(true));
    let second = Robot::new(domain, "/x", "std_msgs/msg/Int8", RELIABLE);
    let both = || {
        first.publish(1);
        second.publish(2);
    };
    repeat_until("received", DEADLINE, INTERVAL, both, || running.sink.count("/x") > 30);
    assert!(values(&running, "/x").iter().all(|value| *value == 1));
    let decl = running.sink.with("/x", |received| received.decl.clone().unwrap()).unwrap();
    assert_eq!(decl.type_name, "std_msgs/msg/UInt8");
    // When its last publisher goes, the other type takes over.
    drop(first);
    let count = running.sink.count("/x");
    let received = || running.sink.count("/x") > count;
    repeat_until("the other type", DEADLINE, INTERVAL, || second.publish(3), received);
    let decl = running.sink.with("/x", |received| received.decl.clone().unwrap()).unwrap();
    assert_eq!(decl.type_name, "std_msgs/msg/Int8");
    assert!(values(&running, "/x")[count..].iter().all(|value| *value == 3));
    running.shutdown();
}

each_engine! {
    publishers_of_every_qos_are_received_once_on_one_topic,
    a_returning_publisher_delivers_nothing_stale,
    a_topic_wanted_again_starts_with_new_samples,
    the_first_type_of_a_topic_wins,
}
