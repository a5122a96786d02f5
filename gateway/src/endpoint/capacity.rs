//! The endpoint's session capacity: slots for clients, and slots for standbys. A standby belongs to a
//! client of another endpoint, costs little, and becomes a client when that endpoint is lost.
//!
//! Operators that showed a token have a reserve beyond these, and commanders a further one. When those are full,
//! too, another session makes room for them (`eviction.rs`).

mod counts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::access::{Identity, Role};
use crate::connection::client_address::ClientAddress;
use crate::endpoint::capacity::counts::{Kind, SlotCounts};

/// Standby sessions per endpoint, as a multiple of its clients: each client of the three other
/// endpoints may hold one here.
const STANDBYS_PER_CLIENT: usize = 4;
/// Overload factor for standbys that take over: rejecting clients that lost their endpoint would be
/// worse than exceeding the configured number of clients.
const FAILOVER_RESERVE_MULTIPLE: usize = 2;
/// Slots in reserve for operators and commanders with a token.
const OPERATOR_RESERVE_SLOTS: usize = 8;
/// Further slots in reserve, for commanders with a token.
const COMMANDER_RESERVE_SLOTS: usize = 4;
/// The share of the slots that one address may hold, in percent.
const ADDRESS_SHARE_PERCENT: usize = 80;
/// Interval at which an endpoint records that it rejects clients.
const FULL_EVENT_MS: u64 = 5_000;

/// An operator or a commander that showed a token or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProvenHolder {
    /// Its role.
    pub role: Role,
    /// The name that belongs to its token.
    pub name: Arc<str>,
}

impl ProvenHolder {
    /// The holder of an identity with a reserve; `None` for an observer and for one without a token.
    pub fn of(identity: &Identity) -> Option<ProvenHolder> {
        let is_proven = identity.role >= Role::Operator && !identity.name.is_empty();
        is_proven.then(|| ProvenHolder { role: identity.role, name: identity.name.as_str().into() })
    }
}

/// The client that a slot is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its address.
    pub address: ClientAddress,
    /// Who it is, if it has a reserve.
    pub proven: Option<ProvenHolder>,
}

impl Holder {
    /// Slots beyond those of everybody that it may use.
    fn reserve(&self) -> usize {
        match self.proven.as_ref().map(|proven| proven.role) {
            Some(Role::Commander) => OPERATOR_RESERVE_SLOTS + COMMANDER_RESERVE_SLOTS,
            Some(Role::Operator) => OPERATOR_RESERVE_SLOTS,
            Some(Role::Observer) | None => 0,
        }
    }
}

/// Reasons why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// All are taken.
    #[error("all slots are taken")]
    Full,
    /// The client's address holds its share.
    #[error("your address holds {0} of the endpoint's slots, and one address may have no more: close some")]
    Address(usize),
}

/// The slots of an endpoint and how many of them are in use.
pub struct Capacity {
    max_clients: usize,
    counts: Mutex<SlotCounts>,
    released: Notify,
    /// When the endpoint was last reported as full, in milliseconds (monotonic) plus one.
    reported_full_ms: AtomicU64,
}

impl Capacity {
    /// Slots for this many clients.
    pub fn new(max_clients: usize) -> Arc<Capacity> {
        Arc::new(Capacity {
            max_clients,
            counts: Mutex::default(),
            released: Notify::new(),
            reported_full_ms: AtomicU64::new(0),
        })
    }

    /// Maximum number of clients.
    pub fn max_clients(&self) -> usize {
        self.max_clients
    }

    /// The current number of clients, including connections in their handshake, without standbys.
    pub fn clients(&self) -> usize {
        self.counts.lock().of(Kind::Client)
    }

    /// The current number of standbys.
    pub fn standbys(&self) -> usize {
        self.counts.lock().of(Kind::Standby)
    }

    /// The slots that an identity with a reserve holds, including connections in their handshake.
    pub(super) fn held_by(&self, standby: bool, proven: &ProvenHolder) -> usize {
        self.counts.lock().of_identity(Kind::of_session(standby), proven)
    }

    /// Reserves a client's slot, which is released on drop.
    pub fn reserve(self: &Arc<Self>, holder: &Holder) -> Result<SessionSlot, CapacityError> {
        self.take(Kind::Client, holder, 1)?;
        Ok(self.slot(Kind::Client, holder))
    }

    /// Reserves a standby's slot.
    pub fn reserve_standby(self: &Arc<Self>, holder: &Holder) -> Result<SessionSlot, CapacityError> {
        self.take(Kind::Standby, holder, 1)?;
        Ok(self.slot(Kind::Standby, holder))
    }

    /// Reserves the slot that another session has given up for this holder.
    pub(super) fn reserve_freed(self: &Arc<Self>, standby: bool, holder: &Holder) -> SessionSlot {
        let kind = Kind::of_session(standby);
        self.counts.lock().take(kind, holder);
        self.slot(kind, holder)
    }

