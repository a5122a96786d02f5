//! Readiness of a replacement process: it takes over once it serves no worse than its predecessor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use roverline_protocol::status::{HealthDocument, SourceDocument};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::endpoint::peers::probe::{self, ProbeError};
use crate::limits;

/// Shortest warm-up of a replacement before it takes over: discovery, and filling its ring.
const CHILD_WARM_MS: u64 = 1_500;

const MIN_WARMUP: Duration = Duration::from_millis(CHILD_WARM_MS);
/// Topics may be gone for good, so they are not awaited for longer than this.
const MAX_TOPIC_WAIT: Duration = Duration::from_millis(limits::CHILD_START_MS / 2);
/// Ends a little before the supervisor's timeout so that the reason still reaches it.
const MAX_WARMUP: Duration = Duration::from_millis(limits::CHILD_START_MS / 4 * 3);

/// Why a replacement process does not become ready.
#[derive(Debug, thiserror::Error)]
#[error("its source is {state}, the old one's is not: {reasons}")]
pub struct NotReady {
    state: String,
    reasons: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Wait,
    Ready,
    Worse,
}

/// Waits until this endpoint serves as well as the one that accepts at `address`.
pub(crate) async fn wait_until_ready(endpoint: &Endpoint, address: SocketAddr) -> Result<(), NotReady> {
    let start = Instant::now();
    let before = predecessor(address).await;
    if let Err(why) = &before {
        tracing::warn!(%why, "the process to be replaced does not say how it is");
    }
    let before = before.ok().map(|health| health.source);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let own = endpoint.health();
        match assess(&own.source, before.as_ref(), start.elapsed()) {
            Readiness::Wait => {}
            Readiness::Ready => return Ok(()),
            Readiness::Worse => {
                let reasons = own.endpoint.reasons.join("; ");
                return Err(NotReady { state: own.source.state, reasons });
            }
        }
    }
}

/// Requests the health of the process that accepts now.
async fn predecessor(mut address: SocketAddr) -> Result<HealthDocument, ProbeError> {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let limit = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let body = tokio::time::timeout(limit, probe::get(&address.to_string(), "/health"))
        .await
        .map_err(|_| ProbeError::Timeout)??;
    Ok(serde_json::from_slice(&body)?)
}

fn assess(own: &SourceDocument, before: Option<&SourceDocument>, elapsed: Duration) -> Readiness {
    let works = |source: &SourceDocument| matches!(source.state.as_str(), "running" | "waiting" | "finished");
    let Some(before) = before.filter(|before| works(before)) else {
        return if elapsed < MIN_WARMUP { Readiness::Wait } else { Readiness::Ready };
    };
    match works(own) {
        _ if elapsed < MIN_WARMUP => Readiness::Wait,
        true if own.topics >= before.topics || elapsed >= MAX_TOPIC_WAIT => Readiness::Ready,
        false if elapsed >= MAX_WARMUP => Readiness::Worse,
        _ => Readiness::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(state: &str, topics: usize) -> SourceDocument {
        SourceDocument {
            kind: "sim".into(),
            state: state.into(),
            topics,
            samples: 0,
            age_s: None,
            upstream: Vec::new(),
        }
    }

    #[test]
    fn a_worse_replacement_does_not_take_over() {
        let before = source("running", 5);
        let at = |own: &SourceDocument, elapsed| assess(own, Some(&before), elapsed);
        assert_eq!(at(&source("running", 5), MIN_WARMUP / 2), Readiness::Wait);
        assert_eq!(at(&source("running", 5), MIN_WARMUP), Readiness::Ready);
        assert_eq!(at(&source("running", 4), MIN_WARMUP), Readiness::Wait);
        assert_eq!(at(&source("running", 4), MAX_TOPIC_WAIT), Readiness::Ready);
        assert_eq!(at(&source("starting", 0), MAX_TOPIC_WAIT), Readiness::Wait);
        assert_eq!(at(&source("failed", 0), MAX_WARMUP), Readiness::Worse);
    }

    #[test]
    fn a_predecessor_that_does_not_work_sets_no_requirement() {
        let failed = source("failed", 0);
        assert_eq!(assess(&failed, Some(&failed), MIN_WARMUP), Readiness::Ready);
        assert_eq!(assess(&failed, None, MIN_WARMUP), Readiness::Ready);
        assert_eq!(assess(&failed, None, MIN_WARMUP / 2), Readiness::Wait);
    }
}
