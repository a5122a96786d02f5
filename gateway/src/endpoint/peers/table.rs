//! The other endpoints of this gateway, as this one hears of them: a bounded table by address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roverline_protocol::status::{EndpointDocument, HealthDocument, HealthStatus, Origin, PeerDocument};
use roverline_protocol::{Scope, ScopeSet, Tier, limits};
use roverline_source::clock::monotonic;
use tokio::sync::Notify;

use crate::endpoint::peers::promotion::View;

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which of the four.
    pub tier: Tier,
    /// `host:port`.
    pub address: String,
    /// Whether it is missed even if it has never answered. An address that only follows from a
    /// default may be nobody's.
    pub expected: bool,
}

/// What is known of one peer.
pub(crate) struct Known {
    peer: Peer,
    origin: Origin,
    known_since: Duration,
    last: Option<EndpointDocument>,
    heard_at: Option<Duration>,
    rtt: Option<Duration>,
    error: Option<String>,
    freshness: BTreeMap<Scope, f64>,
}

/// A peer's status is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) who: String,
    pub(crate) before: Option<HealthStatus>,
    pub(crate) now: HealthStatus,
    pub(crate) why: String,
}

/// Why a peer was not added or removed; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What is known of the peers.
#[derive(Clone, Default)]
pub struct Peers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Vec<Known>>,
    covers: Mutex<Vec<Tier>>,
    changed: Notify,
}

