//! What a port answers over HTTP, WebSockets aside: the table of [`routes`], and what is done for
//! each. Everybody may read; what changes something is for who may.

pub mod response;

mod directory;
mod events;
mod json_depth;
mod kv;
mod latest;
mod lifecycle;
mod locks;
mod metrics_summary;
mod nodes;
mod offload;
mod openapi;
mod query;
mod queues;
mod request;
mod robots;
mod routes;
mod store_error;
mod topics;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use roverline_protocol::limits;

use crate::access::{Deed, Identity};
pub(crate) use crate::api::directory::directory;
use crate::api::query::Paging;
use crate::api::request::{Ask, Asker};
use crate::api::response::{Answer, Failure, JSON, TEXT, body, document, json, tagged};
use crate::api::routes::{Action, Route, Verb};
use crate::endpoint::{Endpoint, metrics};
use crate::server::{cors, http as pages};

/// Answers a request over HTTP.
pub(crate) async fn respond(
    endpoint: &Endpoint,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Answer, Failure> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let (here, name) = find(path)?;
    let allow = routes::allow(&here);
    if head.method == Method::OPTIONS {
        return Ok(cors::options(endpoint, &head.headers, &allow));
    }
    let route = choose(&here, &head.method, &allow)?;
    let asker = Asker::Peer(peer);
    let (query, headers) = (head.uri.query(), &head.headers);
    let mut ask = Ask { endpoint, route, name, query, headers, asker, body: Bytes::new() };
    if route.body.is_some() {
        // Who may not is told so before anything is read.
        ask.may(Deed::Share("what the team shares"))?;
        request::check_content(headers)?;
        ask.body = request::body(body, route.body_bytes).await?;
    }
    answer(&ask).await
}

/// Who asks over a session, and what it calls itself.
pub(crate) type Caller = (Identity, String);

