//! Who has a place: clients, and the standbys of clients of other endpoints, which cost little and
//! become clients when they have lost theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use roverline_protocol::limits;
use roverline_protocol::status::EventKind;

use crate::endpoint::{Endpoint, Facts};

/// The places that are taken.
#[derive(Default)]
pub(crate) struct Places {
    clients: AtomicUsize,
    standbys: AtomicUsize,
    /// When it was last noted that the endpoint is full, milliseconds (monotonic) and one.
    noted_ms: AtomicU64,
}

/// Takes one of `most`, if there is one.
fn take(places: &AtomicUsize, most: usize) -> bool {
    places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).is_ok()
}

impl Endpoint {
    /// Clients now, those in the middle of their handshake included; not the standbys.
    pub fn clients(&self) -> usize {
        self.places.clients.load(Ordering::Relaxed)
    }

    /// Sessions that only stand by.
    pub fn standbys(&self) -> usize {
        self.places.standbys.load(Ordering::Relaxed)
    }

    /// Reserves a place for a client; `None` when all are taken. It is free again when dropped.
    pub fn reserve(self: &Arc<Self>) -> Option<Place> {
        take(&self.places.clients, self.max_clients).then(|| self.place(false))
    }

    /// Reserves a place for a session that only stands by.
    pub fn reserve_standby(self: &Arc<Self>) -> Option<Place> {
        take(&self.places.standbys, self.max_standbys()).then(|| self.place(true))
    }

    fn place(self: &Arc<Self>, standby: bool) -> Place {
        Place {
            endpoint: self.clone(),
            may_stand_by: standby,
            standby: AtomicBool::new(standby),
            resumed: AtomicBool::new(false),
        }
    }

    fn max_standbys(&self) -> usize {
        self.max_clients.saturating_mul(limits::STANDBYS_PER_CLIENT)
    }

    /// Counts somebody who was turned away, and notes it now and then.
    pub fn turned_away(&self, who: &str) {
        self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
        let now = roverline_source::clock::monotonic().as_millis() as u64;
        let noted = self.places.noted_ms.load(Ordering::Relaxed);
        if noted == 0 || now + 1 - noted >= limits::FULL_EVENT_MS {
            self.places.noted_ms.store(now + 1, Ordering::Relaxed);
            let cause = format!("{who}: {}", self.full_sentence());
            self.events.note(EventKind::Full, &cause, Facts::default());
        }
    }

    /// That there is no room, and where there is.
    pub fn full_sentence(&self) -> String {
        let mut sentence = format!(
            "{} clients are connected, and {} is all this endpoint takes",
            self.clients(),
            self.max_clients
        );
        let others = self.peers.with_room();
        if !others.is_empty() {
            let named = others.iter().map(|peer| format!("{} (port {})", peer.tier, peer.port));
            sentence += "; there is room at ";
            sentence += &named.collect::<Vec<_>>().join(", ");
        }
        sentence
    }
}

/// A session's place, among the clients or the standbys. It is free again when dropped.
pub struct Place {
    endpoint: Arc<Endpoint>,
    may_stand_by: bool,
    standby: AtomicBool,
    resumed: AtomicBool,
}

impl Place {
    /// Whether the session only stands by.
    pub fn is_standby(&self) -> bool {
        self.standby.load(Ordering::Relaxed)
    }

    /// The client has lost its endpoint, and goes on here.
    pub fn resumed(&self) {
        self.resumed.store(true, Ordering::Relaxed);
    }

    /// Makes a standby a client; false when there is no room. Who resumed has a reserve.
    pub fn become_client(&self) -> bool {
        if !self.is_standby() {
            return true;
        }
        let reserve =
            if self.resumed.load(Ordering::Relaxed) { limits::FAILOVER_RESERVE_MULTIPLE } else { 1 };
        if !take(&self.endpoint.places.clients, self.endpoint.max_clients.saturating_mul(reserve)) {
            return false;
        }
        self.standby.store(false, Ordering::Relaxed);
        self.endpoint.places.standbys.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Makes a client that came as a standby one again.
    pub fn become_standby(&self) {
        if !self.may_stand_by || self.is_standby() {
            return;
        }
        if take(&self.endpoint.places.standbys, self.endpoint.max_standbys()) {
            self.standby.store(true, Ordering::Relaxed);
            self.endpoint.places.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.endpoint.places;
        let pool = if self.is_standby() { &places.standbys } else { &places.clients };
        pool.fetch_sub(1, Ordering::Relaxed);
    }
}
