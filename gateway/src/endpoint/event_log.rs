//! What happened at this endpoint, into the log that the team shares.

use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::events::{EventError, Expected, NewEvent};
use roverline_protocol::documents::{EventDocument, EventKind};
use roverline_protocol::limits;
use tokio::sync::broadcast::error::RecvError;

use super::Endpoint;
use crate::clock::unix_ns;

/// Appends every event of this endpoint, in order, as soon as the store takes it; those that are
/// forgotten meanwhile are counted in a word to the log of the process. Telemetry does not wait for it.
pub(super) async fn keep(endpoint: Arc<Endpoint>) {
    let mut told = endpoint.events.subscribe();
    let mut next = 0;
    loop {
        // All that is remembered and not appended yet: however many were told in the meantime.
        let waiting: Vec<_> = endpoint.events.recent().into_iter().filter(|event| event.id >= next).collect();
        if let Some(first) = waiting.first().filter(|first| first.id > next) {
            tracing::warn!(count = first.id - next, "events were forgotten before the store took them");
        }
        for event in waiting {
            append(&endpoint, &event).await;
            next = event.id + 1;
        }
        match told.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// Until it is in the log, or can never be.
async fn append(endpoint: &Endpoint, event: &EventDocument) {
    let pause = Duration::from_millis(limits::RECORDER_RETRY_MS);
    loop {
        match endpoint.coordination.events.append(made_of(endpoint, event), Expected::Any).await {
            Err(error @ (EventError::Store(_) | EventError::Key(_))) => {
                tracing::debug!(%error, "an event waits for the store");
                tokio::time::sleep(pause).await;
            }
            Err(error) => return tracing::warn!(%error, "an event is not in the log"),
            Ok(_) => return,
        }
    }
}

fn made_of(endpoint: &Endpoint, event: &EventDocument) -> NewEvent {
    let tier = event.tier.name();
    let made = NewEvent {
        stream: format!("endpoint/{tier}"),
        kind: format!("endpoint.{}", event.kind.word()),
        at_ns: event.at_ns,
        // A document of ours always serializes.
        data: serde_json::to_value(event).unwrap_or_default(),
        id: Some(format!("{tier}-{}-{}", endpoint.started_ns, event.id)),
        ..NewEvent::default()
    };
    match (&event.kind, &event.to) {
        // Every endpoint that was asked tells of it; it is one event.
        (EventKind::EmergencyStop, Some(command)) => {
            let command: String = command.chars().take(40).collect();
            let (id, correlation_id) = (Some(format!("stop-{command}")), Some(command));
            NewEvent {
                stream: "command/emergency_stop".to_owned(),
                kind: "command.emergency_stop".to_owned(),
                id,
                correlation_id,
                ..made
            }
        }
        _ => made,
    }
}

/// Records what changes in the store, when no other process does.
pub(super) async fn record(endpoint: Arc<Endpoint>) {
    endpoint.coordination.record(unix_ns).await;
}
