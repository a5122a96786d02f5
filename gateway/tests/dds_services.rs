//! Services, actions, parameters and the graph against CycloneDDS, with its RMW's conventions. Needs
//! `scripts/setup-clients`; without it the tests print SKIPPED, or fail if
//! `ROVERLINE_REQUIRE_CLIENTS=1`.

#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dds_common::peer::{Peer, python};
use dds_common::{Recorder, RunningSource, block_on, domain, each_engine, eventually, repeat_until};
use roverline_schema::Registry;
use roverline_source::ros::{Goal, GoalEvent, GoalStatus, Parameter, ParameterValue, Ros, RosError};
use roverline_source::{CallError, Publication, Reply};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
/// The timeout of the call that hangs.
const HANG_TIMEOUT: Duration = Duration::from_secs(2);
const TRIGGER: &str = "std_srvs/srv/Trigger";
const FIBONACCI: &str = "example_interfaces/action/Fibonacci";

fn ros(running: &RunningSource) -> Ros {
    Ros::new(running.control.clone(), Registry::bundled(), running.sink.graph.subscribe())
}

fn serves(running: &RunningSource, service: &str) -> bool {
    running.sink.graph.borrow().service(service).is_some()
}

/// Whether the graph also attributes the endpoints to the robot's node, which is discovered separately.
fn is_the_robots(graph: &roverline_source::Graph) -> bool {
    let robot = ["/robot".to_owned()];
    graph.service("/robot/trigger").is_some_and(|service| service.providers == robot)
        && graph.topic("/robot/cmd_vel").is_some_and(|topic| topic.subscribers == robot)
}