/// Answers a request that came over a session, which has said who it is: the status, and JSON.
pub(crate) async fn request(
    endpoint: &Endpoint,
    (identity, client): Caller,
    method: &str,
    target: &str,
    body: Bytes,
) -> (u16, Bytes) {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = HeaderMap::new();
    let asked = async {
        let (here, name) = find(path)?;
        let no_method = |_| Failure::bad_request("this is no method of HTTP");
        let method = Method::from_bytes(method.as_bytes()).map_err(no_method)?;
        let route = choose(&here, &method, &routes::allow(&here))?;
        if body.len() > route.body_bytes {
            let why = format!("send at most {} bytes", route.body_bytes);
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let asker = Asker::Session(identity, client);
        let ask = Ask { endpoint, route, name, query, headers: &headers, asker, body };
        answer(&ask).await
    };
    let answer = asked.await.unwrap_or_else(|failure| failure.answer(path));
    let (head, body) = answer.into_parts();
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
pub(crate) struct Watched {
    /// Under which keys of the store that changes which it shows.
    pub(crate) prefixes: Vec<String>,
    /// What is asked for each time.
    pub(crate) target: String,
    /// Whether it is read from what this process knows of lives.
    pub(crate) of_lives: bool,
}

/// How to watch a path; the error is a status, and a sentence.
pub(crate) fn watched(target: &str) -> Result<Watched, (StatusCode, &'static str)> {
    let nothing = (StatusCode::NOT_FOUND, "there is no such path; /api/v2/openapi.json says what there is");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (here, name) = routes::at(path).ok_or(nothing)?;
    let action = routes::of_method(&here, &Method::GET).map(|route| route.action);
    let name = query::name(name).ok().filter(|name| is_part(name)).unwrap_or_default();
    let prefixes = match action {
        Some(Action::Locks(_)) => vec!["lock".to_owned()],
        // Not what messages say: that lies elsewhere.
        Some(Action::Queues(queues::Action::List | queues::Action::PlainAll)) => {
            vec!["queue/".to_owned(), "queues/".to_owned()]
        }
        Some(Action::Queues(_)) => vec![format!("queue/{name}"), format!("queues/{name}/")],
        Some(Action::Kv(kv::Action::List)) => vec![format!("kv/{}", prefix(query))],
        // What was written, not the values.
        Some(Action::Kv(kv::Action::CacheAll | kv::Action::CacheMetrics)) => vec!["kv-order".to_owned()],
        Some(Action::Kv(_)) => vec![format!("kv/{name}")],
        Some(Action::Events(_)) => vec!["events/head".to_owned()],
        Some(Action::Lifecycle(_) | Action::Robots | Action::Robot) => vec!["lifecycle".to_owned()],
        _ => {
            let why = "this path cannot be watched: only what the team shares can";
            return Err((StatusCode::BAD_REQUEST, why));
        }
    };
    let target = match action {
        // What a process remembers may be a moment behind the change that is told.
        Some(Action::Kv(kv::Action::Get | kv::Action::CacheGet)) => freshly(target),
        _ => target.to_owned(),
    };
    let of_lives = matches!(action, Some(Action::Lifecycle(_) | Action::Robots | Action::Robot));
    Ok(Watched { prefixes, target, of_lives })
}

/// With what the keys of a list begin; what ends by its time is told only under the keys themselves.
fn prefix(query: Option<&str>) -> String {
    let pairs = query::pairs(query).unwrap_or_default();
    let given = pairs.into_iter().find(|(key, _)| *key == "prefix").map(|(_, value)| value);
    given.filter(|prefix| is_part(prefix)).unwrap_or_default()
}

/// Whether a key can be made of it; the answer says what else is wrong.
fn is_part(name: &str) -> bool {
    name.len() <= limits::KV_KEY_BYTES && !name.contains(char::is_control)
}

/// The same, read from the store.
fn freshly(target: &str) -> String {
    match target.split_once('?') {
        None => format!("{target}?linearizable=true"),
        Some((_, query)) if query.contains("linearizable=") || query.contains("at=") => target.to_owned(),
        Some(_) => format!("{target}&linearizable=true"),
    }
}

fn find(path: &str) -> Result<(Vec<&'static Route>, &str), Failure> {
    routes::at(path).ok_or_else(|| {
        let shown: String = path.chars().take(80).collect();
        Failure::not_found(format!("there is no {shown}; /api/v2/openapi.json says what there is"))
    })
}

fn choose(here: &[&'static Route], method: &Method, allow: &str) -> Result<&'static Route, Failure> {
    routes::of_method(here, method).ok_or_else(|| {
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("here it is one of {allow}"));
        failure.with(header::ALLOW, allow)
    })
}

async fn answer(ask: &Ask<'_>) -> Result<Answer, Failure> {
    if ask.route.verb != Verb::Get {
        ask.may(Deed::Share("what the team shares"))?;
    }
    match ask.route.action {
        Action::Register => directory::register(ask),
        Action::Remove => directory::remove(ask),
        Action::Locks(action) => locks::answer(ask, action).await,
        Action::Queues(action) => queues::answer(ask, action).await,
        Action::Kv(action) => kv::answer(ask, action).await,
        Action::Events(action) => events::answer(ask, action).await,
        Action::Lifecycle(action) => lifecycle::answer(ask, action).await,
        action => read(ask, action),
    }
}

/// Answers what only reads.
fn read(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    let endpoint = ask.endpoint;
    let paging = || Paging::parse(ask.query);
    Ok(match action {
        Action::Page => body(TEXT, pages::greeting(endpoint)),
        Action::Health => health(endpoint),
        Action::Status => json(&endpoint.status()),
        Action::Metrics => body(metrics::CONTENT_TYPE, metrics::render(endpoint)),
        Action::Directory => json(&directory(endpoint)),
        Action::Topics => json(&topics::list(endpoint, &paging()?)),
        Action::Topic => json(&topics::one(endpoint, &ask.name()?)?),
        Action::Latest => body(JSON, latest::latest(endpoint, &ask.name()?)?),
        Action::Definition => tagged(ask.headers, TEXT, topics::definition(endpoint, &ask.name()?)?),
        Action::Nodes => json(&nodes::nodes(endpoint, &paging()?)),
        Action::Services => json(&nodes::services(endpoint, &paging()?)),
        Action::Summary => json(&metrics_summary::summary(endpoint)),
        Action::Robots => json(&robots::list(endpoint)),
        Action::Robot => json(&robots::one(endpoint, &ask.name()?)?),
        Action::OpenApi => tagged(ask.headers, JSON, openapi::text()),
        // Led elsewhere already.
        _ => return Err(Failure::not_found("there is nothing to read here")),
    })
}

fn health(endpoint: &Endpoint) -> Answer {
    let health = endpoint.health();
    let status =
        if health.endpoint.status.serves() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    document(status, JSON, &health)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_told_of_what_it_shows_and_little_else() {
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
        ] {
            let watched = watched(target).map_err(|(status, _)| status).unwrap();
            assert_eq!(watched.prefixes, prefixes, "{target}");
            assert_eq!(watched.of_lives, prefixes == ["lifecycle"]);
        }
        assert!(watched("/health").is_err() && watched("/nowhere").is_err());
    }
}
