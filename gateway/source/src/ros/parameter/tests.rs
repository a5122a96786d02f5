//! Tests against the built-in rover, which serves parameters without DDS.

use std::sync::Arc;

use roverline_schema::Registry;
use tokio::sync::watch;

use crate::ros::parameter::*;
use crate::sim::{SimOptions, SimSource};
use crate::{Graph, GraphService, Source};

fn rover(services: &[&str]) -> Ros {
    let publisher = SimSource::new(SimOptions::default()).control();
    let services = services.iter().map(|name| GraphService {
        name: (*name).to_owned(),
        type_name: LIST.to_owned(),
        providers: Vec::new(),
    });
    let graph = Graph { services: services.collect(), ..Graph::default() };
    Ros::new(publisher, Registry::bundled(), watch::Sender::new(Arc::new(graph)).subscribe())
}

fn speed(value: f64) -> Parameter {
    let value = ParameterValue::Double(value);
    Parameter { node: "/navigation".into(), name: "max_speed".into(), value }
}

#[tokio::test]
async fn parameters_are_listed_read_described_and_set() {
    let ros = rover(&[]);
    let names = ros.list_parameters("navigation").await.unwrap();
    assert_eq!(names, ["frame_id", "max_speed", "seed", "use_sim_time"]);
    let one = ros.get_parameters("/navigation", &["max_speed".into(), "none".into()]).await.unwrap();
    assert_eq!(one, [speed(0.8)]);
    assert_eq!(ros.get_parameters("/navigation", &[]).await.unwrap().len(), 4);
    let described = ros.describe_parameters("/navigation", &["max_speed".into()]).await.unwrap();
    assert_eq!(described[0].double_range, Some((0.0, 0.8, 0.0)));
    let mut events = ros.parameter_events().unwrap();
    let mut second = ros.clone().parameter_events().unwrap();
    ros.set_parameter(&speed(0.3)).await.unwrap();
    assert_eq!(*events.recv().await.unwrap(), speed(0.3));
    assert_eq!(*second.recv().await.unwrap(), speed(0.3));
    let refused = ros.set_parameter(&speed(7.0)).await.unwrap_err().to_string();
    assert!(refused.contains("0 to 0.8"), "{refused}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_left_out_and_named() {
    let ros = rover(&["/navigation/list_parameters", "/gone/list_parameters"]);
    let (parameters, errors) = ros.all_parameters().await;
    assert_eq!(parameters.len(), 4);
    assert!(errors.len() == 1 && errors[0].to_string().contains("/gone"), "{errors:?}");
}
