//! Failure detection: probes, silence, radio outages, and recovery after this process was
//! suspended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use roverline_protocol::native::Level;

use crate::connection::DisconnectReason;
use crate::endpoint::EndpointState;
use crate::manager::switch::Switch;
use crate::manager::{FIRST_CHOICE, Manager};
use crate::trace::SwitchTrace;
use crate::{Event, FailoverCause, RadioView};

/// If all links are silent for longer than this they are closed, although the radio is the cause:
/// their buffered data is old.
const RADIO_TIMEOUT_MS: u64 = 5_000;

/// Time without any endpoint after which the outage is reported, whatever its cause.
const OUTAGE_DELAY: Duration = Duration::from_secs(1);

impl Manager {
    pub(super) async fn tick(&mut self) {
        let now = self.now();
        self.connect(now);
        self.probe_all(now);
        self.slots.iter_mut().for_each(EndpointState::refresh_activity);
        self.mark_suspects(now);
        self.update_radio(now).await;
        self.close_dead(now).await;
        if self.radio.is_none() {
            self.subscribe_backup(now);
        }
        self.leave_draining(now).await;
        self.select(now).await;
        self.finish_switch(now).await;
        self.repair_gaps(now);
        self.maintain_hot_standby(now);
        self.send_pending().await;
        self.send_waiting(now).await;
        if self.active.is_some() {
            self.unused_since = None;
        } else if now.saturating_sub(*self.unused_since.get_or_insert(now)) > OUTAGE_DELAY {
            self.all_down().await;
        }
    }

    /// Handles the first hello after an outage of all endpoints. The failures during the outage had one common
    /// cause, so no endpoint is penalised for them. All are tried at once, so that the best endpoint is found
    /// without waiting for its backoff.
    pub(super) fn end_outage(&mut self, now: Duration) {
        tracing::info!("an endpoint answers again: all are tried");
        self.slots.iter_mut().for_each(|slot| slot.forgive(now));
        self.connect(now);
    }

    /// Sends what waits for its connection, and gives up a connection that takes nothing. Tells the program
    /// of requests that were not taken.
    async fn send_waiting(&mut self, now: Duration) {
        for at in self.connected() {
            self.slots[at].send_waiting();
            if self.slots[at].is_stuck() {
                let last_heard = self.slots[at].session.last_heard;
                let reason = DisconnectReason::Broken("it does not take what we send".to_owned());
                self.slots[at].on_disconnected(reason, now, || self.jitter.unit());
                self.changed = true;
                self.on_lost(at, FailoverCause::Closed, last_heard).await;
            }
        }
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} requests were not sent: there were too many at once, ask again");
            self.emit(Event::Notice { level: Level::Error, text }).await;
        }
    }

    fn connected(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|&at| self.slots[at].session.sender.is_some()).collect()
    }

    fn probe_all(&mut self, now: Duration) {
        let probe = self.config.timings.probe;
        for at in self.connected() {
            self.slots[at].count_lost_probes(now);
            // Standbys are probed half as often, to save the radio.
            let interval = if self.active == Some(at) { probe } else { probe * 2 };
            if self.slots[at].session.probes.is_due(now, interval) {
                self.probe(at, now);
            }
        }
    }

    /// Marks silent endpoints as suspect. If the endpoint in use is among them, all others are
    /// probed at once: one that does not answer is no alternative.
    fn mark_suspects(&mut self, now: Duration) {
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

    /// Whether the radio is down: the endpoint in use should be dead, others are connected, and
    /// none of them has sent anything since it became suspect.
    fn is_radio_silent(&self, now: Duration) -> bool {
        let Some(active) = self.active else { return self.radio.is_some() };
        let slot = &self.slots[active];
        let Some(since) = slot.session.suspect else { return false };
        let others: Vec<usize> = self.connected().into_iter().filter(|&at| at != active).collect();
        slot.silence(now) > self.config.timings.dead
            && !others.is_empty()
            && others.iter().all(|&at| self.slots[at].session.last_heard < since)
    }

    async fn update_radio(&mut self, now: Duration) {
        let silent = self.is_radio_silent(now);
        let last_heard = self.connected().iter().map(|&at| self.slots[at].session.last_heard).max();
        match self.radio {
            None if silent => {
                let since = last_heard.unwrap_or(now);
                self.radio = Some(since);
                self.emit_radio(true, now.saturating_sub(since)).await;
            }
            Some(since) if last_heard.is_some_and(|last_heard| last_heard > since) => {
                self.radio = None;
                self.emit_radio(false, now.saturating_sub(since)).await;
                // Samples that waited too long for the radio were not sent; subscribing again
                // replays them.
                if let Some(active) = self.active {
                    self.unsubscribe_all(active);
                    self.subscribe_all(active);
                }
            }
            _ => {}
        }
    }

    async fn emit_radio(&mut self, silent: bool, lasted: Duration) {
        self.changed = true;
        tracing::info!(silent, ?lasted, "radio");
        self.emit(Event::Radio(RadioView { silent, lasted })).await;
    }

    /// Response time of the fastest other endpoint. The radio causes it, so it must not count
    /// against an endpoint that is silent for as long.
    fn delay_elsewhere(&self, at: usize, now: Duration) -> Duration {
        let others = self.connected().into_iter().filter(|&other| other != at);
        let delay = others.map(|other| self.slots[other].session.probes.delay(now)).min().unwrap_or_default();
        delay.min(Duration::from_millis(RADIO_TIMEOUT_MS))
    }

    /// Closes links that have been silent for too long.
    async fn close_dead(&mut self, now: Duration) {
        let radio_timeout = Duration::from_millis(RADIO_TIMEOUT_MS);
        let radio = self.radio.is_some();
        for at in self.connected() {
            let delay = self.delay_elsewhere(at, now);
            let slot = &mut self.slots[at];
            let silence = slot.silence(now);
            let dead = slot.scaled(self.config.timings.dead) + delay;
            let limit = if radio { radio_timeout.max(dead) } else { dead };
            if silence <= limit {
                continue;
            }
            let since = slot.session.suspect.unwrap_or(now);
            let last_heard = slot.session.last_heard;
            let reason = format!("silent for {} ms", silence.as_millis());
            if radio {
                // Not the endpoint's fault.
                slot.drop_connection(&reason, now);
            } else {
                slot.on_disconnected(DisconnectReason::Broken(reason), now, || self.jitter.unit());
            }
            self.changed = true;
            if self.active == Some(at) {
                // An endpoint that did not answer since this one became suspect is no alternative.
                for other in self.connected() {
                    let session = &mut self.slots[other].session;
                    if session.last_heard < since {
                        session.suspect.get_or_insert(now);
                    }
                }
            }
            self.on_lost(at, FailoverCause::Silent, last_heard).await;
        }
    }

    /// Handles a suspend of this process or of the computer: the buffered input is stale and not
    /// read. All endpoints are reconnected, and the last samples are replayed.
    pub(super) fn handle_suspend(&mut self) {
        let lasted = self.suspend.elapsed();
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
            let began = now.saturating_sub(lasted);
            let (blackout_since, trace) = (Some(began), SwitchTrace::start(began));
            let (from, cause) = (Some(active), FailoverCause::Suspended);
            let fresh = Switch { from, cause, blackout_since, release: None, trace };
            let switch = self.switch.take().unwrap_or(fresh);
            let blackout_since = switch.blackout_since.or(blackout_since);
            self.switch = Some(Switch { release: None, blackout_since, ..switch });
        }
        self.gathering = Some(now + FIRST_CHOICE);
        self.selector.reset();
        self.ticked_at = Duration::ZERO;
        self.changed = true;
    }
}
