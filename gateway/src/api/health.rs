//! `/health`, and in it the proof that a peer asks for.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, JSON, body};
use crate::endpoint::peers::proof::{CHALLENGE, PROOF};

/// The address at which a request's connection arrived; an extension of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress(pub(crate) SocketAddr);

/// The endpoint's health; 503 if it cannot serve.
pub(crate) fn health(request: &ApiRequest<'_>) -> HttpResponse {
    let endpoint = request.endpoint;
    let challenge = request.headers.get(CHALLENGE).and_then(|challenge| challenge.to_str().ok());
    let is_peer = challenge.is_some_and(|challenge| endpoint.peer_trust.prover.recognizes(challenge));
    let health = if is_peer { endpoint.health_for_peer() } else { endpoint.health() };
    // Serializing our own document types cannot fail.
    let bytes = serde_json::to_vec(&health).unwrap_or_default();
    let proof =
        challenge.map(|challenge| endpoint.peer_trust.prover.answer(challenge, request.local, &bytes));
    let mut answer = body(JSON, bytes);
    if !health.endpoint.status.serves() {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    if let Some(proof) = proof.and_then(|proof| HeaderValue::from_str(&proof).ok()) {
        answer.headers_mut().insert(HeaderName::from_static(PROOF), proof);
    }
    answer
}
