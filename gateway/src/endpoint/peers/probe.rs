//! A health probe of one peer, with limits on time, header and body that hold whatever the peer sends. An
//! answer without a proof of the rover's key is ignored.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use roverline_protocol::Tier;
use roverline_protocol::status::{HealthDocument, Origin, PeerProof};
use roverline_source::clock::monotonic;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::endpoint::peers::networks::PeerNetworks;
use crate::endpoint::peers::proof::{CHALLENGE, Challenge, PROOF, Unproven};
use crate::endpoint::peers::{Peer, PeerTrust};
use crate::hub::writer_progress;
use crate::limits;

/// Longest `/health` body read from a peer.
const PEER_BODY_BYTES: usize = 64 << 10;

/// Maximum number of reasons kept from a peer's document.
const REASONS: usize = 8;
/// Addresses of one name that are tried.
const PEER_ADDRESS_ATTEMPTS: usize = 4;
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
    /// It is where no peer may be.
    #[error("its address is in none of the networks in which peers may be ([peers] networks)")]
    OtherNetwork,
    /// It has not proven that it belongs to this rover.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// The peer is this endpoint itself.
    #[error("it is this very endpoint")]
    Itself,
}

/// A peer's answer that is worth something.
pub(crate) struct ProvenAnswer {
    pub(crate) health: HealthDocument,
    pub(crate) rtt: Duration,
    pub(crate) proof: PeerProof,
}

/// Requests `/health` with a challenge; returns the document of a peer that has proven itself, or the reason
/// for failure.
pub(crate) async fn probe(
    peer: &Peer,
    origin: Origin,
    trust: &PeerTrust,
) -> Result<ProvenAnswer, ProbeError> {
    let started = monotonic();
    let limit = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let asking = async {
        let stream = connect(&peer.address, origin, &trust.networks).await?;
        let key = trust.prover.key.as_ref().ok_or(Unproven::NoKey)?;
        let challenge = Challenge::new(key, stream.peer_addr()?, &peer.address).ok_or(Unproven::NoKey)?;
        let (proof, body) =
            request(stream, &peer.address, "/health", Some(challenge.header()), PEER_BODY_BYTES).await?;
        Ok::<_, ProbeError>((challenge, proof, body))
    };
    let (challenge, proof, body) =
        tokio::time::timeout(limit, asking).await.map_err(|_| ProbeError::Timeout)??;
    let rtt = monotonic().saturating_sub(started);
    let health = judge(&challenge, peer.tier, proof.as_deref(), &body)?;
    Ok(ProvenAnswer { health, rtt, proof: PeerProof::Key })
}

/// Judges an answer: a health document with a proof that an endpoint of this tier made it.
pub fn judge(
    challenge: &Challenge,
    tier: Tier,
    proof: Option<&str>,
    body: &[u8],
) -> Result<HealthDocument, ProbeError> {
    let mut health: HealthDocument = serde_json::from_slice(body)?;
    // The tier is the one that is expected: an endpoint of another one proves nothing here.
    if health.endpoint.tier != tier {
        return Err(ProbeError::WrongTier(health.endpoint.tier));
    }
    challenge.verify(proof, tier, body)?;
    truncate_fields(&mut health);
    Ok(health)
}

/// Connects to a peer. A configured one may be anywhere; others only in the rover's networks, whatever
/// their names resolve to.
async fn connect(address: &str, origin: Origin, networks: &PeerNetworks) -> Result<TcpStream, ProbeError> {
    if origin == Origin::Config {
        return Ok(TcpStream::connect(address).await?);
    }
    let resolved = tokio::net::lookup_host(address).await?;
    let allowed: Vec<_> =
        resolved.filter(|address| networks.allow(*address)).take(PEER_ADDRESS_ATTEMPTS).collect();
    if allowed.is_empty() {
        return Err(ProbeError::OtherNetwork);
    }
    Ok(TcpStream::connect(&allowed[..]).await?)
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
    health.writers.truncate(writer_progress::LISTED_WRITERS);
}

/// A GET request with bounded header and body; the caller bounds the time.
pub(crate) async fn get(address: &str, path: &str) -> Result<Bytes, ProbeError> {
    get_bounded(address, path, PEER_BODY_BYTES).await
}

/// The same with a bound for the body, bytes.
pub(crate) async fn get_bounded(address: &str, path: &str, body_bytes: usize) -> Result<Bytes, ProbeError> {
    let stream = TcpStream::connect(address).await?;
    Ok(request(stream, address, path, None, body_bytes).await?.1)
}

/// A GET request, with a challenge if there is one: the proof, and the body.
async fn request(
    stream: TcpStream,
    host: &str,
    path: &str,
    challenge: Option<String>,
    body_bytes: usize,
) -> Result<(Option<String>, Bytes), ProbeError> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    // The connection task ends with this request in any case.
    let mut connection_task = JoinSet::new();
    connection_task.spawn(connection);
    let mut request = Request::get(path).header(http::header::HOST, host);
    if let Some(challenge) = challenge {
        request = request.header(CHALLENGE, challenge);
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let proof = answer.headers().get(PROOF).and_then(|proof| proof.to_str().ok()).map(str::to_owned);
    let body = Limited::new(answer.into_body(), body_bytes).collect().await;
    Ok((proof, body.map_err(ProbeError::Body)?.to_bytes()))
}
