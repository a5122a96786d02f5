//! Admission of sessions to an endpoint's slots: on a full endpoint, another session makes room for an operator or a
//! commander.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roverline_protocol::status::EventKind;

use crate::endpoint::Endpoint;
use crate::endpoint::capacity::{CapacityError, Holder, ProvenHolder, SessionSlot};
use crate::endpoint::events::EventDetails;
use crate::endpoint::eviction;
use crate::endpoint::sessions::SessionInfo;

impl Endpoint {
    /// Reserves a client's slot, or a standby's.
    pub fn reserve_slot(&self, standby: bool, holder: &Holder) -> Result<SessionSlot, CapacityError> {
        let taken = match standby {
            true => self.capacity().reserve_standby(holder),
            false => self.capacity().reserve(holder),
        };
        match taken {
            Err(CapacityError::Full) if self.make_room(standby, holder.proven.as_ref()) => {
                Ok(self.capacity().reserve_freed(standby, holder))
            }
            taken => taken,
        }
    }

    /// Turns a standby into a client.
    pub fn become_client(&self, slot: &SessionSlot) -> Result<(), CapacityError> {
        match slot.become_client() {
            Err(CapacityError::Full) if self.make_room(false, slot.proven().as_ref()) => {
                slot.become_client_in_freed();
                Ok(())
            }
            done => done,
        }
    }

    /// Ends a session for one of this identity, if it may take the slot of any. The slot is free at once.
    fn make_room(&self, standby: bool, entrant: Option<&ProvenHolder>) -> bool {
        let Some(entrant) = entrant else { return false };
        let sessions = self.sessions();
        let holder_of = |session: &Arc<SessionInfo>| session.slot().counted_holder(standby);
        let holders: Vec<_> =
            sessions.iter().filter_map(|session| Some((session.id, holder_of(session)?))).collect();
        let chosen = eviction::choose(&holders, entrant, self.capacity().held_by(standby, entrant));
        let Some(session) = sessions.iter().find(|session| Some(session.id) == chosen) else { return false };
        session.evict();
        self.counters.fairness.evicted_sessions.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            session = session.id,
            client = session.client(),
            holder = session.identity().name,
            entrant = &*entrant.name,
            "closed to make room"
        );
        true
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
    use roverline_protocol::Tier;

    use super::*;
    use crate::access::{Identity, Peer, Role};
    use crate::config::SourceKind;
    use crate::connection::client_address::ClientAddress;
    use crate::connection::outbox::Outbox;
    use crate::dialect::foxglove::tests::harness::Harness;
    use crate::dialect::native;
    use crate::endpoint::sessions::SessionRegistration;

    /// Opens a session of this identity.
    fn open(endpoint: &Arc<Endpoint>, role: Role, name: &str) -> Result<SessionRegistration, CapacityError> {
        let identity = Identity { role, name: name.to_owned(), ..Identity::default() };
        let peer = Peer::direct("127.0.0.1:1".parse().unwrap());
        let holder = Holder { address: ClientAddress::of(peer.ip()), proven: ProvenHolder::of(&identity) };
        let slot = endpoint.reserve_slot(false, &holder)?;
        let (id, outbox) = (endpoint.next_session_id(), Outbox::new());
        let session = SessionInfo::new(id, peer, native::DIALECT, identity, outbox, slot);
        Ok(endpoint.register(Arc::new(session)))
    }

    /// The slots that a name holds.
    fn held(endpoint: &Endpoint, role: Role, name: &str) -> usize {
        endpoint.capacity().held_by(false, &ProvenHolder { role, name: name.into() })
    }

    #[tokio::test]
    async fn no_token_keeps_others_out() {
        use Role::{Commander, Observer, Operator};
        let harness = Harness::new(Tier::Primary, Observer, SourceKind::Dds).await;
        let endpoint = &harness.endpoint;
        let mut open_sessions = vec![open(endpoint, Observer, "").ok().unwrap()];
        // The slots of everybody, the reserve, and that of the observer.
        while let Ok(session) = open(endpoint, Operator, "eve") {
            open_sessions.push(session);
        }
        let all = endpoint.capacity().clients();
        assert_eq!(held(endpoint, Operator, "eve"), all);
        let evicted = || endpoint.counters.fairness.evicted_sessions.load(Ordering::Relaxed);
        assert_eq!(evicted(), 1, "the observer");
        while let Ok(session) = open(endpoint, Operator, "ada") {
            open_sessions.push(session);
        }
        assert_eq!(held(endpoint, Operator, "ada"), all / 2, "a fair share");
        assert_eq!(open(endpoint, Operator, "eve").err(), Some(CapacityError::Full));
        while let Ok(session) = open(endpoint, Commander, "bob") {
            open_sessions.push(session);
        }
        let most = endpoint.capacity().clients();
        assert!(most > all, "a commander has a reserve of its own");
        assert_eq!(held(endpoint, Commander, "bob"), most);
        assert_eq!(open(endpoint, Operator, "ada").err(), Some(CapacityError::Full));
        open_sessions.push(open(endpoint, Commander, "joe").ok().unwrap());
        assert_eq!((held(endpoint, Commander, "joe"), endpoint.capacity().clients()), (1, most));
        assert_eq!(evicted(), 1 + all as u64 / 2 + all as u64 + 1);
    }
}
