//! Services, actions, parameters and the graph against CycloneDDS, in the way of its RMW. Needs
//! `scripts/setup-clients`; without it the tests say SKIPPED, or fail where
//! `ROVERLINE_REQUIRE_CLIENTS=1`.

#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

mod dds_common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dds_common::peer::{Peer, python};
use dds_common::{Recorder, Running, domain, eventually};
use roverline_schema::Registry;
use roverline_source::ros::{Goal, GoalEvent, GoalStatus, Parameter, ParameterValue, Ros, RosError};
use roverline_source::{CallError, Publication, Reply};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const TRIGGER: &str = "std_srvs/srv/Trigger";
const FIBONACCI: &str = "example_interfaces/action/Fibonacci";

fn ros(running: &Running) -> Ros {
    Ros::new(running.publisher.clone(), Registry::bundled(), running.sink.graph.subscribe())
}

fn serves(running: &Running, service: &str) -> bool {
    running.sink.graph.borrow().service(service).is_some()
}

/// Whether the graph knows as well which node all that belongs to: that is told apart from it.
fn is_the_robots(graph: &roverline_source::Graph) -> bool {
    let robot = ["/robot".to_owned()];
    graph.service("/robot/trigger").is_some_and(|service| service.providers == robot)
        && graph.topic("/robot/cmd_vel").is_some_and(|topic| topic.subscribers == robot)
}

