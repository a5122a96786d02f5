//! The other endpoints of this gateway, as this one hears of them by asking for `/health`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use roverline_protocol::documents::{EndpointDocument, HealthDocument, HealthStatus, PeerDocument};
use roverline_protocol::{Scope, Tier, limits};
use tokio::net::TcpStream;

use super::Endpoint;
use crate::clock::monotonic;

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which of the four.
    pub tier: Tier,
    /// `host:port`.
    pub address: String,
}

struct Known {
    peer: Peer,
    last: Option<EndpointDocument>,
    heard_at: Option<Duration>,
    rtt: Option<Duration>,
    error: Option<String>,
    freshness: BTreeMap<Scope, f64>,
}

/// What is known of the peers.
#[derive(Clone)]
pub struct Peers(Arc<Mutex<Vec<Known>>>);

impl Peers {
    /// Peers that have not been asked yet.
    pub fn new(peers: Vec<Peer>) -> Peers {
        let unknown = |peer| Known {
            peer,
            last: None,
            heard_at: None,
            rtt: None,
            error: None,
            freshness: BTreeMap::new(),
        };
        Peers(Arc::new(Mutex::new(peers.into_iter().map(unknown).collect())))
    }

    fn with<R>(&self, read: impl FnOnce(&mut Vec<Known>) -> R) -> R {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As `/status` shows them.
    pub fn documents(&self) -> Vec<PeerDocument> {
        let now = monotonic();
        self.with(|known| {
            known
                .iter()
                .map(|peer| PeerDocument {
                    endpoint: peer.document(),
                    age_s: peer.heard_at.map(|at| now.saturating_sub(at).as_secs_f64()),
                    rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
                    last_error: peer.error.clone(),
                    freshness_s: peer.freshness.clone(),
                })
                .collect()
        })
    }

    /// Peers that would take another client.
    pub fn with_room(&self) -> Vec<EndpointDocument> {
        self.with(|known| {
            let documents = known.iter().map(Known::document);
            documents
                .filter(|peer| peer.status <= HealthStatus::Degraded && peer.clients < peer.max_clients)
                .collect()
        })
    }

    fn suspicious(&self) -> bool {
        self.with(|known| known.iter().any(|peer| peer.document().status > HealthStatus::Degraded))
    }

    fn record(&self, at: usize, answer: Result<(HealthDocument, Duration), String>) {
        self.with(|known| {
            let peer = &mut known[at];
            match answer {
                Ok((health, rtt)) => {
                    peer.last = Some(health.endpoint);
                    peer.freshness = health.freshness_s;
                    peer.heard_at = Some(monotonic());
                    peer.rtt = Some(rtt);
                    peer.error = None;
                }
                Err(error) => {
                    if peer.error.is_none() {
                        tracing::warn!(peer = %peer.peer.tier, error, "peer does not answer");
                    }
                    peer.error = Some(error);
                }
            }
        });
    }

    /// Asks every peer for ever: every 3 s, and more often while one is suspicious. Each change is
    /// published in the endpoint's directory.
    pub async fn watch(&self, endpoint: &Endpoint) {
        loop {
            let addresses = self.with(|known| known.iter().map(|k| k.peer.clone()).collect::<Vec<_>>());
            let answers = futures_util::future::join_all(addresses.iter().map(ask)).await;
            for (at, answer) in answers.into_iter().enumerate() {
                self.record(at, answer);
            }
            self.publish(endpoint);
            let pause = match self.suspicious() {
                true => limits::PEER_POLL_SUSPICIOUS_MS,
                false => limits::PEER_POLL_MS,
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn publish(&self, endpoint: &Endpoint) {
        let mut directory = vec![endpoint.document()];
        directory.extend(self.with(|known| known.iter().map(Known::document).collect::<Vec<_>>()));
        directory.sort_by_key(|entry| entry.tier);
        let directory = Arc::new(directory);
        endpoint.directory.send_if_modified(|current| {
            let changed = **current != *directory;
            *current = directory;
            changed
        });
    }
}

impl Known {
    /// What it last said, or what can be supposed of it; `down` while it does not answer.
    fn document(&self) -> EndpointDocument {
        let port = self.peer.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let mut document = self.last.clone().unwrap_or(EndpointDocument {
            tier: self.peer.tier,
            port,
            scopes: self.peer.tier.scopes(),
            status: HealthStatus::Down,
            reasons: vec!["it has not answered yet".to_owned()],
            covers: Vec::new(),
            draining: false,
            address: None,
            clients: 0,
            max_clients: 0,
            started_ns: 0,
            version: String::new(),
        });
        document.address = Some(self.peer.address.clone());
        if let Some(error) = &self.error {
            document.status = HealthStatus::Down;
            document.reasons = vec![error.clone()];
        }
        document
    }
}

async fn ask(peer: &Peer) -> Result<(HealthDocument, Duration), String> {
    let started = monotonic();
    let patience = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let body = tokio::time::timeout(patience, get(&peer.address, "/health"))
        .await
        .map_err(|_| format!("no answer within {} ms", limits::PEER_TIMEOUT_MS))??;
    let health: HealthDocument = serde_json::from_slice(&body)
        .map_err(|error| format!("its answer is not a health document: {error}"))?;
    if health.endpoint.tier != peer.tier {
        return Err(format!("a {} endpoint answers in its place", health.endpoint.tier));
    }
    Ok((health, monotonic().saturating_sub(started)))
}

/// A bounded GET; the caller bounds the time.
pub(super) async fn get(address: &str, path: &str) -> Result<Bytes, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|e| text(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| text(&e))?;
    let driving = tokio::spawn(connection);
    let request = Request::get(path)
        .header(http::header::HOST, address)
        .body(Empty::<Bytes>::new())
        .map_err(|e| text(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
    let body = Limited::new(answer.into_body(), limits::PEER_BODY_BYTES).collect().await;
    driving.abort();
    body.map(|body| body.to_bytes()).map_err(|e| text(&e))
}
