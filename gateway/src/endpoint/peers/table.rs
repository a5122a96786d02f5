//! The peer table: the other endpoints of this gateway by address, bounded in size.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::status::{EndpointDocument, HealthDocument, HealthStatus, Origin, PeerDocument};
use roverline_protocol::{Scope, ScopeSet, Tier};
use roverline_source::clock::monotonic;
use tokio::sync::Notify;

use crate::endpoint::peers::Peer;
use crate::endpoint::peers::probe::ProbeError;
use crate::endpoint::peers::promotion::TierView;
use crate::limits;

/// The state of one peer.
pub(crate) struct PeerState {
    peer: Peer,
    origin: Origin,
    known_since: Duration,
    last: Option<EndpointDocument>,
    answered_at: Option<Duration>,
    rtt: Option<Duration>,
    error: Option<String>,
    freshness: BTreeMap<Scope, f64>,
}

/// A change of a peer's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusChange {
    pub(crate) peer: String,
    pub(crate) before: Option<HealthStatus>,
    pub(crate) now: HealthStatus,
    pub(crate) cause: String,
}

/// Why a peer was not added or removed; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(pub String);

/// The peers and their state.
#[derive(Clone, Default)]
pub struct Peers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Vec<PeerState>>,
    covers: Mutex<Vec<Tier>>,
    changed: Notify,
}

impl Peers {
    /// Creates a table of peers that have not been probed yet.
    pub fn new(peers: Vec<Peer>) -> Peers {
        let all = Peers::default();
        for peer in peers {
            // If two configured tiers have the same address, the first one keeps it.
            let _ = all.add(peer, Origin::Config);
        }
        all
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(&mut Vec<PeerState>) -> R) -> R {
        read(&mut self.0.known.lock())
    }

    /// Adds a peer, to be probed from now on.
    pub fn add(&self, peer: Peer, origin: Origin) -> Result<(), PeerError> {
        self.with(|known| {
            if let Some(same) = known.iter().find(|known| known.peer.address == peer.address) {
                let (tier, origin) = (same.peer.tier, same.origin.word());
                return Err(PeerError(format!("{} is known already: {tier}, by {origin}", peer.address)));
            }
            if known.len() >= limits::PEERS {
                return Err(PeerError(format!(
                    "{} peers are known, which is all there may be",
                    limits::PEERS
                )));
            }
            known.push(PeerState::new(peer, origin));
            Ok(())
        })?;
        self.0.changed.notify_one();
        Ok(())
    }

    /// Removes a peer that was added at run time; `None` if there is none at this address.
    pub fn remove(&self, address: &str) -> Option<Result<Tier, PeerError>> {
        let removed = self.with(|known| {
            let at = known.iter().position(|known| known.peer.address == address)?;
            if known[at].origin == Origin::Config {
                let why = format!("{address} is configured: take it out of the configuration and start anew");
                return Some(Err(PeerError(why)));
            }
            Some(Ok(known.remove(at).peer.tier))
        });
        if matches!(removed, Some(Ok(_))) {
            self.0.changed.notify_one();
        }
        removed
    }

    /// Removes a peer of this origin; returns its tier if there was one.
    pub(crate) fn remove_discovered(&self, address: &str, origin: Origin) -> Option<Tier> {
        let removed = self.with(|known| {
            let at = known.iter().position(|k| k.peer.address == address && k.origin == origin)?;
            Some(known.remove(at).peer.tier)
        });
        self.0.changed.notify_one();
        removed
    }

    /// Resolves when a peer has been added or removed.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The tiers that this endpoint covers.
    pub fn covers(&self) -> Vec<Tier> {
        self.0.covers.lock().clone()
    }

    pub(crate) fn set_covers(&self, covers: &[Tier]) {
        *self.0.covers.lock() = covers.to_vec();
    }

    /// The peers as shown in `/status`.
    pub fn documents(&self) -> Vec<PeerDocument> {
        self.entries().into_iter().map(|(_, document)| document).collect()
    }