async fn call(ros: &Ros, service: &str, timeout: Duration) -> Result<Value, RosError> {
    let answer = ros.call_json(service, TRIGGER, &json!({}), timeout).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

fn a_robots_services_are_called_and_one_that_hangs_costs_its_own_call() {
    block_on(async {
        let Some(python) = python() else { return };
        let domain = domain();
        let robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
        let running = RunningSource::start(domain, Recorder::default());
        let ros = ros(&running);
        eventually("the services", DEADLINE, || serves(&running, "/robot/never"));

        eventually("the robot's node", DEADLINE, || is_the_robots(&ros.graph()));
        let graph = ros.graph();
        assert_eq!(
            graph.service("/fibonacci/_action/send_goal").unwrap().type_name,
            format!("{FIBONACCI}_SendGoal")
        );
        assert!(
            graph.nodes.iter().any(|node| node.full_name() == "/gateway_under_test"),
            "{:?}",
            graph.nodes
        );
        assert_eq!(ros.actions(), [("/fibonacci".to_owned(), FIBONACCI.to_owned())]);

        let hangs = tokio::spawn({
            let ros = ros.clone();
            async move {
                let start = Instant::now();
                (call(&ros, "/robot/never", HANG_TIMEOUT).await, start.elapsed())
            }
        });
        for _ in 0..20 {
            assert_eq!(call(&ros, "/robot/trigger", DEADLINE).await.unwrap()["success"], true);
        }
        // With the type from the graph; concurrent calls each get their own response.
        let nothing = json!([]);
        let many = (0..50).map(|_| ros.call_json("/robot/trigger", "", &nothing, DEADLINE));
        let mut messages: Vec<String> = futures_util::future::join_all(many)
            .await
            .into_iter()
            .map(|answer| String::from_utf8(answer.unwrap()).unwrap())
            .collect();
        messages.sort();
        messages.dedup();
        assert_eq!(messages.len(), 50);
        let (never, took) = hangs.await.unwrap();
        assert!(matches!(never, Err(RosError::Call(CallError::Timeout { .. }))), "{never:?}");
        assert!(took >= HANG_TIMEOUT, "{took:?}");

        // A late response is discarded; it does not answer the next call.
        let late = call(&ros, "/robot/late", Duration::from_millis(300)).await;
        assert!(matches!(late, Err(RosError::Call(CallError::Timeout { .. }))), "{late:?}");
        assert_eq!(call(&ros, "/robot/late", DEADLINE).await.unwrap()["message"], "number 2");

        let start = Instant::now();
        let unserved = call(&ros, "/nobody/home", DEADLINE).await;
        assert!(matches!(unserved, Err(RosError::Call(CallError::NoServer(_)))), "{unserved:?}");
        assert!(start.elapsed() < DEADLINE / 2, "long before the timeout");
        let wrong = ros.call_json("/robot/trigger", "std_srvs/srv/SetBool", &json!({}), DEADLINE).await;
        assert!(
            matches!(&wrong, Err(RosError::Call(CallError::Failed(why))) if why.contains(TRIGGER)),
            "{wrong:?}"
        );
        let big_endian =
            ros.call("/robot/trigger", TRIGGER, Bytes::from_static(&[0, 0, 0, 0, 0]), DEADLINE).await;
        assert!(
            matches!(&big_endian, Err(RosError::Source(why)) if why.to_string().contains("little-endian"))
        );

        let end = robot.shutdown();
        assert_eq!((&end["triggered"], &end["never"]), (&70.into(), &1.into()), "each request was sent once");
        eventually("the services are gone", DEADLINE, || !serves(&running, "/robot/trigger"));
        running.shutdown();
    });
}

async fn last(goal: &mut Goal) -> (usize, Option<GoalEvent>) {
    let (mut feedback, mut last) = (0, None);
    while let Some(event) = tokio::time::timeout(DEADLINE, goal.events.recv()).await.unwrap() {
        feedback += usize::from(matches!(event, GoalEvent::Feedback(_)));
        last = Some(event);
    }
    (feedback, last)
}

fn goals_are_followed_to_their_end_cancelled_and_rejected() {
    block_on(async {
        let Some(python) = python() else { return };
        let domain = domain();
        let _robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120 --step 0.1");
        let running = RunningSource::start(domain, Recorder::default());
        let ros = ros(&running);
        eventually("the action", DEADLINE, || serves(&running, "/fibonacci/_action/get_result"));

        let mut goal = ros.send_goal("/fibonacci", FIBONACCI, &json!({"order": 12}), true).unwrap();
        let mut other = ros.send_goal("/fibonacci", "", &json!({"order": 900}), true).unwrap();
        // Exceeds the first result timeout, so the result is requested a second time.
        let mut long = ros.send_goal("/fibonacci", "", &json!({"order": 28}), false).unwrap();
        assert_eq!(goal.events.recv().await, Some(GoalEvent::Accepted));
        let (feedback, end) = last(&mut goal).await;
        let result = br#"{"sequence":[0,1,1,2,3,5,8,13,21,34,55,89,144]}"#.to_vec();
        assert_eq!(end, Some(GoalEvent::Result(GoalStatus::Succeeded, result)));
        assert!(feedback > 2, "{feedback}");

        ros.cancel_goal("/fibonacci", other.id).await.unwrap();
        let (feedback, end) = last(&mut other).await;
        assert!(feedback > 2 && matches!(end, Some(GoalEvent::Result(GoalStatus::Canceled, _))), "{end:?}");
        let again = ros.cancel_goal("/fibonacci", goal.id).await.unwrap_err().to_string();
        assert!(again.contains("/fibonacci"), "{again}");

        let (_, end) = last(&mut long).await;
        assert!(matches!(end, Some(GoalEvent::Result(GoalStatus::Succeeded, _))), "{end:?}");
        let mut rejected = ros.send_goal("/fibonacci", "", &json!({"order": -1}), false).unwrap();
        let (_, end) = last(&mut rejected).await;
        assert!(matches!(&end, Some(GoalEvent::Failed(why)) if why.contains("rejected")), "{end:?}");
        let mut unserved = ros.send_goal("/nobody", FIBONACCI, &json!({"order": 1}), true).unwrap();
        let (_, end) = last(&mut unserved).await;
        assert!(matches!(&end, Some(GoalEvent::Failed(why)) if why.contains("no node serves")), "{end:?}");
        assert!(matches!(
            ros.send_goal("/fibonacci", "", &json!({"order": "x"}), true),
            Err(RosError::Message(_))
        ));
        running.shutdown();
    });
}

fn parameters_are_read_set_and_followed() {
    block_on(async {
        let Some(python) = python() else { return };
        let domain = domain();
        let _robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
        let running = RunningSource::start(domain, Recorder::default());
        let ros = ros(&running);
        eventually("the parameters", DEADLINE, || serves(&running, "/robot/set_parameters"));

        let (all, errors) = ros.all_parameters().await;
        assert!(errors.is_empty(), "{errors:?}");
        let parameter = |name: &str, value| Parameter { node: "/robot".into(), name: name.into(), value };
        let expected = [
            parameter("limits.near", ParameterValue::Doubles(vec![f64::INFINITY, -1.5])),
            parameter("name", ParameterValue::String("Rosie".into())),
            parameter("speed", ParameterValue::Double(0.5)),
        ];
        assert_eq!(all, expected);
        assert_eq!(
            ros.get_parameters("/robot", &["none".into(), "name".into()]).await.unwrap(),
            expected[1..2]
        );
        let mut events = ros.parameter_events().unwrap();
        let faster = parameter("speed", ParameterValue::Double(0.75));
        // The subscription is matched a moment after it is created: set until the event arrives.
        let received = tokio::time::timeout(DEADLINE, async {
            loop {
                ros.set_parameter(&faster).await.unwrap();
                if let Ok(event) = tokio::time::timeout(Duration::from_millis(200), events.recv()).await {
                    return event.unwrap();
                }
            }
        });
        assert_eq!(*received.await.unwrap(), faster);
        assert_eq!(ros.get_parameters("/robot", &["speed".into()]).await.unwrap(), [faster]);
        let refused = ros.set_parameter(&parameter("speed", ParameterValue::Bool(true))).await.unwrap_err();
        assert!(refused.to_string().contains("another type"), "{refused}");
        assert!(
            ros.describe_parameters("/robot", &["speed".into()]).await.is_err(),
            "it does not serve this"
        );
        running.shutdown();
    });
}

fn our_services_may_respond_later_from_another_thread() {
    block_on(async {
        let Some(python) = python() else { return };
        let domain = domain();
        let running = RunningSource::start(domain, Recorder::default());
        let ros = ros(&running);
        // Replies are collected until there are three, then sent in reverse order.
        let waiting: Arc<Mutex<Vec<Reply>>> = Arc::default();
        let queue = waiting.clone();
        let served = ros
            .serve("/gateway/photo", TRIGGER, Arc::new(move |_, reply| queue.lock().unwrap().push(reply)))
            .unwrap();
        let caller = Peer::start(&python, "dds_caller.py", domain, "--calls 2 --seconds 80 /gateway/photo");
        // Our own clients are served without DDS.
        let own = tokio::spawn({
            let ros = ros.clone();
            async move { call(&ros, "/gateway/photo", DEADLINE * 2).await }
        });
        eventually("three requests", DEADLINE, || waiting.lock().unwrap().len() == 3);
        assert!(serves(&running, "/gateway/photo"));
        assert_eq!(ros.graph().service("/gateway/photo").unwrap().providers, ["/gateway_under_test"]);
        std::thread::spawn(move || {
            for (n, reply) in waiting.lock().unwrap().drain(..).rev().enumerate() {
                let response = json!({"success": true, "message": format!("answer {n}")});
                let plan = Registry::bundled().plan("std_srvs/srv/Trigger_Response").unwrap();
                reply.send(plan.encode_json(&response).unwrap().into());
            }
        });
        assert_eq!(own.await.unwrap().unwrap()["success"], true);
        let answers = caller.finish();
        assert_eq!(answers["answers"].as_object().unwrap().len(), 2, "{answers}");
        assert!(
            answers["answers"]["1"][0] == true && answers["answers"]["1"] != answers["answers"]["2"],
            "{answers}"
        );
        drop(served);
        eventually("it is withdrawn", DEADLINE, || !serves(&running, "/gateway/photo"));
        running.shutdown();
    });
}

fn two_gateways_call_each_other_by_the_samples_identity() {
    block_on(async {
        let domain = domain();
        let one = RunningSource::start(domain, Recorder::default());
        let two = RunningSource::start(domain, Recorder::default());
        let handler = |body: Bytes, reply: Reply| {
            let plan = Registry::bundled().plan("std_srvs/srv/SetBool_Response").unwrap();
            let response = json!({"success": body[4] != 0, "message": "done"});
            reply.send(plan.encode_json(&response).unwrap().into());
        };
        let _served = ros(&one).serve("/lamp", "std_srvs/srv/SetBool", Arc::new(handler)).unwrap();
        eventually("the service", DEADLINE, || serves(&two, "/lamp"));
        let there = ros(&two);
        for on in [true, false, true] {
            let answer = there.call_json("/lamp", "", &json!({"data": on}), DEADLINE).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!((&answer["success"], &answer["message"]), (&on.into(), &"done".into()));
        }
        // The server disappears while a call is pending: the call fails at once.
        let never: Arc<Mutex<Vec<Reply>>> = Arc::default();
        let kept = never.clone();
        let hang = Arc::new(move |_: Bytes, reply: Reply| kept.lock().unwrap().push(reply));
        let held = ros(&one).serve("/hang", TRIGGER, hang).unwrap();
        eventually("the other service", DEADLINE, || serves(&two, "/hang"));
        let waits = tokio::spawn(async move { call(&there, "/hang", DEADLINE * 2).await });
        eventually("the request", DEADLINE, || never.lock().unwrap().len() == 1);
        drop(held);
        let gone = tokio::time::timeout(DEADLINE, waits).await.unwrap().unwrap();
        assert!(
            matches!(&gone, Err(RosError::Call(CallError::Failed(why))) if why.contains("gone")),
            "{gone:?}"
        );
        one.shutdown();
        two.shutdown();
    });
}

fn what_a_client_publishes_reaches_the_robot_and_every_client_once() {
    block_on(async {
        let Some(python) = python() else { return };
        let domain = domain();
        let mut robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
        let (here, there) = (
            RunningSource::start(domain, Recorder::default()),
            RunningSource::start(domain, Recorder::default()),
        );
        let ros = ros(&here);
        eventually("the robot", DEADLINE, || here.sink.graph.borrow().topic("/robot/cmd_vel").is_some());
        let twist = |x: f64| {
            let payload = ros.encode("geometry_msgs/msg/Twist", &json!({"linear": {"x": x}})).unwrap();
            let (topic, type_name) = ("/robot/cmd_vel".to_owned(), "geometry_msgs/msg/Twist".to_owned());
            Publication { topic, type_name, payload, latched: false }
        };
        // Publish until the writer is matched.
        let received = || there.sink.count("/robot/cmd_vel") > 0 && here.sink.count("/robot/cmd_vel") > 0;
        let publish_first = || ros.publish(twist(0.0)).unwrap();
        repeat_until("the first sample at all", DEADLINE, Duration::from_millis(50), publish_first, received);
        for x in 1..=20 {
            ros.publish(twist(f64::from(x))).unwrap();
        }
        while robot.line()["speed"] != 20.0 {}
        let marked = |running: &RunningSource| {
            let twenty = 20.0_f64.to_le_bytes();
            let last = running
                .sink
                .with("/robot/cmd_vel", |received| received.samples.iter().any(|s| s.2[4..12] == twenty));
            last == Some(true)
        };
        eventually("the last here and there", DEADLINE, || marked(&here) && marked(&there));
        let (ours, theirs) = (here.sink.ids("/robot/cmd_vel"), there.sink.ids("/robot/cmd_vel"));
        assert_eq!(ours[ours.len() - 20..], theirs[theirs.len() - 20..], "the same identities");
        let distinct: std::collections::HashSet<_> = ours.iter().collect();
        assert_eq!(distinct.len(), ours.len(), "each once");
        eventually("who publishes it", DEADLINE, || {
            let graph = here.sink.graph.borrow().clone();
            graph.topic("/robot/cmd_vel").is_some_and(|topic| topic.publishers == ["/gateway_under_test"])
        });
        here.shutdown();
        there.shutdown();
    });
}

fn our_action_is_executed_by_its_handler() {
    block_on(async {
        let domain = domain();
        let one = RunningSource::start(domain, Recorder::default());
        let two = RunningSource::start(domain, Recorder::default());
        let (goals, mut taken) = tokio::sync::mpsc::channel(16);
        let handler = Arc::new(move |goal| goals.try_send(goal).unwrap());
        let served = ros(&one).serve_action("/count", FIBONACCI, handler).unwrap();
        eventually("the action", DEADLINE, || {
            serves(&two, "/count/_action/cancel_goal") && serves(&one, "/count/_action/cancel_goal")
        });
        // Before any goal: clients take an action for ready when they see its topics as well.
        eventually("its topics", DEADLINE, || {
            let graph = two.sink.graph.borrow().clone();
            let parts = ["feedback", "status"].map(|part| format!("/count/_action/{part}"));
            parts.iter().all(|topic| graph.topic(topic).is_some())
        });
        let pursuer = tokio::spawn(async move {
            // For each of two callers: one goal runs to its end, one until it is cancelled, one is dropped.
            while let Some(goal) = taken.recv().await {
                let mut goal: roverline_source::ros::ServedGoal = goal;
                match &goal.goal[..] {
                    br#"{"order":1}"# => {
                        // The caller's subscription may be matched a moment later, so feedback is repeated.
                        for n in 0..20 {
                            goal.feedback(&json!({"sequence": [n]})).unwrap();
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        goal.finish(GoalStatus::Succeeded, &json!({"sequence": [1, 2, 3]})).unwrap();
                    }
                    br#"{"order":2}"# => drop(tokio::spawn(async move {
                        goal.cancel.wait_for(|cancel| *cancel).await.unwrap();
                        goal.finish(GoalStatus::Canceled, &json!({})).unwrap();
                    })),
                    _ => drop(goal),
                }
            }
        });
        for caller in [&one, &two] {
            let ros = ros(caller);
            let mut first = ros.send_goal("/count", "", &json!({"order": 1}), true).unwrap();
            let (feedback, end) = last(&mut first).await;
            let result = br#"{"sequence":[1,2,3]}"#.to_vec();
            assert_eq!(end, Some(GoalEvent::Result(GoalStatus::Succeeded, result)));
            assert!(feedback > 0, "{feedback}");
            let mut second = ros.send_goal("/count", "", &json!({"order": 2}), true).unwrap();
            assert_eq!(second.events.recv().await, Some(GoalEvent::Accepted));
            ros.cancel_goal("/count", second.id).await.unwrap();
            let (_, end) = last(&mut second).await;
            assert!(matches!(end, Some(GoalEvent::Result(GoalStatus::Canceled, _))), "{end:?}");
            assert!(ros.cancel_goal("/count", second.id).await.is_err(), "it has ended");
            let mut third = ros.send_goal("/count", "", &json!({"order": 3}), false).unwrap();
            let (_, end) = last(&mut third).await;
            assert!(matches!(end, Some(GoalEvent::Result(GoalStatus::Aborted, _))), "{end:?}");
        }
        let unknown = ros(&one).serve_action("/x", "no_such/action/Type", Arc::new(|_| {}));
        assert!(matches!(unknown, Err(RosError::Message(_))));
        let status = two.sink.with("/count/_action/status", |received| received.samples.len());
        assert!(status > Some(0), "{status:?}");
        drop(served);
        eventually("it is withdrawn", DEADLINE, || !serves(&two, "/count/_action/send_goal"));
        pursuer.abort();
        one.shutdown();
        two.shutdown();
    });
}

