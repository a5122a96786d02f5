//! The endpoint's health assessment and status documents.

use std::collections::BTreeMap;
use std::time::Duration;

use roverline_protocol::Scope;
use roverline_protocol::status::{
    EndpointDocument, HealthDocument, HealthStatus, SourceDocument, StatusDocument, TopicDocument,
};
use roverline_source::SourceState;
use roverline_source::clock::{monotonic, unix_ns};

use crate::config::SourceKind;
use crate::endpoint::Endpoint;
use crate::endpoint::diagnostics::DIAGNOSTICS;
use crate::endpoint::memory;

/// A running source without samples for this long is degraded.
const SILENT: Duration = Duration::from_secs(5);

/// Assesses a source by its state and the age of its newest sample, with `topics` in scope.
fn assess(
    state: &SourceState,
    topics: usize,
    age: Option<Duration>,
    source: SourceKind,
) -> (HealthStatus, Vec<String>) {
    // For a relay, the message names the silent side.
    let from = if source.is_relay() { " from the rover" } else { "" };
    let degraded = |why: String| (HealthStatus::Degraded, vec![why]);
    match state {
        SourceState::Failed(why) => (HealthStatus::Unhealthy, vec![format!("the source failed: {why}")]),
        SourceState::Disconnected(why) => degraded(why.clone()),
        SourceState::Starting => degraded("the source is starting".to_owned()),
        SourceState::Waiting => (HealthStatus::Healthy, Vec::new()),
        SourceState::Finished => degraded("the recording has ended".to_owned()),
        SourceState::Running if topics == 0 => degraded("no topic in scope has been seen".to_owned()),
        SourceState::Running => match age {
            Some(age) if age > SILENT => degraded(format!("no sample{from} for {:.0} s", age.as_secs_f64())),
            _ => (HealthStatus::Healthy, Vec::new()),
        },
    }
}

/// Adds what else is wrong with this process: an endpoint that serves is degraded at most by it.
fn with_findings(
    status: HealthStatus,
    mut reasons: Vec<String>,
    findings: impl IntoIterator<Item = String>,
) -> (HealthStatus, Vec<String>) {
    let before = reasons.len();
    reasons.extend(findings);
    let worst = if reasons.len() > before { status.max(HealthStatus::Degraded) } else { status };
    (worst, reasons)
}

fn state_word(state: &SourceState) -> &'static str {
    match state {
        SourceState::Starting => "starting",
        SourceState::Waiting => "waiting",
        SourceState::Running => "running",
        SourceState::Finished => "finished",
        SourceState::Disconnected(_) => "disconnected",
        SourceState::Failed(_) => "failed",
    }
}

/// The namespace of the topics that only gateways publish: alarms, authority.
const OWN_TOPICS: &str = "/roverline/";

/// Whether gateways publish this topic themselves: it goes on even if the rover is silent.
fn is_own_topic(name: &str) -> bool {
    name == DIAGNOSTICS || name.starts_with(OWN_TOPICS)
}