impl Peers {
    /// Peers that have not been asked yet.
    pub fn new(peers: Vec<Peer>) -> Peers {
        let all = Peers::default();
        for peer in peers {
            // Two tiers of a configuration at one address: the first has it.
            let _ = all.add(peer, Origin::Config);
        }
        all
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(&mut Vec<Known>) -> R) -> R {
        read(&mut self.0.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a peer, asked from now on.
    pub fn add(&self, peer: Peer, origin: Origin) -> Result<(), Refused> {
        self.with(|known| {
            if let Some(same) = known.iter().find(|known| known.peer.address == peer.address) {
                let (tier, origin) = (same.peer.tier, same.origin.word());
                return Err(Refused(format!("{} is known already: {tier}, by {origin}", peer.address)));
            }
            if known.len() >= limits::PEERS {
                return Err(Refused(format!("{} peers are known, which is all there may be", limits::PEERS)));
            }
            known.push(Known::new(peer, origin));
            Ok(())
        })?;
        self.0.changed.notify_one();
        Ok(())
    }

    /// Forgets a peer that was added at run time; `None` when there is none at this address.
    pub fn remove(&self, address: &str) -> Option<Result<Tier, Refused>> {
        let removed = self.with(|known| {
            let at = known.iter().position(|known| known.peer.address == address)?;
            if known[at].origin == Origin::Config {
                let why = format!("{address} is configured: take it out of the configuration and start anew");
                return Some(Err(Refused(why)));
            }
            Some(Ok(known.remove(at).peer.tier))
        });
        if matches!(removed, Some(Ok(_))) {
            self.0.changed.notify_one();
        }
        removed
    }

    /// Forgets a peer that came to be known in this way; its tier, where there is one.
    pub(crate) fn forget(&self, address: &str, origin: Origin) -> Option<Tier> {
        let removed = self.with(|known| {
            let at = known.iter().position(|k| k.peer.address == address && k.origin == origin)?;
            Some(known.remove(at).peer.tier)
        });
        self.0.changed.notify_one();
        removed
    }

    /// Resolves when a peer has come or gone.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Tiers that this endpoint covers, because they stay down.
    pub fn covers(&self) -> Vec<Tier> {
        self.0.covers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_covers(&self, covers: &[Tier]) {
        *self.0.covers.lock().unwrap_or_else(PoisonError::into_inner) = covers.to_vec();
    }

    /// As `/status` shows them.
    pub fn documents(&self) -> Vec<PeerDocument> {
        self.entries().into_iter().map(|(_, document)| document).collect()
    }

    /// The same, with how each came to be known.
    pub fn entries(&self) -> Vec<(Origin, PeerDocument)> {
        let now = monotonic();
        self.with(|known| known.iter().map(|peer| (peer.origin, peer.entry(now))).collect())
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

    /// The peers and whether each is suspicious.
    pub(crate) fn list(&self) -> Vec<(Peer, bool)> {
        self.with(|known| {
            known.iter().map(|peer| (peer.peer.clone(), peer.status() > HealthStatus::Degraded)).collect()
        })
    }

    /// What the peers say that a tier serves by itself.
    pub(crate) fn scopes_of(&self, tier: Tier) -> ScopeSet {
        self.with(|known| {
            let own =
                |peer: &Known| peer.last.as_ref().filter(|last| last.covers.is_empty()).map(|l| l.scopes);
            let told = known.iter().filter(|peer| peer.peer.tier == tier).find_map(own);
            told.unwrap_or_else(|| tier.scopes())
        })
    }

    /// What is seen of every tier.
    pub(crate) fn views(&self, now: Duration) -> [View; 4] {
        self.with(|known| {
            let mut views = [View::Unknown; 4];
            for peer in known.iter() {
                let view = &mut views[peer.peer.tier as usize];
                *view = match (*view, peer.view(now)) {
                    (View::Living, _) | (_, View::Living) => View::Living,
                    (View::Missing, _) | (_, View::Missing) => View::Missing,
                    _ => View::Unknown,
                };
            }
            views
        })
    }

    /// Takes in an answer; returns what it changes.
    pub(crate) fn record(
        &self,
        address: &str,
        answer: Result<(HealthDocument, Duration), String>,
    ) -> Option<Change> {
        self.with(|known| {
            // It may have been removed while it was asked.
            let peer = known.iter_mut().find(|known| known.peer.address == address)?;
            peer.take(answer)
        })
    }
}

impl Known {
    fn new(peer: Peer, origin: Origin) -> Known {
        Known {
            peer,
            origin,
            known_since: monotonic(),
            last: None,
            heard_at: None,
            rtt: None,
            error: None,
            freshness: BTreeMap::new(),
        }
    }

    fn take(&mut self, answer: Result<(HealthDocument, Duration), String>) -> Option<Change> {
        let before = self.last.is_some().then(|| self.status());
        let started = self.last.as_ref().map(|last| last.started_ns);
        match answer {
            Ok((health, rtt)) => {
                self.last = Some(health.endpoint);
                self.freshness = health.freshness_s;
                self.heard_at = Some(monotonic());
                self.rtt = Some(rtt);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
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
        let who = format!("{} {}", self.peer.tier, self.peer.address);
        // A new process was down in between, whether that was seen or not.
        let before = if restarted { Some(HealthStatus::Down) } else { before };
        Some(Change { who, before, now, why })
    }

    fn status(&self) -> HealthStatus {
        match &self.last {
            Some(last) if self.error.is_none() => last.status,
            _ => HealthStatus::Down,
        }
    }

    fn view(&self, now: Duration) -> View {
        let patience = Duration::from_millis(limits::CHILD_START_MS);
        let due = self.peer.expected && now.saturating_sub(self.known_since) >= patience;
        match self.status() {
            HealthStatus::Healthy | HealthStatus::Degraded => View::Living,
            _ if self.last.is_some() || due => View::Missing,
            _ => View::Unknown,
        }
    }

    fn entry(&self, now: Duration) -> PeerDocument {
        PeerDocument {
            endpoint: self.document(),
            age_s: self.heard_at.map(|at| now.saturating_sub(at).as_secs_f64()),
            rtt_ms: self.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            last_error: self.error.clone(),
            freshness_s: self.freshness.clone(),
        }
    }

    /// What it last said, or what can be supposed of it; `down` while it does not answer.
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
