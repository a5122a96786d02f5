//! Which session makes room for an operator or a commander on a full endpoint. Pure.
//!
//! An observer makes room first. Without observers, a commander takes the slot of an operator, and identities of the
//! same role share the slots: whoever has most gives one to whoever has fewer. Nobody takes one of a higher role.

use std::collections::BTreeMap;

use crate::access::Role;
use crate::endpoint::capacity::{Holder, ProvenHolder};

/// Sessions that an identity may hold beyond those of another one without making room for it. With none, two
/// clients that connect again at once would evict each other for ever.
const SHARE_MARGIN_SESSIONS: usize = 1;

/// The session that makes room for a holder who has `held` sessions. `sessions` come with whose they are.
pub(super) fn choose(sessions: &[(u64, Holder)], entrant: &ProvenHolder, held: usize) -> Option<u64> {
    let observers = sessions.iter().filter(|(_, holder)| holder.proven.is_none());
    let observer = newest_of_fullest(observers.map(|(id, holder)| (*id, holder.address)));
    let of_role = |role: Role| {
        let proven = sessions.iter().filter_map(|(id, holder)| Some((*id, holder.proven.as_ref()?)));
        proven.filter(move |(_, proven)| proven.role == role)
    };
    let of_lower_role = || match entrant.role {
        Role::Commander => newest_of_fullest(of_role(Role::Operator)),
        Role::Operator | Role::Observer => None,
    };
    let of_own_role = || {
        let others = of_role(entrant.role).filter(|(_, proven)| *proven != entrant);
        newest_of_fullest(others).filter(|fullest| fullest.count > held + SHARE_MARGIN_SESSIONS)
    };
    observer.or_else(of_lower_role).or_else(of_own_role).map(|fullest| fullest.newest)
}

/// Whoever holds most sessions: their number, and the newest one. The newest has lost least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fullest {
    count: usize,
    newest: u64,
}

/// The one that holds most of these sessions, each of which comes with who holds it.
fn newest_of_fullest<K: Ord>(sessions: impl Iterator<Item = (u64, K)>) -> Option<Fullest> {
    let mut all: BTreeMap<K, Fullest> = BTreeMap::new();
    for (id, holder) in sessions {
        let own = all.entry(holder).or_default();
        own.count += 1;
        own.newest = own.newest.max(id);
    }
    all.into_values().max()
}

#[cfg(test)]
mod tests {
    use Role::{Commander, Operator};

    use super::*;
    use crate::connection::client_address::ClientAddress;

    fn proven(role: Role, name: &str) -> ProvenHolder {
        ProvenHolder { role, name: name.into() }
    }

    fn observer(id: u64, address: &str) -> (u64, Holder) {
        (id, Holder { address: ClientAddress::of(address.parse().unwrap()), proven: None })
    }

    fn session(id: u64, role: Role, name: &str) -> (u64, Holder) {
        let (id, holder) = observer(id, "10.0.0.9");
        (id, Holder { proven: Some(proven(role, name)), ..holder })
    }

    #[test]
    fn the_observers_of_the_greediest_address_make_room_first() {
        let (one, other) = ("10.0.0.1", "10.0.0.2");
        let equal = [(1, one), (2, other), (3, one), (4, other), (5, one), (6, other), (7, one)];
        for (sessions, chosen) in [(&equal[..], 7), (&[(1, one), (2, one), (9, other)][..], 2)] {
            let mut all: Vec<_> = sessions.iter().map(|(id, address)| observer(*id, address)).collect();
            all.extend((20..30).map(|id| session(id, Operator, "eve")));
            for role in [Operator, Commander] {
                assert_eq!(choose(&all, &proven(role, "ada"), 0), Some(chosen), "{role:?}");
            }
        }
        assert_eq!(choose(&[], &proven(Commander, "ada"), 0), None);
    }

    #[test]
    fn operators_share_the_slots() {
        let mut all: Vec<_> = (1..=4).map(|id| session(id, Operator, "eve")).collect();
        all.push(session(9, Operator, "bob"));
        let held = |held| choose(&all, &proven(Operator, "ada"), held);
        assert_eq!([held(0), held(2), held(3), held(4)], [Some(4), Some(4), None, None]);
        assert_eq!(choose(&all, &proven(Operator, "eve"), 4), None, "it has most already");
    }

    #[test]
    fn a_commander_gets_an_operators_slot_and_an_operator_never_a_commanders() {
        let commanders: Vec<_> = (1..=20).map(|id| session(id, Commander, "eve")).collect();
        assert_eq!(choose(&commanders, &proven(Operator, "ada"), 0), None);
        let mut all = commanders.clone();
        all.extend([
            session(31, Operator, "bob"),
            session(32, Operator, "bob"),
            session(33, Operator, "joe"),
        ]);
        assert_eq!(choose(&all, &proven(Commander, "eve"), 20), Some(32), "however many it has");
        assert_eq!(choose(&all, &proven(Operator, "ada"), 0), Some(32));
        // Only commanders are left.
        assert_eq!(choose(&commanders, &proven(Commander, "ada"), 18), Some(20));
        assert_eq!(choose(&commanders, &proven(Commander, "ada"), 19), None);
        assert_eq!(choose(&commanders, &proven(Commander, "eve"), 20), None);
    }
}
