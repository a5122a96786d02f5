//! What one endpoint knows of the others, and what it does when one of them stays down.

mod mdns;
pub(crate) mod probe;
mod promotion;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roverline_protocol::status::{EndpointDocument, EventKind, HealthStatus};
use roverline_protocol::{ScopeSet, limits};
use roverline_source::clock::monotonic;
use tokio::sync::watch;

pub use crate::endpoint::peers::mdns::announce_and_browse;
use crate::endpoint::peers::promotion::{Patience, Promotion, Step};
use crate::endpoint::peers::table::Change;
pub use crate::endpoint::peers::table::{Peer, Peers, Refused};
use crate::endpoint::{Endpoint, Facts};

/// How an endpoint treats the others.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How long a tier may be missing before it is covered; `None`: none ever is.
    pub promotion: Option<Duration>,
    /// Where this endpoint can be reached, for its own entry in the directory.
    pub address: Option<String>,
    /// The rover's name.
    pub rover: String,
    /// Announce this endpoint, which listens at this host, and find others; `None`: neither.
    pub mdns: Option<String>,
}

/// Asks every peer for ever: each by its own clock, so that a slow one delays no verdict on another,
/// and more often while it is suspicious. Every change is published in the endpoint's directory and
/// as an event; a tier that stays down is covered. `leads` turns true while no better endpoint serves.
pub async fn watch_peers(endpoint: &Endpoint, policy: Policy, leads: watch::Sender<bool>) {
    let grace = policy.promotion.unwrap_or(Duration::from_millis(limits::PROMOTION_GRACE_MS));
    let patience = Patience { grace, give_back: Duration::from_millis(limits::GIVE_BACK_MS) };
    let mut keeper = Keeper {
        endpoint,
        own: endpoint.scopes(),
        promotion: Promotion::new(endpoint.tier, patience, monotonic()),
        promotes: policy.promotion.is_some(),
        status: endpoint.document().status,
        address: policy.address,
        leads,
    };
    let mut asked: HashMap<String, Duration> = HashMap::new();
    let mut asking = FuturesUnordered::new();
    loop {
        let now = monotonic();
        let peers = endpoint.peers.list();
        asked.retain(|address, _| peers.iter().any(|(peer, _)| peer.address == *address));
        let mut pause = Duration::from_millis(limits::PEER_POLL_SUSPICIOUS_MS);
        for (peer, suspicious) in peers {
            // In flight: its due time is beyond every other's until it is recorded.
            let due =
                asked.get(&peer.address).map_or(now, |at| at.saturating_add(interval(&peer, suspicious)));
            if due > now {
                pause = pause.min(due - now);
                continue;
            }
            asked.insert(peer.address.clone(), Duration::MAX);
            asking.push(async move { (probe::ask(&peer).await, peer) });
        }
        tokio::select! {
            Some((answer, peer)) = asking.next(), if !asking.is_empty() => {
                asked.insert(peer.address.clone(), monotonic());
                keeper.heard(&peer, answer);
            }
            () = tokio::time::sleep(pause) => {}
            () = endpoint.peers.changed() => {}
        }
        keeper.decide(monotonic());
    }
}

/// On this computer a peer is asked more often: it costs little, and a death is noticed sooner.
fn interval(peer: &Peer, suspicious: bool) -> Duration {
    let host = peer.address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    Duration::from_millis(match (suspicious, local) {
        (true, _) => limits::PEER_POLL_SUSPICIOUS_MS,
        (false, true) => limits::PEER_POLL_LOCAL_MS,
        (false, false) => limits::PEER_POLL_MS,
    })
}

/// What follows from what is heard.
struct Keeper<'a> {
    endpoint: &'a Endpoint,
    /// What this endpoint serves by itself.
    own: ScopeSet,
    promotion: Promotion,
    promotes: bool,
    status: HealthStatus,
    address: Option<String>,
    leads: watch::Sender<bool>,
}

