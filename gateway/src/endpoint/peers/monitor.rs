//! The monitor of an endpoint's peers: a probe schedule per peer, and the decisions that follow from the answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roverline_protocol::status::{EndpointDocument, EventKind, HealthStatus};
use roverline_protocol::writer_progress::WriterProgress;
use roverline_protocol::{Scope, ScopeSet, Tier};
use roverline_source::TopicDecl;
use roverline_source::clock::monotonic;
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::endpoint::diagnostics::DIAGNOSTICS;
use crate::endpoint::events::EventDetails;
use crate::endpoint::peers::probe::{ProbeError, ProvenAnswer, probe};
use crate::endpoint::peers::promotion::{Promotion, PromotionTimeouts, Step};
use crate::endpoint::peers::silent_writers::SilentWriters;
use crate::endpoint::peers::state::StatusChange;
use crate::endpoint::peers::{Peer, PeerPolicy};
use crate::limits;

/// A tier that is back gets its scopes back after this long.
const GIVE_BACK_MS: u64 = 10_000;
/// Interval at which peers poll each other's `/health`.
const PEER_POLL_MS: u64 = 3_000;
/// Interval at which peers on one computer poll each other.
const PEER_POLL_LOCAL_MS: u64 = 1_000;
/// Probes at a time; those of peers that were removed meanwhile count as well.
const PROBES_PEERS: usize = 2 * limits::PEERS;
/// How long a probe waits for others to end.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// Interval at which a suspicious peer is polled.
const PEER_POLL_SUSPICIOUS_MS: u64 = 500;

/// Probes every peer forever, each on its own schedule, so that a slow one delays no other, and more often
/// while it is suspicious. Changes are published in the endpoint's directory and as events; a tier that
/// stays down is covered. `is_leader` is true while no better endpoint serves.
pub async fn monitor_peers(endpoint: &Endpoint, policy: PeerPolicy, is_leader: watch::Sender<bool>) {
    let grace = policy.promotion.unwrap_or(Duration::from_millis(limits::PROMOTION_GRACE_MS));
    let timeouts = PromotionTimeouts { grace, give_back: Duration::from_millis(GIVE_BACK_MS) };
    let mut monitor = PeerMonitor {
        endpoint,
        own: endpoint.scopes(),
        promotion: Promotion::new(endpoint.tier, timeouts, monotonic()),
        promotes: policy.promotion.is_some(),
        silent: SilentWriters::new(endpoint.tier),
        status: endpoint.document().status,
        address: policy.address,
        is_leader,
    };
    let mut probed_at: HashMap<String, Duration> = HashMap::new();
    let mut probes = FuturesUnordered::new();
    loop {
        let now = monotonic();
        let peers = endpoint.peers.list();
        probed_at.retain(|address, _| peers.iter().any(|(peer, ..)| peer.address == *address));
        let mut pause = Duration::from_millis(PEER_POLL_SUSPICIOUS_MS);
        for (peer, origin, suspicious) in peers {
            // In flight: never due until the answer is recorded.
            let due =
                probed_at.get(&peer.address).map_or(now, |at| at.saturating_add(interval(&peer, suspicious)));
            if due > now || probes.len() >= PROBES_PEERS {
                pause = pause.min(due.saturating_sub(now).max(PROBE_PAUSE));
                continue;
            }
            probed_at.insert(peer.address.clone(), Duration::MAX);
            probes.push(async move { (probe(&peer, origin, &endpoint.peer_trust).await, peer) });
        }
        tokio::select! {
            Some((answer, peer)) = probes.next(), if !probes.is_empty() => {
                probed_at.insert(peer.address.clone(), monotonic());
                monitor.on_answer(&peer, answer);
            }
            () = tokio::time::sleep(pause) => {}
            () = endpoint.peers.changed() => {}
        }
        monitor.evaluate(monotonic());
    }
}

/// Local peers are probed more often: it costs little and detects a failure sooner.
fn interval(peer: &Peer, suspicious: bool) -> Duration {
    Duration::from_millis(match (suspicious, is_on_this_computer(peer)) {
        (true, _) => PEER_POLL_SUSPICIOUS_MS,
        (false, true) => PEER_POLL_LOCAL_MS,
        (false, false) => PEER_POLL_MS,
    })
}

