//! Tests of the action server alone: its responses and messages against their definitions.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use roverline_schema::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::limits;
use crate::ros::Ros;
use crate::ros::action::*;
use crate::{Publication, PublishError, Reply, Service, SourceControl};

const FIBONACCI: &str = "example_interfaces/action/Fibonacci";

/// Records the services offered and the messages published.
#[derive(Default)]
struct FakeSource {
    services: Mutex<Vec<Service>>,
    published: Mutex<Vec<Publication>>,
}

impl SourceControl for FakeSource {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.published.lock().unwrap().push(publication);
        Ok(())
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        self.services.lock().unwrap().push(service);
        Ok(())
    }
}

struct Fixture {
    source: Arc<FakeSource>,
    ros: Ros,
    goals: Arc<Mutex<Vec<ServedGoal>>>,
    _action: ServedAction,
}

impl Fixture {
    fn new() -> Fixture {
        let source: Arc<FakeSource> = Arc::default();
        let ros = Ros::new(source.clone(), Registry::bundled(), watch::Sender::default().subscribe());
        let goals: Arc<Mutex<Vec<ServedGoal>>> = Arc::default();
        let received = goals.clone();
        let handler = Arc::new(move |goal| received.lock().unwrap().push(goal));
        let action = ros.serve_action("/count", FIBONACCI, handler).unwrap();
        Fixture { source, ros, goals, _action: action }
    }

    /// Calls one of the action's services; the response arrives in the returned value.
    fn call(&self, part: &str, type_name: &str, request: &Value) -> Arc<Mutex<Option<Value>>> {
        let services = self.source.services.lock().unwrap();
        let service = services.iter().find(|service| service.name.ends_with(part)).unwrap();
        assert_eq!(service.type_name, type_name);
        let request = self.ros.encode(&format!("{type_name}_Request"), request).unwrap();
        let answer: Arc<Mutex<Option<Value>>> = Arc::default();
        let (received, ros, response) = (answer.clone(), self.ros.clone(), format!("{type_name}_Response"));
        let reply = Reply::new(move |body: Bytes| {
            let json = ros.decode(&response, &body).unwrap();
            *received.lock().unwrap() = Some(serde_json::from_slice(&json).unwrap());
        });
        (service.handler)(request, reply);
        answer
    }

    fn send(&self, id: u8) -> Value {
        let request = json!({"goal_id": {"uuid": vec![id; 16]}, "goal": {"order": 7}});
        let answer = self.call("send_goal", &format!("{FIBONACCI}_SendGoal"), &request);
        answer.lock().unwrap().take().unwrap()["accepted"].clone()
    }

    fn result(&self, id: u8) -> Arc<Mutex<Option<Value>>> {
        let request = json!({"goal_id": {"uuid": vec![id; 16]}});
        self.call("get_result", &format!("{FIBONACCI}_GetResult"), &request)
    }

    fn cancel(&self, id: u8) -> (Value, usize) {
        let request = json!({"goal_info": {"goal_id": {"uuid": vec![id; 16]}}});
        let answer = self.call("cancel_goal", "action_msgs/srv/CancelGoal", &request);
        let answer = answer.lock().unwrap().take().unwrap();
        (answer["return_code"].clone(), answer["goals_canceling"].as_array().unwrap().len())
    }

    /// The statuses published last, oldest goal first.
    fn statuses(&self) -> Vec<Value> {
        let published = self.source.published.lock().unwrap();
        let last = published.iter().rfind(|one| one.topic == "/count/_action/status").unwrap();
        assert!(last.latched);
        let json = self.ros.decode(&last.type_name, &last.payload).unwrap();
        let array: Value = serde_json::from_slice(&json).unwrap();
        array["status_list"].as_array().unwrap().iter().map(|goal| goal["status"].clone()).collect()
    }
}