impl Keeper<'_> {
    fn heard(
        &self,
        peer: &Peer,
        answer: Result<(roverline_protocol::status::HealthDocument, Duration), String>,
    ) {
        let answer = answer.and_then(|(health, rtt)| match health.endpoint.started_ns {
            started if started == self.endpoint.started_ns && health.endpoint.port == self.endpoint.port => {
                Err("it is this very endpoint".to_owned())
            }
            _ => Ok((health, rtt)),
        });
        if let Some(change) = self.endpoint.peers.record(&peer.address, answer) {
            self.note(&change);
        }
    }

    fn note(&self, change: &Change) {
        let kind = match (change.before, change.now) {
            (_, HealthStatus::Down) => EventKind::EndpointDown,
            (None | Some(HealthStatus::Down), _) => EventKind::EndpointUp,
            _ => EventKind::EndpointHealth,
        };
        let facts = Facts {
            from: change.before.map(|status| status.word().to_owned()),
            to: Some(change.now.word().to_owned()),
            ..Facts::default()
        };
        self.endpoint.events.note(kind, &format!("{}: {}", change.who, change.why), facts);
    }

    /// Covers what stays down, gives back what is back, and publishes the directory.
    fn decide(&mut self, now: Duration) {
        let own = self.endpoint.document();
        if own.status != self.status {
            let why = if own.reasons.is_empty() { "it serves".to_owned() } else { own.reasons.join(", ") };
            let who = format!("{} (this endpoint)", own.tier);
            self.note(&Change { who, before: Some(self.status), now: own.status, why });
            self.status = own.status;
        }
        let views = self.endpoint.peers.views(now);
        let fit = self.promotes && own.status <= HealthStatus::Degraded && !own.draining;
        let steps = self.promotion.observe(now, fit, views);
        if !steps.is_empty() {
            self.carry_out(&steps);
        }
        let leads = own.status <= HealthStatus::Degraded && self.promotion.leads(now);
        self.leads.send_if_modified(|known| std::mem::replace(known, leads) != leads);
        self.publish();
    }

    fn carry_out(&self, steps: &[Step]) {
        let peers = &self.endpoint.peers;
        let covers = self.promotion.covers();
        peers.set_covers(covers);
        let scopes = covers.iter().fold(self.own, |all, tier| all.union(peers.scopes_of(*tier)));
        if scopes != self.endpoint.scopes() {
            self.endpoint.serve_scopes(scopes);
        }
        for step in steps {
            let (kind, cause, from, to) = match *step {
                Step::Cover(tier, down) => (
                    EventKind::Promotion,
                    format!(
                        "{tier} is down for {:.1} s: {} covers it",
                        down.as_secs_f64(),
                        self.endpoint.tier
                    ),
                    tier,
                    self.endpoint.tier,
                ),
                Step::GiveBack(tier) => {
                    (EventKind::GiveBack, format!("{tier} serves again"), self.endpoint.tier, tier)
                }
                Step::HandOver(tier, to) => {
                    (EventKind::GiveBack, format!("{to} serves and covers {tier}"), self.endpoint.tier, to)
                }
            };
            let facts = Facts { from: Some(from.to_string()), to: Some(to.to_string()), ..Facts::default() };
            self.endpoint.events.note(kind, &cause, facts);
        }
    }

    fn publish(&self) {
        let mut own = self.endpoint.document();
        own.address.clone_from(&self.address);
        let mut directory = vec![own];
        directory.extend(self.endpoint.peers.entries().into_iter().map(|(_, peer)| peer.endpoint));
        directory.sort_by(|a: &EndpointDocument, b| (a.tier, &a.address).cmp(&(b.tier, &b.address)));
        let directory = Arc::new(directory);
        self.endpoint.directory.send_if_modified(|current| {
            let changed = **current != *directory;
            *current = directory;
            changed
        });
    }
}
