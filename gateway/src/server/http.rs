//! The HTTP side of a port: what every answer has, and the upgrade to a WebSocket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use crate::access::{Denied, Identity};
use crate::api;
use crate::api::response::{Answer, Failure, PROBLEM, bounded, document};
use crate::dialect::session::{self, Accepted};
use crate::endpoint::{Endpoint, Place};
use crate::server::handshake::{self, Upgrade};
use crate::server::write_timeout::Patient;
use crate::server::{cors, dashboard};

/// Answers one request, the `first` or a later one, of a connection from `peer`.
pub(crate) async fn handle(
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
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let asked = request.headers().clone();
    let elsewhere = || endpoint.peers.with_room().into_iter().filter_map(|peer| peer.address).collect();
    let answer = match dashboard::answer(&method, &path, &asked, elsewhere) {
        Some(page) => page.map(Full::new),
        None => {
            let answer = api::respond(&endpoint, request, peer).await;
            answer.unwrap_or_else(|failure| failure.answer(&path))
        }
    };
    if answer.status().is_client_error() {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    }
    let mut answer = bounded(&endpoint.answers, &path, answer).await;
    cors::mark(&endpoint, &method, &asked, &mut answer);
    // What is live is kept by nobody; what is not has said so.
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if leaving {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// The page at `/`, in a few lines.
pub(crate) fn greeting(endpoint: &Endpoint) -> String {
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

fn upgrade(endpoint: &Arc<Endpoint>, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let upgrade = match handshake::check(&request) {
        Ok(upgrade) => upgrade,
        Err((status, why)) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            let mut failure = Failure::new(status, why);
            if status == StatusCode::UPGRADE_REQUIRED {
                failure = failure.with(header::SEC_WEBSOCKET_VERSION, "13");
            }
            return failure.answer(request.uri().path());
        }
    };
    let identity = match identify(endpoint, &upgrade, peer) {
        Ok(identity) => identity,
        Err(denied) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            let failure = Failure::new(StatusCode::UNAUTHORIZED, denied.to_string());
            return failure.with(header::WWW_AUTHENTICATE, "Bearer").answer(request.uri().path());
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
    let parts = match upgraded.downcast::<TokioIo<Patient>>() {
        Ok(parts) => parts,
        Err(_) => return tracing::error!("an upgraded connection is not a TCP stream"),
    };
    let accepted = Accepted {
        stream: parts.io.into_inner().into_inner(),
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
    let mut answer = document(
        StatusCode::SERVICE_UNAVAILABLE,
        PROBLEM,
        &serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": 503,
            "detail": detail,
            "alternatives": alternatives,
        }),
    );
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after_s));
    answer
}