fn is_on_this_computer(peer: &Peer) -> bool {
    let host = peer.address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Evaluates probe results.
struct PeerMonitor<'a> {
    endpoint: &'a Endpoint,
    /// The scopes that this endpoint serves by itself.
    own: ScopeSet,
    promotion: Promotion,
    promotes: bool,
    silent: SilentWriters,
    status: HealthStatus,
    address: Option<String>,
    is_leader: watch::Sender<bool>,
}

impl PeerMonitor<'_> {
    fn on_answer(&mut self, peer: &Peer, answer: Result<ProvenAnswer, ProbeError>) {
        let answer = answer.and_then(|answer| match answer.health.endpoint.started_ns {
            started
                if started == self.endpoint.started_ns
                    && answer.health.endpoint.port == self.endpoint.port =>
            {
                Err(ProbeError::Itself)
            }
            _ => Ok(answer),
        });
        if let Ok(answer) = &answer {
            self.compare_writers(peer, &answer.health.writers);
        }
        let events = &self.endpoint.events;
        let (tier, address) = (peer.tier, &peer.address);
        if let Some(change) = self.endpoint.peers.record(address, answer) {
            if change.joined {
                let cause = format!("{tier} {address} announces itself and has proven the rover's key");
                let details = EventDetails { to: Some(address.clone()), ..EventDetails::default() };
                events.record(EventKind::PeerAdded, &cause, details);
            }
            self.record_change(&change);
        }
        if self.endpoint.peers.remove_withdrawn(address) {
            let details = EventDetails { from: Some(address.clone()), ..EventDetails::default() };
            let cause = format!("{tier} {address} is announced no longer");
            events.record(EventKind::PeerRemoved, &cause, details);
        }
    }

    /// Compares what a peer on this computer hears of the ROS graph with what this endpoint hears.
    fn compare_writers(&mut self, peer: &Peer, theirs: &[WriterProgress]) {
        let endpoint = self.endpoint;
        if endpoint.source_kind.discovers_writers() && is_on_this_computer(peer) {
            let in_scope = || theirs.iter().filter(|one| endpoint.is_in_scope(&one.topic, &one.type_name));
            let newest = |writer| endpoint.ingress.newest_seq(writer);
            // A peer that has nothing in common with this endpoint says nothing.
            if in_scope().next().is_some() && in_scope().all(|one| newest(one.writer).is_some()) {
                endpoint.warm_up.finish();
            }
            self.silent.observe(monotonic(), peer.tier, in_scope(), newest);
        }
    }

    /// Joins the ROS graph anew if a writer has been silent here only, or a reliable one has fallen silent.
    fn rejoin_if_due(&mut self, now: Duration) {
        if self.endpoint.is_draining() || self.endpoint.warm_up.is_active(now) {
            return;
        }
        let cause = match self.silent.due(now) {
            Some(found) => Some(format!(
                "nothing of {} for {:.1} s, which {} hears",
                found.topic,
                found.silent.as_secs_f64(),
                found.by
            )),
            None => self.fell_silent(now),
        };
        let Some(cause) = cause.filter(|_| self.endpoint.ros.rejoin()) else { return };
        self.silent.attempt(now);
        self.endpoint.counters.rejoins.fetch_add(1, Ordering::Relaxed);
        let cause = format!("{cause}: this endpoint joins the ROS graph anew");
        tracing::warn!("{cause}");
        self.endpoint.events.record(EventKind::Rejoin, &cause, EventDetails::default());
    }

    /// A topic that has fallen silent. The primary, which serves everything, tries for all: if it hears the topic
    /// again, the others find out that they do not.
    fn fell_silent(&self, now: Duration) -> Option<String> {
        let endpoint = self.endpoint;
        let watches = endpoint.source_kind.discovers_writers() && endpoint.tier == Tier::Primary;
        if !watches || !self.silent.may_attempt(now) {
            return None;
        }
        let watched = |decl: &TopicDecl| {
            let scopes = endpoint.ingress.routing().route(&decl.name, &decl.type_name).scopes;
            may_not_stop(decl, scopes, endpoint.is_stop_topic(&decl.name))
        };
        let (topic, found) = endpoint.ingress.fell_silent(watched)?;
        Some(format!(
            "nothing of {topic} for {:.1} s, which came {:.1} times a second",
            found.silent.as_secs_f64(),
            found.rate_hz
        ))
    }

    fn record_change(&self, change: &StatusChange) {
        let kind = match (change.before, change.now) {
            (_, HealthStatus::Down) => EventKind::EndpointDown,
            (None | Some(HealthStatus::Down), _) => EventKind::EndpointUp,
            _ => EventKind::EndpointHealth,
        };
        let details = EventDetails {
            from: change.before.map(|status| status.word().to_owned()),
            to: Some(change.now.word().to_owned()),
            ..EventDetails::default()
        };
        self.endpoint.events.record(kind, &format!("{}: {}", change.peer, change.cause), details);
    }

    /// Covers tiers that stay down, gives back tiers that are up again, and publishes the directory.
    fn evaluate(&mut self, now: Duration) {
        let own = self.endpoint.document();
        if own.status != self.status {
            let cause = if own.reasons.is_empty() { "it serves".to_owned() } else { own.reasons.join(", ") };
            let peer = format!("{} (this endpoint)", own.tier);
            self.record_change(&StatusChange {
                peer,
                before: Some(self.status),
                now: own.status,
                cause,
                joined: false,
            });
            self.status = own.status;
        }
        self.rejoin_if_due(now);
        let views = self.endpoint.peers.views(now);
        let fit = self.promotes && own.status <= HealthStatus::Degraded && !own.draining;
        let steps = self.promotion.observe(now, fit, views);
        if !steps.is_empty() {
            self.apply_steps(&steps);
        }
        let is_leader = own.status <= HealthStatus::Degraded && self.promotion.is_leader(now);
        self.is_leader.send_if_modified(|known| std::mem::replace(known, is_leader) != is_leader);
        self.publish();
    }

    fn apply_steps(&self, steps: &[Step]) {
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
            let details = EventDetails {
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                ..EventDetails::default()
            };
            self.endpoint.events.record(kind, &cause, details);
        }
    }

    fn publish(&self) {
        let mut own = self.endpoint.document();
        own.address.clone_from(&self.address);
        let mut directory = vec![own];
        directory.extend(self.endpoint.peers.known_documents());
        directory.sort_by(|a: &EndpointDocument, b| (a.tier, &a.address).cmp(&(b.tier, &b.address)));
        let directory = Arc::new(directory);
        self.endpoint.directory.send_if_modified(|current| {
            let changed = **current != *directory;
            *current = directory;
            changed
        });
    }
}