async fn call(ros: &Ros, service: &str, timeout: Duration) -> Result<Value, RosError> {
    let answer = ros.call_json(service, TRIGGER, &json!({}), timeout).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robots_services_are_called_and_one_that_hangs_costs_its_own_call() {
    let Some(python) = python() else { return };
    let domain = domain();
    let robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
    let running = Running::start(domain, Recorder::default());
    let ros = ros(&running);
    eventually("the services", SOON, || serves(&running, "/robot/never"));

    eventually("the robot's node", SOON, || is_the_robots(&ros.graph()));
    let graph = ros.graph();
    assert_eq!(
        graph.service("/fibonacci/_action/send_goal").unwrap().type_name,
        format!("{FIBONACCI}_SendGoal")
    );
    assert!(graph.nodes.iter().any(|node| node.full_name() == "/gateway_under_test"), "{:?}", graph.nodes);
    assert_eq!(ros.actions(), [("/fibonacci".to_owned(), FIBONACCI.to_owned())]);

    let hangs = tokio::spawn({
        let ros = ros.clone();
        async move {
            let start = Instant::now();
            (call(&ros, "/robot/never", Duration::from_secs(2)).await, start.elapsed())
        }
    });
    for _ in 0..20 {
        assert_eq!(call(&ros, "/robot/trigger", SOON).await.unwrap()["success"], true);
    }
    // The type as the graph knows it; side by side, each gets its own answer.
    let nothing = json!([]);
    let many = (0..50).map(|_| ros.call_json("/robot/trigger", "", &nothing, SOON));
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
    assert!((2.0..3.0).contains(&took.as_secs_f64()), "{took:?}");

    // An answer that comes too late is nobody's, and not the next call's.
    let late = call(&ros, "/robot/late", Duration::from_millis(300)).await;
    assert!(matches!(late, Err(RosError::Call(CallError::Timeout { .. }))), "{late:?}");
    assert_eq!(call(&ros, "/robot/late", SOON).await.unwrap()["message"], "number 2");

    let start = Instant::now();
    let nobody = call(&ros, "/nobody/home", SOON).await;
    assert!(matches!(nobody, Err(RosError::Call(CallError::NoServer(_)))), "{nobody:?}");
    assert!(start.elapsed() < Duration::from_secs(3));
    let wrong = ros.call_json("/robot/trigger", "std_srvs/srv/SetBool", &json!({}), SOON).await;
    assert!(
        matches!(&wrong, Err(RosError::Call(CallError::Failed(why))) if why.contains(TRIGGER)),
        "{wrong:?}"
    );
    let big_endian = ros.call("/robot/trigger", TRIGGER, Bytes::from_static(&[0, 0, 0, 0, 0]), SOON).await;
    assert!(matches!(&big_endian, Err(RosError::Source(why)) if why.to_string().contains("little-endian")));

    let end = robot.end();
    assert_eq!((&end["triggered"], &end["never"]), (&70.into(), &1.into()), "each request was sent once");
    eventually("the services are gone", SOON, || !serves(&running, "/robot/trigger"));
    assert!(running.end() < Duration::from_secs(1));
}

async fn last(goal: &mut Goal) -> (usize, Option<GoalEvent>) {
    let (mut feedback, mut last) = (0, None);
    while let Some(event) = tokio::time::timeout(SOON, goal.events.recv()).await.unwrap() {
        feedback += usize::from(matches!(event, GoalEvent::Feedback(_)));
        last = Some(event);
    }
    (feedback, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goals_are_followed_to_their_end_cancelled_and_rejected() {
    let Some(python) = python() else { return };
    let domain = domain();
    let _robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120 --step 0.1");
    let running = Running::start(domain, Recorder::default());
    let ros = ros(&running);
    eventually("the action", SOON, || serves(&running, "/fibonacci/_action/get_result"));

    let mut goal = ros.send_goal("/fibonacci", FIBONACCI, &json!({"order": 12}), true).unwrap();
    let mut other = ros.send_goal("/fibonacci", "", &json!({"order": 900}), true).unwrap();
    // Longer than the first patience: its result is asked for a second time.
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
    let mut nobody = ros.send_goal("/nobody", FIBONACCI, &json!({"order": 1}), true).unwrap();
    let (_, end) = last(&mut nobody).await;
    assert!(matches!(&end, Some(GoalEvent::Failed(why)) if why.contains("no node serves")), "{end:?}");
    assert!(matches!(
        ros.send_goal("/fibonacci", "", &json!({"order": "x"}), true),
        Err(RosError::Message(_))
    ));
    running.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_read_set_and_followed() {
    let Some(python) = python() else { return };
    let domain = domain();
    let _robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
    let running = Running::start(domain, Recorder::default());
    let ros = ros(&running);
    eventually("the parameters", SOON, || serves(&running, "/robot/set_parameters"));

    let (all, errors) = ros.all_parameters().await;
    assert!(errors.is_empty(), "{errors:?}");
    let parameter = |name: &str, value| Parameter { node: "/robot".into(), name: name.into(), value };
    let expected = [
        parameter("limits.near", ParameterValue::Doubles(vec![f64::INFINITY, -1.5])),
        parameter("name", ParameterValue::String("Rosie".into())),
        parameter("speed", ParameterValue::Double(0.5)),
    ];
    assert_eq!(all, expected);
    assert_eq!(ros.get_parameters("/robot", &["none".into(), "name".into()]).await.unwrap(), expected[1..2]);
    let mut events = ros.parameter_events().unwrap();
    let faster = parameter("speed", ParameterValue::Double(0.75));
    // The subscription is found a moment later than it is made: set until the event is heard.
    let heard = tokio::time::timeout(SOON, async {
        loop {
            ros.set_parameter(&faster).await.unwrap();
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(200), events.recv()).await {
                return event.unwrap();
            }
        }
    });
    assert_eq!(*heard.await.unwrap(), faster);
    assert_eq!(ros.get_parameters("/robot", &["speed".into()]).await.unwrap(), [faster]);
    let refused = ros.set_parameter(&parameter("speed", ParameterValue::Bool(true))).await.unwrap_err();
    assert!(refused.to_string().contains("another type"), "{refused}");
    assert!(ros.describe_parameters("/robot", &["speed".into()]).await.is_err(), "it does not serve this");
    running.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_serve_is_called_and_may_be_answered_later_from_elsewhere() {
    let Some(python) = python() else { return };
    let domain = domain();
    let running = Running::start(domain, Recorder::default());
    let ros = ros(&running);
    // Requests wait until there are three, and are then answered backwards.
    let waiting: Arc<Mutex<Vec<Reply>>> = Arc::default();
    let their = waiting.clone();
    let served = ros
        .serve("/gateway/photo", TRIGGER, Arc::new(move |_, reply| their.lock().unwrap().push(reply)))
        .unwrap();
    let caller = Peer::start(&python, "dds_caller.py", domain, "--calls 2 --seconds 80 /gateway/photo");
    // Our own clients are served without DDS in between.
    let own = tokio::spawn({
        let ros = ros.clone();
        async move { call(&ros, "/gateway/photo", SOON * 2).await }
    });
    eventually("three requests", SOON, || waiting.lock().unwrap().len() == 3);
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
    eventually("it is withdrawn", SOON, || !serves(&running, "/gateway/photo"));
    running.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_call_each_other_by_the_samples_identity() {
    let domain = domain();
    let one = Running::start(domain, Recorder::default());
    let two = Running::start(domain, Recorder::default());
    let handler = |body: Bytes, reply: Reply| {
        let plan = Registry::bundled().plan("std_srvs/srv/SetBool_Response").unwrap();
        let response = json!({"success": body[4] != 0, "message": "done"});
        reply.send(plan.encode_json(&response).unwrap().into());
    };
    let _served = ros(&one).serve("/lamp", "std_srvs/srv/SetBool", Arc::new(handler)).unwrap();
    eventually("the service", SOON, || serves(&two, "/lamp"));
    let there = ros(&two);
    for on in [true, false, true] {
        let answer = there.call_json("/lamp", "", &json!({"data": on}), SOON).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((&answer["success"], &answer["message"]), (&on.into(), &"done".into()));
    }
    // Who serves it goes while a call waits: the call does not wait any longer.
    let never: Arc<Mutex<Vec<Reply>>> = Arc::default();
    let kept = never.clone();
    let hang = Arc::new(move |_: Bytes, reply: Reply| kept.lock().unwrap().push(reply));
    let held = ros(&one).serve("/hang", TRIGGER, hang).unwrap();
    eventually("the other service", SOON, || serves(&two, "/hang"));
    let waits = tokio::spawn(async move { call(&there, "/hang", SOON * 2).await });
    eventually("the request", SOON, || never.lock().unwrap().len() == 1);
    drop(held);
    let gone = tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    assert!(matches!(&gone, Err(RosError::Call(CallError::Failed(why))) if why.contains("gone")), "{gone:?}");
    one.end();
    two.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_publishes_reaches_the_robot_and_every_client_once() {
    let Some(python) = python() else { return };
    let domain = domain();
    let mut robot = Peer::start(&python, "dds_robot.py", domain, "--seconds 120");
    let (here, there) =
        (Running::start(domain, Recorder::default()), Running::start(domain, Recorder::default()));
    let ros = ros(&here);
    eventually("the robot", SOON, || here.sink.graph.borrow().topic("/robot/cmd_vel").is_some());
    let twist = |x: f64| {
        let payload = ros.encode("geometry_msgs/msg/Twist", &json!({"linear": {"x": x}})).unwrap();
        let (topic, type_name) = ("/robot/cmd_vel".to_owned(), "geometry_msgs/msg/Twist".to_owned());
        Publication { topic, type_name, payload, latched: false }
    };
    // Until the writer is found.
    eventually("the first to be heard by all", SOON, || {
        ros.publish(twist(0.0)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        there.sink.count("/robot/cmd_vel") > 0 && here.sink.count("/robot/cmd_vel") > 0
    });
    for x in 1..=20 {
        ros.publish(twist(f64::from(x))).unwrap();
    }
    while robot.line()["speed"] != 20.0 {}
    let marked = |running: &Running| {
        let twenty = 20.0_f64.to_le_bytes();
        let last =
            running.sink.with("/robot/cmd_vel", |heard| heard.samples.iter().any(|s| s.2[4..12] == twenty));
        last == Some(true)
    };
    eventually("the last here and there", SOON, || marked(&here) && marked(&there));
    let (ours, theirs) = (here.sink.ids("/robot/cmd_vel"), there.sink.ids("/robot/cmd_vel"));
    assert_eq!(ours[ours.len() - 20..], theirs[theirs.len() - 20..], "the same identities");
    let distinct: std::collections::HashSet<_> = ours.iter().collect();
    assert_eq!(distinct.len(), ours.len(), "each once");
    eventually("who publishes it", SOON, || {
        let graph = here.sink.graph.borrow().clone();
        graph.topic("/robot/cmd_vel").is_some_and(|topic| topic.publishers == ["/gateway_under_test"])
    });
    here.end();
    there.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_of_ours_is_pursued_by_its_handler() {
    let domain = domain();
    let one = Running::start(domain, Recorder::default());
    let two = Running::start(domain, Recorder::default());
    let (goals, mut taken) = tokio::sync::mpsc::channel(16);
    let handler = Arc::new(move |goal| goals.try_send(goal).unwrap());
    let served = ros(&one).serve_action("/count", FIBONACCI, handler).unwrap();
    eventually("the action", SOON, || {
        serves(&two, "/count/_action/cancel_goal") && serves(&one, "/count/_action/cancel_goal")
    });
    let pursuer = tokio::spawn(async move {
        // One to its end, one until it is cancelled, one not at all, for each of two callers.
        while let Some(goal) = taken.recv().await {
            let mut goal: roverline_source::ros::ServedGoal = goal;
            match &goal.goal[..] {
                br#"{"order":1}"# => {
                    // The caller's subscription may be found a moment later: until it is heard.
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
    let status = two.sink.with("/count/_action/status", |heard| heard.samples.len());
    assert!(status > Some(0), "{status:?}");
    drop(served);
    eventually("it is withdrawn", SOON, || !serves(&two, "/count/_action/send_goal"));
    pursuer.abort();
    one.end();
    two.end();
}

/// `cargo test --release -p roverline-gateway --test dds_services -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn how_long_a_call_takes() {
    let domain = domain();
    let (one, two) =
        (Running::start(domain, Recorder::default()), Running::start(domain, Recorder::default()));
    let handler = |_: Bytes, reply: Reply| reply.send(vec![0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0].into());
    let _served = ros(&one).serve("/ping", TRIGGER, Arc::new(handler)).unwrap();
    eventually("the service", SOON, || serves(&two, "/ping"));
    let ros = ros(&two);
    let mut took = Vec::new();
    for _ in 0..1_001 {
        let start = Instant::now();
        call(&ros, "/ping", SOON).await.unwrap();
        took.push(start.elapsed());
    }
    let first = took.remove(0);
    took.sort();
    println!("first {first:?}, then p50 {:?}, p99 {:?}", took[500], took[990]);
    one.end();
    two.end();
}
