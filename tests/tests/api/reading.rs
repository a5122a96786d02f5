//! Read endpoints: complete, and consistent with each other.

use std::collections::BTreeSet;
use std::time::Duration;

use roverline_protocol::api::{
    LatestDocument, MetricsDocument, NodeList, RobotList, RobotState, ServiceList, TopicDetail, TopicList,
};
use roverline_tests::http::{self, Response};
use roverline_tests::native::NativeClient;
use roverline_tests::wait::eventually;
use serde::de::DeserializeOwned;

use super::{json, problem, serve};

fn read<T: DeserializeOwned>(port: u16, path: &str) -> T {
    serde_json::from_value(json(&http::get(port, path))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn encoded(name: &str) -> String {
    name.replace('/', "%2F")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_topic_can_be_read_by_name() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("samples", Duration::from_secs(10), || {
        let list: TopicList = read(port, "/api/v2/topics");
        list.total > 20 && list.topics.iter().filter(|topic| topic.age_s.is_some()).count() > 20
    });
    let mut client = NativeClient::subscribed(port, &["/odom"]).await;
    client.receive_for(Duration::from_millis(200)).await;
    let list: TopicList = read(port, "/api/v2/topics");
    assert_eq!((list.topics.len(), list.next), (list.total, None));
    assert!(list.topics.is_sorted_by(|a, b| a.name < b.name));
    for topic in &list.topics {
        let one: TopicDetail = read(port, &format!("/api/v2/topics{}", topic.name));
        let same: TopicDetail = read(port, &format!("/api/v2/topics/{}", encoded(&topic.name)));
        assert_eq!((&one.topic.name, &one.topic.type_name), (&topic.name, &topic.type_name));
        assert_eq!(one.definition, same.definition);
        assert!(one.definition.is_some_and(|text| !text.is_empty()) && one.topic.schema, "{topic:?}");
        let at = format!("/api/v2/topics{}/latest", topic.name);
        if topic.age_s.is_some() {
            let latest: LatestDocument = read(port, &at);
            assert_eq!((&latest.topic, &latest.type_name), (&topic.name, &topic.type_name));
            assert!(
                latest.message.is_some() && latest.error.is_none() && latest.base64.is_none(),
                "{latest:?}"
            );
            assert!((0.0..60.0).contains(&latest.age_s) && latest.seq > 0 && latest.bytes >= 4, "{latest:?}");
        } else {
            // Its first sample may have arrived in the meantime.
            let latest = http::get(port, &at);
            if latest.status != 200 {
                problem(&latest, 404);
            }
        }
    }
    let odom: TopicDetail = read(port, "/api/v2/topics/odom");
    let odom = odom.topic;
    assert_eq!((odom.listeners, odom.type_name.as_str()), (1, "nav_msgs/msg/Odometry"));
    assert!(odom.rate_hz > 10.0 && odom.bandwidth_bytes_per_s > odom.rate_hz * 100.0, "{odom:?}");
    for unknown in ["/nowhere", "/nowhere/latest", "/latest"] {
        problem(&http::get(port, &format!("/api/v2/topics{unknown}")), 404);
    }
}

#[test]
fn long_lists_come_in_parts() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("topics", Duration::from_secs(10), || read::<TopicList>(port, "/api/v2/topics").total > 20);
    let whole: TopicList = read(port, "/api/v2/topics");
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let part: TopicList = read(port, &format!("/api/v2/topics?limit=7&after={}", encoded(&after)));
        assert!(part.topics.len() <= 7 && part.total == whole.total);
        names.extend(part.topics.into_iter().map(|topic| topic.name));
        match part.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(names, whole.topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>());
    let motors: TopicList = read(port, "/api/v2/topics?prefix=/motor/");
    assert!(motors.total >= 6 && motors.topics.iter().all(|topic| topic.name.starts_with("/motor/")));
    let nodes: NodeList = read(port, "/api/v2/nodes?limit=2");
    assert!(nodes.nodes.len() == 2 && nodes.total > 2 && nodes.next.is_some(), "{nodes:?}");
    let services: ServiceList = read(port, "/api/v2/services");
    assert_eq!(services.total, services.services.len());
    for bad in ["limit=0", "limit=x", "limt=5", "limit=1&limit=2", "prefix=%zz", "after=%ff"] {
        let detail = problem(&http::get(port, &format!("/api/v2/topics?{bad}")), 400);
        assert_eq!(detail["instance"], "/api/v2/topics");
    }
}

#[test]
fn a_robot_document_contains_the_scopes_of_the_endpoint() {
    let gateway = serve(&["--tier", "emergency"]);
    let port = gateway.first_port();
    eventually("the rover", Duration::from_secs(10), || {
        let list: RobotList = read(port, "/api/v2/robots");
        list.robots.iter().any(|robot| robot.position.is_some() && robot.emergency_stop.is_some())
    });
    let list: RobotList = read(port, "/api/v2/robots");
    let robot = &list.robots[0];
    assert_eq!((list.robots.len(), robot.emergency_stop), (1, Some(false)));
    // The mission is in none of this tier's scopes: unknown fields are absent.
    assert_eq!((robot.mission.name.as_ref(), robot.state), (None, None));
    assert!(robot.position.unwrap().lat.is_some() && robot.ages_s["gps_position"].is_some());
    assert!(robot.endpoints.iter().any(|endpoint| endpoint.port == port), "{robot:?}");
    let same: roverline_protocol::api::RobotDocument =
        read(port, &format!("/api/v2/robots/{}", encoded(&robot.id)));
    assert_eq!(same.id, robot.id);
    problem(&http::get(port, "/api/v2/robots/nobody"), 404);
    let stop = serve(&["--tier", "primary"]);
    eventually("its state", Duration::from_secs(10), || {
        let list: RobotList = read(stop.first_port(), "/api/v2/robots");
        list.robots.iter().any(|robot| robot.state == Some(RobotState::Autonomous))
    });
}

#[test]
fn the_metrics_summary_counts() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("samples", Duration::from_secs(10), || {
        let metrics: MetricsDocument = read(port, "/api/v2/metrics");
        metrics.counters.samples > 0 && metrics.source.age_s.is_some()
    });
    let metrics: MetricsDocument = read(port, "/api/v2/metrics");
    let dialects: BTreeSet<_> = metrics.dialects.keys().map(String::as_str).collect();
    assert_eq!(dialects, BTreeSet::from(["foxglove", "native", "plain", "rosbridge"]));
    assert!(metrics.cpu_s > 0.0 && metrics.resident_bytes > Some(1 << 20), "{metrics:?}");
}

