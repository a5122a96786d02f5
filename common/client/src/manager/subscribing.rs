//! Subscriptions at the endpoints: everything at the one in use, the emergency scope at the hot
//! standby, always preceded by a `resume` with our cursors.

use std::collections::HashSet;
use std::time::Duration;

use roverline_protocol::native::ClientMessage;
use roverline_protocol::{Scope, ScopeSet};

use crate::limits;
use crate::manager::Manager;
use crate::resubscribe::SubscribeProgress;

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
        let slot = &mut self.slots[at];
        slot.session.resuming = true;
        slot.send(ClientMessage::Resume { cursors: self.cursors.snapshot(), age_ms });
    }

    fn subscribe(
        &mut self,
        at: usize,
        topics: Vec<String>,
        rate: Option<f64>,
        scopes: Option<ScopeSet>,
    ) -> u64 {
        let id = self.next_subscribe;
        self.next_subscribe += 1;
        let slot = &mut self.slots[at];
        slot.session.resumes += u64::from(slot.session.resuming);
        slot.send(ClientMessage::Subscribe { id: Some(id), topics, max_rate_hz: rate, scopes });
        id
    }

    /// Sends a new subscription to every endpoint that has the others.
    pub(super) fn send_subscribe(&mut self, topic: &str, rate: Option<f64>) {
        for at in 0..self.slots.len() {
            let session = &self.slots[at].session;
            if session.subscribed {
                self.subscribe(at, vec![topic.to_owned()], rate, None);
            } else if session.hot {
                self.subscribe(at, vec![topic.to_owned()], rate, Some(EMERGENCY));
            }
        }
    }

    /// Sends `resume` and all subscriptions; returns their ids.
    fn subscribe_scopes(&mut self, at: usize, scopes: Option<ScopeSet>) -> HashSet<u64> {
        if self.subscriptions.is_empty() {
            return HashSet::new();
        }
        self.send_resume(at);
        let mut by_rate: Vec<(Option<f64>, Vec<String>)> = Vec::new();
        for (topic, rate) in &self.subscriptions {
            match by_rate.iter_mut().find(|(other, _)| other == rate) {
                Some((_, topics)) => topics.push(topic.clone()),
                None => by_rate.push((*rate, vec![topic.to_owned()])),
            }
        }
        by_rate.into_iter().map(|(rate, topics)| self.subscribe(at, topics, rate, scopes)).collect()
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
        session.progress = Some(SubscribeProgress::new(pending, before, session.resumes, since));
        if self.hot == Some(at) {
            self.hot = None;
        }
    }

    /// Mutes an endpoint, which becomes a standby.
    pub(super) fn unsubscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let was_subscribed = slot.session.subscribed || slot.session.hot;
        slot.session.subscribed = false;
        slot.session.hot = false;
        slot.session.progress = None;
        if was_subscribed && !self.subscriptions.is_empty() {
            slot.send(ClientMessage::Unsubscribe { topics: self.subscriptions.keys().cloned().collect() });
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
