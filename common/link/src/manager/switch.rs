//! When to leave an endpoint and for which, and how to get there without a gap.

use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::native::ClientMessage;
use roverline_protocol::ranking::rank;

use super::{Manager, subscribe, unix_ns};
use crate::slot::Slot;
use crate::{Event, FailoverCause, FailoverView, Timings};

/// When every link is silent it is the radio. The links are kept this long, as it may come back.
const RADIO_PATIENCE: Duration = Duration::from_secs(5);
/// The first choice waits this long for endpoints that have not answered yet: the first to answer
/// is seldom the best.
const FIRST_CHOICE: Duration = Duration::from_millis(250);

/// A switch that waits for the first sample on the new endpoint.
pub(super) struct Switch {
    pub(super) from: Option<usize>,
    cause: FailoverCause,
    dark_since: Option<Duration>,
    /// The endpoint that goes on delivering until then: a planned switch is never dark.
    release: Option<usize>,
}

impl Manager {
    /// Telemetry flows from this endpoint: a switch to it is complete.
    pub(super) async fn arrived(&mut self, at: usize, now: Duration) {
        if self.active != Some(at) {
            return;
        }
        let Some(switch) = self.switch.take() else { return };
        // Where the standby was subscribed in time, the darkness ended before the switch.
        let light = self.backup_since.take().unwrap_or(now);
        let planned = (switch.cause == FailoverCause::Better).then_some(Duration::ZERO);
        let blackout = switch.dark_since.map_or(planned, |since| Some(light.saturating_sub(since)));
        if let Some(previous) = switch.release.filter(|&previous| previous != at) {
            self.unsubscribe_all(previous);
        }
        self.tell_failover(switch.from, Some(at), switch.cause, blackout).await;
    }

    pub(super) async fn tick(&mut self) {
        let now = self.now();
        let Timings { probe, suspect, dead, .. } = self.config.timings;
        let connected: Vec<usize> = (0..self.slots.len()).filter(|&i| self.slots[i].say.is_some()).collect();
        let silence = |slot: &Slot| now.saturating_sub(slot.heard_at);
        let radio = connected.len() > 1 && connected.iter().all(|&i| silence(&self.slots[i]) > suspect);
        let patience = if radio { RADIO_PATIENCE } else { dead };
        for at in connected {
            let slot = &mut self.slots[at];
            if silence(slot) > patience {
                // Letting go of the sender closes the connection, which will then say so.
                slot.down(format!("silent for {} ms", silence(slot).as_millis()));
                self.changed = true;
                self.lost(at, FailoverCause::Silent).await;
                continue;
            }
            if silence(slot) > suspect && !slot.suspect {
                slot.suspect = true;
                self.changed = true;
            }
            match slot.probe_sent {
                Some(sent) if now.saturating_sub(sent) < probe.max(dead) => {}
                sent => {
                    if sent.is_some() {
                        slot.estimate.lost();
                    }
                    if sent.is_some() || now.saturating_sub(slot.probed_at) >= probe {
                        slot.probe_sent = Some(now);
                        slot.probed_at = now;
                        slot.say(ClientMessage::Time { t0_ns: unix_ns() });
                    }
                }
            }
        }
        if !radio {
            self.back_up();
        }
        self.select(now).await;
    }

    /// While the endpoint in use is suspect, its standby is subscribed as well.
    fn back_up(&mut self) {
        let suspect = self.active.filter(|&active| self.slots[active].suspect);
        match (suspect, self.backup) {
            (Some(_), None) => {
                let candidates: Vec<_> = self.slots.iter().map(Slot::candidate).collect();
                let next = rank(&candidates, ScopeSet::ALL).into_iter().find(|&i| candidates[i].usable);
                if let Some(next) = next {
                    self.backup = Some(next);
                    self.backup_since = None;
                    self.subscribe_all(next);
                }
            }
            (None, Some(backup)) => {
                self.backup = None;
                self.backup_since = None;
                if self.active != Some(backup) {
                    self.unsubscribe_all(backup);
                }
            }
            _ => {}
        }
    }

