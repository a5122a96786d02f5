//! The DDS source against our own DDS sink: what happens when publishers disagree, come and go.

#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dds_common::{Recorder, Running, domain, eventually, now_ns, options};
use roverline_protocol::SampleId;
use roverline_source::dds::DdsSink;
use roverline_source::{Qos, RawSample, Sink, TopicDecl, TopicKey};

const BEST_EFFORT: Qos = Qos { reliable: false, transient_local: false };
const RELIABLE: Qos = Qos { reliable: true, transient_local: false };
const LATCHED: Qos = Qos { reliable: true, transient_local: true };
const SOON: Duration = Duration::from_secs(5);

/// A participant with one topic.
struct Robot {
    sink: DdsSink,
    key: TopicKey,
}

impl Robot {
    fn new(domain: u16, name: &str, type_name: &str, qos: Qos) -> Robot {
        let sink = DdsSink::new(&options(domain)).unwrap();
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        let key = sink.topic_up(TopicDecl { name, type_name, qos, schema: None, route: None }).unwrap();
        Robot { sink, key }
    }

    /// Publishes a byte; the stamp says which robot it was.
    fn say(&self, value: u8) {
        let payload = vec![0, 1, 0, 0, value].into();
        let (id, now) = (SampleId::default(), now_ns());
        self.sink.sample(self.key, RawSample { id, source_time_ns: now, receive_time_ns: now, payload });
    }
}

fn values(running: &Running, topic: &str) -> Vec<u8> {
    running.sink.with(topic, |heard| heard.samples.iter().map(|s| s.2[4]).collect()).unwrap_or_default()
}

fn distinct(running: &Running, topic: &str) -> bool {
    let ids = running.sink.ids(topic);
    ids.iter().collect::<HashSet<_>>().len() == ids.len()
}

#[test]
fn publishers_of_every_kind_are_heard_once_on_one_topic() {
    let domain = domain();
    let robots: Vec<Robot> = [LATCHED, RELIABLE, BEST_EFFORT]
        .into_iter()
        .map(|qos| Robot::new(domain, "/state", "std_msgs/msg/UInt8", qos))
        .collect();
    robots[0].say(1);
    let running = Running::start(domain, Recorder::default());
    eventually("the latched value", SOON, || values(&running, "/state") == [1]);
    eventually("all three", SOON, || {
        for (n, robot) in robots.iter().enumerate() {
            robot.say(10 * (n as u8 + 1));
        }
        std::thread::sleep(Duration::from_millis(20));
        let heard = values(&running, "/state");
        [10, 20, 30].iter().all(|value| heard.contains(value))
    });
    let before = running.sink.count("/state");
    for value in 100..150 {
        robots.iter().for_each(|robot| robot.say(value));
        std::thread::sleep(Duration::from_millis(2));
    }
    eventually("everything", SOON, || running.sink.count("/state") >= before + 150);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(running.sink.count("/state"), before + 150);
    assert!(distinct(&running, "/state"));
    let qos = running.sink.with("/state", |heard| heard.decl.clone().unwrap().qos).unwrap();
    assert_eq!(qos, LATCHED, "the strongest offer is declared");
    running.end();
}

#[test]
fn a_publisher_that_comes_back_brings_nothing_stale() {
    for qos in [BEST_EFFORT, RELIABLE, LATCHED] {
        let domain = domain();
        let running = Running::start(domain, Recorder::default());
        let up = || running.sink.with("/x", |heard| heard.up) == Some(true);
        let first = Robot::new(domain, "/x", "std_msgs/msg/UInt8", qos);
        eventually("up", SOON, up);
        eventually("heard", SOON, || {
            first.say(1);
            std::thread::sleep(Duration::from_millis(10));
            running.sink.count("/x") > 3
        });
        drop(first);
        eventually("down", SOON, || !up());
        let second = Robot::new(domain, "/x", "std_msgs/msg/UInt8", qos);
        eventually("up again", SOON, up);
        std::thread::sleep(Duration::from_millis(100));
        let before = running.sink.count("/x");
        second.say(2);
        eventually("the new value", SOON, || running.sink.count("/x") > before);
        assert!(values(&running, "/x")[before..].iter().all(|value| *value == 2), "{qos:?}");
        assert!(distinct(&running, "/x"), "{qos:?}");
        running.end();
    }
}

#[test]
fn a_topic_that_is_wanted_again_starts_with_what_is_new() {
    let domain = domain();
    let running = Running::start(domain, Recorder::default());
    let robot = Robot::new(domain, "/x", "std_msgs/msg/UInt8", RELIABLE);
    eventually("heard", SOON, || {
        robot.say(1);
        std::thread::sleep(Duration::from_millis(10));
        running.sink.count("/x") > 3
    });
    running.sink.closed.store(true, Ordering::Relaxed);
    eventually("narrowed", SOON, || running.sink.with("/x", |heard| heard.up) == Some(false));
    running.sink.closed.store(false, Ordering::Relaxed);
    eventually("widened", SOON, || running.sink.with("/x", |heard| heard.up) == Some(true));
    let before = running.sink.count("/x");
    eventually("heard again", SOON, || {
        robot.say(2);
        std::thread::sleep(Duration::from_millis(10));
        running.sink.count("/x") > before + 3
    });
    assert!(values(&running, "/x")[before..].iter().all(|value| *value == 2));
    assert!(distinct(&running, "/x"));
    running.end();
}

#[test]
fn the_first_type_of_a_name_is_taken() {
    let domain = domain();
    let running = Running::start(domain, Recorder::default());
    let first = Robot::new(domain, "/x", "std_msgs/msg/UInt8", RELIABLE);
    eventually("up", SOON, || running.sink.with("/x", |heard| heard.up) == Some(true));
    let second = Robot::new(domain, "/x", "std_msgs/msg/Int8", RELIABLE);
    eventually("heard", SOON, || {
        first.say(1);
        second.say(2);
        std::thread::sleep(Duration::from_millis(20));
        running.sink.count("/x") > 30
    });
    assert!(values(&running, "/x").iter().all(|value| *value == 1));
    let decl = running.sink.with("/x", |heard| heard.decl.clone().unwrap()).unwrap();
    assert_eq!(decl.type_name, "std_msgs/msg/UInt8");
    // When its last publisher goes, the other one's turn comes.
    drop(first);
    let count = running.sink.count("/x");
    eventually("the other type", SOON, || {
        second.say(3);
        std::thread::sleep(Duration::from_millis(20));
        running.sink.count("/x") > count
    });
    let decl = running.sink.with("/x", |heard| heard.decl.clone().unwrap()).unwrap();
    assert_eq!(decl.type_name, "std_msgs/msg/Int8");
    assert!(values(&running, "/x")[count..].iter().all(|value| *value == 3));
    running.end();
}
