//! When to leave an endpoint and for which, and how to get there without a gap.

use std::time::Duration;

use roverline_protocol::native::{ClientMessage, SwitchReport};
use roverline_protocol::ranking::rank;

use crate::manager::{FIRST_CHOICE, Manager, unix_ns};
use crate::resubscribe::Tally;
use crate::{Event, FailoverCause, FailoverView};

/// A switch that waits until the new endpoint has replayed what was missed, and delivers.
pub(super) struct Switch {
    pub(super) from: Option<usize>,
    pub(super) cause: FailoverCause,
    pub(super) dark_since: Option<Duration>,
    /// The endpoint that goes on delivering until then: a planned switch is never dark.
    pub(super) release: Option<usize>,
}

impl Manager {
    /// Completes the switch under way, if it is complete.
    pub(super) async fn settle(&mut self, now: Duration) {
        let Some(active) = self.active else { return };
        let session = &mut self.slots[active].session;
        let resumed = session.resumed;
        if session.join.as_mut().is_some_and(|join| !join.done(resumed, now)) {
            return;
        }
        let join = session.join.take();
        let Some(switch) = self.switch.take() else { return };
        // Where the standby was subscribed in time, the darkness ended before the switch.
        let light = join.as_ref().and_then(crate::resubscribe::Join::light).unwrap_or(now);
        let planned = switch.release.map(|_| Duration::ZERO);
        let blackout = switch.dark_since.map_or(planned, |since| Some(light.saturating_sub(since)));
        let late = self.slots[active].session.estimate.rtt().unwrap_or_default();
        self.contiguous = Some((now, late.saturating_mul(2)));
        self.dark = false;
        let tally = join.map(|join| join.tally).unwrap_or_default();
        self.tell_failover(switch.from, Some(active), switch.cause, blackout, tally).await;
        if let Some(previous) = switch.release.filter(|&previous| previous != active) {
            if active == previous + self.rows() {
                self.take_seat(previous);
                self.slots[active].drop_connection("replaced by its successor", now);
            } else {
                self.unsubscribe_all(previous);
            }
        }
    }

