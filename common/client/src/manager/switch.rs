//! Endpoint selection and gapless switching.

use std::time::Duration;

use crate::ranking::rank;
use roverline_protocol::native::{ClientMessage, SwitchReport};

use crate::manager::{FIRST_CHOICE, Manager, unix_ns};
use crate::resubscribe::SwitchStats;
use crate::trace::SwitchTrace;
use crate::{Event, FailoverCause, FailoverView};

/// A switch in progress, until the new endpoint has replayed the missed samples and delivers.
pub(super) struct Switch {
    pub(super) from: Option<usize>,
    pub(super) cause: FailoverCause,
    pub(super) blackout_since: Option<Duration>,
    /// The endpoint that delivers until then: a planned switch has no blackout.
    pub(super) release: Option<usize>,
    pub(super) trace: SwitchTrace,
}

impl Manager {
    /// Finishes the switch in progress if it is complete.
    pub(super) async fn finish_switch(&mut self, now: Duration) {
        let Some(active) = self.active else { return };
        let session = &mut self.slots[active].session;
        let resumed = session.resumed;
        if session.progress.as_mut().is_some_and(|progress| !progress.is_done(resumed, now)) {
            return;
        }
        let progress = session.progress.take();
        let Some(switch) = self.switch.take() else { return };
        // If the standby was subscribed in time, the blackout ended before the switch.
        let data_at =
            progress.as_ref().and_then(crate::resubscribe::SubscribeProgress::first_data_at).unwrap_or(now);
        let planned = switch.release.map(|_| Duration::ZERO);
        let blackout = switch.blackout_since.map_or(planned, |since| Some(data_at.saturating_sub(since)));
        let late = self.slots[active].session.estimate.rtt().unwrap_or_default();
        self.contiguous = Some((now, late.saturating_mul(2)));
        self.outage_reported = false;
        let stats = progress.map(|progress| progress.stats).unwrap_or_default();
        let trace_id = self.report_switch(active, &switch, now);
        self.emit_failover(switch.from, Some(active), switch.cause, blackout, stats, trace_id).await;
        if let Some(previous) = switch.release.filter(|&previous| previous != active) {
            if active == previous + self.endpoint_count() {
                self.promote_successor(previous);
                self.slots[active].drop_connection("replaced by its successor", now);
            } else {
                self.unsubscribe_all(previous);
            }
        }
    }

    /// The successor takes over the endpoint's entry; the old state moves to the successor's entry.
    pub(super) fn promote_successor(&mut self, row: usize) {
        let successor = row + self.endpoint_count();
        let (rows, successors) = self.slots.split_at_mut(successor);
        let (old, new) = (&mut rows[row], &mut successors[0]);
        std::mem::swap(&mut old.connection, &mut new.connection);
        std::mem::swap(&mut old.session, &mut new.session);
        std::mem::swap(&mut old.document, &mut new.document);
        let moved = |at: &mut Option<usize>| {
            *at = at.map(|at| {
                if at == row {
                    successor
                } else if at == successor {
                    row
                } else {
                    at
                }
            });
        };
        moved(&mut self.active);
        moved(&mut self.backup);
        moved(&mut self.hot);
        if let Some(switch) = &mut self.switch {
            moved(&mut switch.from);
            moved(&mut switch.release);
        }
        self.selector.reset();
        self.changed = true;
    }

    /// Handles the loss of the link to this endpoint, which sent its last data at `last_heard`.
    pub(super) async fn on_lost(&mut self, at: usize, cause: FailoverCause, last_heard: Duration) {
        let rows = self.endpoint_count();
        for watched in [&mut self.backup, &mut self.hot] {
            watched.take_if(|watched| *watched == at);
        }
        if let Some(switch) = &mut self.switch
            && switch.release == Some(at)
        {
            switch.release = None;
            switch.blackout_since.get_or_insert(last_heard);
        }
        if self.active == Some(at) {
            self.leave_active(at, cause, last_heard);
        }
        // The successor is connected, or about to be: it is the endpoint now.
        if at < rows && self.slots[at + rows].connection.is_some() {
            self.promote_successor(at);
            self.slots[at + rows].retry_at = self.now();
        }
        self.reselect().await;
    }

