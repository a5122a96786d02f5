//! The HTTP API of a port: dispatches requests by the table of `routes` to their handlers. Reading is
//! open to everyone; changes need a permission.

pub mod error;
pub(crate) mod pending_limit;
pub mod response;

mod action;
pub(crate) mod admission;
mod alarms;
pub(crate) mod cors;
mod directory;
mod emergency_stop;
mod events;
pub(crate) mod health;
mod json_depth;
mod kv;
mod latest;
mod lifecycle;
mod lifecycle_document;
mod locks;
mod log;
mod metrics_summary;
mod nodes;
mod offload;
mod openapi;
mod query;
mod queues;
mod request;
mod request_span;
mod robots;
mod route;
mod route_permission;
mod routes;
mod topics;
mod traces;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use roverline_protocol::limits;

use crate::access::Peer;
use crate::access::transport::Transport;
use crate::api::action::{Action, AlarmsAction, KvAction, QueuesAction};
use crate::api::error::ApiError;
use crate::api::health::LocalAddress;
use crate::api::query::Paging;
use crate::api::request::ApiRequest;
pub(crate) use crate::api::request::Caller;
pub(crate) use crate::api::request_span::Cause;
use crate::api::request_span::{TRACEPARENT, traced};
use crate::api::response::{HttpResponse, JSON, TEXT, body, json, with_etag};
use crate::api::route::Route;
use crate::endpoint::{Endpoint, metrics};

/// Answers a request over HTTP.
pub(crate) async fn respond(
    endpoint: &Endpoint,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<HttpResponse, ApiError> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let (here, name) = find(path)?;
    let allow = routes::allow(&here);
    if head.method == Method::OPTIONS {
        return Ok(cors::options(endpoint, &head.headers, &allow));
    }
    let route = choose(&here, &head.method, &allow)?;
    let caller = Caller::Peer(peer);
    let local = head.extensions.get::<LocalAddress>().map(|local| local.0);
    let (query, headers) = (head.uri.query(), &head.headers);
    let certificate = head.extensions.get::<Arc<Transport>>().and_then(|proven| proven.certificate.as_ref());
    let body_bytes = Bytes::new();
    let mut request =
        ApiRequest { endpoint, route, name, query, headers, caller, local, certificate, body: body_bytes };
    let traceparent = headers.get(TRACEPARENT).map(|value| value.to_str().unwrap_or_default());
    if route.body.is_some() {
        // Checked before the body is read.
        request.authorize_route()?;
        request::check_content_type(headers)?;
        request.body = request::body(body, route.body_bytes).await?;
    }
    traced(&request, path, Cause::Client(traceparent), answer(&request)).await
}

