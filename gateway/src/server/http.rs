//! HTTP request handling for a port: common response headers, and the upgrade to a WebSocket.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use roverline_source::clock::monotonic;

use crate::access::transport::Transport;
use crate::access::{AuthenticationError, Identity, Peer, credentials};
use crate::api;
use crate::api::cors;
use crate::api::error::{ApiError, PROBLEM};
use crate::api::pending_limit::limit_pending;
use crate::api::response::{HttpResponse, document};
use crate::connection::client_address::ClientAddress;
use crate::endpoint::Endpoint;
use crate::endpoint::capacity::{CapacityError, Holder, ProvenHolder, SessionSlot};
use crate::endpoint::watchdog::Work;
use crate::server::dashboard;
use crate::server::handshake::{self, Upgrade};
use crate::server::head;
use crate::server::session::{self, AcceptedConnection};
use crate::server::write_timeout::WriteTimeoutStream;

/// Characters of a path in the log.
const NAME_CHARS: usize = 80;

/// Handles one request of `peer`; `first` is true for the connection's first request.
pub(crate) async fn handle(
    endpoint: Arc<Endpoint>,
    request: Request<Incoming>,
    peer: Peer,
    first: bool,
) -> Result<HttpResponse, Infallible> {
    if let Some(refused) = refuse_plain_token(&endpoint, &request) {
        return Ok(refused);
    }
    let leaving = endpoint.is_draining();
    if let Err(malformed) = head::check(&request) {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        return Ok(malformed.into_response(request.uri().path()));
    }
    if handshake::is_websocket_upgrade(request.headers()) {
        // A client that was just accepted is served, however briefly: it will be asked to leave in its
        // turn. On an existing connection the client has to reconnect instead.
        if leaving && !first {
            return Ok(draining(&endpoint));
        }
        return Ok(upgrade(&endpoint, request, peer));
    }
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let asked = request.headers().clone();
    let addresses = || endpoint.peers.with_capacity().into_iter().filter_map(|peer| peer.address).collect();
    let answer = match dashboard::answer(&method, &path, &asked, addresses) {
        Some(page) => page.map(Full::new),
        None => {
            let name = format!("{method} {} from {peer}", path.chars().take(NAME_CHARS).collect::<String>());
            let answering = api::respond(&endpoint, request, peer);
            let answer = endpoint.watchdog.watch(Work::Request, name, answering).await;
            answer.unwrap_or_else(|failure| failure.into_response(&path))
        }
    };
    if answer.status().is_client_error() {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    }
    let mut answer = limit_pending(&endpoint.pending_responses, &path, answer).await;
    cors::mark(&endpoint, &method, &asked, &mut answer);
    // Live responses must not be cached; cacheable ones have set the field already.
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if leaving {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// The answer to a client of another computer that has to use TLS.
pub(super) fn needs_tls<B>(endpoint: &Endpoint, request: &Request<B>) -> HttpResponse {
    endpoint.counters.tls.refused_plain.fetch_add(1, Ordering::Relaxed);
    let why = "this endpoint speaks TLS only: use wss:// or https:// instead of ws:// or http://";
    let failure = ApiError::new(StatusCode::UPGRADE_REQUIRED, why).with_header(header::UPGRADE, "TLS/1.3");
    failure.into_response(request.uri().path())
}

/// Whether a request must be repeated over TLS. Health is open: other endpoints, and probes without certificates,
/// read it.
pub(super) fn is_refused_without_tls<B>(request: &Request<B>) -> bool {
    request.uri().path() != "/health" || handshake::is_websocket_upgrade(request.headers())
}

/// The transport of a request's connection.
fn transport<B>(request: &Request<B>) -> Transport {
    request.extensions().get::<Arc<Transport>>().map(|transport| (**transport).clone()).unwrap_or_default()
}

/// The answer to a request that shows a token in plain text on the network.
fn refuse_plain_token<B>(endpoint: &Endpoint, request: &Request<B>) -> Option<HttpResponse> {
    credentials::token(request.headers(), request.uri().query())?;
    let refused = endpoint.access.check_token_transport(transport(request).is_confidential()).err()?;
    endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
    Some(ApiError::from(refused).into_response(request.uri().path()))
}

fn upgrade(endpoint: &Arc<Endpoint>, mut request: Request<Incoming>, peer: Peer) -> HttpResponse {
    let upgrade = match handshake::check(&request) {
        Ok(upgrade) => upgrade,
        Err((status, why)) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            let mut failure = ApiError::new(status, why);
            if status == StatusCode::UPGRADE_REQUIRED {
                failure = failure.with_header(header::SEC_WEBSOCKET_VERSION, "13");
            }
            return failure.into_response(request.uri().path());
        }
    };
    let transport = transport(&request);
    let is_confidential = transport.is_confidential();
    let certificate = transport.certificate.filter(|_| peer.shows_own_certificate());
    let identity = match identify(endpoint, &upgrade, certificate, peer) {
        Ok(identity) => identity,
        Err(denied) => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            return ApiError::from(denied).into_response(request.uri().path());
        }
    };
    let holder = Holder { address: ClientAddress::of(peer.ip()), proven: ProvenHolder::of(&identity) };
    let slot = match endpoint.reserve_slot(upgrade.standby, &holder) {
        Ok(slot) => slot,
        Err(why) => {
            endpoint.record_rejection(&peer.to_string(), why);
            return full(endpoint, why);
        }
    };
    let answer = switching_protocols(&upgrade);
    let on_upgrade = hyper::upgrade::on(&mut request);
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => serve(endpoint, upgraded, upgrade, is_confidential, identity, peer, slot).await,
            Err(error) => tracing::debug!(%peer, %error, "upgrade failed"),
        }
    });
    answer
}

