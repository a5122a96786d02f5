//! The lifecycle of robots and endpoints, as a real gateway reports and changes it.

use std::time::Duration;

use roverline_coordination::Coordination;
use roverline_coordination::events::NodeIdentity;
use roverline_protocol::api::RobotList;
use roverline_protocol::api::lifecycle::{LifecycleDocument, LifecycleList};
use roverline_protocol::lifecycle::State;
use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, Response};
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{always, eventually};

use super::{json, problem, serve};

const PATIENCE: Duration = Duration::from_secs(20);

fn lifecycle(port: u16, query: &str) -> LifecycleList {
    serde_json::from_value(json(&http::get(port, &format!("/api/v2/lifecycle{query}")))).unwrap()
}

fn robots(port: u16, path: &str) -> Vec<(String, Option<State>)> {
    let list: RobotList = serde_json::from_value(json(&http::get(port, path))).unwrap();
    list.robots.into_iter().map(|robot| (robot.id, robot.lifecycle.map(|life| life.state))).collect()
}

fn states(port: u16, kind: &str) -> Vec<State> {
    lifecycle(port, &format!("?kind={kind}")).entries.into_iter().map(|life| life.state).collect()
}

fn post_to_robot(port: u16, what: &str, body: &str) -> Response {
    let id = lifecycle(port, "?kind=robot").entries.remove(0).id;
    post(port, &format!("/api/v2/robots/{id}/{what}"), body)
}

fn post(port: u16, path: &str, body: &str) -> Response {
    http::request(port, "POST", path, "Content-Type: application/json\r\n", body)
}

fn record(answer: &Response) -> LifecycleDocument {
    serde_json::from_value(json(answer)).unwrap()
}

#[test]
fn a_rover_is_active_while_samples_arrive_unless_set_manually() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("both are active", PATIENCE, || {
        states(port, "robot") == [State::Active] && states(port, "endpoint") == [State::Active]
    });
    let before = lifecycle(port, "?kind=robot");
    let rover = before.entries[0].clone();
    assert!(rover.heartbeat.as_ref().is_some_and(|beat| beat.alive && beat.speakers.len() == 1), "{rover:?}");
    assert_eq!((rover.healthy, rover.deployable, rover.type_name.as_str()), (true, false, "rover"));
    assert_eq!(robots(port, "/api/v2/robots"), [(rover.id, Some(State::Active))]);
    assert_eq!(robots(port, "/api/v2/robots/healthy").len(), 1);
    assert_eq!(robots(port, "/api/v2/robots/deployable"), []);
    // This transition is not allowed from active.
    let response = problem(&post_to_robot(port, "transition", r#"{"to":"provisioning","reason":"x"}"#), 409);
    assert!(response["detail"].as_str().unwrap().contains("ready or maintenance or offline"), "{response}");
    let ready = record(&post_to_robot(port, "transition", r#"{"to":"ready","reason":"a break"}"#));
    assert_eq!((ready.state, ready.reason.as_str(), ready.manual), (State::Ready, "a break", true));
    eventually("it can be deployed", PATIENCE, || robots(port, "/api/v2/robots/deployable").len() == 1);
    // Longer than the endpoint's check interval.
    always("a manual state is kept", Duration::from_secs(3), || states(port, "robot") == [State::Ready]);
    assert_eq!(
        record(&post_to_robot(port, "transition", r#"{"to":"active","reason":"on"}"#)).state,
        State::Active
    );
    for failures in 1..=3 {
        let failed = record(&post_to_robot(port, "fail", r#"{"reason":"a wheel is stuck"}"#));
        let state = if failures < 3 { State::Active } else { State::Failed };
        assert_eq!((failed.failures, failed.state), (failures, state));
    }
    problem(&post_to_robot(port, "fail", r#"{"reason":"again"}"#), 409);
    eventually("it is not healthy", PATIENCE, || robots(port, "/api/v2/robots/healthy").is_empty());
    post_to_robot(port, "transition", r#"{"to":"provisioning","reason":"mended"}"#);
    eventually("active again", PATIENCE, || states(port, "robot") == [State::Active]);
    // The state in the past, by revision and by time.
    let then = lifecycle(port, &format!("?kind=robot&at={}", ready.revision));
    assert_eq!((then.entries[0].state, then.revision), (State::Ready, ready.revision));
    let then = lifecycle(port, &format!("?kind=robot&time_ns={}", ready.at_ns));
    assert_eq!(then.entries[0].state, State::Ready);
    assert_eq!(lifecycle(port, "?time_ns=1").entries, []);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn malformed_requests_are_explained() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("the rover", PATIENCE, || states(port, "robot") == [State::Active]);
    for query in ["?state=gone", "?kind=x", "?at=0", "?time_ns=x", "?limit=0", "?stat=ready"] {
        problem(&http::get(port, &format!("/api/v2/lifecycle{query}")), 400);
    }
    problem(&http::get(port, "/api/v2/lifecycle?at=99999999"), 404);
    let body = r#"{"to":"ready","reason":"x"}"#;
    for unknown in ["nobody", "a%2Fb", "%0A"] {
        problem(&post(port, &format!("/api/v2/robots/{unknown}/transition"), body), 404);
    }
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(257));
    for bad in [r#"{"reason":""}"#, r#"{"why":"x"}"#, &long] {
        problem(&post_to_robot(port, "fail", bad), 422);
    }
    problem(&post_to_robot(port, "transition", r#"{"to":"gone","reason":"x"}"#), 422);
    assert_eq!(states(port, "robot"), [State::Active], "nothing changed");
    let page = lifecycle(port, "?limit=1");
    assert_eq!((page.entries.len(), page.total), (1, 2));
    let rest = lifecycle(port, &format!("?limit=1&after={}", page.next.unwrap()));
    assert_eq!((rest.entries[0].kind.as_str(), rest.next), ("robot", None));
}

#[test]
fn four_endpoints_report_one_rover_and_their_own_shutdown() {
    let mut gateway = Gateway::up(&["--source", "sim"]);
    let port = gateway.first_port();
    let all = |state: State, count: usize| vec![state; count];
    eventually("all serve", PATIENCE, || {
        states(port, "endpoint") == all(State::Active, 4)
            && lifecycle(port, "?kind=robot").entries.iter().any(|rover| {
                rover.state == State::Active
                    && rover.heartbeat.as_ref().is_some_and(|beat| beat.speakers.len() == 4)
            })
    });
    // Every endpoint shows the same.
    for (_, port) in &gateway.endpoints {
        eventually("the same", PATIENCE, || states(*port, "endpoint") == all(State::Active, 4));
    }
    process::signal(gateway.pid(), Signal::TERM);
    assert!(gateway.wait(PATIENCE).is_some());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let states = runtime.block_on(async {
        let shared =
            Coordination::open("sqlite", &gateway.state().join("store"), NodeIdentity::default()).unwrap();
        let model = shared.lifecycle.scan().await.unwrap();
        let (all, _) = model.select(&Default::default(), None, 10);
        all.into_iter().map(|view| view.record.state).collect::<Vec<_>>()
    });
    assert_eq!(states, all(State::Offline, 5));
}
