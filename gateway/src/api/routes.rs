//! Everything that a port answers over HTTP, in one table: requests are led by it, and the OpenAPI
//! document is made of it, so that neither can have what the other lacks.

mod core;

use http::Method;
use roverline_protocol::limits;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::response::JSON;
use crate::api::{events, kv, lifecycle, locks, queues};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
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
    Locks(locks::Action),
    Queues(queues::Action),
    Kv(kv::Action),
    Events(events::Action),
    Lifecycle(lifecycle::Action),
}

/// The methods that are used; a `GET` is also a `HEAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        }
    }
}

/// Makes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a body is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
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
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) what: &'static str,
    pub(crate) content: Content,
}

/// The part of a path that is a name: what it means, an example.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) what: &'static str,
    pub(crate) example: Option<&'static str>,
    /// What it looks like, where not everything will do (ECMA 262).
    pub(crate) pattern: Option<&'static str>,
}

/// A parameter behind the `?`.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: ParameterKind,
}

/// What a parameter may be.
#[derive(Clone, Copy)]
pub(crate) enum ParameterKind {
    /// Text of at most [`limits::API_NAME_CHARS`].
    Text,
    /// A name in the log of events.
    Label,
    /// A whole number within these bounds, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    /// As in OpenAPI; what is in braces may hold slashes.
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) summary: &'static str,
    /// Of the part in braces.
    pub(crate) name: Option<Name>,
    /// Whether it is a long list, of which a part may be asked for.
    pub(crate) paged: bool,
    /// What has to be sent.
    pub(crate) body: Option<SchemaOf>,
    /// At most so many bytes of it.
    pub(crate) body_bytes: usize,
    pub(crate) replies: &'static [Reply],
    /// Beside those of a long list; any may be left out.
    pub(crate) parameters: &'static [Parameter],
    /// Statuses of the problems it may answer with, beside those that follow from the rest.
    pub(crate) problems: &'static [u16],
}

pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(crate) const fn ok(what: &'static str, content: Content) -> Reply {
    Reply { status: 200, what, content }
}

pub(crate) const fn get(
    path: &'static str,
    action: Action,
    summary: &'static str,
    replies: &'static [Reply],
) -> Route {
    Route {
        verb: Verb::Get,
        path,
        action,
        summary,
        name: None,
        paged: false,
        body: None,
        body_bytes: limits::API_BODY_BYTES,
        replies,
        parameters: &[],
        problems: &[],
    }
}

pub(crate) const fn list(
    path: &'static str,
    action: Action,
    summary: &'static str,
    replies: &'static [Reply],
) -> Route {
    Route { paged: true, ..get(path, action, summary, replies) }
}

pub(crate) const fn named(route: Route, what: &'static str, example: Option<&'static str>) -> Route {
    Route { name: Some(Name { what, example, pattern: None }), ..route }
}

/// Statuses of problems of whatever changes something that a team shares.
pub(crate) const WRITES: &[u16] = &[401, 403, 404, 408, 409, 413, 415, 422, 503];

/// Changes what a team shares, with a body.
pub(crate) const fn post(
    path: &'static str,
    action: Action,
    summary: &'static str,
    body: SchemaOf,
    replies: &'static [Reply],
) -> Route {
    let read = get(path, action, summary, replies);
    Route { verb: Verb::Post, body: Some(body), problems: WRITES, ..read }
}

/// Everything, table by table.
static TABLES: [&[Route]; 6] =
    [&core::ROUTES, &locks::ROUTES, &queues::ROUTES, &kv::ROUTES, &events::ROUTES, &lifecycle::ROUTES];

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().copied().flatten()
}

impl Route {
    /// The media type of its body, where it has one.
    pub(crate) fn sends(&self) -> Option<&'static str> {
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
pub(crate) fn at(path: &str) -> Option<(Vec<&'static Route>, &str)> {
    // One more slash at the end is forgiven, but not at the end of a name.
    let plain = path.strip_suffix('/').filter(|path| path.len() > 1).unwrap_or(path);
    let taken = |route: &'static Route| {
        let name = route.takes(if route.name.is_some() { path } else { plain })?;
        Some((route, name))
    };
    let all: Vec<_> = all().filter_map(taken).collect();
    // Of several, the one that leaves least to the name.
    let (_, name) = *all.iter().min_by_key(|(_, name)| name.len())?;
    let same = all.into_iter().filter(|(_, other)| other.len() == name.len());
    Some((same.map(|(route, _)| route).collect(), name))
}

/// The methods of these routes, as the `Allow` field has them.
pub(crate) fn allow(routes: &[&Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.verb.name()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.join(", ")
}

/// The route for this method: `HEAD` is a `GET` whose body is not sent.
pub(crate) fn of_method(routes: &[&'static Route], method: &Method) -> Option<&'static Route> {
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
        let mut all: Vec<_> = super::all().map(|route| (route.path, route.verb.name())).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(super::all().all(|route| route.name.is_some() == route.path.contains('{')));
    }
}