/// `cargo test --release -p roverline-gateway --test dds_services -- --ignored --nocapture`
fn call_latency() {
    block_on(async {
        let domain = domain();
        let (one, two) = (
            RunningSource::start(domain, Recorder::default()),
            RunningSource::start(domain, Recorder::default()),
        );
        let handler = |_: Bytes, reply: Reply| reply.send(vec![0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0].into());
        let _served = ros(&one).serve("/ping", TRIGGER, Arc::new(handler)).unwrap();
        eventually("the service", DEADLINE, || serves(&two, "/ping"));
        let ros = ros(&two);
        let mut took = Vec::new();
        for _ in 0..1_001 {
            let start = Instant::now();
            call(&ros, "/ping", DEADLINE).await.unwrap();
            took.push(start.elapsed());
        }
        let first = took.remove(0);
        took.sort();
        println!("first {first:?}, then p50 {:?}, p99 {:?}", took[500], took[990]);
        one.shutdown();
        two.shutdown();
    });
}

each_engine! {
    a_robots_services_are_called_and_one_that_hangs_costs_its_own_call,
    goals_are_followed_to_their_end_cancelled_and_rejected,
    parameters_are_read_set_and_followed,
    our_services_may_respond_later_from_another_thread,
    two_gateways_call_each_other_by_the_samples_identity,
    what_a_client_publishes_reaches_the_robot_and_every_client_once,
    our_action_is_executed_by_its_handler,
    #[ignore = "a measurement, not a check"]
    call_latency,
}