    /// Handles a rejection because the endpoint is full.
    pub(super) async fn on_full(&mut self, at: usize) {
        self.slots[at].session.subscribed = false;
        self.slots[at].session.progress = None;
        self.backup.take_if(|backup| *backup == at);
        self.hot.take_if(|hot| *hot == at);
        self.send_hello(at, crate::limits::STANDBY_HEARTBEAT_MS);
        if self.active == Some(at) {
            self.leave_active(at, FailoverCause::Full, self.now());
            self.reselect().await;
        }
    }

    /// The endpoint in use is gone, and no other one has replaced it yet.
    fn leave_active(&mut self, at: usize, cause: FailoverCause, last_heard: Duration) {
        self.active = None;
        let Some(switch) = self.switch.take() else {
            let (blackout_since, trace) = (Some(last_heard), SwitchTrace::start(last_heard));
            self.switch = Some(Switch { from: Some(at), cause, blackout_since, release: None, trace });
            return;
        };
        if let Some(previous) = switch.release {
            // A failed planned switch: the previous endpoint still delivers.
            self.active = Some(previous);
            self.changed = true;
            return;
        }
        // A switch that never completed: its blackout began with it.
        let blackout_since = switch.blackout_since.or((cause != FailoverCause::Full).then_some(last_heard));
        self.switch = Some(Switch { blackout_since, ..switch });
    }

    async fn reselect(&mut self) {
        let now = self.now();
        self.select(now).await;
        if self.active.is_none() && self.gathering.is_none() {
            self.all_down().await;
        }
    }

    /// Reports, once, that no endpoint is left; the next choice is an initial one.
    pub(super) async fn all_down(&mut self) {
        let choice = self.now() + FIRST_CHOICE;
        self.gathering.get_or_insert(choice);
        if !std::mem::replace(&mut self.outage_reported, true) {
            let from = self.switch.as_ref().and_then(|switch| switch.from);
            self.emit_failover(from, None, FailoverCause::AllDown, None, SwitchStats::default(), None).await;
        }
    }

    /// Queries the selector and switches to its choice.
    pub(super) async fn select(&mut self, now: Duration) {
        let leaving = self.active.is_some_and(|active| self.slots[active].session.draining.is_some());
        if self.active.is_some() && (self.switch.is_some() || leaving) {
            return;
        }
        let mut candidates = self.candidates(now);
        if !candidates.iter().any(|candidate| candidate.usable) && self.active.is_none() {
            // The gathering period begins with the first answer.
            self.gathering = self.gathering.map(|_| now + FIRST_CHOICE);
            return;
        }
        let unanswered = |at: usize| {
            let slot = &self.slots[at];
            !slot.session.established && (slot.connection.is_some() || slot.failures == 0)
        };
        if self.active.is_none()
            && self.gathering.is_some_and(|until| now < until)
            && (0..self.endpoint_count()).any(unanswered)
        {
            return;
        }
        if let Some(active) = self.active {
            // A suspect endpoint is not lost: silence decides that, not the ranking.
            candidates[active].usable = self.slots[active].ready(now);
        }
        // Only a client that lost its endpoint takes a slot of the reserve: one that changes by choice, or that was
        // refused, takes a free one. Whether there is one for a token's holder, only the endpoint knows.
        let was_refused = self.switch.as_ref().is_some_and(|switch| switch.cause == FailoverCause::Full);
        if self.active.is_some() || (was_refused && self.config.token.is_none()) {
            for (at, slot) in self.slots.iter().enumerate().filter(|(at, _)| self.active != Some(*at)) {
                candidates[at].usable &= !slot.is_full();
            }
        }
        // Prefer the standby that already delivers to one that would have to begin.
        let backup = self.backup.filter(|&b| self.active.is_none() && candidates[b].usable);
        let chosen = match backup {
            Some(backup) => Some(backup),
            None => self.selector.select(&candidates, self.config.scopes, self.active, now),
        };
        if let Some(chosen) = chosen.filter(|&chosen| self.active != Some(chosen)) {
            let cause = if self.active.is_some() { FailoverCause::Better } else { FailoverCause::First };
            self.switch_to(chosen, cause, now).await;
        }
    }

