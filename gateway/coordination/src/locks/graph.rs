//! Deadlock detection on the wait-for graph. A client waits for every client ahead of it in a queue; a
//! cycle of such waits never ends (Coffman et al., "System Deadlocks", 1971).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::client::Client;
use crate::locks::LockMode;
use crate::locks::queue::{Waiter, holders};

/// Deadlocks reported at once.
const LOCK_DEADLOCK_ENTRIES: usize = 100;

type Waits<'a> = BTreeMap<Client<'a>, BTreeSet<Client<'a>>>;

/// The wait-for edges by client. Only direct edges are listed; transitive ones follow from them, so a
/// long queue has as many edges as clients.
fn waits(all: &[Waiter]) -> Waits<'_> {
    let mut queues: BTreeMap<&str, Vec<&Waiter>> = BTreeMap::new();
    for waiter in all {
        queues.entry(&waiter.resource).or_default().push(waiter);
    }
    let mut waits = Waits::new();
    for queue in queues.values() {
        let holding = holders(queue).len();
        for (place, waiter) in queue.iter().enumerate().skip(holding) {
            let ahead = directly_ahead(&queue[..place], waiter.record.mode);
            waits.entry(waiter.client()).or_default().extend(ahead.iter().map(|other| other.client()));
        }
    }
    waits
}

/// The waiters directly ahead of a client that joins this queue: for a shared request the last
/// exclusive one, for an exclusive request all shared ones behind that, or that one.
fn directly_ahead<'a, 'b>(queue: &'b [&'a Waiter], mode: LockMode) -> &'b [&'a Waiter] {
    let exclusive = queue.iter().rposition(|waiter| waiter.record.mode == LockMode::Exclusive);
    let shared = exclusive.map_or(0, |last| last + 1);
    match (mode, exclusive) {
        (LockMode::Exclusive, _) if shared < queue.len() => &queue[shared..],
        (_, Some(last)) => &queue[last..=last],
        (_, None) => &[],
    }
}

/// The cycle that would close if the client requested the resource now, beginning and ending with the
/// client. The client is the youngest member: all others were waiting before.
pub(super) fn cycle_through(
    all: &[Waiter],
    resource: &str,
    client: Client<'_>,
    mode: LockMode,
) -> Option<Vec<String>> {
    // Nothing waits for a client that has no entry yet.
    if all.iter().all(|waiter| waiter.client() != client) {
        return None;
    }
    let queue: Vec<&Waiter> = all.iter().filter(|waiter| waiter.resource == resource).collect();
    let ahead = directly_ahead(&queue, mode).iter().map(|waiter| waiter.client());
    let path = path(&waits(all), ahead, client)?;
    Some(names(std::iter::once(client).chain(path)))
}

/// Every client that is part of a cycle, each cycle once.
pub(super) fn cycles(all: &[Waiter]) -> Vec<Vec<String>> {
    let mut waits = waits(all);
    // A client that waits for no other is in no cycle. Remove such clients until every remaining one waits.
    loop {
        let known: BTreeSet<Client<'_>> = waits.keys().copied().collect();
        let before = waits.len();
        waits.retain(|_, ahead| {
            ahead.retain(|other| known.contains(other));
            !ahead.is_empty()
        });
        if waits.len() == before {
            break;
        }
    }
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for client in waits.keys().copied() {
        if seen.contains(&client) || found.len() >= LOCK_DEADLOCK_ENTRIES {
            continue;
        }
        if let Some(circle) = path(&waits, waits[&client].iter().copied(), client) {
            seen.extend(circle.iter().copied());
            found.push(names(circle));
        }
    }
    found
}

/// The clients' names, for people.
fn names<'a>(clients: impl IntoIterator<Item = Client<'a>>) -> Vec<String> {
    clients.into_iter().map(|client| client.name.to_owned()).collect()
}

/// A shortest path from one of several clients to another, both included.
fn path<'a>(
    waits: &Waits<'a>,
    from: impl Iterator<Item = Client<'a>>,
    to: Client<'_>,
) -> Option<Vec<Client<'a>>> {
    let mut next: VecDeque<Client<'_>> = from.collect();
    let mut came_from: BTreeMap<Client<'_>, Option<Client<'_>>> =
        next.iter().map(|first| (*first, None)).collect();
    while let Some(client) = next.pop_front() {
        if client == to {
            let mut way = vec![client];
            let mut at = client;
            while let Some(Some(before)) = came_from.get(&at).copied() {
                way.push(before);
                at = before;
            }
            way.reverse();
            return Some(way);
        }
        for &other in waits.get(&client).into_iter().flatten() {
            if let Entry::Vacant(vacant) = came_from.entry(other) {
                vacant.insert(Some(client));
                next.push_back(other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::client::ClientId;
    use crate::locks::queue::Record;
    use crate::store::{LeaseId, Revision};

    fn waiter(resource: &str, client: String, created: u64) -> Waiter {
        let record = Record { mode: LockMode::Exclusive, held: 1, lease: LeaseId(1), position: 0 };
        let (created, modified) = (Revision(created), Revision(created));
        let client = ClientId { identity: None, name: client };
        Waiter { key: String::new(), resource: resource.to_owned(), client, record, created, modified }
    }

    /// The shortest of several runs over a chain of `len` waiters.
    fn time_to_search(len: u64) -> Duration {
        let mut all: Vec<_> = (0..len).map(|n| waiter("arm", format!("c{n}"), n)).collect();
        all.push(waiter("drill", format!("c{}", len - 1), len));
        let run = || {
            let started = Instant::now();
            assert_eq!(cycles(&all), Vec::<Vec<String>>::new());
            let path = cycle_through(&all, "drill", "c0".into(), LockMode::Exclusive).unwrap();
            assert_eq!((path.len() as u64, path[0].as_str()), (len + 1, "c0"));
            started.elapsed()
        };
        (0..5).map(|_| run()).min().unwrap()
    }

    #[test]
    fn cycle_detection_visits_each_wait_once() {
        // Each waiter waits for all before it, so there are 64 times as many waits. Work for each pair of waits
        // would take 4096 times as long.
        let (short, long) = (time_to_search(150), time_to_search(1_200));
        assert!(long < short * 512, "{short:?} for 150 waiters, {long:?} for 1200");
        let mut all: Vec<_> = (0..1_200).map(|n| waiter("arm", format!("c{n}"), n)).collect();
        all.push(waiter("drill", "c1199".to_owned(), 1_200));
        all.push(waiter("drill", "c0".to_owned(), 1_201));
        assert_eq!(cycles(&all).len(), 1);
    }
}
