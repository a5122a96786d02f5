//! When a replacement may take over: when it would serve no worse than the process it replaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use roverline_protocol::limits;
use roverline_protocol::status::{HealthDocument, SourceDocument};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::endpoint::peers::probe;

const LEAST: Duration = Duration::from_millis(limits::CHILD_WARM_MS);
/// Topics may be gone for good: after this long they are not waited for.
const TOPICS: Duration = Duration::from_millis(limits::CHILD_START_MS / 2);
/// The supervisor's patience ends a little later: the reason should reach it.
const LONGEST: Duration = Duration::from_millis(limits::CHILD_START_MS / 4 * 3);

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Ready,
    Worse,
}

/// Waits until this endpoint serves what the one that accepts at `address` serves. An error is a
/// sentence.
pub(crate) async fn up(endpoint: &Endpoint, address: SocketAddr) -> Result<(), String> {
    let start = Instant::now();
    let before = predecessor(address).await;
    if let Err(why) = &before {
        tracing::warn!(why, "the process to be replaced does not say how it is");
    }
    let before = before.ok().map(|health| health.source);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let own = endpoint.health();
        match judge(&own.source, before.as_ref(), start.elapsed()) {
            Verdict::Wait => {}
            Verdict::Ready => return Ok(()),
            Verdict::Worse => {
                let reasons = own.endpoint.reasons.join("; ");
                let state = own.source.state;
                return Err(format!("its source is {state}, the old one's is not: {reasons}"));
            }
        }
    }
}

/// What the process that accepts now says of itself.
async fn predecessor(mut address: SocketAddr) -> Result<HealthDocument, String> {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let patience = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let body = tokio::time::timeout(patience, probe::get(&address.to_string(), "/health"))
        .await
        .map_err(|_| format!("no answer within {patience:?}"))??;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

fn judge(own: &SourceDocument, before: Option<&SourceDocument>, elapsed: Duration) -> Verdict {
    let works = |source: &SourceDocument| matches!(source.state.as_str(), "running" | "waiting" | "finished");
    let Some(before) = before.filter(|before| works(before)) else {
        return if elapsed < LEAST { Verdict::Wait } else { Verdict::Ready };
    };
    match works(own) {
        _ if elapsed < LEAST => Verdict::Wait,
        true if own.topics >= before.topics || elapsed >= TOPICS => Verdict::Ready,
        false if elapsed >= LONGEST => Verdict::Worse,
        _ => Verdict::Wait,
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
    fn nobody_takes_over_who_would_serve_worse() {
        let before = source("running", 5);
        let at = |own: &SourceDocument, elapsed| judge(own, Some(&before), elapsed);
        assert_eq!(at(&source("running", 5), LEAST / 2), Verdict::Wait);
        assert_eq!(at(&source("running", 5), LEAST), Verdict::Ready);
        assert_eq!(at(&source("running", 4), LEAST), Verdict::Wait);
        assert_eq!(at(&source("running", 4), TOPICS), Verdict::Ready);
        assert_eq!(at(&source("starting", 0), TOPICS), Verdict::Wait);
        assert_eq!(at(&source("failed", 0), LONGEST), Verdict::Worse);
    }

    #[test]
    fn what_the_old_one_has_not_is_not_asked_of_the_new_one() {
        let failed = source("failed", 0);
        assert_eq!(judge(&failed, Some(&failed), LEAST), Verdict::Ready);
        assert_eq!(judge(&failed, None, LEAST), Verdict::Ready);
        assert_eq!(judge(&failed, None, LEAST / 2), Verdict::Wait);
    }
}
