//! The routes of the endpoint itself and of the rover's telemetry.

use roverline_protocol::api::{
    LatestDocument, MetricsDocument, NodeList, Registration, RegistrationDocument, RobotDocument, RobotList,
    ServiceList, TopicDetail, TopicList,
};
use roverline_protocol::status::{DirectoryDocument, HealthDocument, StatusDocument};

use crate::api::action::Action;
use crate::api::response::TEXT;
use crate::api::route::{Content, HttpMethod, Reply, Route, get, list, named, ok, schema};
use crate::endpoint::metrics;

const TOPIC: &str = "The topic's name, with slashes as they are or percent-encoded; the first may be left out. \
                     A name that ends in `/latest` has to be percent-encoded.";

const HEALTH: [Reply; 2] = [
    ok("It serves", Content::Json(schema::<HealthDocument>)),
    Reply { status: 503, what: "It cannot serve", content: Content::Json(schema::<HealthDocument>) },
];

/// The routes.
pub(crate) static ROUTES: [Route; 18] = [
    get(
        "/",
        Action::Page,
        "What this is, for people",
        &[Reply { status: 200, what: "A page, or a few lines", content: Content::Text("text/*") }],
    ),
    get("/health", Action::Health, "What the endpoint is, and how it is", &HEALTH),
    get(
        "/status",
        Action::Status,
        "Everything the endpoint knows of itself and its peers",
        &[ok("All of it", Content::Json(schema::<StatusDocument>))],
    ),
    get(
        "/metrics",
        Action::Metrics,
        "What the endpoint counts, for Prometheus",
        &[ok("Text format 0.0.4", Content::Text(metrics::CONTENT_TYPE))],
    ),
    get("/api/v2/health", Action::Health, "The same as /health", &HEALTH),
    get(
        "/api/v2/endpoints",
        Action::Directory,
        "The endpoints that this one knows, itself included",
        &[ok("By tier, then by address", Content::Json(schema::<DirectoryDocument>))],
    ),
    Route {
        method: HttpMethod::Post,
        body: Some(schema::<Registration>),
        problems: &[401, 403, 408, 409, 413, 415, 422],
        ..get(
            "/api/v2/endpoints",
            Action::Register,
            "Registers another endpoint until this process ends",
            &[Reply {
                status: 201,
                what: "It is asked from now on",
                content: Content::Json(schema::<RegistrationDocument>),
            }],
        )
    },
    Route {
        method: HttpMethod::Delete,
        problems: &[401, 403, 404, 409],
        ..named(
            get(
                "/api/v2/endpoints/{address}",
                Action::Remove,
                "Removes an endpoint that was registered",
                &[Reply { status: 204, what: "It is asked no more", content: Content::Empty }],
            ),
            "Where it listens: `host:port`.",
            Some("rover-2.local:8081"),
        )
    },
    list(
        "/api/v2/topics",
        Action::Topics,
        "Topics in this endpoint's scopes",
        &[ok("By name", Content::Json(schema::<TopicList>))],
    ),
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/topics/{name}",
                Action::Topic,
                "One topic, with its type's definition",
                &[ok("The topic", Content::Json(schema::<TopicDetail>))],
            ),
            TOPIC,
            Some("/odom"),
        )
    },
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/topics/{name}/latest",
                Action::Latest,
                "The newest message of a topic",
                &[ok("The message and its age", Content::Json(schema::<LatestDocument>))],
            ),
            TOPIC,
            Some("/odom"),
        )
    },
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/schemas/{type}",
                Action::Definition,
                "The definition of a message type, with its dependencies",
                &[
                    ok("ros2msg; lines of = between the types", Content::Text(TEXT)),
                    Reply { status: 304, what: "It is as you have it", content: Content::Empty },
                ],
            ),
            "The ROS type, with slashes as they are or percent-encoded.",
            Some("sensor_msgs/msg/Imu"),
        )
    },
    list(
        "/api/v2/nodes",
        Action::Nodes,
        "ROS nodes, and what they publish, subscribe and serve in this endpoint's scopes",
        &[ok("By name", Content::Json(schema::<NodeList>))],
    ),
    list(
        "/api/v2/services",
        Action::Services,
        "ROS services in this endpoint's scopes",
        &[ok("By name", Content::Json(schema::<ServiceList>))],
    ),
    get(
        "/api/v2/metrics",
        Action::Summary,
        "What the endpoint counts, in short",
        &[ok("The summary", Content::Json(schema::<MetricsDocument>))],
    ),
    get(
        "/api/v2/robots",
        Action::Robots,
        "The rover as this endpoint sees it, and the others that the team knows",
        &[ok("By name; none before the first sample", Content::Json(schema::<RobotList>))],
    ),
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/robots/{id}",
                Action::Robot,
                "The robot of this name",
                &[ok("The robot", Content::Json(schema::<RobotDocument>))],
            ),
            "The robot's name, as configured.",
            None,
        )
    },
    get(
        "/api/v2/openapi.json",
        Action::OpenApi,
        "This document",
        &[
            ok("OpenAPI 3.1", Content::Object),
            Reply { status: 304, what: "It is as you have it", content: Content::Empty },
        ],
    ),
];
