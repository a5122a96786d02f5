//! An action's server on its own: what it answers and tells, by the definitions of the messages.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_schema::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::ros::Ros;
use crate::ros::action::*;
use crate::{Publication, PublishError, Publisher, Reply, Service};

const FIBONACCI: &str = "example_interfaces/action/Fibonacci";

/// Keeps what is offered and published.
#[derive(Default)]
struct Graph {
    services: Mutex<Vec<Service>>,
    published: Mutex<Vec<Publication>>,
}

impl Publisher for Graph {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.published.lock().unwrap().push(publication);
        Ok(())
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        self.services.lock().unwrap().push(service);
        Ok(())
    }
}

struct Stage {
    graph: Arc<Graph>,
    ros: Ros,
    goals: Arc<Mutex<Vec<ServedGoal>>>,
    _action: ServedAction,
}

impl Stage {
    fn new() -> Stage {
        let graph: Arc<Graph> = Arc::default();
        let ros = Ros::new(graph.clone(), Registry::bundled(), watch::Sender::default().subscribe());
        let goals: Arc<Mutex<Vec<ServedGoal>>> = Arc::default();
        let taken = goals.clone();
        let handler = Arc::new(move |goal| taken.lock().unwrap().push(goal));
        let action = ros.serve_action("/count", FIBONACCI, handler).unwrap();
        Stage { graph, ros, goals, _action: action }
    }

    /// Asks one of the services; what it answers arrives in what is returned.
    fn ask(&self, part: &str, type_name: &str, request: &Value) -> Arc<Mutex<Option<Value>>> {
        let services = self.graph.services.lock().unwrap();
        let service = services.iter().find(|service| service.name.ends_with(part)).unwrap();
        assert_eq!(service.type_name, type_name);
        let request = self.ros.encode(&format!("{type_name}_Request"), request).unwrap();
        let answer: Arc<Mutex<Option<Value>>> = Arc::default();
        let (heard, ros, response) = (answer.clone(), self.ros.clone(), format!("{type_name}_Response"));
        let reply = Reply::new(move |body: Bytes| {
            let json = ros.decode(&response, &body).unwrap();
            *heard.lock().unwrap() = Some(serde_json::from_slice(&json).unwrap());
        });
        (service.handler)(request, reply);
        answer
    }

    fn send(&self, id: u8) -> Value {
        let request = json!({"goal_id": {"uuid": vec![id; 16]}, "goal": {"order": 7}});
        let answer = self.ask("send_goal", &format!("{FIBONACCI}_SendGoal"), &request);
        answer.lock().unwrap().take().unwrap()["accepted"].clone()
    }

    fn result(&self, id: u8) -> Arc<Mutex<Option<Value>>> {
        let request = json!({"goal_id": {"uuid": vec![id; 16]}});
        self.ask("get_result", &format!("{FIBONACCI}_GetResult"), &request)
    }

    fn cancel(&self, id: u8) -> (Value, usize) {
        let request = json!({"goal_info": {"goal_id": {"uuid": vec![id; 16]}}});
        let answer = self.ask("cancel_goal", "action_msgs/srv/CancelGoal", &request);
        let answer = answer.lock().unwrap().take().unwrap();
        (answer["return_code"].clone(), answer["goals_canceling"].as_array().unwrap().len())
    }

    /// The statuses told last, oldest goal first.
    fn statuses(&self) -> Vec<Value> {
        let published = self.graph.published.lock().unwrap();
        let last = published.iter().rfind(|one| one.topic == "/count/_action/status").unwrap();
        assert!(last.latched);
        let json = self.ros.decode(&last.type_name, &last.payload).unwrap();
        let array: Value = serde_json::from_slice(&json).unwrap();
        array["status_list"].as_array().unwrap().iter().map(|goal| goal["status"].clone()).collect()
    }
}

