//! The endpoint's session capacity: slots for clients, and slots for standbys. A standby belongs to a
//! client of another endpoint, costs little, and becomes a client when that endpoint is lost.
//!
//! Operators and commanders that showed a token have a reserve beyond these, and when that is full,
//! too, an observer makes room for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::connection::client_address::ClientAddress;

/// Standby sessions per endpoint, as a multiple of its clients: each client of the three other
/// endpoints may hold one here.
const STANDBYS_PER_CLIENT: usize = 4;
/// Overload factor for standbys that take over: rejecting clients that lost their endpoint would be
/// worse than exceeding the configured number of clients.
const FAILOVER_RESERVE_MULTIPLE: usize = 2;
/// Slots in reserve for operators and commanders with a token.
const TOKEN_RESERVE_SLOTS: usize = 8;
/// The share of the slots that one address may hold, in percent.
const ADDRESS_SHARE_PERCENT: usize = 80;
/// Interval at which an endpoint records that it rejects clients.
const FULL_EVENT_MS: u64 = 5_000;

/// The client that a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its address.
    pub address: ClientAddress,
    /// Whether it is an operator or a commander that showed a token.
    pub has_reserve: bool,
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

/// The kind of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Client,
    Standby,
}

#[derive(Default)]
struct SlotCounts {
    clients: usize,
    standbys: usize,
    by_address: HashMap<ClientAddress, (usize, usize)>,
}

