//! Admission of sessions to an endpoint's slots: an observer makes room for an operator or a commander.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use roverline_protocol::status::EventKind;

use crate::connection::client_address::ClientAddress;
use crate::endpoint::Endpoint;
use crate::endpoint::capacity::{CapacityError, Holder, SessionSlot};
use crate::endpoint::events::EventDetails;
use crate::endpoint::sessions::SessionInfo;

/// The newest session of the address that has most of them; each session comes with its address if it may
/// make room. The newest has lost least.
fn newest_of_fullest(sessions: &[(u64, ClientAddress)]) -> Option<u64> {
    let mut counts: HashMap<ClientAddress, (usize, u64)> = HashMap::new();
    for (id, address) in sessions {
        let (count, newest) = counts.entry(*address).or_default();
        *count += 1;
        *newest = (*newest).max(*id);
    }
    counts.into_values().max().map(|(_, newest)| newest)
}

impl Endpoint {
    /// Reserves a client's slot, or a standby's.
    pub fn reserve_slot(&self, standby: bool, holder: Holder) -> Result<SessionSlot, CapacityError> {
        let take = || match standby {
            true => self.capacity().reserve_standby(holder),
            false => self.capacity().reserve(holder),
        };
        match take() {
            Err(CapacityError::Full) if holder.has_reserve && self.make_room(standby) => take(),
            taken => taken,
        }
    }

    /// Turns a standby into a client.
    pub fn become_client(&self, slot: &SessionSlot) -> Result<(), CapacityError> {
        match slot.become_client() {
            Err(CapacityError::Full) if slot.has_reserve() && self.make_room(false) => slot.become_client(),
            done => done,
        }
    }

    /// Ends a session without rights, of the address that has most of them. Its slot is free at once.
    fn make_room(&self, standby: bool) -> bool {
        let sessions = self.sessions();
        let candidates: Vec<_> = sessions
            .iter()
            .filter_map(|session| Some((session.id, session.slot().makes_room(standby)?)))
            .collect();
        let Some(id) = newest_of_fullest(&candidates) else { return false };
        let chosen: Option<&Arc<SessionInfo>> = sessions.iter().find(|session| session.id == id);
        if let Some(session) = chosen {
            session.evict();
            self.counters.fairness.evicted_sessions.fetch_add(1, Ordering::Relaxed);
            tracing::info!(session = id, client = session.client(), "closed to make room for an operator");
        }
        chosen.is_some()
    }

    /// Counts a rejected connection, and records an event at a limited rate.
    pub fn record_rejection(&self, client: &str, why: CapacityError) {
        let counter = match why {
            CapacityError::Full => &self.counters.refused_full,
            CapacityError::Address(_) => &self.counters.fairness.refused_address,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let now = roverline_source::clock::monotonic().as_millis() as u64;
        if self.capacity().reports_full(now) {
            let cause = format!("{client}: {}", self.full_message(why));
            self.events.record(EventKind::Full, &cause, EventDetails::default());
        }
    }

    /// A message that there is no slot, naming endpoints with free capacity.
    pub fn full_message(&self, why: CapacityError) -> String {
        let (clients, most) = (self.capacity().clients(), self.capacity().max_clients());
        let mut message = match why {
            CapacityError::Full => {
                format!("{clients} clients are connected, and {most} is all this endpoint takes")
            }
            CapacityError::Address(_) => why.to_string(),
        };
        let others = self.peers.with_capacity();
        if !others.is_empty() {
            let named = others.iter().map(|peer| format!("{} (port {})", peer.tier, peer.port));
            message += "; there is room at ";
            message += &named.collect::<Vec<_>>().join(", ");
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greediest_address_makes_room() {
        let at = |text: &str| ClientAddress::of(text.parse().unwrap());
        let (one, other) = (at("10.0.0.1"), at("10.0.0.2"));
        assert_eq!(
            newest_of_fullest(&[(1, one), (2, other), (3, one), (4, other), (5, one), (6, other), (7, one)]),
            Some(7)
        );
        assert_eq!(newest_of_fullest(&[(1, one), (2, one), (9, other)]), Some(2));
        assert_eq!(newest_of_fullest(&[]), None);
    }
}
