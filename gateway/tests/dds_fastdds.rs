//! Nodes on Fast DDS, the default RMW of ROS 2, with its conventions of services. Needs `scripts/setup-clients`; without
//! it the tests print SKIPPED, or fail if `ROVERLINE_REQUIRE_CLIENTS=1`.

#![cfg(feature = "cyclone")]
#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::sync::Arc;
use std::time::Duration;

use dds_common::peer::Peer;
use dds_common::{Recorder, RunningSource, block_on, domain, eventually, no_gap, use_engine};
use roverline_schema::Registry;
use roverline_source::dds::DdsEngine;
use roverline_source::ros::Ros;
use roverline_source::{Publication, Reply};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
/// Fast DDS repeats its heartbeats every three seconds: what takes longer than half of that was lost at first.
const PROMPT_MS: u64 = 1_500;
const TRIGGER: &str = "std_srvs/srv/Trigger";
const STRING: &str = "std_msgs/msg/String";

fn started(domain: u16) -> RunningSource {
    use_engine(DdsEngine::Cyclone);
    RunningSource::start(domain, Recorder::default())
}

fn ros(running: &RunningSource) -> Ros {
    Ros::new(running.control.clone(), Registry::bundled(), running.sink.graph.subscribe())
}

/// A handler that answers a trigger with `message`.
fn answering(ros: &Ros, message: &'static str) -> Arc<roverline_source::Handler> {
    let ros = ros.clone();
    let answer = move |_, reply: Reply| {
        let response = json!({"success": true, "message": message});
        reply.send(ros.encode("std_srvs/srv/Trigger_Response", &response).unwrap());
    };
    Arc::new(answer)
}

/// Calls a service of ours from the node; returns its report.
fn called(node: &mut Peer, service: &str) -> Value {
    node.send(&format!("call {service}"));
    node.line()
}

#[test]
fn topics_arrive_without_a_gap_and_the_latched_one_too() {
    let domain = domain();
    let Some(node) = Peer::fastdds(domain, "--seconds 60") else { return };
    let running = started(domain);
    eventually("the latched message", DEADLINE, || running.sink.count("/fast/latched") == 1);
    eventually("100 messages", DEADLINE, || running.sink.count("/fast/count") >= 100);
    assert!(no_gap(&running.sink.ids("/fast/count")));
    let decl = running.sink.with("/fast/latched", |received| received.decl.clone()).flatten().unwrap();
    assert!(decl.qos.reliable && decl.qos.transient_local, "{:?}", decl.qos);
    let end = node.shutdown();
    assert!(end["sent"].as_u64() > Some(100), "{end}");
    running.shutdown();
}

/// The writer declares what was before by one long GAP.
#[test]
fn a_writer_with_many_samples_is_received_by_a_late_reader() {
    let domain = domain();
    let Some(mut node) = Peer::fastdds(domain, "--seconds 60 --burst 80000") else { return };
    assert_eq!(node.line(), json!({"burst": 80_000}));
    let running = started(domain);
    eventually("50 messages", DEADLINE, || running.sink.count("/fast/count") >= 50);
    let ids = running.sink.ids("/fast/count");
    assert!(no_gap(&ids) && ids[0].seq > 80_000, "{:?}", ids[0]);
    node.shutdown();
    running.shutdown();
}

#[test]
fn new_clients_find_a_service_ready_and_their_first_request_is_answered_at_once() {
    block_on(async {
        let domain = domain();
        let Some(mut node) = Peer::fastdds(domain, "--seconds 60") else { return };
        let running = started(domain);
        let ros = ros(&running);
        let _served = ros.serve("/ours/first", TRIGGER, answering(&ros, "first")).unwrap();
        let _second = ros.serve("/ours/second", TRIGGER, answering(&ros, "second")).unwrap();
        eventually("the node", DEADLINE, || running.sink.count("/fast/count") > 0);
        // Each call is one of a new client, whose writer the server does not know yet.
        for service in ["/ours/first", "/ours/second", "/ours/first", "/ours/second", "/ours/first"] {
            let report = tokio::task::block_in_place(|| called(&mut node, service));
            assert_eq!((&report["ready"], &report["answered"]), (&true.into(), &true.into()), "{report}");
            assert!(report["answer_ms"].as_u64() < Some(PROMPT_MS), "{report}");
        }
        node.shutdown();
        running.shutdown();
    });
}

/// Fast DDS learns that our endpoints are deleted from the hash of their keys.
#[test]
fn a_service_that_is_withdrawn_is_no_longer_ready() {
    block_on(async {
        let domain = domain();
        let Some(mut node) = Peer::fastdds(domain, "--seconds 120") else { return };
        let running = started(domain);
        let ros = ros(&running);
        eventually("the node", DEADLINE, || running.sink.count("/fast/count") > 0);
        for service in ["/ours/short", "/ours/a/longer/name/of/a/service/that/is/withdrawn"] {
            let served = ros.serve(service, TRIGGER, answering(&ros, "for a while")).unwrap();
            let report = tokio::task::block_in_place(|| called(&mut node, service));
            assert_eq!(report["answered"], true, "{report}");
            drop(served);
            let calling = std::cell::RefCell::new(&mut node);
            let is_gone = || {
                tokio::task::block_in_place(|| called(&mut calling.borrow_mut(), service))["ready"] == false
            };
            eventually("the withdrawal", DEADLINE, is_gone);
        }
        node.shutdown();
        running.shutdown();
    });
}

#[test]
fn its_service_is_called_and_its_subscription_gets_the_first_message() {
    block_on(async {
        let domain = domain();
        let Some(mut node) = Peer::fastdds(domain, "--seconds 60") else { return };
        let running = started(domain);
        let ros = ros(&running);
        eventually("the service", DEADLINE, || {
            running.sink.graph.borrow().service("/fast/trigger").is_some()
        });
        let nothing = json!({});
        let calls = (0..30).map(|_| ros.call_json("/fast/trigger", TRIGGER, &nothing, DEADLINE));
        for answer in futures_util::future::join_all(calls).await {
            let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
            assert_eq!(answer, json!({"success": true, "message": "from Fast DDS"}));
        }
        for n in 0..3 {
            let payload = ros.encode(STRING, &json!({"data": format!("message {n}")})).unwrap();
            let (topic, type_name) = ("/to_fast".to_owned(), STRING.to_owned());
            ros.publish(Publication { topic, type_name, payload, latched: false }).unwrap();
        }
        for n in 0..3 {
            let received = tokio::task::block_in_place(|| node.line());
            assert_eq!(received, json!({"received": format!("message {n}")}));
        }
        assert_eq!(node.shutdown()["asked"], 30, "each request arrived once");
        running.shutdown();
    });
}

/// A Fast DDS with statistics, as Debian's, aborts when two participants of RustDDS read one of its topics.
#[test]
fn it_survives_four_endpoints() {
    let domain = domain();
    let Some(node) = Peer::fastdds(domain, "--seconds 60") else { return };
    let endpoints: Vec<RunningSource> = (0..4).map(|_| started(domain)).collect();
    for endpoint in &endpoints {
        eventually("20 messages", DEADLINE, || endpoint.sink.count("/fast/count") >= 20);
    }
    let end = node.shutdown();
    assert!(end["sent"].as_u64() > Some(20), "{end}");
    for endpoint in endpoints {
        endpoint.shutdown();
    }
}