impl SlotCounts {
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Client => &mut self.clients,
            Kind::Standby => &mut self.standbys,
        }
    }

    fn of_address(&mut self, kind: Kind, address: ClientAddress) -> &mut usize {
        let (clients, standbys) = self.by_address.entry(address).or_default();
        match kind {
            Kind::Client => clients,
            Kind::Standby => standbys,
        }
    }

    fn take(&mut self, kind: Kind, address: ClientAddress) {
        *self.count(kind) += 1;
        *self.of_address(kind, address) += 1;
    }

    fn give_back(&mut self, kind: Kind, address: ClientAddress) {
        *self.count(kind) -= 1;
        *self.of_address(kind, address) -= 1;
        if self.by_address.get(&address) == Some(&(0, 0)) {
            self.by_address.remove(&address);
        }
    }
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
        self.counts.lock().clients
    }

    /// The current number of standbys.
    pub fn standbys(&self) -> usize {
        self.counts.lock().standbys
    }

    /// Reserves a client's slot, which is released on drop.
    pub fn reserve(self: &Arc<Self>, holder: Holder) -> Result<SessionSlot, CapacityError> {
        self.take(Kind::Client, holder, 1)?;
        Ok(self.slot(Kind::Client, holder))
    }

    /// Reserves a standby's slot.
    pub fn reserve_standby(self: &Arc<Self>, holder: Holder) -> Result<SessionSlot, CapacityError> {
        self.take(Kind::Standby, holder, 1)?;
        Ok(self.slot(Kind::Standby, holder))
    }

    fn slot(self: &Arc<Self>, kind: Kind, holder: Holder) -> SessionSlot {
        let state = Mutex::new(SlotState { kind: Some(kind), resumed: false, holder });
        SessionSlot { capacity: self.clone(), may_stand_by: kind == Kind::Standby, state }
    }

    /// Takes a slot; `multiple` is an overload factor.
    fn take(&self, kind: Kind, holder: Holder, multiple: usize) -> Result<(), CapacityError> {
        let all = match kind {
            Kind::Client => self.max_clients.saturating_mul(multiple),
            Kind::Standby => self.max_clients.saturating_mul(STANDBYS_PER_CLIENT),
        };
        let reserve = if holder.has_reserve { TOKEN_RESERVE_SLOTS } else { 0 };
        let mut counts = self.counts.lock();
        if *counts.count(kind) >= all + reserve {
            return Err(CapacityError::Full);
        }
        let share = (all * ADDRESS_SHARE_PERCENT / 100).max(1);
        let is_bounded = !holder.has_reserve && !holder.address.is_loopback();
        if is_bounded && *counts.of_address(kind, holder.address) >= share {
            return Err(CapacityError::Address(share));
        }
        counts.take(kind, holder.address);
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

    /// Whether the session counts, and has no reserve: it makes room for one that has.
    pub(super) fn makes_room(&self, standby: bool) -> Option<ClientAddress> {
        let state = self.state.lock();
        let kind = if standby { Kind::Standby } else { Kind::Client };
        (state.kind == Some(kind) && !state.holder.has_reserve).then_some(state.holder.address)
    }

    /// Gives the slot up before the session has ended.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        if let Some(kind) = state.kind.take() {
            self.capacity.counts.lock().give_back(kind, state.holder.address);
            self.capacity.released.notify_waiters();
        }
    }

    /// Grants the reserve to a client that showed its token during the session.
    pub fn grant_reserve(&self) {
        self.state.lock().holder.has_reserve = true;
    }

    /// Whether it may use the reserve.
    pub(super) fn has_reserve(&self) -> bool {
        self.state.lock().holder.has_reserve
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
        self.capacity.take(Kind::Client, state.holder, multiple)?;
        state.kind = Some(Kind::Client);
        self.capacity.counts.lock().give_back(Kind::Standby, state.holder.address);
        Ok(())
    }

    /// Turns a client that started as a standby back into one.
    pub fn become_standby(&self) {
        let mut state = self.state.lock();
        if !self.may_stand_by || state.kind != Some(Kind::Client) {
            return;
        }
        if self.capacity.take(Kind::Standby, state.holder, 1).is_ok() {
            state.kind = Some(Kind::Standby);
            self.capacity.counts.lock().give_back(Kind::Client, state.holder.address);
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

    fn holder(address: &str, has_reserve: bool) -> Holder {
        Holder { address: ClientAddress::of(address.parse().unwrap()), has_reserve }
    }

    #[test]
    fn a_resuming_standby_may_use_the_reserve() {
        let (capacity, guest) = (Capacity::new(1), holder("127.0.0.1", false));
        let client = capacity.reserve(guest).ok().unwrap();
        assert_eq!(capacity.reserve(guest).err(), Some(CapacityError::Full));
        let standby = capacity.reserve_standby(guest).ok().unwrap();
        assert_eq!(standby.become_client(), Err(CapacityError::Full));
        standby.mark_resumed();
        standby.become_client().unwrap();
        assert_eq!((capacity.clients(), capacity.standbys()), (2, 0));
        standby.become_standby();
        client.become_standby();
        assert_eq!((capacity.clients(), capacity.standbys()), (1, 1));
    }

    #[test]
    fn a_token_has_a_reserve_and_an_address_has_a_share() {
        let capacity = Capacity::new(10);
        let guest = holder("10.0.0.1", false);
        let mut all: Vec<_> = (0..8).map(|_| capacity.reserve(guest).ok().unwrap()).collect();
        assert_eq!(capacity.reserve(guest).err(), Some(CapacityError::Address(8)));
        all.extend((0..2).map(|_| capacity.reserve(holder("10.0.0.2", false)).ok().unwrap()));
        assert_eq!(capacity.reserve(holder("10.0.0.3", false)).err(), Some(CapacityError::Full));
        let token = holder("10.0.0.1", true);
        all.extend((0..TOKEN_RESERVE_SLOTS).map(|_| capacity.reserve(token).ok().unwrap()));
        assert_eq!(capacity.reserve(token).err(), Some(CapacityError::Full));
        all[0].give_up();
        all.push(capacity.reserve(token).ok().unwrap());
        drop(all);
        assert_eq!((capacity.clients(), capacity.counts.lock().by_address.len()), (0, 0));
    }

    #[test]
    fn a_token_shown_during_the_session_counts() {
        let (capacity, guest) = (Capacity::new(1), holder("10.0.0.1", false));
        let _client = capacity.reserve(guest).ok().unwrap();
        let standby = capacity.reserve_standby(guest).ok().unwrap();
        assert!(standby.become_client().is_err());
        standby.grant_reserve();
        standby.become_client().unwrap();
        assert_eq!((standby.makes_room(false), standby.has_reserve()), (None, true));
    }

    #[tokio::test]
    async fn the_last_release_is_noticed() {
        let capacity = Capacity::new(2);
        let guest = holder("127.0.0.1", false);
        let client = capacity.reserve(guest).ok().unwrap();
        let standby = capacity.reserve_standby(guest).ok().unwrap();
        let mut empty = Box::pin(capacity.wait_empty());
        drop(client);
        capacity.wait_without_clients().await;
        assert!(futures_util::poll!(&mut empty).is_pending());
        drop(standby);
        empty.await;
    }
}