    /// The peers with their origins.
    pub fn entries(&self) -> Vec<(Origin, PeerDocument)> {
        let now = monotonic();
        self.with(|known| known.iter().map(|peer| (peer.origin, peer.entry(now))).collect())
    }

    /// Peers with free capacity.
    pub fn with_capacity(&self) -> Vec<EndpointDocument> {
        self.with(|known| {
            let documents = known.iter().map(PeerState::document);
            documents
                .filter(|peer| peer.status <= HealthStatus::Degraded && peer.clients < peer.max_clients)
                .collect()
        })
    }

    /// The peers, and whether each is suspicious.
    pub(crate) fn list(&self) -> Vec<(Peer, bool)> {
        self.with(|known| {
            known.iter().map(|peer| (peer.peer.clone(), peer.status() > HealthStatus::Degraded)).collect()
        })
    }

    /// The scopes that a tier serves by itself, according to its peers.
    pub(crate) fn scopes_of(&self, tier: Tier) -> ScopeSet {
        self.with(|known| {
            let own =
                |peer: &PeerState| peer.last.as_ref().filter(|last| last.covers.is_empty()).map(|l| l.scopes);
            let reported = known.iter().filter(|peer| peer.peer.tier == tier).find_map(own);
            reported.unwrap_or_else(|| tier.scopes())
        })
    }

    /// The observed state of every tier.
    pub(crate) fn views(&self, now: Duration) -> [TierView; 4] {
        self.with(|known| {
            let mut views = [TierView::Unknown; 4];
            for peer in known.iter() {
                let view = &mut views[peer.peer.tier as usize];
                *view = match (*view, peer.view(now)) {
                    (TierView::Living, _) | (_, TierView::Living) => TierView::Living,
                    (TierView::Missing, _) | (_, TierView::Missing) => TierView::Missing,
                    _ => TierView::Unknown,
                };
            }
            views
        })
    }

    /// Stores a probe result; returns the change of status, if any.
    pub(crate) fn record(
        &self,
        address: &str,
        answer: Result<(HealthDocument, Duration), ProbeError>,
    ) -> Option<StatusChange> {
        self.with(|known| {
            // The peer may have been removed during the probe.
            let peer = known.iter_mut().find(|known| known.peer.address == address)?;
            peer.update(answer)
        })
    }
}

impl PeerState {
    fn new(peer: Peer, origin: Origin) -> PeerState {
        PeerState {
            peer,
            origin,
            known_since: monotonic(),
            last: None,
            answered_at: None,
            rtt: None,
            error: None,
            freshness: BTreeMap::new(),
        }
    }

    fn update(&mut self, answer: Result<(HealthDocument, Duration), ProbeError>) -> Option<StatusChange> {
        let before = self.last.is_some().then(|| self.status());
        let started = self.last.as_ref().map(|last| last.started_ns);
        match answer {
            Ok((health, rtt)) => {
                self.last = Some(health.endpoint);
                self.freshness = health.freshness_s;
                self.answered_at = Some(monotonic());
                self.rtt = Some(rtt);
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
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
        Some(StatusChange { peer, before, now, cause: why })
    }

    fn status(&self) -> HealthStatus {
        match &self.last {
            Some(last) if self.error.is_none() => last.status,
            _ => HealthStatus::Down,
        }
    }

    fn view(&self, now: Duration) -> TierView {
        let start_timeout = Duration::from_millis(limits::CHILD_START_MS);
        let due = self.peer.expected && now.saturating_sub(self.known_since) >= start_timeout;
        match self.status() {
            HealthStatus::Healthy | HealthStatus::Degraded => TierView::Living,
            _ if self.last.is_some() || due => TierView::Missing,
            _ => TierView::Unknown,
        }
    }

    fn entry(&self, now: Duration) -> PeerDocument {
        PeerDocument {
            endpoint: self.document(),
            age_s: self.answered_at.map(|at| now.saturating_sub(at).as_secs_f64()),
            rtt_ms: self.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            last_error: self.error.clone(),
            freshness_s: self.freshness.clone(),
        }
    }

    /// The peer's last document, or defaults derived from its tier; status `down` while it does not answer.
    pub(crate) fn document(&self) -> EndpointDocument {
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
