//! Subscriptions at the endpoints: everything at the one in use, the emergency scope at the hot
//! standby, always preceded by a `resume` with our cursors.

use std::collections::HashSet;
use std::time::Duration;

use roverline_protocol::native::{ClientMessage, Level};
use roverline_protocol::{Scope, ScopeSet};

use crate::manager::Manager;
use crate::resubscribe::SubscribeProgress;
use crate::subscriptions::{by_rate, messages};
use crate::{Event, limits};

/// Added to the age of possibly missed samples: scheduling on both sides.
const AGE_MARGIN: Duration = Duration::from_millis(200);
const EMERGENCY: ScopeSet = ScopeSet::of(&[Scope::Emergency]);

impl Manager {
    /// Introduces the client and requests this heartbeat interval.
    pub(super) fn send_hello(&mut self, at: usize, heartbeat_ms: u64) {
        let now = self.now();
        let slot = &mut self.slots[at];
        slot.session.heartbeat = (Duration::from_millis(heartbeat_ms), now);
        let client = self.config.client_name.clone();
        slot.send(ClientMessage::Hello { client, heartbeat_ms: Some(heartbeat_ms) });
    }

    /// Sends our cursors, if there are any: this must precede every subscription at another
    /// endpoint.
    fn send_resume(&mut self, at: usize) {
        let Some((since, late)) = self.contiguous else { return };
        let age = self.now().saturating_sub(since) + late + AGE_MARGIN;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX).min(limits::REPLAY_AGE_MS);
        let switch = self.switch.as_ref().filter(|_| self.active == Some(at));
        let slot = &mut self.slots[at];
        let traceparent = switch.filter(|_| slot.session.traces).map(|switch| switch.trace.traceparent());
        slot.session.resuming = true;
        slot.send(ClientMessage::Resume { cursors: self.cursors.snapshot(), age_ms, traceparent });
    }

    /// Subscribes, and returns the ids of the messages.
    fn subscribe(
        &mut self,
        at: usize,
        topics: Vec<String>,
        rate: Option<f64>,
        scopes: Option<ScopeSet>,
    ) -> Vec<u64> {
        let send = |topics| {
            let id = self.next_subscribe;
            self.next_subscribe += 1;
            let slot = &mut self.slots[at];
            slot.session.resumes += u64::from(slot.session.resuming);
            slot.send(ClientMessage::Subscribe { id: Some(id), topics, max_rate_hz: rate, scopes });
            id
        };
        messages(topics).into_iter().map(send).collect()
    }

    /// Sends what the program has changed to every endpoint that has the other subscriptions.
    pub(super) async fn apply_subscriptions(&mut self) {
        let Some(changes) = self.shared.subscriptions.take_changes(&mut self.subscriptions) else { return };
        self.known.clear();
        if !changes.removed.is_empty() {
            self.followed = ScopeSet::EMPTY;
        }
        for at in 0..self.slots.len() {
            let scopes = match &self.slots[at].session {
                session if session.subscribed => None,
                session if session.hot => Some(EMERGENCY),
                _ => continue,
            };
            self.unsubscribe(at, changes.removed.clone());
            for (rate, topics) in &changes.added {
                self.subscribe(at, topics.clone(), *rate, scopes);
            }
        }
        if let Some(text) = changes.refused {
            self.emit(Event::Notice { level: Level::Warning, text }).await;
        }
    }

    fn unsubscribe(&mut self, at: usize, topics: Vec<String>) {
        for topics in messages(topics) {
            self.slots[at].send(ClientMessage::Unsubscribe { topics });
        }
    }

    /// Sends `resume` and all subscriptions; returns their ids.
    fn subscribe_scopes(&mut self, at: usize, scopes: Option<ScopeSet>) -> HashSet<u64> {
        if self.subscriptions.is_empty() {
            return HashSet::new();
        }
        self.send_resume(at);
        self.subscribe_again(at, scopes)
    }

    /// Sends all subscriptions; returns their ids.
    fn subscribe_again(&mut self, at: usize, scopes: Option<ScopeSet>) -> HashSet<u64> {
        let all = by_rate(self.subscriptions.iter());
        all.into_iter().flat_map(|(rate, topics)| self.subscribe(at, topics, rate, scopes)).collect()
    }

    /// Subscribes to everything at an endpoint that was not in use before.
    pub(super) fn subscribe_all(&mut self, at: usize) {
        if self.slots[at].session.subscribed {
            return;
        }
        self.send_hello(at, limits::HEARTBEAT_MS);
        let (since, before) = (self.now(), self.slots[at].session.resumes);
        let pending = self.subscribe_scopes(at, None);
        let session = &mut self.slots[at].session;
        session.subscribed = true;
        session.hot = false;
        session.repair.forget();
        session.progress = Some(SubscribeProgress::new(pending, before, session.resumes, since));
        if self.hot == Some(at) {
            self.hot = None;
        }
    }

    /// Asks the endpoint in use for samples that should have arrived.
    pub(super) fn repair_gaps(&mut self, now: Duration) {
        let steady = self.switch.is_none() && self.radio.is_none();
        let Some(active) = self.active.filter(|_| steady) else { return };
        let session = &mut self.slots[active].session;
        if session.suspect.is_some() || session.progress.is_some() || self.subscriptions.is_empty() {
            return;
        }
        let cursors = session.repair.due(&self.cursors, now);
        if cursors.is_empty() {
            return;
        }
        tracing::info!(url = self.slots[active].url, writers = cursors.len(), "requesting missing samples");
        self.slots[active].session.resuming = true;
        self.slots[active].send(ClientMessage::Resume { cursors, age_ms: 0, traceparent: None });
        let ids = self.subscribe_again(active, None);
        self.slots[active].session.repair.sent(ids);
    }

    /// Mutes an endpoint, which becomes a standby.
    pub(super) fn unsubscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let was_subscribed = slot.session.subscribed || slot.session.hot;
        slot.session.subscribed = false;
        slot.session.hot = false;
        slot.session.progress = None;
        if was_subscribed {
            self.unsubscribe(at, self.subscriptions.keys().cloned().collect());
        }
        self.send_hello(at, limits::STANDBY_HEARTBEAT_MS);
    }

    /// Maintains the hot standby: the best standby delivers the emergency scope as well, so that it
    /// has no blackout during a switch.
    pub(super) fn maintain_hot_standby(&mut self, now: Duration) {
        let needed = self.config.scopes.contains(Scope::Emergency) && !self.subscriptions.is_empty();
        let steady = self.switch.is_none() && self.backup.is_none() && self.radio.is_none();
        let Some(active) = self.active.filter(|_| steady) else { return };
        let mut candidates = self.candidates(now);
        // Neither the endpoint in use nor its successor can be its own standby.
        let rows = self.endpoint_count();
        for at in [active % rows, active % rows + rows] {
            candidates[at].usable = false;
        }
        let best =
            self.hot_selector.select(&candidates, self.config.scopes, self.hot, now).filter(|_| needed);
        if best == self.hot {
            return;
        }
        if let Some(old) = self.hot.take().filter(|&old| self.slots[old].session.hot) {
            self.unsubscribe_all(old);
        }
        if let Some(best) = best {
            self.hot = Some(best);
            self.slots[best].session.hot = true;
            self.subscribe_scopes(best, Some(EMERGENCY));
        }
    }
}
