//! An endpoint says that it will end: its successor is connected at the same address before, and
//! taken over to at a moment of our own.

use std::time::Duration;

use crate::endpoint::Leaving;
use crate::manager::Manager;
use crate::{Event, FailoverCause};

/// Before the deadline, what it takes to subscribe elsewhere.
const LAST_CALL: Duration = Duration::from_millis(400);

impl Manager {
    pub(super) async fn drain(&mut self, at: usize, deadline: Duration, now: Duration) {
        if at >= self.rows() {
            // A successor that drains as well: it is left when it is an endpoint.
            return;
        }
        // Clients go one after another, so that the successor is not stormed.
        let go_at = now + deadline.mul_f64(0.5 * self.jitter.unit());
        let last_call = (now + deadline.saturating_sub(LAST_CALL)).max(now + deadline.mul_f64(0.6));
        self.slots[at].session.leaving = Some(Leaving { go_at, last_call });
        self.changed = true;
        let seat = at + self.rows();
        self.slots[seat].retry_at = now;
        self.connect(now);
        let url = self.slots[at].url.clone();
        self.tell(Event::Drain { url, deadline }).await;
    }

    /// Leaves an endpoint that drains: for its successor, or in the end for another one.
    pub(super) async fn leave_draining(&mut self, now: Duration) {
        self.clear_seats();
        let Some(active) = self.active.filter(|&active| active < self.rows()) else { return };
        let Some(leaving) = self.slots[active].session.leaving else { return };
        if self.switch.is_some() || now < leaving.go_at {
            return;
        }
        let seat = active + self.rows();
        let started = |at: usize| self.slots[at].document.as_ref().map(|document| document.started_ns);
        if self.slots[seat].usable(now) && started(seat) == started(active) {
            // The old process took the connection. Its successor will take the next.
            self.slots[seat].drop_connection("it is the same process", now + Duration::from_millis(100));
        } else if self.slots[seat].usable(now) {
            self.switch_to(seat, FailoverCause::Drain, now).await;
            return;
        }
        if now < leaving.last_call {
            return;
        }
        let mut candidates = self.candidates(now);
        candidates[active].usable = false;
        if let Some(best) = self.selector.select(&candidates, self.config.scopes, None, now) {
            self.switch_to(best, FailoverCause::Drain, now).await;
        }
    }

    /// A successor that nobody waits for any more is let go of.
    fn clear_seats(&mut self) {
        let rows = self.rows();
        for seat in rows..2 * rows {
            let awaited = self.slots[seat - rows].session.leaving.is_some();
            if !awaited && self.active != Some(seat) && self.slots[seat].connection.is_some() {
                self.slots[seat].drop_connection("not needed", Duration::ZERO);
            }
        }
    }
}