/// Whether silence on a topic is suspicious. Commands come when somebody drives, and stop when nobody does; the
/// gateway itself repeats a stop until it is released, and publishes diagnostics.
fn may_not_stop(decl: &TopicDecl, scopes: ScopeSet, is_stop_topic: bool) -> bool {
    let commands = ScopeSet::of(&[Scope::Commands]);
    decl.qos.reliable && !is_stop_topic && decl.name != DIAGNOSTICS && !scopes.intersects(commands)
}

#[cfg(test)]
mod tests {
    use roverline_source::Qos;

    use super::*;

    #[test]
    fn what_stops_by_itself_is_not_missed() {
        let decl = |name: &str, reliable| TopicDecl {
            name: name.to_owned(),
            type_name: "a/msg/A".to_owned(),
            qos: Qos { reliable, transient_local: false },
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let state = ScopeSet::of(&[Scope::State]);
        assert!(may_not_stop(&decl("/odom", true), state, false));
        assert!(!may_not_stop(&decl("/odom", false), state, false), "best effort: it may be the network");
        assert!(!may_not_stop(&decl("/emergency_stop", true), state, true));
        assert!(!may_not_stop(&decl(DIAGNOSTICS, true), state, false));
        assert!(!may_not_stop(&decl("/cmd_vel", true), ScopeSet::of(&[Scope::Commands]), false));
    }
}