    /// Starts to use `chosen`. The previous endpoint delivers until the switch is complete.
    pub(super) async fn switch_to(&mut self, chosen: usize, cause: FailoverCause, now: Duration) {
        self.gathering = None;
        let previous = self.active.replace(chosen);
        let trace = SwitchTrace::start(now);
        let fresh = Switch { from: previous, cause, blackout_since: None, release: previous, trace };
        let mut switch = self.switch.take().unwrap_or(fresh);
        switch.trace.chosen(now);
        if let Some(previous) = previous
            && let Some(stale) = switch.release.replace(previous)
            && stale != chosen
            && stale != previous
        {
            self.unsubscribe_all(stale);
        }
        self.switch = Some(switch);
        if let Some(backup) = self.backup.take().filter(|&backup| backup != chosen) {
            self.unsubscribe_all(backup);
        }
        self.subscribe_all(chosen);
        self.changed = true;
        self.emit_topics().await;
        self.finish_switch(now).await;
    }

    /// While the endpoint in use is suspect, subscribes its best responsive standby as well. If all
    /// are slow, the radio is the cause, and twice the traffic would not make it faster.
    pub(super) fn subscribe_backup(&mut self, now: Duration) {
        let suspect = self.active.and_then(|active| self.slots[active].session.suspect);
        match (suspect, self.backup) {
            (Some(since), None) if self.switch.as_ref().is_none_or(|switch| switch.release.is_none()) => {
                let mut candidates = self.candidates(now);
                for (candidate, slot) in candidates.iter_mut().zip(&self.slots) {
                    let prompt = slot.session.probes.delay(now) <= self.config.timings.suspect;
                    candidate.usable &= prompt && slot.session.last_heard >= since;
                }
                if let Some(active) = self.active {
                    candidates[active].usable = false;
                }
                let order = rank(&candidates, self.config.scopes);
                if let Some(next) = order.into_iter().find(|&at| candidates[at].usable) {
                    self.backup = Some(next);
                    self.subscribe_all(next);
                }
            }
            (None, Some(backup)) if self.active.is_some() => {
                self.backup = None;
                if self.active != Some(backup) {
                    self.unsubscribe_all(backup);
                }
            }
            _ => {}
        }
    }

    /// Sends the spans of a switch that is complete to its endpoint, if that takes them; returns the trace's id. The
    /// first choice is no switch.
    fn report_switch(&mut self, active: usize, switch: &Switch, now: Duration) -> Option<String> {
        let slot = &mut self.slots[active];
        if !slot.session.traces || switch.from.is_none() {
            return None;
        }
        let spans = switch.trace.spans(switch.cause.word(), now, unix_ns(), &slot.session.clock);
        slot.send_now(ClientMessage::Spans { spans });
        Some(switch.trace.trace_id())
    }

    async fn emit_failover(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        cause: FailoverCause,
        blackout: Option<Duration>,
        stats: SwitchStats,
        trace_id: Option<String>,
    ) {
        let url = |slot: Option<usize>| slot.map(|slot| self.slots[slot].url.clone());
        let SwitchStats { replayed, duplicates, missing } = stats;
        let (from, to) = (url(from), url(to));
        let view =
            FailoverView { at_ns: unix_ns(), from, to, cause, blackout, replayed, duplicates, missing };
        tracing::info!(?view, "failover");
        self.changed = true;
        if let Some(active) = self.active.filter(|_| view.from.is_some() && view.to.is_some()) {
            self.slots[active].send(ClientMessage::Switched(SwitchReport {
                from: view.from.clone(),
                to: view.to.clone(),
                cause: cause.code().to_owned(),
                blackout_ms: blackout.map(|blackout| blackout.as_secs_f64() * 1e3),
                replayed,
                duplicates,
                missing,
                trace_id,
            }));
        }
        self.emit(Event::Failover(view)).await;
    }
}
