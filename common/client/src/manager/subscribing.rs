//! What is asked of endpoints: everything of the one in use, the emergency scope of its standby,
//! and always after telling what we have.

use std::collections::HashSet;
use std::time::Duration;

use roverline_protocol::native::ClientMessage;
use roverline_protocol::{Scope, ScopeSet, limits};

use crate::manager::Manager;
use crate::resubscribe::Join;

/// Added to the age of what may have been missed: scheduling on both sides.
const AGE_MARGIN: Duration = Duration::from_millis(200);
const EMERGENCY: ScopeSet = ScopeSet::of(&[Scope::Emergency]);

impl Manager {
    /// Introduces us, and asks for heartbeats this often.
    pub(super) fn hello(&mut self, at: usize, heartbeat_ms: u64) {
        let now = self.now();
        let slot = &mut self.slots[at];
        slot.session.heartbeat = (Duration::from_millis(heartbeat_ms), now);
        let client = self.config.client_name.clone();
        slot.say(ClientMessage::Hello { client, heartbeat_ms: Some(heartbeat_ms) });
    }

    /// Tells what we have, if we ever had something: nothing is asked of another endpoint before.
    fn resume(&mut self, at: usize) {
        let Some((since, late)) = self.contiguous else { return };
        let age = self.now().saturating_sub(since) + late + AGE_MARGIN;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX).min(limits::REPLAY_AGE_MS);
        let slot = &mut self.slots[at];
        slot.session.resuming = true;
        slot.say(ClientMessage::Resume { cursors: self.cursors.snapshot(), age_ms });
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
        slot.say(ClientMessage::Subscribe { id: Some(id), topics, max_rate_hz: rate, scopes });
        id
    }

    /// A new subscription, wherever the others are.
    pub(super) fn say_subscribe(&mut self, topic: &str, rate: Option<f64>) {
        for at in 0..self.slots.len() {
            let session = &self.slots[at].session;
            if session.subscribed {
                self.subscribe(at, vec![topic.to_owned()], rate, None);
            } else if session.hot {
                self.subscribe(at, vec![topic.to_owned()], rate, Some(EMERGENCY));
            }
        }
    }

    /// All subscriptions, after what we have; returns their ids.
    fn subscribe_scopes(&mut self, at: usize, scopes: Option<ScopeSet>) -> HashSet<u64> {
        if self.subscriptions.is_empty() {
            return HashSet::new();
        }
        self.resume(at);
        let mut by_rate: Vec<(Option<f64>, Vec<String>)> = Vec::new();
        for (topic, rate) in &self.subscriptions {
            match by_rate.iter_mut().find(|(other, _)| other == rate) {
                Some((_, topics)) => topics.push(topic.clone()),
                None => by_rate.push((*rate, vec![topic.to_owned()])),
            }
        }
        by_rate.into_iter().map(|(rate, topics)| self.subscribe(at, topics, rate, scopes)).collect()
    }

    /// Everything, from an endpoint that was not in use before.
    pub(super) fn subscribe_all(&mut self, at: usize) {
        if self.slots[at].session.subscribed {
            return;
        }
        self.hello(at, limits::HEARTBEAT_MS);
        let (since, before) = (self.now(), self.slots[at].session.resumes);
        let asked = self.subscribe_scopes(at, None);
        let session = &mut self.slots[at].session;
        session.subscribed = true;
        session.hot = false;
        session.join = Some(Join::new(asked, before, session.resumes, since));
        if self.hot == Some(at) {
            self.hot = None;
        }
    }

    /// Mutes an endpoint: it stands by.
    pub(super) fn unsubscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let was = slot.session.subscribed || slot.session.hot;
        slot.session.subscribed = false;
        slot.session.hot = false;
        slot.session.join = None;
        if was && !self.subscriptions.is_empty() {
            slot.say(ClientMessage::Unsubscribe { topics: self.subscriptions.keys().cloned().collect() });
        }
        self.hello(at, limits::STANDBY_HEARTBEAT_MS);
    }

    /// The emergency scope comes from the best standby as well, so that it is not dark for even as
    /// long as a switch takes.
    pub(super) fn keep_hot(&mut self, now: Duration) {
        let wanted = self.config.scopes.contains(Scope::Emergency) && !self.subscriptions.is_empty();
        let quiet = self.switch.is_none() && self.backup.is_none() && self.radio.is_none();
        let Some(active) = self.active.filter(|_| quiet) else { return };
        let mut candidates = self.candidates(now);
        // Neither the endpoint in use nor its successor is a standby of itself.
        let rows = self.rows();
        for at in [active % rows, active % rows + rows] {
            candidates[at].usable = false;
        }
        let best =
            self.hot_selector.select(&candidates, self.config.scopes, self.hot, now).filter(|_| wanted);
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
