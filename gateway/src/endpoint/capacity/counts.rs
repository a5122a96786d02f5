//! The slots in use: how many, and whose.

use std::collections::BTreeMap;

use crate::connection::client_address::ClientAddress;
use crate::endpoint::capacity::{Holder, ProvenHolder};

/// The kind of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Standby,
}

impl Kind {
    pub(super) fn of_session(standby: bool) -> Kind {
        if standby { Kind::Standby } else { Kind::Client }
    }
}

/// Slots in use, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KindCounts {
    clients: usize,
    standbys: usize,
}

impl KindCounts {
    fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Client => self.clients,
            Kind::Standby => self.standbys,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Client => &mut self.clients,
            Kind::Standby => &mut self.standbys,
        }
    }
}

/// Slots in use: all, those of each address, and those of each identity with a reserve.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotCounts {
    all: KindCounts,
    by_address: BTreeMap<ClientAddress, KindCounts>,
    by_identity: BTreeMap<ProvenHolder, KindCounts>,
}

impl SlotCounts {
    /// All of a kind.
    pub(super) fn of(&self, kind: Kind) -> usize {
        self.all.of(kind)
    }

    pub(super) fn of_identity(&self, kind: Kind, proven: &ProvenHolder) -> usize {
        self.by_identity.get(proven).map_or(0, |counts| counts.of(kind))
    }

    pub(super) fn of_address(&self, kind: Kind, address: ClientAddress) -> usize {
        self.by_address.get(&address).map_or(0, |counts| counts.of(kind))
    }

    pub(super) fn take(&mut self, kind: Kind, holder: &Holder) {
        *self.all.of_mut(kind) += 1;
        *self.by_address.entry(holder.address).or_default().of_mut(kind) += 1;
        if let Some(proven) = &holder.proven {
            *self.by_identity.entry(proven.clone()).or_default().of_mut(kind) += 1;
        }
    }

    pub(super) fn give_back(&mut self, kind: Kind, holder: &Holder) {
        *self.all.of_mut(kind) -= 1;
        give_back_one(&mut self.by_address, &holder.address, kind);
        if let Some(proven) = &holder.proven {
            give_back_one(&mut self.by_identity, proven, kind);
        }
    }
}

/// Counts one slot less; whoever has none is forgotten.
fn give_back_one<K: Ord>(counts: &mut BTreeMap<K, KindCounts>, holder: &K, kind: Kind) {
    let Some(own) = counts.get_mut(holder) else { return };
    *own.of_mut(kind) -= 1;
    if *own == KindCounts::default() {
        counts.remove(holder);
    }
}
