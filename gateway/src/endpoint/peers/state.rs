//! The state of one peer: its last answer that was proven, and what is shown of it.

use std::collections::BTreeMap;
use std::time::Duration;

use roverline_protocol::Scope;
use roverline_protocol::status::{EndpointDocument, HealthStatus, Origin, PeerDocument, PeerProof};
use roverline_source::clock::monotonic;

use crate::endpoint::peers::Peer;
use crate::endpoint::peers::probe::{ProbeError, ProvenAnswer};
use crate::endpoint::peers::promotion::TierView;
use crate::limits;

/// The error of a peer that others named and that has proven nothing, whatever is at its address: otherwise
/// naming addresses would reveal which ports are open.
const STRANGER: &str = "it has not proven the rover's key: no endpoint of this rover answers there, or it has \
                        another key (peers.key), does not know this address as its own ([endpoints.TIER] \
                        address), or is in another network ([peers] networks); the log says which, at level debug";

const UNANSWERED: &str = "it has not answered yet";

/// The state of one peer.
pub(crate) struct PeerState {
    pub(super) peer: Peer,
    pub(super) origin: Origin,
    pub(super) known_since: Duration,
    /// Announced no longer.
    pub(super) withdrawn: bool,
    /// Its newest document with a proof.
    pub(super) last: Option<EndpointDocument>,
    proof: Option<PeerProof>,
    answered_at: Option<Duration>,
    rtt: Option<Duration>,
    error: Option<String>,
    /// The newest answer came without a proof.
    unproven: bool,
    freshness: BTreeMap<Scope, f64>,
}

/// A change of a peer's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusChange {
    pub(crate) peer: String,
    pub(crate) before: Option<HealthStatus>,
    pub(crate) now: HealthStatus,
    pub(crate) cause: String,
    /// It had announced itself, and has proven itself for the first time.
    pub(crate) joined: bool,
}

impl PeerState {
    pub(super) fn new(peer: Peer, origin: Origin) -> PeerState {
        PeerState {
            peer,
            origin,
            known_since: monotonic(),
            withdrawn: false,
            last: None,
            proof: None,
            answered_at: None,
            rtt: None,
            error: None,
            unproven: false,
            freshness: BTreeMap::new(),
        }
    }

    /// Whether it has proven itself once.
    pub(super) fn has_proven(&self) -> bool {
        self.last.is_some()
    }

    /// Whether others named it and it has proven nothing.
    pub(super) fn is_stranger(&self) -> bool {
        self.origin != Origin::Config && !self.has_proven()
    }

    pub(super) fn update(&mut self, answer: Result<ProvenAnswer, ProbeError>) -> Option<StatusChange> {
        let before = self.last.is_some().then(|| self.status());
        let started = self.last.as_ref().map(|last| last.started_ns);
        match answer {
            Ok(ProvenAnswer { health, rtt, proof }) => {
                self.last = Some(health.endpoint);
                self.proof = Some(proof);
                self.freshness = health.freshness_s;
                self.answered_at = Some(monotonic());
                self.rtt = Some(rtt);
                self.error = None;
                self.unproven = false;
            }
            Err(error) => {
                self.unproven = matches!(error, ProbeError::Unproven(_));
                let text = error.to_string();
                if self.error.as_ref() != Some(&text) {
                    tracing::debug!(tier = %self.peer.tier, address = self.peer.address, text, "a peer is not proven");
                }
                self.error = Some(text);
            }
        }
        let last = self.last.as_ref()?;
        let restarted = started.is_some_and(|started| started != last.started_ns);
        let now = self.status();
        if before == Some(now) && !restarted {
            return None;
        }
        let why = match &self.error {
            Some(error) => error.clone(),
            None if restarted => "it was started anew".to_owned(),
            None if last.reasons.is_empty() => "it answers".to_owned(),
            None => last.reasons.join(", "),
        };
        let peer = format!("{} {}", self.peer.tier, self.peer.address);
        // A restarted process was down in between, whether or not that was observed.
        let before = if restarted { Some(HealthStatus::Down) } else { before };
        let joined = before.is_none() && self.origin == Origin::Mdns;
        Some(StatusChange { peer, before, now, cause: why, joined })
    }

    pub(super) fn status(&self) -> HealthStatus {
        match &self.last {
            Some(last) if self.error.is_none() => last.status,
            _ => HealthStatus::Down,
        }
    }

    /// What it shows of its tier. One that others named shows nothing until it has proven itself: its tier is not
    /// covered because somebody registered an address.
    pub(crate) fn view(&self, now: Duration) -> TierView {
        let start_timeout = Duration::from_millis(limits::CHILD_START_MS);
        let expected = self.peer.expected && !self.is_stranger();
        let due = expected && now.saturating_sub(self.known_since) >= start_timeout;
        match self.status() {
            HealthStatus::Healthy | HealthStatus::Degraded => TierView::Living,
            _ if self.last.is_some() || due => TierView::Missing,
            _ => TierView::Unknown,
        }
    }

    pub(super) fn entry(&self, now: Duration) -> PeerDocument {
        PeerDocument {
            endpoint: self.document(),
            age_s: self.answered_at.map(|at| now.saturating_sub(at).as_secs_f64()),
            rtt_ms: self.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            last_error: self.problem(),
            freshness_s: self.freshness.clone(),
            proof: self.proof.filter(|_| !self.unproven),
            unproven: (self.unproven || !self.has_proven())
                .then(|| self.problem().unwrap_or_else(|| UNANSWERED.to_owned())),
        }
    }

    /// Why it does not serve, as far as it is said.
    fn problem(&self) -> Option<String> {
        if self.is_stranger() { Some(STRANGER.to_owned()) } else { self.error.clone() }
    }

    /// The peer's last document, or defaults derived from its tier; status `down` while it does not answer.
    pub(crate) fn document(&self) -> EndpointDocument {
        let port = self.peer.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let mut document = self.last.clone().unwrap_or(EndpointDocument {
            tier: self.peer.tier,
            port,
            scopes: self.peer.tier.scopes(),
            status: HealthStatus::Down,
            reasons: vec![UNANSWERED.to_owned()],
            covers: Vec::new(),
            draining: false,
            warming_up: false,
            address: None,
            clients: 0,
            max_clients: 0,
            started_ns: 0,
            version: String::new(),
        });
        document.address = Some(self.peer.address.clone());
        if let Some(problem) = self.problem() {
            document.status = HealthStatus::Down;
            document.reasons = vec![problem];
        }
        document
    }
}
