//! The endpoint's recent events with their causes: kept for `/status`, sent to native clients, counted in
//! `/metrics`.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::{Mutex, MutexGuard};
use roverline_protocol::Tier;
use roverline_protocol::status::{EndpointEvent, EventKind};
use roverline_protocol::trace::TraceId;
use roverline_source::clock::unix_ns;
use tokio::sync::broadcast;

use crate::limits;
use crate::trace;

/// Events kept by one endpoint.
const EVENTS: usize = 512;

/// Events buffered per session; a slower session misses some and can read them from `/status`.
const WAITING: usize = 64;

/// The events of one endpoint.
pub struct Events {
    tier: Tier,
    state: Mutex<State>,
    sender: broadcast::Sender<EndpointEvent>,
}

#[derive(Default)]
struct State {
    last: VecDeque<EndpointEvent>,
    counts: BTreeMap<EventKind, u64>,
    next: u64,
}

/// The details of an event; fields that do not apply stay empty.
#[derive(Clone, Debug, Default)]
pub struct EventDetails {
    /// The previous state or endpoint.
    pub from: Option<String>,
    /// The new state or endpoint.
    pub to: Option<String>,
    /// How long nothing was received, milliseconds.
    pub blackout_ms: Option<f64>,
    /// Samples replayed.
    pub replayed: Option<u64>,
    /// Samples that could not be replayed.
    pub missing: Option<u64>,
    /// The identity of the client that caused it.
    pub by: Option<String>,
    /// The unverified name that the client declares.
    pub client: Option<String>,
    /// The trace that it belongs to; `None`: that of the current span.
    pub trace_id: Option<TraceId>,
}

impl Events {
    /// Creates an empty list of events.
    pub fn new(tier: Tier) -> Events {
        Events { tier, state: Mutex::default(), sender: broadcast::Sender::new(WAITING) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Records an event and its cause.
    pub fn record(&self, kind: EventKind, cause: &str, details: EventDetails) {
        let bounded = |text: String| text.chars().take(limits::EVENT_CHARS).collect::<String>();
        let mut state = self.lock();
        let event = EndpointEvent {
            id: state.next,
            at_ns: unix_ns(),
            tier: self.tier,
            kind,
            cause: bounded(cause.to_owned()),
            from: details.from.map(bounded),
            to: details.to.map(bounded),
            blackout_ms: details.blackout_ms,
            replayed: details.replayed,
            missing: details.missing,
            by: details.by.map(bounded),
            client: details.client.map(bounded),
            trace_id: details.trace_id.or_else(trace::current_id).map(|id| id.to_string()),
        };
        state.next += 1;
        *state.counts.entry(kind).or_default() += 1;
        if state.last.len() == EVENTS {
            state.last.pop_front();
        }
        state.last.push_back(event.clone());
        drop(state);
        let (event_type, aggregate_id) = log_names(&event);
        tracing::info!(
            event_type,
            aggregate_id,
            from = event.from,
            to = event.to,
            by = event.by,
            blackout_ms = event.blackout_ms,
            "{}",
            event.cause
        );
        // Fails if there are no subscribers, which is fine.
        let _ = self.sender.send(event);
    }

    /// The most recent events, oldest first.
    pub fn recent(&self) -> Vec<EndpointEvent> {
        self.lock().last.iter().cloned().collect()
    }

    /// The number of events of each kind.
    pub fn counts(&self) -> BTreeMap<EventKind, u64> {
        self.lock().counts.clone()
    }

    /// Subscribes to future events.
    pub fn subscribe(&self) -> broadcast::Receiver<EndpointEvent> {
        self.sender.subscribe()
    }
}

/// The type of an event and the stream that it belongs to, in the log and in the event log.
pub(crate) fn log_names(event: &EndpointEvent) -> (String, String) {
    match (&event.kind, &event.to) {
        // Every endpoint that received the command reports it, but it is one event.
        (EventKind::EmergencyStop, Some(_)) => {
            ("command.emergency_stop".to_owned(), "command/emergency_stop".to_owned())
        }
        (EventKind::LinkLoss, Some(loss)) => {
            let name = loss.split('@').next().unwrap_or_default();
            ("authority.link_loss".to_owned(), format!("authority/{name}"))
        }
        (kind, _) => (format!("endpoint.{}", kind.word()), format!("endpoint/{}", event.tier)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_counted_and_broadcast() {
        let events = Events::new(Tier::Primary);
        let mut received = events.subscribe();
        for _ in 0..super::EVENTS + 5 {
            events.record(EventKind::Drain, &"x".repeat(1_000), EventDetails::default());
        }
        let recent = events.recent();
        assert_eq!((recent.len(), recent[0].id), (super::EVENTS, 5));
        assert_eq!(recent[0].cause.len(), limits::EVENT_CHARS);
        assert_eq!(events.counts()[&EventKind::Drain], super::EVENTS as u64 + 5);
        assert!(matches!(received.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }
}