impl Endpoint {
    /// The endpoint's entry in the directory.
    pub fn document(&self) -> EndpointDocument {
        let state = self.hub.source().0;
        let (topics, newest) = self.rover_data();
        let age = newest.map(|at| monotonic().saturating_sub(at));
        let (status, reasons) = assess(&state, topics, age, self.source_kind);
        let findings = self.supervision.reason().into_iter().chain(self.source_finding());
        let findings = findings.chain(self.access.tokens().problem());
        let (status, reasons) = with_findings(status, reasons, findings);
        EndpointDocument {
            tier: self.tier,
            port: self.port,
            scopes: self.scopes(),
            status,
            reasons,
            covers: self.peers.covers(),
            draining: self.is_draining(),
            warming_up: self.warm_up.is_active(monotonic()),
            address: None,
            clients: self.capacity.clients(),
            max_clients: self.capacity.max_clients(),
            started_ns: self.started_ns,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The body of `/health`.
    pub fn health(&self) -> HealthDocument {
        let (state, samples, _) = self.hub.source();
        let (topics, newest) = self.rover_data();
        HealthDocument {
            endpoint: self.document(),
            uptime_s: (unix_ns() - self.started_ns).max(0) as f64 / 1e9,
            source: SourceDocument {
                kind: self.source_kind.name().to_owned(),
                state: state_word(&state).to_owned(),
                topics,
                samples,
                age_s: newest.map(|at| monotonic().saturating_sub(at).as_secs_f64()),
                upstream: self.hub.upstream(),
            },
            freshness_s: self.freshness(),
            writers: Vec::new(),
        }
    }

    /// The body of `/health` for another endpoint.
    pub fn health_for_peer(&self) -> HealthDocument {
        HealthDocument { writers: self.ingress.writer_progress(), ..self.health() }
    }

    /// The body of `/status`.
    pub fn status(&self) -> StatusDocument {
        let nodes = &self.hub.graph().borrow().nodes.clone();
        StatusDocument {
            health: self.health(),
            pid: std::process::id(),
            memory: memory::document(),
            peers: self.peers.documents(),
            topics: self.topic_documents(),
            nodes: nodes
                .iter()
                .map(|node| format!("{}/{}", node.namespace.trim_end_matches('/'), node.name))
                .collect(),
            sessions: self.sessions().iter().map(|session| session.document()).collect(),
            counters: self.counter_document(),
            events: self.events.recent(),
        }
    }

    /// The number of topics in scope and the arrival time of the newest sample, without the gateways' own
    /// diagnostics, which continue even if the rover is silent.
    fn rover_data(&self) -> (usize, Option<Duration>) {
        self.hub.with_topics(|topics| {
            let rovers = topics.filter(|topic| !is_own_topic(&topic.info.name));
            rovers.fold((0, None), |(count, newest), topic| (count + 1, newest.max(topic.meter.newest())))
        })
    }

    /// Seconds since the newest sample of each scope.
    fn freshness(&self) -> BTreeMap<Scope, f64> {
        let now = monotonic();
        let mut ages = BTreeMap::new();
        self.hub.with_topics(|topics| {
            for topic in topics.filter(|topic| !is_own_topic(&topic.info.name)) {
                let Some(at) = topic.meter.newest() else { continue };
                let age = now.saturating_sub(at).as_secs_f64();
                for scope in topic.info.scopes.intersection(self.scopes()).iter() {
                    let youngest: &mut f64 = ages.entry(scope).or_insert(age);
                    *youngest = youngest.min(age);
                }
            }
        });
        ages
    }

    fn topic_documents(&self) -> Vec<TopicDocument> {
        let now = monotonic();
        let mut documents: Vec<_> = self.hub.with_topics(|topics| {
            topics
                .map(|topic| {
                    let (samples, bytes) = topic.meter.totals();
                    TopicDocument {
                        name: topic.info.name.clone(),
                        type_name: topic.info.type_name.clone(),
                        scopes: topic.info.scopes,
                        schema: topic.decoder.is_some(),
                        samples,
                        bytes,
                        rate_hz: topic.meter.rates(now).0,
                        age_s: topic.meter.newest().map(|at| now.saturating_sub(at).as_secs_f64()),
                    }
                })
                .collect()
        });
        documents.sort_by(|a: &TopicDocument, b| a.name.cmp(&b.name));
        documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assessment_names_its_reason() {
        let running = SourceState::Running;
        assert_eq!(
            assess(&running, 3, Some(Duration::ZERO), SourceKind::Dds),
            (HealthStatus::Healthy, vec![])
        );
        assert_eq!(assess(&running, 0, None, SourceKind::Dds).0, HealthStatus::Degraded);
        assert_eq!(
            assess(&running, 3, Some(Duration::from_secs(9)), SourceKind::Dds).1,
            ["no sample for 9 s"]
        );
        assert_eq!(
            assess(&running, 3, Some(Duration::from_secs(9)), SourceKind::Upstream).1,
            ["no sample from the rover for 9 s"]
        );
        let cut = SourceState::Disconnected("x".into());
        assert_eq!(
            assess(&cut, 3, None, SourceKind::Upstream),
            (HealthStatus::Degraded, vec!["x".to_owned()])
        );
        let failed = SourceState::Failed("x".into());
        assert_eq!(assess(&failed, 3, None, SourceKind::Dds).0, HealthStatus::Unhealthy);
    }

    #[test]
    fn a_finding_degrades_and_never_improves() {
        let lost = || Some("no supervisor".to_owned());
        let healthy = with_findings(HealthStatus::Healthy, vec![], lost());
        assert_eq!(healthy, (HealthStatus::Degraded, vec!["no supervisor".to_owned()]));
        let failed = with_findings(HealthStatus::Unhealthy, vec!["x".to_owned()], lost());
        assert_eq!((failed.0, failed.1.len()), (HealthStatus::Unhealthy, 2));
        assert_eq!(with_findings(HealthStatus::Healthy, vec![], None), (HealthStatus::Healthy, vec![]));
    }
}
