//! The table of routes of a port. Requests are dispatched by it and the OpenAPI document is generated
//! from it, so neither can have what the other lacks.

mod core;

use http::Method;

use crate::api::route::{HttpMethod, Route};
use crate::api::{alarms, emergency_stop, events, kv, lifecycle, locks, log, queues, traces};

/// The tables of all modules.
static TABLES: [&[Route]; 10] = [
    &core::ROUTES,
    &emergency_stop::ROUTES,
    &locks::ROUTES,
    &queues::ROUTES,
    &kv::ROUTES,
    &events::ROUTES,
    &lifecycle::ROUTES,
    &traces::ROUTES,
    &log::ROUTES,
    &alarms::ROUTES,
];

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().copied().flatten()
}

/// The routes of a path, and the path parameter, still encoded. `None` if there is no such path.
pub(crate) fn at(path: &str) -> Option<(Vec<&'static Route>, &str)> {
    // One extra slash at the end is ignored, except at the end of a path parameter.
    let plain = path.strip_suffix('/').filter(|path| path.len() > 1).unwrap_or(path);
    let taken = |route: &'static Route| {
        let name = route.match_path(if route.name.is_some() { path } else { plain })?;
        Some((route, name))
    };
    let all: Vec<_> = all().filter_map(taken).collect();
    // If several match, the one with the shortest path parameter wins.
    let (_, name) = *all.iter().min_by_key(|(_, name)| name.len())?;
    let same = all.into_iter().filter(|(_, other)| other.len() == name.len());
    Some((same.map(|(route, _)| route).collect(), name))
}

/// The methods of these routes, as the `Allow` header field lists them.
pub(crate) fn allow(routes: &[&Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.name()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.join(", ")
}

/// The route for this method: `HEAD` is a `GET` whose body is not sent.
pub(crate) fn for_method(routes: &[&'static Route], method: &Method) -> Option<&'static Route> {
    let name = if method == Method::HEAD { HttpMethod::Get.name() } else { method.as_str() };
    routes.iter().find(|route| route.method.name() == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::action::Action;

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
        assert_eq!(for_method(&routes, &Method::HEAD).unwrap().action, Action::Directory);
        assert_eq!(for_method(&routes, &Method::POST).unwrap().action, Action::Register);
        assert!(for_method(&routes, &Method::PUT).is_none());
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
        let mut all: Vec<_> = super::all().map(|route| (route.path, route.method.name())).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(super::all().all(|route| route.name.is_some() == route.path.contains('{')));
    }
}
