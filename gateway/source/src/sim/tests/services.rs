//! Tests of the rover's services, and of their effect in every process.

use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use crate::sim::tests::sharing::{Process, log_file};
use crate::sim::tests::*;
use crate::{Call, CallError, PublishError, Reply, Service};

/// Calls a service with JSON and returns JSON.
fn call(
    publisher: &dyn SourceControl,
    service: &str,
    type_name: &str,
    request: &serde_json::Value,
) -> Result<serde_json::Value, CallError> {
    let plan = |part: &str| REGISTRY.plan(&format!("{type_name}_{part}")).unwrap();
    let request = plan("Request").encode_json(request).unwrap().into();
    let (answer, mut answered) = oneshot::channel();
    let (service, timeout) = (service.to_owned(), Duration::from_secs(1));
    publisher.call(Call { service, type_name: type_name.into(), request, timeout, answer }).unwrap();
    let response = answered.try_recv().unwrap()?;
    let mut json = Vec::new();
    plan("Response").write_json(&response, &mut json).unwrap();
    Ok(serde_json::from_slice(&json).unwrap())
}

fn last_bool(process: &Process, topic: &str) -> Option<bool> {
    let received = process.sink.received();
    let last = received.samples.iter().rev().find(|(name, _)| name == topic)?;
    Some(last.1.payload[4] != 0)
}

#[test]
fn autonomy_is_switched_off_for_all_processes() {
    let (_dir, path) = log_file();
    let mut a = Process::start(0.0, Some(path.clone()), &[]);
    let mut b = Process::start(0.0, Some(path.clone()), &[]);
    let mut both = |from: i32, to: i32| {
        for i in from..to {
            a.poll(f64::from(i) / 100.0);
            b.poll(f64::from(i) / 100.0 + 0.003);
        }
        [last_bool(&a, "/autonomy/enabled"), last_bool(&b, "/autonomy/enabled")]
    };
    assert_eq!(both(0, 200), [Some(true); 2]);
    let publisher = third_control(&path, 2.0);
    let enable = |on: bool| {
        let answer =
            call(&publisher, "/autonomy/enable", "std_srvs/srv/SetBool", &serde_json::json!({"data": on}));
        assert_eq!(answer.unwrap()["success"], true);
    };
    enable(false);
    assert_eq!(both(200, 300), [Some(false); 2]);
}

/// The control of a third process.
fn third_control(path: &std::path::Path, at_s: f64) -> services::SimControl {
    let input_log = Arc::new(input_log::InputLog::new(Some(path.to_owned())));
    services::SimControl { input_log, clock: ManualClock::at(at_s), services: Arc::new(Services::new(6)) }
}

#[test]
fn disabled_autonomy_stops_the_rover_and_a_mission_restarts() {
    let pause = Input { tick: 1_000, kind: input::InputKind::Autonomy(false) };
    let restart = Input { tick: 12_000, kind: input::InputKind::Restart };
    let mut rover = rover(3, &[], &[pause]);
    rover.advance_to(1_500);
    let position = (rover.state().drive.x, rover.state().drive.y);
    rover.advance_to(4_000);
    assert_eq!((rover.state().drive.x, rover.state().drive.y), position);
    let mut plain = crate::sim::tests::rover(3, &[], &[]);
    let mut restarted = crate::sim::tests::rover(3, &[], &[restart]);
    plain.advance_to(12_100);
    restarted.advance_to(12_100);
    assert_ne!(plain.state().status(), restarted.state().status());
    assert_eq!(restarted.state().status(), mission::Status::Driving(1));
}

#[test]
fn parameters_are_read_and_set_by_every_process() {
    let (_dir, path) = log_file();
    let mut other = Process::start(0.0, Some(path.clone()), &[]);
    let own = third_control(&path, 0.5);
    let call_parameters = |publisher: &dyn SourceControl, what: &str, request: serde_json::Value| {
        let type_name = format!("rcl_interfaces/srv/{what}Parameters");
        call(publisher, &format!("/navigation/{}_parameters", what.to_lowercase()), &type_name, &request)
    };
    let names = call_parameters(&own, "List", serde_json::json!({})).unwrap();
    assert_eq!(
        names["result"]["names"],
        serde_json::json!(["frame_id", "max_speed", "seed", "use_sim_time"])
    );
    let set = |name: &str, value: serde_json::Value| {
        let request = serde_json::json!({"parameters": [{"name": name, "value": value}]});
        call_parameters(&own, "Set", request).unwrap()["results"][0]["successful"].clone()
    };
    assert_eq!(set("max_speed", serde_json::json!({"type": 3, "double_value": 0.25})), true);
    assert_eq!(set("max_speed", serde_json::json!({"type": 3, "double_value": 9.0})), false);
    assert_eq!(set("seed", serde_json::json!({"type": 2, "integer_value": 1})), false);
    assert_eq!(set("none", serde_json::json!({"type": 2, "integer_value": 1})), false);
    other.poll(0.6);
    let theirs = other.source.control();
    for publisher in [&own as &dyn SourceControl, theirs.as_ref()] {
        let got =
            call_parameters(publisher, "Get", serde_json::json!({"names": ["max_speed", "other"]})).unwrap();
        assert_eq!((&got["values"][0]["double_value"], &got["values"][1]["type"]), (&0.25.into(), &0.into()));
    }
    // A response takes far more space than its request, so it is bounded.
    let got = call_parameters(&own, "Get", serde_json::json!({"names": vec![""; 100_000]})).unwrap();
    assert_eq!(got["values"].as_array().unwrap().len(), crate::limits::PARAMETERS_PER_NODE);
    let described = call_parameters(&own, "Describe", serde_json::json!({"names": ["max_speed"]})).unwrap();
    assert_eq!(described["descriptors"][0]["floating_point_range"][0]["to_value"], 0.8);
}

#[test]
fn client_services_are_callable_and_unknown_ones_are_not() {
    let mut process = Process::start(0.0, None, &[]);
    let publisher = process.source.control();
    let trigger = |name: &str| call(publisher.as_ref(), name, "std_srvs/srv/Trigger", &serde_json::json!({}));
    assert_eq!(trigger("/photo"), Err(CallError::NoServer("/photo".into())));
    let open = Arc::new(AtomicBool::new(true));
    let offer = |name: &str| Service {
        name: name.into(),
        type_name: "std_srvs/srv/Trigger".into(),
        open: open.clone(),
        handler: Arc::new(|_, reply: Reply| reply.send(vec![0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0].into())),
    };
    publisher.offer(offer("/photo")).unwrap();
    assert_eq!(trigger("/photo").unwrap()["success"], true);
    assert!(matches!(publisher.offer(offer("/mission/restart")), Err(PublishError::Failed(_))));
    process.poll(0.1);
    publisher.withdraw("/photo");
    assert!(trigger("/photo").is_ok(), "what is open stays");
    open.store(false, std::sync::atomic::Ordering::Relaxed);
    publisher.withdraw("/photo");
    assert!(trigger("/photo").is_err());
    let wrong = call(publisher.as_ref(), "/mission/restart", "std_srvs/srv/SetBool", &serde_json::json!({}));
    assert!(matches!(wrong, Err(CallError::Failed(why)) if why.contains("Trigger")));
}