#[test]
fn goals_are_accepted_followed_and_their_results_kept() {
    let stage = Stage::new();
    assert_eq!((stage.send(1), stage.send(1), stage.send(2)), (true.into(), false.into(), true.into()));
    assert_eq!(stage.statuses(), [2, 2]);
    let early = stage.result(1);
    assert!(early.lock().unwrap().is_none(), "not before its end");
    let goal = stage.goals.lock().unwrap().remove(0);
    assert_eq!((goal.id, &goal.goal[..]), (GoalId([1; 16]), &br#"{"order":7}"#[..]));
    goal.feedback(&json!({"sequence": [1, 2]})).unwrap();
    let feedback = stage.graph.published.lock().unwrap().last().cloned().unwrap();
    assert_eq!(feedback.type_name, format!("{FIBONACCI}_FeedbackMessage"));
    assert_eq!(feedback.payload.get(4..20), Some(&[1; 16][..]));
    goal.finish(GoalStatus::Succeeded, &json!({"sequence": [3]})).unwrap();
    let expected = json!({"status": 4, "result": {"sequence": [3]}});
    assert_eq!(early.lock().unwrap().take(), Some(expected.clone()));
    assert_eq!(stage.result(1).lock().unwrap().take(), Some(expected), "asked afterwards");
    assert_eq!(stage.result(9).lock().unwrap().take().unwrap()["status"], 0, "an unknown one");
    // What does not fit its type aborts the goal, and so does dropping it.
    let other = stage.goals.lock().unwrap().remove(0);
    assert!(other.finish(GoalStatus::Succeeded, &json!({"sequence": "x"})).is_err());
    assert_eq!(stage.result(2).lock().unwrap().take().unwrap()["status"], 6);
}

#[test]
fn who_asks_again_and_again_is_answered_in_the_end() {
    let stage = Stage::new();
    stage.send(1);
    let mut asked: Vec<_> = (0..=limits::REQUESTS_PER_GOAL).map(|_| stage.result(1)).collect();
    stage.goals.lock().unwrap().remove(0).finish(GoalStatus::Succeeded, &json!({})).unwrap();
    assert!(asked.pop().unwrap().lock().unwrap().is_some());
}

#[test]
fn goals_are_cancelled_one_by_one_or_all() {
    let stage = Stage::new();
    for id in 1..=3 {
        stage.send(id);
    }
    assert_eq!(stage.cancel(2), (0.into(), 1));
    let asked = |at: usize| *stage.goals.lock().unwrap()[at].cancel.borrow();
    assert_eq!([asked(0), asked(1), asked(2)], [false, true, false]);
    assert_eq!(stage.cancel(9), (2.into(), 0));
    let goal = stage.goals.lock().unwrap().remove(0);
    goal.finish(GoalStatus::Succeeded, &json!({})).unwrap();
    assert_eq!(stage.cancel(1), (3.into(), 0), "it has ended");
    assert_eq!(stage.cancel(0), (0.into(), 2), "all that go on");
    assert!(asked(1));
}

#[test]
fn no_more_goals_than_there_is_room_for() {
    let stage = Stage::new();
    let limit = roverline_protocol::limits::GOALS_PER_ACTION as u8;
    assert!((1..=limit).all(|id| stage.send(id) == true));
    assert_eq!(stage.send(limit + 1), false);
    // Nobody pursues the first any more; its result is kept, so there is no room yet.
    drop(stage.goals.lock().unwrap().remove(0));
    assert_eq!(stage.send(limit + 1), false);
}

#[test]
fn ids_are_uuids_and_differ() {
    let (a, b) = (GoalId::random(), GoalId::random());
    assert_ne!(a, b);
    assert_eq!((a.0[6] >> 4, a.0[8] >> 6), (4, 2));
}

#[test]
fn numbers_are_statuses() {
    assert_eq!([0, 4, 6, 7, -1].map(GoalStatus::from_number).map(|status| status as i8), [0, 4, 6, 0, 0]);
}

#[test]
fn the_last_field_is_taken_as_it_is() {
    let json = br#"{"status":4,"result":{"a":[1,2],"result":18446744073709551615}}"#;
    let expected = br#"{"a":[1,2],"result":18446744073709551615}"#;
    assert_eq!(last_field(json, "result").unwrap(), expected);
    assert!(last_field(b"{}", "result").is_err());
}
