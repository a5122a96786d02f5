//! One question to a peer: bounded in time, head and body, whatever answers.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use roverline_protocol::limits;
use roverline_protocol::status::HealthDocument;
use roverline_source::clock::monotonic;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::endpoint::peers::Peer;

/// Reasons, and characters of each, that are kept of what a peer says of itself.
const REASONS: usize = 8;
/// Characters of a version.
const VERSION_CHARS: usize = 32;

/// Asks for `/health`: the document and how long it took, or why there is none.
pub(crate) async fn ask(peer: &Peer) -> Result<(HealthDocument, Duration), String> {
    let started = monotonic();
    let patience = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let body = tokio::time::timeout(patience, get(&peer.address, "/health"))
        .await
        .map_err(|_| format!("no answer within {} ms", limits::PEER_TIMEOUT_MS))??;
    let mut health: HealthDocument = serde_json::from_slice(&body)
        .map_err(|error| format!("its answer is not a health document: {error}"))?;
    if health.endpoint.tier != peer.tier {
        return Err(format!("a {} endpoint answers in its place", health.endpoint.tier));
    }
    bound(&mut health);
    Ok((health, monotonic().saturating_sub(started)))
}

/// What it says is told to every client: no more of it than an honest endpoint has.
fn bound(health: &mut HealthDocument) {
    let endpoint = &mut health.endpoint;
    endpoint.reasons.truncate(REASONS);
    for reason in &mut endpoint.reasons {
        *reason = reason.chars().take(limits::EVENT_CHARS).collect();
    }
    endpoint.version = endpoint.version.chars().take(VERSION_CHARS).collect();
    endpoint.covers.sort();
    endpoint.covers.dedup();
}

/// A bounded GET; the caller bounds the time.
pub(crate) async fn get(address: &str, path: &str) -> Result<Bytes, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|e| text(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| text(&e))?;
    // Ends with this question, however that ends.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let request = Request::get(path)
        .header(http::header::HOST, address)
        .body(Empty::<Bytes>::new())
        .map_err(|e| text(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
    let body = Limited::new(answer.into_body(), limits::PEER_BODY_BYTES).collect().await;
    body.map(|body| body.to_bytes()).map_err(|e| text(&e))
}