    /// The link to this endpoint is gone.
    pub(super) async fn lost(&mut self, at: usize, cause: FailoverCause) {
        if self.backup == Some(at) {
            self.backup = None;
            self.backup_since = None;
        }
        if let Some(switch) = &mut self.switch
            && switch.release == Some(at)
        {
            switch.release = None;
            switch.dark_since.get_or_insert(self.slots[at].heard_at);
        }
        if self.active != Some(at) {
            return;
        }
        let now = self.now();
        let dark_since = Some(self.slots[at].heard_at);
        self.active = None;
        // A switch under way that never arrived goes on being dark since its beginning.
        let (from, dark_since) = match self.switch.take() {
            Some(switch) => (switch.from.or(Some(at)), switch.dark_since.or(dark_since)),
            None => (Some(at), dark_since),
        };
        self.switch = Some(Switch { from, cause, dark_since, release: None });
        self.select(now).await;
        if self.active.is_none() {
            self.tell_failover(from, None, FailoverCause::AllDown, None).await;
        }
    }

    /// Asks the selector, and goes where it says.
    pub(super) async fn select(&mut self, now: Duration) {
        let undecided = self.slots.iter().any(|slot| !slot.greeted && slot.failures == 0);
        if self.first && undecided && now < FIRST_CHOICE {
            return;
        }
        let mut candidates: Vec<_> = self.slots.iter().map(Slot::candidate).collect();
        if let Some(active) = self.active {
            // Suspect is not lost: that is decided by silence, not by ranking.
            candidates[active].usable = self.slots[active].greeted;
        }
        let Some(chosen) = self.selector.select(&candidates, ScopeSet::ALL, self.active, now) else { return };
        if self.active == Some(chosen) {
            return;
        }
        self.first = false;
        let previous = self.active.replace(chosen);
        let cause = if previous.is_some() { FailoverCause::Better } else { FailoverCause::First };
        // A switch that never arrived is overtaken by this one, and its darkness goes on.
        let mut switch =
            self.switch.take().unwrap_or(Switch { from: previous, cause, dark_since: None, release: None });
        if let Some(previous) = previous
            && let Some(stale) = switch.release.replace(previous)
            && stale != chosen
        {
            self.unsubscribe_all(stale);
        }
        self.switch = Some(switch);
        if self.backup.take() != Some(chosen) {
            self.backup_since = None;
        }
        self.subscribe_all(chosen);
        self.changed = true;
        self.tell_topics().await;
        if self.subscriptions.is_empty() {
            self.arrived(chosen, now).await;
        }
    }

    fn subscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.subscribed {
            return;
        }
        slot.subscribed = true;
        let mut by_rate: Vec<(Option<f64>, Vec<String>)> = Vec::new();
        for (topic, rate) in &self.subscriptions {
            match by_rate.iter_mut().find(|(other, _)| other == rate) {
                Some((_, topics)) => topics.push(topic.clone()),
                None => by_rate.push((*rate, vec![topic.clone()])),
            }
        }
        for (rate, topics) in by_rate {
            slot.say(subscribe(topics, rate));
        }
    }

    fn unsubscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.subscribed = false;
        if !self.subscriptions.is_empty() {
            slot.say(ClientMessage::Unsubscribe { topics: self.subscriptions.keys().cloned().collect() });
        }
    }

    async fn tell_failover(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        cause: FailoverCause,
        blackout: Option<Duration>,
    ) {
        let url = |slot: Option<usize>| slot.map(|slot| self.slots[slot].url.clone());
        let view = FailoverView { at_ns: unix_ns(), from: url(from), to: url(to), cause, blackout };
        tracing::info!(?view, "failover");
        self.changed = true;
        self.tell(Event::Failover(view)).await;
    }
}