/// Identifies the client by its token, its certificate or its address.
fn identify(
    endpoint: &Endpoint,
    upgrade: &Upgrade,
    certificate: Option<Identity>,
    peer: Peer,
) -> Result<Identity, AuthenticationError> {
    match &upgrade.token {
        Some(token) => endpoint.access.authenticate(token, peer.ip(), monotonic()),
        None => match certificate {
            Some(holder) => endpoint.access.tokens().check(&holder).map(|()| holder),
            None => Ok(endpoint.access.anonymous_identity(peer)),
        },
    }
}

async fn serve(
    endpoint: Arc<Endpoint>,
    upgraded: hyper::upgrade::Upgraded,
    upgrade: Upgrade,
    is_confidential: bool,
    identity: Identity,
    peer: Peer,
    slot: SessionSlot,
) {
    let parts = match upgraded.downcast::<TokioIo<WriteTimeoutStream>>() {
        Ok(parts) => parts,
        Err(_) => return tracing::error!("an upgraded connection is not a TCP stream"),
    };
    let accepted = AcceptedConnection {
        stream: parts.io.into_inner().into_inner(),
        read_ahead: parts.read_buf,
        peer,
        is_confidential,
        dialect: upgrade.negotiated.dialect,
        await_first: !upgrade.negotiated.is_chosen,
        identity,
        slot,
    };
    session::run(endpoint, accepted).await;
}

fn switching_protocols(upgrade: &Upgrade) -> HttpResponse {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&upgrade.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = upgrade.negotiated.subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    answer
}

/// 503, with the endpoints that have free capacity.
fn full(endpoint: &Endpoint, why: CapacityError) -> HttpResponse {
    unavailable_with_alternatives(endpoint, "Endpoint full", &endpoint.full_message(why), "5")
}

/// 503 while draining: a new connection reaches the successor process.
fn draining(endpoint: &Endpoint) -> HttpResponse {
    let detail = "this process ends; connect again, and its successor answers";
    let mut answer = unavailable_with_alternatives(endpoint, "Endpoint restarts", detail, "1");
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn unavailable_with_alternatives(
    endpoint: &Endpoint,
    title: &str,
    detail: &str,
    retry_after_s: &'static str,
) -> HttpResponse {
    let alternatives = endpoint.peers.with_capacity();
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
