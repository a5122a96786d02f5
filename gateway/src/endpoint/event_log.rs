//! Forwards this endpoint's events to the shared event log.

use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::events::{EventError, Expected, NewEvent};
use roverline_protocol::limits;
use roverline_protocol::status::{EndpointEvent, EventKind};
use roverline_source::clock::unix_ns;
use tokio::sync::broadcast::error::RecvError;

use crate::endpoint::Endpoint;
use crate::endpoint::events::log_names;
use crate::identity;

/// All endpoints that receive one stop command record it within this time. If a window ends in between, the
/// stop appears twice in the log, which is harmless.
const STOP_NS: i64 = 10_000_000_000;

/// Appends every event of this endpoint in order, retrying until the store accepts it. Events that fall out
/// of memory meanwhile are counted in a warning. Telemetry does not wait for it.
pub(crate) async fn forward_events(endpoint: Arc<Endpoint>) {
    let mut events = endpoint.events.subscribe();
    let mut next = 0;
    loop {
        // All remembered events that were not appended yet, however many were broadcast meanwhile.
        let waiting: Vec<_> = endpoint.events.recent().into_iter().filter(|event| event.id >= next).collect();
        if let Some(first) = waiting.first().filter(|first| first.id > next) {
            tracing::warn!(count = first.id - next, "events were forgotten before the store took them");
        }
        for event in waiting {
            append(&endpoint, &event).await;
            next = event.id + 1;
        }
        match events.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Retries until the event is in the log or is rejected for good.
async fn append(endpoint: &Endpoint, event: &EndpointEvent) {
    let pause = Duration::from_millis(limits::RECORDER_RETRY_MS);
    loop {
        match endpoint.coordination.events.append(to_log_event(endpoint, event), Expected::Any).await {
            Err(error @ (EventError::Store(_) | EventError::Key(_))) => {
                tracing::debug!(%error, "an event waits for the store");
                tokio::time::sleep(pause).await;
            }
            Err(error) => return tracing::warn!(%error, "an event is not in the log"),
            Ok(_) => return,
        }
    }
}

fn to_log_event(endpoint: &Endpoint, event: &EndpointEvent) -> NewEvent {
    let tier = event.tier.name();
    let (kind, stream) = log_names(event);
    let made = NewEvent {
        stream,
        kind,
        at_ns: event.at_ns,
        // Serializing our own document types cannot fail.
        data: serde_json::to_value(event).unwrap_or_default(),
        by: event.by.as_deref().and_then(identity::log_name),
        client: event.client.as_deref().and_then(identity::log_name),
        id: Some(format!("{tier}-{}-{}", endpoint.started_ns, event.id)),
        ..NewEvent::default()
    };
    match (&event.kind, &event.to) {
        (EventKind::EmergencyStop, Some(command)) => {
            let command: String = command.chars().take(40).collect();
            let by = event.by.as_deref().unwrap_or_default();
            let id = Some(stop_id(&identity::own_id(by, &command), &event.cause, event.at_ns));
            let correlation_id = Some(command);
            NewEvent { id, correlation_id, ..made }
        }
        // Every endpoint notices it.
        (EventKind::LinkLoss, Some(loss)) => NewEvent { id: Some(format!("link-loss-{loss}")), ..made },
        _ => made,
    }
}

/// The id of an emergency stop event, the same at every endpoint that received the command. A client may
/// reuse its command ids, so the id also contains the direction and the approximate time.
fn stop_id(command: &str, cause: &str, at_ns: i64) -> String {
    let done = cause.split(':').next().unwrap_or_default();
    let about = at_ns.div_euclid(STOP_NS);
    format!("stop-{done}-{command}-{about}")
}

/// Records changes of the store as events, unless another process does.
pub(crate) async fn record(endpoint: Arc<Endpoint>) {
    endpoint.coordination.record(unix_ns).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stop_is_one_event_and_the_next_is_another() {
        let at = 1_700_000_000_000_000_000;
        let first = stop_id("1", "engaged: a person", at);
        assert_eq!(first, stop_id("1", "engaged: a person", at + 300_000_000), "at another endpoint");
        assert_ne!(first, stop_id("1", "released: gone", at));
        assert_ne!(first, stop_id("2", "engaged: a person", at), "another id, or another identity's");
        assert_ne!(first, stop_id("1", "engaged: a person", at + 60_000_000_000), "a minute later");
        let by = "/".repeat(limits::IDENTITY_BYTES);
        let longest = identity::own_id(&by, &"\u{10ffff}".repeat(40));
        let longest = stop_id(&longest, "released", i64::MIN);
        assert!(longest.len() <= limits::EVENT_ID_BYTES, "{}", longest.len());
    }
}