    /// The successor becomes the endpoint's row, and what was in the row goes behind it.
    pub(super) fn take_seat(&mut self, row: usize) {
        let seat = row + self.rows();
        let (rows, seats) = self.slots.split_at_mut(seat);
        let (old, new) = (&mut rows[row], &mut seats[0]);
        std::mem::swap(&mut old.connection, &mut new.connection);
        std::mem::swap(&mut old.session, &mut new.session);
        std::mem::swap(&mut old.document, &mut new.document);
        let moved = |at: &mut Option<usize>| {
            *at = at.map(|at| {
                if at == row {
                    seat
                } else if at == seat {
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

    /// The link to this endpoint is gone; it was heard last at `heard_at`.
    pub(super) async fn lost(&mut self, at: usize, cause: FailoverCause, heard_at: Duration) {
        let rows = self.rows();
        for watched in [&mut self.backup, &mut self.hot] {
            watched.take_if(|watched| *watched == at);
        }
        if let Some(switch) = &mut self.switch
            && switch.release == Some(at)
        {
            switch.release = None;
            switch.dark_since.get_or_insert(heard_at);
        }
        if self.active == Some(at) {
            self.left(at, cause, heard_at);
        }
        // Its successor is there already, or nearly: it is the endpoint now.
        if at < rows && self.slots[at + rows].connection.is_some() {
            self.take_seat(at);
            self.slots[at + rows].retry_at = self.now();
        }
        self.go_on().await;
    }

    /// It has no room for us.
    pub(super) async fn refused(&mut self, at: usize) {
        self.slots[at].session.subscribed = false;
        self.slots[at].session.join = None;
        self.backup.take_if(|backup| *backup == at);
        self.hot.take_if(|hot| *hot == at);
        self.hello(at, roverline_protocol::limits::STANDBY_HEARTBEAT_MS);
        if self.active == Some(at) {
            self.left(at, FailoverCause::Full, self.now());
            self.go_on().await;
        }
    }

    /// The endpoint in use is not in use any more, and no other one is yet.
    fn left(&mut self, at: usize, cause: FailoverCause, heard_at: Duration) {
        self.active = None;
        let Some(switch) = self.switch.take() else {
            let dark_since = Some(heard_at);
            self.switch = Some(Switch { from: Some(at), cause, dark_since, release: None });
            return;
        };
        if let Some(previous) = switch.release {
            // A planned switch that failed: the one in use before still delivers.
            self.active = Some(previous);
            self.changed = true;
            return;
        }
        // A switch that never arrived goes on being dark since its beginning.
        let dark_since = switch.dark_since.or((cause != FailoverCause::Full).then_some(heard_at));
        self.switch = Some(Switch { dark_since, ..switch });
    }

    async fn go_on(&mut self) {
        let now = self.now();
        self.select(now).await;
        if self.active.is_none() && self.gathering.is_none() {
            self.all_down().await;
        }
    }

    /// Says, once, that no endpoint is left; the next choice is a first one.
    pub(super) async fn all_down(&mut self) {
        let choice = self.now() + FIRST_CHOICE;
        self.gathering.get_or_insert(choice);
        if !std::mem::replace(&mut self.dark, true) {
            let from = self.switch.as_ref().and_then(|switch| switch.from);
            self.tell_failover(from, None, FailoverCause::AllDown, None, Tally::default()).await;
        }
    }

    /// Asks the selector, and goes where it says.
    pub(super) async fn select(&mut self, now: Duration) {
        let leaving = self.active.is_some_and(|active| self.slots[active].session.leaving.is_some());
        if self.active.is_some() && (self.switch.is_some() || leaving) {
            return;
        }
        let mut candidates = self.candidates(now);
        if !candidates.iter().any(|candidate| candidate.usable) && self.active.is_none() {
            // The time to gather begins with the first that answers.
            self.gathering = self.gathering.map(|_| now + FIRST_CHOICE);
            return;
        }
        let undecided = |at: usize| {
            let slot = &self.slots[at];
            !slot.session.greeted && (slot.connection.is_some() || slot.failures == 0)
        };
        if self.active.is_none()
            && self.gathering.is_some_and(|until| now < until)
            && (0..self.rows()).any(undecided)
        {
            return;
        }
        if let Some(active) = self.active {
            // Suspect is not lost: that is decided by silence, not by ranking.
            candidates[active].usable = self.slots[active].ready(now);
        }
        // The standby that delivers already is not left for one that would begin to.
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

    /// Begins to use `chosen`. One in use until now delivers until the switch is complete.
    pub(super) async fn switch_to(&mut self, chosen: usize, cause: FailoverCause, now: Duration) {
        self.gathering = None;
        let previous = self.active.replace(chosen);
        let fresh = Switch { from: previous, cause, dark_since: None, release: previous };
        let mut switch = self.switch.take().unwrap_or(fresh);
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
        self.tell_topics().await;
        self.settle(now).await;
    }

    /// While the endpoint in use is suspect, its best standby is subscribed as well: one that
    /// answers. Where all are slow it is the radio, and twice as much would not make it faster.
    pub(super) fn back_up(&mut self, now: Duration) {
        let suspect = self.active.and_then(|active| self.slots[active].session.suspect);
        match (suspect, self.backup) {
            (Some(since), None) if self.switch.as_ref().is_none_or(|switch| switch.release.is_none()) => {
                let mut candidates = self.candidates(now);
                for (candidate, slot) in candidates.iter_mut().zip(&self.slots) {
                    let prompt = slot.delay(now) <= self.config.timings.suspect;
                    candidate.usable &= prompt && slot.session.heard_at >= since;
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

    async fn tell_failover(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        cause: FailoverCause,
        blackout: Option<Duration>,
        tally: Tally,
    ) {
        let url = |slot: Option<usize>| slot.map(|slot| self.slots[slot].url.clone());
        let Tally { replayed, duplicates, missing } = tally;
        let (from, to) = (url(from), url(to));
        let view =
            FailoverView { at_ns: unix_ns(), from, to, cause, blackout, replayed, duplicates, missing };
        tracing::info!(?view, "failover");
        self.changed = true;
        if let Some(active) = self.active.filter(|_| view.from.is_some() && view.to.is_some()) {
            self.slots[active].say(ClientMessage::Switched(SwitchReport {
                from: view.from.clone(),
                to: view.to.clone(),
                cause: cause.code().to_owned(),
                blackout_ms: blackout.map(|blackout| blackout.as_secs_f64() * 1e3),
                replayed,
                duplicates,
                missing,
            }));
        }
        self.tell(Event::Failover(view)).await;
    }
}
