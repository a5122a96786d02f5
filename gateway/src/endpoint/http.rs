//! The HTTP side of a port: `/health`, `/status`, a short page, problem details, and the upgrade.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use roverline_protocol::documents::{HealthStatus, Problem};
use serde::Serialize;
use tokio::net::TcpStream;

use super::handshake::{self, Upgrade};
use super::{Endpoint, Place, api, metrics};
use crate::access::{Denied, Identity};
use crate::page;
use crate::session::{self, Accepted};

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request, the `first` or a later one, of a connection from `peer`.
pub(super) async fn handle(
    endpoint: Arc<Endpoint>,
    request: Request<Incoming>,
    peer: SocketAddr,
    first: bool,
) -> Result<Answer, Infallible> {
    let leaving = endpoint.is_draining();
    if handshake::asks_for_websocket(request.headers()) {
        // Who has just been accepted is served, however briefly: it connected in good faith, and it
        // will be asked to go over in its turn. On a connection of old, the way is to connect anew.
        if leaving && !first {
            return Ok(draining(&endpoint));
        }
        return Ok(upgrade(&endpoint, request, peer));
    }
    let elsewhere = || endpoint.peers.with_room().into_iter().filter_map(|peer| peer.address).collect();
    let page = page::answer(request.method(), request.uri().path(), request.headers(), elsewhere);
    let mut answer = if let Some(page) = page {
        page.map(Full::new)
    } else if request.uri().path().starts_with(api::ROOT) {
        api::handle(&endpoint, request, peer).await
    } else {
        route(&endpoint, request.method(), request.uri().path())
    };
    if answer.status().is_client_error() {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    }
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if leaving {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

fn route(endpoint: &Endpoint, method: &Method, path: &str) -> Answer {
    let known = matches!(path, "/" | "/health" | "/status" | "/metrics");
    match path {
        _ if known && method != Method::GET && method != Method::HEAD => {
            let mut answer =
                problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "use GET".to_owned());
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            answer
        }
        "/health" => {
            let health = endpoint.health();
            let status = match health.endpoint.status {
                HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
                HealthStatus::Unhealthy | HealthStatus::Down => StatusCode::SERVICE_UNAVAILABLE,
            };
            json(status, "application/json", &health)
        }
        "/status" => json(StatusCode::OK, "application/json", &endpoint.status()),
        "/metrics" => {
            let mut answer = text(&metrics::render(endpoint));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            answer
        }
        "/" => text(&greeting(endpoint)),
        path => problem(
            StatusCode::NOT_FOUND,
            "Not found",
            format!(
                "there is no {}; try /health, /status, /metrics or /api/v2/endpoints",
                path.chars().take(80).collect::<String>()
            ),
        ),
    }
}

fn greeting(endpoint: &Endpoint) -> String {
    format!(
        "Roverline {} endpoint, scopes: {}.\n\n\
         Open a WebSocket here for telemetry: websocat ws://127.0.0.1:{port}\n\
         GET /health   how it is\nGET /status   everything it knows of itself and its peers\n\
         GET /metrics  the same in numbers, for Prometheus\nGET /api/v2/endpoints   all endpoints it knows\n",
        endpoint.tier,
        endpoint.scopes(),
        port = endpoint.port
    )
}

fn text(body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_owned())));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

pub(super) fn json<T: Serialize>(status: StatusCode, kind: &'static str, body: &T) -> Answer {
    // Our own documents always serialize.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub(super) fn problem(status: StatusCode, title: &str, detail: String) -> Answer {
    let kind = "about:blank".to_owned();
    let problem = Problem { kind, title: title.to_owned(), status: status.as_u16(), detail };
    json(status, "application/problem+json", &problem)
}

fn upgrade(endpoint: &Arc<Endpoint>, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let upgrade = match handshake::check(&request) {
        Ok(upgrade) => upgrade,
        Err((status, why)) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            let mut answer = problem(status, "Not a WebSocket handshake", why);
            if status == StatusCode::UPGRADE_REQUIRED {
                answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            return answer;
        }
    };
    let identity = match identify(endpoint, &upgrade, peer) {
        Ok(identity) => identity,
        Err(denied) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            let mut answer = problem(StatusCode::UNAUTHORIZED, "Unauthorized", denied.to_string());
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
    };
    let place = if upgrade.standby { endpoint.reserve_standby() } else { endpoint.reserve() };
    let Some(place) = place else {
        endpoint.turned_away(&peer.to_string());
        return full(endpoint);
    };
    let answer = switching(&upgrade);
    let on_upgrade = hyper::upgrade::on(&mut request);
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => serve(endpoint, upgraded, upgrade, identity, peer, place).await,
            Err(error) => tracing::debug!(%peer, %error, "upgrade failed"),
        }
    });
    answer
}

/// Who the client is, by its token or by where it comes from.
fn identify(endpoint: &Endpoint, upgrade: &Upgrade, peer: SocketAddr) -> Result<Identity, Denied> {
    match &upgrade.token {
        Some(token) => endpoint.access.holder(token),
        None => Ok(endpoint.access.guest(peer.ip(), upgrade.foreign_page)),
    }
}

async fn serve(
    endpoint: Arc<Endpoint>,
    upgraded: hyper::upgrade::Upgraded,
    upgrade: Upgrade,
    identity: Identity,
    peer: SocketAddr,
    place: Place,
) {
    let parts = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => parts,
        Err(_) => return tracing::error!("an upgraded connection is not a TCP stream"),
    };
    let accepted = Accepted {
        stream: parts.io.into_inner(),
        read_ahead: parts.read_buf,
        peer,
        dialect: upgrade.dialect,
        patient: !upgrade.says_plain,
        identity,
        place,
    };
    session::run(endpoint, accepted).await;
}

fn switching(upgrade: &Upgrade) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&upgrade.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = upgrade.subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    answer
}

/// 503 with where to go instead.
fn full(endpoint: &Endpoint) -> Answer {
    elsewhere(endpoint, "Endpoint full", &endpoint.full_sentence(), "5")
}

/// The same for a while: a new connection reaches the process that takes over.
fn draining(endpoint: &Endpoint) -> Answer {
    let detail = "this process ends; connect again, and its successor answers";
    let mut answer = elsewhere(endpoint, "Endpoint restarts", detail, "1");
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn elsewhere(endpoint: &Endpoint, title: &str, detail: &str, retry_after_s: &'static str) -> Answer {
    let alternatives = endpoint.peers.with_room();
    let mut answer = json(
        StatusCode::SERVICE_UNAVAILABLE,
        "application/problem+json",
        &serde_json::json!({
            "title": title,
            "status": 503,
            "detail": detail,
            "alternatives": alternatives,
        }),
    );
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after_s));
    answer
}