    fn slot(self: &Arc<Self>, kind: Kind, holder: &Holder) -> SessionSlot {
        let state = Mutex::new(SlotState { kind: Some(kind), resumed: false, holder: holder.clone() });
        SessionSlot { capacity: self.clone(), may_stand_by: kind == Kind::Standby, state }
    }

    /// Takes a slot; `multiple` is an overload factor.
    fn take(&self, kind: Kind, holder: &Holder, multiple: usize) -> Result<(), CapacityError> {
        let all = match kind {
            Kind::Client => self.max_clients.saturating_mul(multiple),
            Kind::Standby => self.max_clients.saturating_mul(STANDBYS_PER_CLIENT),
        };
        let mut counts = self.counts.lock();
        if counts.of(kind) >= all + holder.reserve() {
            return Err(CapacityError::Full);
        }
        let share = (all * ADDRESS_SHARE_PERCENT / 100).max(1);
        let is_bounded = holder.proven.is_none() && !holder.address.is_loopback();
        if is_bounded && counts.of_address(kind, holder.address) >= share {
            return Err(CapacityError::Address(share));
        }
        counts.take(kind, holder);
        Ok(())
    }

    /// Whether a rejection at `now_ms` (monotonic) is to be reported; true at a limited rate.
    pub(super) fn reports_full(&self, now_ms: u64) -> bool {
        let reported = self.reported_full_ms.load(Ordering::Relaxed);
        let is_due = reported == 0 || now_ms + 1 - reported >= FULL_EVENT_MS;
        if is_due {
            self.reported_full_ms.store(now_ms + 1, Ordering::Relaxed);
        }
        is_due
    }

    /// Waits until there are no clients.
    pub async fn wait_without_clients(&self) {
        self.wait_until(|| self.clients() == 0).await;
    }

    /// Waits until there are neither clients nor standbys.
    pub async fn wait_empty(&self) {
        self.wait_until(|| self.clients() + self.standbys() == 0).await;
    }

    async fn wait_until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Registered before the condition is checked, so that no release is missed.
            released.as_mut().enable();
            if condition() {
                return;
            }
            released.await;
        }
    }
}

struct SlotState {
    /// `None`: the slot was given up, and the session is about to end.
    kind: Option<Kind>,
    resumed: bool,
    holder: Holder,
}

/// A session's slot among the clients or the standbys, released on drop.
pub struct SessionSlot {
    capacity: Arc<Capacity>,
    may_stand_by: bool,
    state: Mutex<SlotState>,
}

impl SessionSlot {
    /// Whether the session is a standby.
    pub fn is_standby(&self) -> bool {
        self.state.lock().kind == Some(Kind::Standby)
    }

    /// Whose slot it is, if it counts among the standbys or the clients: so it may make room for another one.
    pub(super) fn counted_holder(&self, standby: bool) -> Option<Holder> {
        let state = self.state.lock();
        (state.kind == Some(Kind::of_session(standby))).then(|| state.holder.clone())
    }

