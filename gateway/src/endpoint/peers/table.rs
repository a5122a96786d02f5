//! The peer table: the other endpoints of this gateway by address, bounded in size.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::status::{EndpointDocument, HealthStatus, Origin, PeerDocument};
use roverline_protocol::{ScopeSet, Tier};
use roverline_source::clock::monotonic;
use tokio::sync::Notify;

use crate::endpoint::peers::Peer;
use crate::endpoint::peers::probe::{ProbeError, ProvenAnswer};
use crate::endpoint::peers::promotion::TierView;
use crate::endpoint::peers::state::{PeerState, StatusChange};
use crate::limits;

/// How long a peer that was announced has to prove itself before another may take its entry.
const UNPROVEN_MS: u64 = 3_000;
/// Registrations that are taken in a minute: each is probed and makes events.
const REGISTERED_PEERS_PER_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

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
    /// When the current minute of registrations began, and how many there were.
    registered: Mutex<(Duration, u32)>,
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

    /// Adds a peer, to be probed from now on. In a full table it takes the entry of one that was announced
    /// and proves nothing.
    pub fn add(&self, peer: Peer, origin: Origin) -> Result<(), PeerError> {
        self.with(|known| {
            if let Some(same) = known.iter_mut().find(|known| known.peer.address == peer.address) {
                if (same.origin, origin) == (Origin::Mdns, Origin::Mdns) && same.peer.tier == peer.tier {
                    same.withdrawn = false;
                    return Ok(());
                }
                let (tier, origin) = (same.peer.tier, same.origin.word());
                return Err(PeerError(format!("{} is known already: {tier}, by {origin}", peer.address)));
            }
            if known.len() >= limits::PEERS
                && let Some(at) = replaceable(known, monotonic())
            {
                known.remove(at);
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

    /// Counts a registration, unless there were too many; then returns when the next minute begins.
    pub fn count_registration(&self, now: Duration) -> Result<(), Duration> {
        let mut registered = self.0.registered.lock();
        let age = now.saturating_sub(registered.0);
        if age >= MINUTE {
            *registered = (now, 0);
        } else if registered.1 >= REGISTERED_PEERS_PER_MINUTE {
            return Err(MINUTE - age);
        }
        registered.1 += 1;
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

    /// Whether a peer at this address is known by mDNS.
    pub(crate) fn is_discovered(&self, address: &str) -> bool {
        self.with(|known| {
            known.iter().any(|known| known.origin == Origin::Mdns && known.peer.address == address)
        })
    }

    /// A peer is announced no longer. Anybody can say so, so one that has proven itself stays until it does
    /// not answer.
    pub(crate) fn withdraw(&self, address: &str) {
        self.with(|known| {
            known.retain_mut(|known| {
                let withdrawn = known.origin == Origin::Mdns && known.peer.address == address;
                known.withdrawn |= withdrawn;
                !withdrawn || known.has_proven()
            });
        });
        self.0.changed.notify_one();
    }

    /// Removes the peer at this address if it is announced no longer and does not answer.
    pub(crate) fn remove_withdrawn(&self, address: &str) -> bool {
        self.with(|known| {
            let before = known.len();
            known.retain(|known| {
                !(known.withdrawn && known.peer.address == address && known.status() == HealthStatus::Down)
            });
            known.len() < before
        })
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

    /// The peers whose addresses can be given to clients: they were configured, or have proven themselves.
    pub(crate) fn known_documents(&self) -> Vec<EndpointDocument> {
        self.with(|known| {
            let known = known.iter().filter(|peer| peer.origin == Origin::Config || peer.has_proven());
            known.map(PeerState::document).collect()
        })
    }

    /// The peers that have proven themselves.
    pub(crate) fn proven(&self) -> Vec<Peer> {
        self.with(|known| {
            known.iter().filter(|peer| peer.has_proven()).map(|peer| peer.peer.clone()).collect()
        })
    }

    /// Peers with free capacity, which have proven themselves.
    pub fn with_capacity(&self) -> Vec<EndpointDocument> {
        self.with(|known| {
            let documents = known.iter().map(PeerState::document);
            documents
                .filter(|peer| peer.status <= HealthStatus::Degraded && peer.clients < peer.max_clients)
                .collect()
        })
    }

    /// The peers, how each became known, and whether it is suspicious: what never was a peer is not.
    pub(crate) fn list(&self) -> Vec<(Peer, Origin, bool)> {
        self.with(|known| {
            let suspicious = |peer: &PeerState| !peer.is_stranger() && peer.status() > HealthStatus::Degraded;
            known.iter().map(|peer| (peer.peer.clone(), peer.origin, suspicious(peer))).collect()
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
        answer: Result<ProvenAnswer, ProbeError>,
    ) -> Option<StatusChange> {
        self.with(|known| {
            // The peer may have been removed during the probe.
            let peer = known.iter_mut().find(|known| known.peer.address == address)?;
            peer.update(answer)
        })
    }
}

/// The entry that a new peer may take: of those that were announced and had the time to prove themselves, the
/// oldest that has not.
fn replaceable(known: &[PeerState], now: Duration) -> Option<usize> {
    let patience = Duration::from_millis(UNPROVEN_MS);
    let had_time = |peer: &PeerState| now.saturating_sub(peer.known_since) >= patience;
    let mut candidates: Vec<_> = known.iter().enumerate().collect();
    candidates.retain(|(_, peer)| peer.origin == Origin::Mdns && !peer.has_proven() && had_time(peer));
    candidates.into_iter().min_by_key(|(_, peer)| peer.known_since).map(|(at, _)| at)
}
