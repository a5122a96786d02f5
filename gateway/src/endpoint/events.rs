//! What happened at this endpoint, with its cause: remembered for `/status`, told to native clients,
//! counted for `/metrics`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use roverline_protocol::status::{EventDocument, EventKind};
use roverline_protocol::{Tier, limits};
use roverline_source::clock::unix_ns;
use tokio::sync::broadcast;

/// Events that may wait for one session; one that is slower misses some, and `/status` has them.
const WAITING: usize = 64;

/// The events of one endpoint.
pub struct Events {
    tier: Tier,
    state: Mutex<State>,
    tell: broadcast::Sender<EventDocument>,
}

#[derive(Default)]
struct State {
    last: VecDeque<EventDocument>,
    counts: BTreeMap<EventKind, u64>,
    next: u64,
}

/// What an event is about; what does not apply stays empty.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What was before.
    pub from: Option<String>,
    /// What is now.
    pub to: Option<String>,
    /// How long nothing was received, milliseconds.
    pub blackout_ms: Option<f64>,
    /// Samples that were replayed.
    pub replayed: Option<u64>,
    /// Samples that nobody could replay.
    pub missing: Option<u64>,
}

impl Events {
    /// Nothing has happened.
    pub fn new(tier: Tier) -> Events {
        Events { tier, state: Mutex::default(), tell: broadcast::Sender::new(WAITING) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of something that happened, and why.
    pub fn note(&self, kind: EventKind, cause: &str, facts: Facts) {
        let bounded = |text: String| text.chars().take(limits::EVENT_CHARS).collect::<String>();
        let mut state = self.lock();
        let event = EventDocument {
            id: state.next,
            at_ns: unix_ns(),
            tier: self.tier,
            kind,
            cause: bounded(cause.to_owned()),
            from: facts.from.map(bounded),
            to: facts.to.map(bounded),
            blackout_ms: facts.blackout_ms,
            replayed: facts.replayed,
            missing: facts.missing,
        };
        state.next += 1;
        *state.counts.entry(kind).or_default() += 1;
        if state.last.len() == limits::EVENTS {
            state.last.pop_front();
        }
        state.last.push_back(event.clone());
        drop(state);
        tracing::info!(kind = kind.word(), cause = event.cause, from = event.from, to = event.to, "event");
        // Nobody may be listening.
        let _ = self.tell.send(event);
    }

    /// The last ones, oldest first.
    pub fn recent(&self) -> Vec<EventDocument> {
        self.lock().last.iter().cloned().collect()
    }

    /// How many of each kind there have been.
    pub fn counts(&self) -> BTreeMap<EventKind, u64> {
        self.lock().counts.clone()
    }

    /// Those to come.
    pub fn subscribe(&self) -> broadcast::Receiver<EventDocument> {
        self.tell.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_counted_and_told() {
        let events = Events::new(Tier::Primary);
        let mut told = events.subscribe();
        for _ in 0..limits::EVENTS + 5 {
            events.note(EventKind::Drain, &"x".repeat(1_000), Facts::default());
        }
        let recent = events.recent();
        assert_eq!((recent.len(), recent[0].id), (limits::EVENTS, 5));
        assert_eq!(recent[0].cause.len(), limits::EVENT_CHARS);
        assert_eq!(events.counts()[&EventKind::Drain], limits::EVENTS as u64 + 5);
        assert!(matches!(told.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }
}
