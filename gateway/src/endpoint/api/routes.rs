//! Everything that a port answers over HTTP, in one table: requests are led by it, and the OpenAPI
//! document is made of it, so that neither can have what the other lacks.

use http::Method;
use roverline_protocol::api::{
    LatestDocument, MetricsDocument, NodeList, Registration, RegistrationDocument, RobotDocument, RobotList,
    ServiceList, TopicDetail, TopicList,
};
use roverline_protocol::documents::{DirectoryDocument, HealthDocument, StatusDocument};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::super::answer::{JSON, TEXT};
use super::super::metrics;

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Action {
    Page,
    Health,
    Status,
    Metrics,
    Directory,
    Register,
    Remove,
    Topics,
    Topic,
    Latest,
    Definition,
    Nodes,
    Services,
    Summary,
    Robots,
    Robot,
    OpenApi,
}

/// The methods that are used; a `GET` is also a `HEAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a body is.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// None.
    Empty,
    /// JSON of this type.
    Json(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Any JSON object.
    Object,
}

/// An answer that a route may give, problems aside.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) content: Content,
}

/// The part of a path that is a name: what it means, an example.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) what: &'static str,
    pub(super) example: Option<&'static str>,
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(in crate::endpoint) struct Route {
    pub(super) verb: Verb,
    /// As in OpenAPI; what is in braces may hold slashes.
    pub(super) path: &'static str,
    pub(in crate::endpoint) action: Action,
    pub(super) summary: &'static str,
    /// Of the part in braces.
    pub(super) name: Option<Name>,
    /// Whether it is a long list, of which a part may be asked for.
    pub(super) paged: bool,
    /// What has to be sent.
    pub(super) body: Option<SchemaOf>,
    pub(super) replies: &'static [Reply],
    /// Statuses of the problems it may answer with, beside those that follow from the rest.
    pub(super) problems: &'static [u16],
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn ok(what: &'static str, content: Content) -> Reply {
    Reply { status: 200, what, content }
}

const fn get(path: &'static str, action: Action, summary: &'static str, replies: &'static [Reply]) -> Route {
    let (name, body) = (None, None);
    Route { verb: Verb::Get, path, action, summary, name, paged: false, body, replies, problems: &[] }
}

const fn list(path: &'static str, action: Action, summary: &'static str, replies: &'static [Reply]) -> Route {
    Route { paged: true, ..get(path, action, summary, replies) }
}

const fn named(route: Route, what: &'static str, example: Option<&'static str>) -> Route {
    Route { name: Some(Name { what, example }), ..route }
}

const TOPIC: &str = "The topic's name, with slashes as they are or percent-encoded; the first may be left out. \
                     A name that ends in `/latest` has to be percent-encoded.";

/// The table.
pub(super) static ROUTES: [Route; 18] = [
    get(
        "/",
        Action::Page,
        "What this is, for people",
        &[Reply { status: 200, what: "A page, or a few lines", content: Content::Text("text/*") }],
    ),
    get(
        "/health",
        Action::Health,
        "What the endpoint is, and how it is",
        &[
            ok("It serves", Content::Json(schema::<HealthDocument>)),
            Reply { status: 503, what: "It cannot serve", content: Content::Json(schema::<HealthDocument>) },
        ],
    ),
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
    get(
        "/api/v2/health",
        Action::Health,
        "The same as /health",
        &[
            ok("It serves", Content::Json(schema::<HealthDocument>)),
            Reply { status: 503, what: "It cannot serve", content: Content::Json(schema::<HealthDocument>) },
        ],
    ),
    get(
        "/api/v2/endpoints",
        Action::Directory,
        "The endpoints that this one knows, itself included",
        &[ok("By tier, then by address", Content::Json(schema::<DirectoryDocument>))],
    ),
    Route {
        verb: Verb::Post,
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
        verb: Verb::Delete,
        problems: &[401, 403, 404, 409],
        ..named(
            get(
                "/api/v2/endpoints/{address}",
                Action::Remove,
                "Removes an endpoint that was registered",
                &[Reply { status: 204, what: "It is asked no more", content: Content::Empty }],
            ),
            "Where it listens: `host:port`.",
            Some("192.168.1.11:8081"),
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
        "The rover as this endpoint sees it",
        &[ok("One, or none before its first sample", Content::Json(schema::<RobotList>))],
    ),
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/robots/{id}",
                Action::Robot,
                "The rover of this name",
                &[ok("The rover", Content::Json(schema::<RobotDocument>))],
            ),
            "The rover's name, as configured.",
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

impl Route {
    /// The media type of its body, where it has one.
    pub(super) fn sends(&self) -> Option<&'static str> {
        self.body.map(|_| JSON)
    }

    /// The name in a path of this route, still encoded; empty for a path without.
    fn takes<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.split_once('{') {
            None => (self.path == path).then_some(""),
            Some((before, rest)) => {
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                let name = path.strip_prefix(before)?.strip_suffix(after)?;
                (!name.is_empty()).then_some(name)
            }
        }
    }
}