#[test]
fn static_documents_have_entity_tags() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    for path in [
        "/api/v2/openapi.json",
        "/api/v2/schemas/sensor_msgs/msg/Imu",
        "/api/v2/schemas/std_msgs%2Fmsg%2FBool",
    ] {
        let first = http::get(port, path);
        assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let tag = first.header("etag").unwrap().to_owned();
        let again = http::request(port, "GET", path, &format!("If-None-Match: {tag}\r\n"), "");
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));
        assert_eq!(http::request(port, "GET", path, "If-None-Match: \"other\"\r\n", "").status, 200);
    }
    problem(&http::get(port, "/api/v2/schemas/no_such/msg/Type"), 404);
    assert_eq!(http::get(port, "/status").header("cache-control"), Some("no-store"));
}

#[test]
fn head_is_get_without_a_body() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let kind = |answer: &Response| answer.header("content-type").map(str::to_owned);
    for path in ["/", "/health", "/status", "/metrics", "/api/v2/topics", "/api/v2/openapi.json", "/api/v2/x"]
    {
        let (get, head) = (http::get(port, path), http::request(port, "HEAD", path, "", ""));
        assert_eq!((head.status, kind(&head), head.body.as_str()), (get.status, kind(&get), ""), "{path}");
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!(length > 0, "{path}");
        let refused = http::request(port, "PUT", path, "", "");
        if get.status == 200 {
            problem(&refused, 405);
            let allowed = refused.header("allow").unwrap();
            assert!(
                allowed.contains("get") && allowed.contains("head") && allowed.contains("options"),
                "{path}"
            );
        }
    }
}