    /// Gives the slot up before the session has ended.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        if let Some(kind) = state.kind.take() {
            self.capacity.counts.lock().give_back(kind, &state.holder);
            self.capacity.released.notify_waiters();
        }
    }

    /// Counts the slot as one of the identity that the client proved during the session.
    pub fn set_proven(&self, proven: Option<ProvenHolder>) {
        let mut state = self.state.lock();
        let holder = Holder { address: state.holder.address, proven };
        if let Some(kind) = state.kind {
            let mut counts = self.capacity.counts.lock();
            counts.give_back(kind, &state.holder);
            counts.take(kind, &holder);
        }
        state.holder = holder;
    }

    /// Who its client is, if it has a reserve.
    pub(super) fn proven(&self) -> Option<ProvenHolder> {
        self.state.lock().holder.proven.clone()
    }

    /// Records that the client resumed here after losing its endpoint.
    pub fn mark_resumed(&self) {
        self.state.lock().resumed = true;
    }

    /// Turns a standby into a client. Resuming clients may use a reserve.
    pub fn become_client(&self) -> Result<(), CapacityError> {
        let mut state = self.state.lock();
        if state.kind != Some(Kind::Standby) {
            return Ok(());
        }
        let multiple = if state.resumed { FAILOVER_RESERVE_MULTIPLE } else { 1 };
        self.capacity.take(Kind::Client, &state.holder, multiple)?;
        state.kind = Some(Kind::Client);
        self.capacity.counts.lock().give_back(Kind::Standby, &state.holder);
        Ok(())
    }

    /// Turns a standby into a client, in the slot that another client has given up for it.
    pub(super) fn become_client_in_freed(&self) {
        let mut state = self.state.lock();
        if state.kind == Some(Kind::Standby) {
            state.kind = Some(Kind::Client);
            let mut counts = self.capacity.counts.lock();
            counts.take(Kind::Client, &state.holder);
            counts.give_back(Kind::Standby, &state.holder);
        }
    }

    /// Turns a client that started as a standby back into one.
    pub fn become_standby(&self) {
        let mut state = self.state.lock();
        if !self.may_stand_by || state.kind != Some(Kind::Client) {
            return;
        }
        if self.capacity.take(Kind::Standby, &state.holder, 1).is_ok() {
            state.kind = Some(Kind::Standby);
            self.capacity.counts.lock().give_back(Kind::Client, &state.holder);
            self.capacity.released.notify_waiters();
        }
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(address: &str) -> Holder {
        Holder { address: ClientAddress::of(address.parse().unwrap()), proven: None }
    }

    fn proven(role: Role, name: &str) -> Holder {
        let identity = Identity { role, name: name.to_owned(), ..Identity::default() };
        Holder { proven: ProvenHolder::of(&identity), ..guest("10.0.0.1") }
    }

    #[test]
    fn a_resuming_standby_may_use_the_reserve() {
        let (capacity, guest) = (Capacity::new(1), guest("127.0.0.1"));
        let client = capacity.reserve(&guest).ok().unwrap();
        assert_eq!(capacity.reserve(&guest).err(), Some(CapacityError::Full));
        let standby = capacity.reserve_standby(&guest).ok().unwrap();
        assert_eq!(standby.become_client(), Err(CapacityError::Full));
        standby.mark_resumed();
        standby.become_client().unwrap();
        assert_eq!((capacity.clients(), capacity.standbys()), (2, 0));
        standby.become_standby();
        client.become_standby();
        assert_eq!((capacity.clients(), capacity.standbys()), (1, 1));
    }

    #[test]
    fn each_role_has_a_reserve_and_an_address_has_a_share() {
        let capacity = Capacity::new(10);
        let one = guest("10.0.0.1");
        let mut all: Vec<_> = (0..8).map(|_| capacity.reserve(&one).ok().unwrap()).collect();
        assert_eq!(capacity.reserve(&one).err(), Some(CapacityError::Address(8)));
        all.extend((0..2).map(|_| capacity.reserve(&guest("10.0.0.2")).ok().unwrap()));
        assert_eq!(capacity.reserve(&guest("10.0.0.3")).err(), Some(CapacityError::Full));
        let (operator, commander) = (proven(Role::Operator, "ada"), proven(Role::Commander, "bob"));
        all.extend((0..OPERATOR_RESERVE_SLOTS).map(|_| capacity.reserve(&operator).ok().unwrap()));
        assert_eq!(capacity.reserve(&operator).err(), Some(CapacityError::Full), "somebody has to make room");
        all.extend((0..COMMANDER_RESERVE_SLOTS).map(|_| capacity.reserve(&commander).ok().unwrap()));
        assert_eq!(capacity.reserve(&commander).err(), Some(CapacityError::Full));
        all[0].give_up();
        assert_eq!(capacity.reserve(&operator).err(), Some(CapacityError::Full), "commanders use more");
        all.push(capacity.reserve(&commander).ok().unwrap());
        let held = |holder: &Holder| capacity.held_by(false, holder.proven.as_ref().unwrap());
        let commanders = COMMANDER_RESERVE_SLOTS + 1;
        assert_eq!((held(&operator), held(&commander)), (OPERATOR_RESERVE_SLOTS, commanders));
        all[1].give_up();
        let before = capacity.clients();
        all.push(capacity.reserve_freed(false, &operator));
        assert_eq!((capacity.clients(), held(&operator)), (before + 1, OPERATOR_RESERVE_SLOTS + 1));
        drop(all);
        assert_eq!(*capacity.counts.lock(), SlotCounts::default(), "nobody is remembered");
    }

    #[test]
    fn a_token_shown_during_the_session_counts() {
        let (capacity, guest) = (Capacity::new(1), guest("10.0.0.1"));
        let _client = capacity.reserve(&guest).ok().unwrap();
        let standby = capacity.reserve_standby(&guest).ok().unwrap();
        assert!(standby.become_client().is_err());
        let ada = proven(Role::Operator, "ada").proven;
        standby.set_proven(ada.clone());
        let held = |standby| capacity.held_by(standby, ada.as_ref().unwrap());
        assert_eq!((held(false), held(true)), (0, 1));
        standby.become_client().unwrap();
        assert_eq!((held(false), held(true)), (1, 0));
        assert_eq!((standby.counted_holder(true), standby.proven()), (None, ada.clone()));
        standby.set_proven(None);
        assert_eq!((held(false), standby.proven()), (0, None), "an observer's token takes its place");
    }

    #[test]
    fn only_operators_and_commanders_with_a_token_have_a_reserve() {
        assert_eq!(proven(Role::Observer, "ada").proven, None);
        assert_eq!(proven(Role::Commander, "").proven, None, "the role of its computer");
        assert_eq!(&*proven(Role::Operator, "ada").proven.unwrap().name, "ada");
    }

    #[tokio::test]
    async fn the_last_release_is_noticed() {
        let capacity = Capacity::new(2);
        let guest = guest("127.0.0.1");
        let client = capacity.reserve(&guest).ok().unwrap();
        let standby = capacity.reserve_standby(&guest).ok().unwrap();
        let mut empty = Box::pin(capacity.wait_empty());
        drop(client);
        capacity.wait_without_clients().await;
        assert!(futures_util::poll!(&mut empty).is_pending());
        drop(standby);
        empty.await;
    }
}