/// The routes of a path, and the name in it, still encoded. `None`: there is no such path.
pub(in crate::endpoint) fn at(path: &str) -> Option<(Vec<&'static Route>, &str)> {
    // One more slash at the end is forgiven, but not at the end of a name.
    let plain = path.strip_suffix('/').filter(|path| path.len() > 1).unwrap_or(path);
    let taken = |route: &'static Route| {
        let name = route.takes(if route.name.is_some() { path } else { plain })?;
        Some((route, name))
    };
    let all: Vec<_> = ROUTES.iter().filter_map(taken).collect();
    // Of several, the one that leaves least to the name.
    let (_, name) = *all.iter().min_by_key(|(_, name)| name.len())?;
    let same = all.into_iter().filter(|(_, other)| other.len() == name.len());
    Some((same.map(|(route, _)| route).collect(), name))
}

/// The methods of these routes, as the `Allow` field has them.
pub(in crate::endpoint) fn allow(routes: &[&Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.verb.name()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.join(", ")
}

/// The route for this method: `HEAD` is a `GET` whose body is not sent.
pub(in crate::endpoint) fn of_method(routes: &[&'static Route], method: &Method) -> Option<&'static Route> {
    let name = if method == Method::HEAD { Verb::Get.name() } else { method.as_str() };
    routes.iter().find(|route| route.verb.name() == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Action, &str)> {
        at(path).map(|(routes, name)| (routes[0].action, name))
    }

    #[test]
    fn paths_lead_to_their_routes() {
        for (path, action, name) in [
            ("/", Action::Page, ""),
            ("/health", Action::Health, ""),
            ("/api/v2/topics", Action::Topics, ""),
            ("/api/v2/topics/", Action::Topics, ""),
            ("/api/v2/topics/odom", Action::Topic, "odom"),
            ("/api/v2/topics//odom", Action::Topic, "/odom"),
            ("/api/v2/topics/%2Fimu%2Fdata", Action::Topic, "%2Fimu%2Fdata"),
            ("/api/v2/topics/imu/data/latest", Action::Latest, "imu/data"),
            ("/api/v2/topics/latest", Action::Topic, "latest"),
            ("/api/v2/topics/a%2Flatest", Action::Topic, "a%2Flatest"),
            ("/api/v2/topics/a/latest/", Action::Topic, "a/latest/"),
            ("/api/v2/schemas/std_msgs/msg/Bool", Action::Definition, "std_msgs/msg/Bool"),
            ("/api/v2/endpoints/[::1]:80", Action::Remove, "[::1]:80"),
        ] {
            assert_eq!(found(path), Some((action, name)), "{path}");
        }
        for nowhere in ["", "*", "//", "/health/x", "/api", "/api/v2", "/api/v2/topicsx", "/api/v1/topics"] {
            assert_eq!(found(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn methods_are_those_of_the_table() {
        let (routes, _) = at("/api/v2/endpoints").unwrap();
        assert_eq!(allow(&routes), "GET, HEAD, OPTIONS, POST");
        assert_eq!(of_method(&routes, &Method::HEAD).unwrap().action, Action::Directory);
        assert_eq!(of_method(&routes, &Method::POST).unwrap().action, Action::Register);
        assert!(of_method(&routes, &Method::PUT).is_none());
        let (routes, _) = at("/api/v2/endpoints/a:1").unwrap();
        assert_eq!(allow(&routes), "DELETE, OPTIONS");
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_judged(path in "(/api/v2/(topics|endpoints|schemas|robots))?[/a%é2F.]{0,12}(/latest)?/?") {
            if let Some((routes, name)) = at(&path) {
                assert!(!routes.is_empty() && path.contains(name), "{path}");
                assert_eq!(routes[0].name.is_some(), !name.is_empty(), "{path}");
            }
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let mut all: Vec<_> = ROUTES.iter().map(|route| (route.path, route.verb.name())).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ROUTES.len());
        assert!(ROUTES.iter().all(|route| route.name.is_some() == route.path.contains('{')));
    }
}