#[test]
fn goals_are_accepted_followed_and_their_results_kept() {
    let fixture = Fixture::new();
    assert_eq!((fixture.send(1), fixture.send(1), fixture.send(2)), (true.into(), false.into(), true.into()));
    assert_eq!(fixture.statuses(), [2, 2]);
    let early = fixture.result(1);
    assert!(early.lock().unwrap().is_none(), "not before its end");
    let mut goal = fixture.goals.lock().unwrap().remove(0);
    assert_eq!((goal.id, &goal.goal[..]), (GoalId([1; 16]), &br#"{"order":7}"#[..]));
    goal.feedback(&json!({"sequence": [1, 2]})).unwrap();
    let feedback = fixture.source.published.lock().unwrap().last().cloned().unwrap();
    assert_eq!(feedback.type_name, format!("{FIBONACCI}_FeedbackMessage"));
    assert_eq!(feedback.payload.get(4..20), Some(&[1; 16][..]));
    goal.finish(GoalStatus::Succeeded, &json!({"sequence": [3]})).unwrap();
    let expected = json!({"status": 4, "result": {"sequence": [3]}});
    assert_eq!(early.lock().unwrap().take(), Some(expected.clone()));
    assert_eq!(fixture.result(1).lock().unwrap().take(), Some(expected), "requested afterwards");
    assert_eq!(fixture.result(9).lock().unwrap().take().unwrap()["status"], 0, "an unknown one");
    // A result that does not fit its type leaves the goal open; dropping it aborts it.
    let mut other = fixture.goals.lock().unwrap().remove(0);
    assert!(other.finish(GoalStatus::Succeeded, &json!({"sequence": "x"})).is_err());
    drop(other);
    assert_eq!(fixture.result(2).lock().unwrap().take().unwrap()["status"], 6);
}

#[test]
fn the_last_of_many_result_requests_is_answered() {
    let fixture = Fixture::new();
    fixture.send(1);
    let mut requests: Vec<_> = (0..=limits::REQUESTS_PER_GOAL).map(|_| fixture.result(1)).collect();
    fixture.goals.lock().unwrap().remove(0).finish(GoalStatus::Succeeded, &json!({})).unwrap();
    assert!(requests.pop().unwrap().lock().unwrap().is_some());
}

#[test]
fn goals_are_cancelled_one_by_one_or_all() {
    let fixture = Fixture::new();
    for id in 1..=3 {
        fixture.send(id);
    }
    assert_eq!(fixture.cancel(2), (0.into(), 1));
    let canceled = |at: usize| *fixture.goals.lock().unwrap()[at].cancel.borrow();
    assert_eq!([canceled(0), canceled(1), canceled(2)], [false, true, false]);
    assert_eq!(fixture.cancel(9), (2.into(), 0));
    let mut goal = fixture.goals.lock().unwrap().remove(0);
    goal.finish(GoalStatus::Succeeded, &json!({})).unwrap();
    assert_eq!(fixture.cancel(1), (3.into(), 0), "it has ended");
    assert_eq!(fixture.cancel(0), (0.into(), 2), "all that go on");
    assert!(canceled(1));
}

#[test]
fn goals_beyond_the_limit_are_rejected() {
    let fixture = Fixture::new();
    let limit = crate::limits::GOALS_PER_ACTION as u8;
    assert!((1..=limit).all(|id| fixture.send(id) == true));
    assert_eq!(fixture.send(limit + 1), false);
    // Active goals count, not the results that are kept of ended ones.
    drop(fixture.goals.lock().unwrap().remove(0));
    assert_eq!(fixture.send(limit + 1), true);
    assert_eq!(fixture.result(1).lock().unwrap().take().unwrap()["status"], 6);
}

#[test]
fn results_are_kept_up_to_a_limit_and_the_oldest_go_first() {
    let fixture = Fixture::new();
    let limit = crate::limits::GOALS_PER_ACTION as u8;
    for id in 1..=limit + 2 {
        assert_eq!(fixture.send(id), true);
        fixture.goals.lock().unwrap().clear();
    }
    let status = |id| fixture.result(id).lock().unwrap().take().unwrap()["status"].clone();
    assert_eq!((status(2), status(3), status(limit + 2)), (0.into(), 6.into(), 6.into()));
}

/// Rejects every goal.
struct Unwilling;

impl GoalHandler for Unwilling {
    fn accepts(&self, _goal: &[u8]) -> bool {
        false
    }

    fn execute(&self, _goal: ServedGoal) {
        unreachable!("it was not accepted");
    }
}

#[test]
fn a_handler_may_reject_a_goal() {
    let fixture = Fixture::new();
    let _action = fixture.ros.serve_action("/no", FIBONACCI, Arc::new(Unwilling)).unwrap();
    // The services of the last action that was served.
    fixture.source.services.lock().unwrap().drain(..3);
    assert_eq!(fixture.send(1), false);
}

#[test]
fn ids_are_uuids_and_differ() {
    let (a, b) = (GoalId::random(), GoalId::random());
    assert_ne!(a, b);
    assert_eq!((a.0[6] >> 4, a.0[8] >> 6), (4, 2));
}

#[test]
fn statuses_are_read_from_numbers() {
    assert_eq!([0, 4, 6, 7, -1].map(GoalStatus::from_number).map(|status| status as i8), [0, 4, 6, 0, 0]);
}

#[test]
fn the_last_field_is_returned_unchanged() {
    let json = br#"{"status":4,"result":{"a":[1,2],"result":18446744073709551615}}"#;
    let expected = br#"{"a":[1,2],"result":18446744073709551615}"#;
    assert_eq!(last_field(json, "result").unwrap(), expected);
    assert!(last_field(b"{}", "result").is_err());
}
