//! What a port answers over HTTP, WebSockets aside: the table of [`routes`], and what is done for
//! each. Everybody may read; what changes something is for who may.

mod directory;
mod latest;
mod nodes;
mod openapi;
mod query;
mod robots;
mod routes;
mod summary;
mod topics;

use std::net::SocketAddr;

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;

use self::query::Paging;
use self::routes::Action;
use super::answer::{Answer, Failure, JSON, TEXT, body, document, json, tagged};
use super::{Endpoint, cors, http as pages, metrics};

pub(super) use directory::directory;

/// Answers a request.
pub(super) async fn respond(
    endpoint: &Endpoint,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Answer, Failure> {
    let path = request.uri().path().to_owned();
    let Some((here, name)) = routes::at(&path) else {
        let shown: String = path.chars().take(80).collect();
        return Err(Failure::not_found(format!(
            "there is no {shown}; /api/v2/openapi.json says what there is"
        )));
    };
    let allow = routes::allow(&here);
    if request.method() == Method::OPTIONS {
        return Ok(cors::options(endpoint, request.headers(), &allow));
    }
    let Some(route) = routes::of_method(&here, request.method()) else {
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("here it is one of {allow}"));
        return Err(failure.with(header::ALLOW, &allow));
    };
    match route.action {
        Action::Register => directory::register(endpoint, request, peer).await,
        Action::Remove => directory::remove(endpoint, request.headers(), peer, &query::name(name)?),
        action => read(endpoint, &request, action, name),
    }
}

/// Answers what only reads.
fn read(
    endpoint: &Endpoint,
    request: &Request<Incoming>,
    action: Action,
    name: &str,
) -> Result<Answer, Failure> {
    let paging = || Paging::parse(request.uri().query());
    Ok(match action {
        Action::Page => body(TEXT, pages::greeting(endpoint)),
        Action::Health => health(endpoint),
        Action::Status => json(&endpoint.status()),
        Action::Metrics => body(metrics::CONTENT_TYPE, metrics::render(endpoint)),
        Action::Directory => json(&directory(endpoint)),
        Action::Topics => json(&topics::list(endpoint, &paging()?)),
        Action::Topic => json(&topics::one(endpoint, &query::name(name)?)?),
        Action::Latest => body(JSON, latest::latest(endpoint, &query::name(name)?)?),
        Action::Definition => {
            tagged(request.headers(), TEXT, topics::definition(endpoint, &query::name(name)?)?)
        }
        Action::Nodes => json(&nodes::nodes(endpoint, &paging()?)),
        Action::Services => json(&nodes::services(endpoint, &paging()?)),
        Action::Summary => json(&summary::summary(endpoint)),
        Action::Robots => json(&robots::list(endpoint)),
        Action::Robot => json(&robots::one(endpoint, &query::name(name)?)?),
        Action::OpenApi => tagged(request.headers(), JSON, openapi::text()),
        // Led elsewhere already.
        Action::Register | Action::Remove => return Err(Failure::not_found("there is nothing to read here")),
    })
}

fn health(endpoint: &Endpoint) -> Answer {
    let health = endpoint.health();
    let status =
        if health.endpoint.status.serves() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    document(status, JSON, &health)
}