/// Answers a request of a session, whose client is already identified: the status, and JSON.
pub(crate) async fn request(
    endpoint: &Endpoint,
    caller: Caller,
    method: &str,
    target: &str,
    body: Bytes,
    cause: Cause<'_>,
) -> (u16, Bytes) {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = HeaderMap::new();
    let response = async {
        let (here, name) = find(path)?;
        let no_method = |_| ApiError::bad_request("this is no method of HTTP");
        let method = Method::from_bytes(method.as_bytes()).map_err(no_method)?;
        let route = choose(&here, &method, &routes::allow(&here))?;
        if body.len() > route.body_bytes {
            let why = format!("send at most {} bytes", route.body_bytes);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let (local, certificate, headers) = (None, None, &headers);
        let request = ApiRequest { endpoint, route, name, query, headers, caller, local, certificate, body };
        traced(&request, path, cause, answer(&request)).await
    };
    let response = response.await.unwrap_or_else(|error| error.into_response(path));
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let body = match kind.ends_with(b"json") {
        true => body,
        // A text always serializes.
        false => serde_json::to_vec(&String::from_utf8_lossy(&body)).unwrap_or_default().into(),
    };
    (head.status.as_u16(), body)
}

/// A path that can be watched.
pub(crate) struct WatchTarget {
    /// The store's key prefixes whose changes affect the response; none if it changes all the time.
    pub(crate) prefixes: Vec<String>,
    /// The request target for each response.
    pub(crate) target: String,
    /// Whether the response comes from this process's replica of the lifecycle records.
    pub(crate) reads_lifecycle: bool,
    /// Whether the response changes with this endpoint's alarms.
    pub(crate) reads_alarms: bool,
}

/// How to watch a path.
pub(crate) fn watch_target(target: &str) -> Result<WatchTarget, ApiError> {
    let nothing = || ApiError::not_found("there is no such path; /api/v2/openapi.json says what there is");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (here, name) = routes::at(path).ok_or_else(nothing)?;
    let action = routes::for_method(&here, &Method::GET).map(|route| route.action);
    let name = query::name(name).ok().filter(|name| is_part(name)).unwrap_or_default();
    let prefixes = match action {
        Some(Action::Locks(_)) => vec!["lock".to_owned()],
        // Not the messages' bodies, which have other keys.
        Some(Action::Queues(QueuesAction::List | QueuesAction::SimpleAll)) => {
            vec!["queue/".to_owned(), "queues/".to_owned()]
        }
        Some(Action::Queues(_)) => vec![format!("queue/{name}"), format!("queues/{name}/")],
        Some(Action::Kv(KvAction::List)) => vec![format!("kv/{}", prefix(query))],
        // The write order, not the values.
        Some(Action::Kv(KvAction::CacheAll | KvAction::CacheMetrics)) => vec!["kv-order".to_owned()],
        Some(Action::Kv(_)) => vec![format!("kv/{name}")],
        Some(Action::Events(_)) => vec!["events/head".to_owned()],
        Some(Action::Lifecycle(_) | Action::Robots | Action::Robot) => vec!["lifecycle".to_owned()],
        Some(
            Action::Summary
            | Action::Traces
            | Action::TopicStages
            | Action::Alarms(AlarmsAction::List | AlarmsAction::One),
        ) => Vec::new(),
        _ => {
            let why = "this path cannot be watched: only what the team shares, /api/v2/alarms, /api/v2/metrics and \
                       /api/v2/traces can";
            return Err(ApiError::bad_request(why));
        }
    };
    let target = match action {
        // A cached value may be slightly behind the change that triggered the watch.
        Some(Action::Kv(KvAction::Get | KvAction::CacheGet)) => with_linearizable_read(target),
        _ => target.to_owned(),
    };
    let reads_lifecycle = matches!(action, Some(Action::Lifecycle(_) | Action::Robots | Action::Robot));
    let reads_alarms = matches!(action, Some(Action::Alarms(_)));
    Ok(WatchTarget { prefixes, target, reads_lifecycle, reads_alarms })
}

/// The key prefix of a list; an expiry is reported only under the keys themselves.
fn prefix(query: Option<&str>) -> String {
    let pairs = query::pairs(query).unwrap_or_default();
    let params = pairs.into_iter().find(|(key, _)| *key == "prefix").map(|(_, value)| value);
    params.filter(|prefix| is_part(prefix)).unwrap_or_default()
}

/// Whether it can be part of a key; the response reports any other error.
fn is_part(name: &str) -> bool {
    name.len() <= limits::KV_KEY_BYTES && !name.contains(char::is_control)
}

/// The same target, read from the store instead of the cache.
fn with_linearizable_read(target: &str) -> String {
    match target.split_once('?') {
        None => format!("{target}?linearizable=true"),
        Some((_, query)) if query.contains("linearizable=") || query.contains("at=") => target.to_owned(),
        Some(_) => format!("{target}&linearizable=true"),
    }
}

fn find(path: &str) -> Result<(Vec<&'static Route>, &str), ApiError> {
    routes::at(path).ok_or_else(|| {
        let shown: String = path.chars().take(80).collect();
        ApiError::not_found(format!("there is no {shown}; /api/v2/openapi.json says what there is"))
    })
}

fn choose(here: &[&'static Route], method: &Method, allow: &str) -> Result<&'static Route, ApiError> {
    routes::for_method(here, method).ok_or_else(|| {
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("here it is one of {allow}"));
        error.with_header(header::ALLOW, allow)
    })
}

async fn answer(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    request.authorize_route()?;
    let _admitted = admission::admit(request).await?;
    match request.route.action {
        Action::Stop => emergency_stop::command(request).await,
        Action::Register => directory::register(request),
        Action::Remove => directory::remove(request),
        Action::Locks(action) => locks::handle(request, action).await,
        Action::Queues(action) => queues::handle(request, action).await,
        Action::Kv(action) => kv::handle(request, action).await,
        Action::Events(action) => events::handle(request, action).await,
        Action::Lifecycle(action) => lifecycle::handle(request, action).await,
        Action::Log(action) => log::handle(request, action).await,
        Action::Alarms(action) => alarms::handle(request, action).await,
        Action::Traces => traces::list(request).await,
        Action::TopicStages => traces::topics(request).await,
        Action::Trace => traces::one(request).await,
        Action::Metrics => Ok(body(metrics::CONTENT_TYPE, metrics::render(request.endpoint).await)),
        Action::Summary => Ok(body(JSON, metrics_summary::body(request.endpoint).await)),
        action => read(request, action),
    }
}

/// Answers a request that only reads.
fn read(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    let endpoint = request.endpoint;
    let paging = || Paging::parse(request.query);
    Ok(match action {
        Action::Page => body(TEXT, text_index(endpoint)),
        Action::Health => health::health(request),
        Action::StopState => emergency_stop::state(request),
        Action::Status => json(&endpoint.status()),
        Action::Directory => json(&endpoint.directory_document()),
        Action::Topics => json(&topics::list(endpoint, &paging()?)),
        Action::Topic => json(&topics::one(endpoint, &request.name()?)?),
        Action::Latest => body(JSON, latest::latest(endpoint, &request.name()?)?),
        Action::Definition => {
            with_etag(request.headers, TEXT, topics::definition(endpoint, &request.name()?)?)
        }
        Action::Nodes => json(&nodes::nodes(endpoint, &paging()?)),
        Action::Services => json(&nodes::services(endpoint, &paging()?)),
        Action::Robots => json(&robots::list(endpoint)),
        Action::Robot => json(&robots::one(endpoint, &request.name()?)?),
        Action::OpenApi => with_etag(request.headers, JSON, openapi::text()),
        // Dispatched before.
        _ => return Err(ApiError::not_found("there is nothing to read here")),
    })
}

/// The plain-text index page at `/`.
fn text_index(endpoint: &Endpoint) -> String {
    format!(
        "Roverline {} endpoint, scopes: {}.\n\n\
         Open a WebSocket here for telemetry: websocat ws://127.0.0.1:{port}\n\
         GET /health   how it is\nGET /status   everything it knows of itself and its peers\n\
         GET /metrics  the same in numbers, for Prometheus\nGET /api/v2/endpoints     all endpoints it knows\n\
         GET /api/v2/openapi.json  everything that can be asked\n",
        endpoint.tier,
        endpoint.scopes(),
        port = endpoint.port
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_covers_the_keys_that_its_path_shows() {
        for (target, prefixes) in [
            ("/api/v2/kv/mission/goal", &["kv/mission/goal"][..]),
            ("/api/v2/kv/a%20b?linearizable=true", &["kv/a b"]),
            ("/api/v2/kv?prefix=mission%2F&limit=5", &["kv/mission/"]),
            ("/api/v2/kv", &["kv/"]),
            ("/api/v2/queues/jobs", &["queue/jobs", "queues/jobs/"]),
            ("/api/v2/queues", &["queue/", "queues/"]),
            ("/api/v2/locks", &["lock"]),
            ("/api/v2/events?limit=3", &["events/head"]),
            ("/api/v2/robots", &["lifecycle"]),
            ("/api/v2/metrics", &[]),
            ("/api/v2/traces?limit=5", &[]),
            ("/api/v2/traces/topics", &[]),
            ("/api/v2/alarms?state=raised", &[]),
            ("/api/v2/alarms/boundary/safety/boundary_violation", &[]),
        ] {
            let watch_target = watch_target(target).map_err(|error| error.status()).unwrap();
            assert_eq!(watch_target.prefixes, prefixes, "{target}");
            assert_eq!(watch_target.reads_lifecycle, prefixes == ["lifecycle"]);
            assert_eq!(watch_target.reads_alarms, target.contains("/alarms"));
        }
        assert!(watch_target("/health").is_err() && watch_target("/nowhere").is_err());
    }
}
