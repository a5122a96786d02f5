//! A health probe of one peer, with limits on time, header and body that hold whatever the peer sends.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use roverline_protocol::Tier;
use roverline_protocol::status::HealthDocument;
use roverline_source::clock::monotonic;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::endpoint::peers::Peer;
use crate::limits;

/// Longest `/health` body read from a peer.
const PEER_BODY_BYTES: usize = 64 << 10;

/// Maximum number of reasons kept from a peer's document.
const REASONS: usize = 8;
/// Maximum characters of its version.
const VERSION_CHARS: usize = 32;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The peer did not answer in time.
    #[error("no answer within {} ms", limits::PEER_TIMEOUT_MS)]
    Timeout,
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// The address is not a valid Host field.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The answer is not HTTP, or its header exceeds the limit.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The body exceeds the limit or ends early.
    #[error(transparent)]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body is not a health document.
    #[error("its answer is not a health document: {0}")]
    Document(#[from] serde_json::Error),
    /// An endpoint of another tier answered.
    #[error("a {0} endpoint answers in its place")]
    WrongTier(Tier),
    /// The peer is this endpoint itself.
    #[error("it is this very endpoint")]
    Itself,
}

/// Requests `/health`; returns the document and the round-trip time, or the reason for failure.
pub(crate) async fn probe(peer: &Peer) -> Result<(HealthDocument, Duration), ProbeError> {
    let started = monotonic();
    let limit = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let body = tokio::time::timeout(limit, get(&peer.address, "/health"))
        .await
        .map_err(|_| ProbeError::Timeout)??;
    let mut health: HealthDocument = serde_json::from_slice(&body)?;
    if health.endpoint.tier != peer.tier {
        return Err(ProbeError::WrongTier(health.endpoint.tier));
    }
    truncate_fields(&mut health);
    Ok((health, monotonic().saturating_sub(started)))
}

/// Limits the peer's fields to what a correct endpoint sends, because they are forwarded to every client.
fn truncate_fields(health: &mut HealthDocument) {
    let endpoint = &mut health.endpoint;
    endpoint.reasons.truncate(REASONS);
    for reason in &mut endpoint.reasons {
        *reason = reason.chars().take(limits::EVENT_CHARS).collect();
    }
    endpoint.version = endpoint.version.chars().take(VERSION_CHARS).collect();
    endpoint.covers.sort();
    endpoint.covers.dedup();
}

/// A GET request with bounded header and body; the caller bounds the time.
pub(crate) async fn get(address: &str, path: &str) -> Result<Bytes, ProbeError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    // The connection task ends with this request in any case.
    let mut connection_task = JoinSet::new();
    connection_task.spawn(connection);
    let request = Request::get(path).header(http::header::HOST, address).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let body = Limited::new(answer.into_body(), PEER_BODY_BYTES).collect().await;
    body.map(|body| body.to_bytes()).map_err(ProbeError::Body)
}
