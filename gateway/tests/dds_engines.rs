//! Both DDS engines beside each other, and what CycloneDDS does better. Needs `scripts/setup-clients`; without it the
//! tests print SKIPPED, or fail if `ROVERLINE_REQUIRE_CLIENTS=1`.

#![cfg(feature = "cyclone")]
#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::collections::HashSet;

use bytes::Bytes;
use dds_common::peer::python;
use dds_common::program::{CLIENT_DEADLINE, client, finish};
use dds_common::{Recorder, RunningSource, domain, eventually};
use roverline_protocol::SampleId;
use roverline_source::Publication;
use roverline_source::dds::DdsEngine;

/// Endpoints on different engines identify every sample alike, the latched one of a late joiner included.
#[test]
fn both_engines_identify_samples_alike() {
    let Some(python) = python() else { return };
    let domain = domain();
    let start = |engine| {
        dds_common::use_engine(engine);
        RunningSource::start(domain, Recorder::default())
    };
    let first = [start(DdsEngine::Cyclone), start(DdsEngine::RustDds)];
    let args = "--seconds 4 --wait 5 --readers 2 --text-rate 200 --count 400 --image-reliable";
    let robot = client(&python, "dds_publisher.py", domain, args);
    eventually("samples", CLIENT_DEADLINE, || first.iter().all(|one| one.sink.count("/imu/data") > 50));
    let late = [start(DdsEngine::RustDds), start(DdsEngine::Cyclone)];
    eventually("latched", CLIENT_DEADLINE, || late.iter().all(|one| one.sink.count("/tf_static") == 1));
    let published = finish(robot);
    for topic in ["/imu/data", "/text", "/camera/image", "/gps/fix", "/tf_static"] {
        let count = published["published"][topic].as_u64().unwrap() as usize;
        eventually(topic, CLIENT_DEADLINE, || first.iter().all(|one| one.sink.count(topic) == count));
        assert_eq!(first[0].sink.ids(topic), first[1].sink.ids(topic), "{topic}");
        let payloads = |running: &RunningSource| {
            running.sink.with(topic, |got| got.samples.iter().map(|one| one.2.clone()).collect::<Vec<_>>())
        };
        assert!(payloads(&first[0]) == payloads(&first[1]), "{topic}");
    }
    assert_eq!(late[0].sink.ids("/tf_static"), late[1].sink.ids("/tf_static"));
    let all: HashSet<SampleId> = first[0].sink.ids("/imu/data").into_iter().collect();
    for running in &late {
        assert!(running.sink.ids("/imu/data").iter().all(|id| all.contains(id)));
    }
    for running in first.into_iter().chain(late) {
        running.shutdown();
    }
}

/// The first message of a new writer reaches a subscriber that was there before.
#[test]
fn the_first_message_reaches_a_subscriber() {
    let Some(python) = python() else { return };
    dds_common::use_engine(DdsEngine::Cyclone);
    for _ in 0..3 {
        let domain = domain();
        let running = RunningSource::start(domain, Recorder::default());
        let subscriber =
            client(&python, "dds_subscriber.py", domain, "--seconds 20 --until 1 /once=std_msgs/msg/Bool");
        eventually("the subscriber", CLIENT_DEADLINE, || {
            let graph = running.sink.graph.borrow().clone();
            graph.topic("/once").is_some_and(|topic| !topic.subscribers.is_empty())
        });
        running
            .control
            .publish(Publication {
                topic: "/once".into(),
                type_name: "std_msgs/msg/Bool".into(),
                payload: Bytes::from_static(&[0, 1, 0, 0, 1]),
                latched: false,
            })
            .unwrap();
        assert_eq!(finish(subscriber)["received"]["/once"]["count"], 1);
        running.shutdown();
    }
}
