//! Draining endpoints: connects to the successor at the same address ahead of time, and switches to
//! it at a moment of the client's choice.

use std::time::Duration;

use crate::endpoint::Draining;
use crate::manager::Manager;
use crate::{Event, FailoverCause};

/// Time before the deadline that is reserved for subscribing elsewhere.
const FALLBACK_LEAD: Duration = Duration::from_millis(400);

impl Manager {
    pub(super) async fn on_drain(&mut self, at: usize, deadline: Duration, now: Duration) {
        if at >= self.endpoint_count() {
            // The successor drains as well: it is handled once it has become the endpoint.
            return;
        }
        // Clients move at different times, so that they do not storm the successor.
        let switch_at = now + deadline.mul_f64(0.5 * self.jitter.unit());
        let fallback_at = (now + deadline.saturating_sub(FALLBACK_LEAD)).max(now + deadline.mul_f64(0.6));
        self.slots[at].session.draining = Some(Draining { switch_at, fallback_at });
        self.changed = true;
        let successor = at + self.endpoint_count();
        self.slots[successor].retry_at = now;
        self.connect(now);
        let url = self.slots[at].url.clone();
        self.emit(Event::Drain { url, deadline }).await;
    }

    /// Leaves a draining endpoint: for its successor or, as a last resort, for another endpoint.
    pub(super) async fn leave_draining(&mut self, now: Duration) {
        self.drop_successors();
        let Some(active) = self.active.filter(|&active| active < self.endpoint_count()) else { return };
        let Some(draining) = self.slots[active].session.draining else { return };
        if self.switch.is_some() || now < draining.switch_at {
            return;
        }
        let successor = active + self.endpoint_count();
        let started = |at: usize| self.slots[at].document.as_ref().map(|document| document.started_ns);
        if self.slots[successor].usable(now) && started(successor) == started(active) {
            // The old process accepted the connection. Its successor will accept the next.
            self.slots[successor].drop_connection("it is the same process", now + Duration::from_millis(100));
        } else if self.slots[successor].usable(now) {
            self.switch_to(successor, FailoverCause::Drain, now).await;
            return;
        }
        if now < draining.fallback_at {
            return;
        }
        let mut candidates = self.candidates(now);
        candidates[active].usable = false;
        if let Some(best) = self.selector.select(&candidates, self.config.scopes, None, now) {
            self.switch_to(best, FailoverCause::Drain, now).await;
        }
    }

    /// Drops successors that are no longer needed.
    fn drop_successors(&mut self) {
        let rows = self.endpoint_count();
        for successor in rows..2 * rows {
            let awaited = self.slots[successor - rows].session.draining.is_some();
            if !awaited && self.active != Some(successor) && self.slots[successor].connection.is_some() {
                self.slots[successor].drop_connection("not needed", Duration::ZERO);
            }
        }
    }
}
