//! Who is alive: probes, silence, the radio, and what is left after we were stopped ourselves.

use std::time::Duration;

use roverline_protocol::limits;

use crate::endpoint::Slot;
use crate::manager::switch::Switch;
use crate::manager::{FIRST_CHOICE, Manager};
use crate::{Event, FailoverCause, RadioView, Timings};

/// After this long without any endpoint that is said, however it came about.
const DARK: Duration = Duration::from_secs(1);

impl Manager {
    pub(super) async fn tick(&mut self) {
        let now = self.now();
        self.connect(now);
        self.probe_all(now);
        self.slots.iter_mut().for_each(Slot::listen);
        self.suspect(now);
        self.watch_radio(now).await;
        self.bury(now).await;
        if self.radio.is_none() {
            self.back_up(now);
        }
        self.leave_draining(now).await;
        self.select(now).await;
        self.settle(now).await;
        self.keep_hot(now);
        self.say_asked().await;
        if self.active.is_some() {
            self.unused_since = None;
        } else if now.saturating_sub(*self.unused_since.get_or_insert(now)) > DARK {
            self.all_down().await;
        }
    }

    fn connected(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|&at| self.slots[at].session.say.is_some()).collect()
    }

    fn probe_all(&mut self, now: Duration) {
        let Timings { probe, dead, .. } = self.config.timings;
        for at in self.connected() {
            // Standbys cost the radio half as much.
            let probe = if self.active == Some(at) { probe } else { probe * 2 };
            let session = &mut self.slots[at].session;
            if session.probe.is_some_and(|(_, sent)| now.saturating_sub(sent) >= probe.max(dead)) {
                session.probe = None;
                session.estimate.lost();
            } else if session.probe.is_some() || now.saturating_sub(session.probed_at) < probe {
                continue;
            }
            self.probe(at, now);
        }
    }

    /// Marks the silent. When it is the endpoint in use, all others are asked at once: one that
    /// does not answer is no way out.
    fn suspect(&mut self, now: Duration) {
        for at in self.connected() {
            let after = self.slots[at].scaled(self.config.timings.suspect);
            if self.slots[at].session.suspect.is_some() || self.slots[at].silence(now) <= after {
                continue;
            }
            self.slots[at].session.suspect = Some(now);
            self.changed = true;
            if self.active == Some(at) {
                for other in self.connected().into_iter().filter(|&other| other != at) {
                    self.probe(other, now);
                }
            }
        }
    }

    /// The endpoint in use is due to be dead, others are connected, and none of them has been heard
    /// since it became suspect: it is the radio.
    fn all_silent(&self, now: Duration) -> bool {
        let Some(active) = self.active else { return self.radio.is_some() };
        let slot = &self.slots[active];
        let Some(since) = slot.session.suspect else { return false };
        let others: Vec<usize> = self.connected().into_iter().filter(|&at| at != active).collect();
        slot.silence(now) > self.config.timings.dead
            && !others.is_empty()
            && others.iter().all(|&at| self.slots[at].session.heard_at < since)
    }

    async fn watch_radio(&mut self, now: Duration) {
        let silent = self.all_silent(now);
        let heard_at = self.connected().iter().map(|&at| self.slots[at].session.heard_at).max();
        match self.radio {
            None if silent => {
                let since = heard_at.unwrap_or(now);
                self.radio = Some(since);
                self.tell_radio(true, now.saturating_sub(since)).await;
            }
            Some(since) if heard_at.is_some_and(|heard_at| heard_at > since) => {
                self.radio = None;
                self.tell_radio(false, now.saturating_sub(since)).await;
                // What waited too long for the radio was not sent: it is asked for.
                if let Some(active) = self.active {
                    self.unsubscribe_all(active);
                    self.subscribe_all(active);
                }
            }
            _ => {}
        }
    }

    async fn tell_radio(&mut self, silent: bool, lasted: Duration) {
        self.changed = true;
        tracing::info!(silent, ?lasted, "radio");
        self.tell(Event::Radio(RadioView { silent, lasted })).await;
    }

    /// How long the quickest of the other endpoints takes to answer: that is the radio's doing, and
    /// says nothing of one that is silent for as long.
    fn delay_elsewhere(&self, at: usize, now: Duration) -> Duration {
        let others = self.connected().into_iter().filter(|&other| other != at);
        let delay = others.map(|other| self.slots[other].delay(now)).min().unwrap_or_default();
        delay.min(Duration::from_millis(limits::RADIO_PATIENCE_MS))
    }

    /// Closes what has been silent for too long.
    async fn bury(&mut self, now: Duration) {
        let patience = Duration::from_millis(limits::RADIO_PATIENCE_MS);
        let radio = self.radio.is_some();
        for at in self.connected() {
            let delay = self.delay_elsewhere(at, now);
            let slot = &mut self.slots[at];
            let silence = slot.silence(now);
            let dead = slot.scaled(self.config.timings.dead) + delay;
            let limit = if radio { patience.max(dead) } else { dead };
            if silence <= limit {
                continue;
            }
            let since = slot.session.suspect.unwrap_or(now);
            let heard_at = slot.session.heard_at;
            let why = format!("silent for {} ms", silence.as_millis());
            if radio {
                // That is no fault of the endpoint's.
                slot.drop_connection(&why, now);
            } else {
                slot.ended(crate::connection::Ending::Broken(why), now, || self.jitter.unit());
            }
            self.changed = true;
            if self.active == Some(at) {
                // Who did not answer since this one became suspect is no way out.
                for other in self.connected() {
                    let session = &mut self.slots[other].session;
                    if session.heard_at < since {
                        session.suspect.get_or_insert(now);
                    }
                }
            }
            self.lost(at, FailoverCause::Silent, heard_at).await;
        }
    }

    /// This process was stopped, or the computer slept: what waits to be read is old, so it is not
    /// read. Everything is connected anew, and what was missed last is replayed.
    pub(super) fn thaw(&mut self) {
        let lasted = self.frozen.lasted();
        if lasted <= self.config.timings.dead {
            return;
        }
        let now = self.now();
        tracing::info!(?lasted, "this process was stopped");
        for slot in &mut self.slots {
            if slot.connection.is_some() {
                slot.drop_connection("this program was stopped for a while", now);
            }
            slot.retry_at = slot.retry_at.min(now);
        }
        while self.inbox.try_recv().is_ok() {}
        (self.backup, self.hot, self.radio) = (None, None, None);
        if let Some(active) = self.active.take() {
            let dark_since = Some(now.saturating_sub(lasted));
            let (from, cause) = (Some(active), FailoverCause::Thawed);
            let fresh = Switch { from, cause, dark_since, release: None };
            let switch = self.switch.take().unwrap_or(fresh);
            let dark_since = switch.dark_since.or(dark_since);
            self.switch = Some(Switch { release: None, dark_since, ..switch });
        }
        self.gathering = Some(now + FIRST_CHOICE);
        self.selector.reset();
        self.ticked_at = Duration::ZERO;
        self.changed = true;
    }
}
