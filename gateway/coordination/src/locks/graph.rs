//! Who waits for whom. A client waits for everybody ahead of it in a queue, since it is served after
//! them; a circle of such waits never ends (Coffman et al., "System Deadlocks", 1971).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roverline_protocol::limits;

use crate::locks::LockMode;
use crate::locks::queue::{Contender, holders};

type Waits<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Whom a client waits for, by client. Not everybody: where one waits for another who waits for a
/// third, that is not said again, so that a long queue has as many edges as clients.
fn waits(all: &[Contender]) -> Waits<'_> {
    let mut queues: BTreeMap<&str, Vec<&Contender>> = BTreeMap::new();
    for one in all {
        queues.entry(&one.resource).or_default().push(one);
    }
    let mut waits = Waits::new();
    for queue in queues.values() {
        let holding = holders(queue).len();
        for (place, one) in queue.iter().enumerate().skip(holding) {
            let ahead = right_ahead(&queue[..place], one.record.mode);
            waits.entry(&one.client).or_default().extend(ahead.iter().map(|other| other.client.as_str()));
        }
    }
    waits
}

/// Those right ahead of one who asks behind these: whoever shares waits for the last exclusive one; who
/// does not, for that one or for all who share behind it.
fn right_ahead<'a, 'b>(queue: &'b [&'a Contender], mode: LockMode) -> &'b [&'a Contender] {
    let exclusive = queue.iter().rposition(|one| one.record.mode == LockMode::Exclusive);
    let shared = exclusive.map_or(0, |last| last + 1);
    match (mode, exclusive) {
        (LockMode::Exclusive, _) if shared < queue.len() => &queue[shared..],
        (_, Some(last)) => &queue[last..=last],
        (_, None) => &[],
    }
}

/// The circle that would close if the client asked for the resource now, beginning and ending with
/// the client. It is the youngest of it: all others waited before.
pub(super) fn cycle_through(
    all: &[Contender],
    resource: &str,
    client: &str,
    mode: LockMode,
) -> Option<Vec<String>> {
    // Nobody waits for one who has nothing and wants nothing yet.
    if all.iter().all(|one| one.client != client) {
        return None;
    }
    let queue: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
    let ahead = right_ahead(&queue, mode).iter().map(|one| one.client.as_str());
    let path = path(&waits(all), ahead, client)?;
    Some(std::iter::once(client).chain(path).map(str::to_owned).collect())
}

/// Every client that is in a circle, each circle once.
pub(super) fn cycles(all: &[Contender]) -> Vec<Vec<String>> {
    let mut waits = waits(all);
    // Who waits for nobody is in no circle, and so is who waits only for such.
    loop {
        let known: BTreeSet<&str> = waits.keys().copied().collect();
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
        if seen.contains(client) || found.len() >= limits::LOCK_CIRCLES_ENTRIES {
            continue;
        }
        if let Some(circle) = path(&waits, waits[client].iter().copied(), client) {
            seen.extend(circle.iter().copied());
            found.push(circle.into_iter().map(str::to_owned).collect());
        }
    }
    found
}

/// A shortest way from one of some clients to another, both included.
fn path<'a>(waits: &Waits<'a>, from: impl Iterator<Item = &'a str>, to: &str) -> Option<Vec<&'a str>> {
    let mut next: VecDeque<&str> = from.collect();
    let mut came_from: BTreeMap<&str, Option<&str>> = next.iter().map(|first| (*first, None)).collect();
    while let Some(client) = next.pop_front() {
        if client == to {
            let mut way = vec![client];
            let mut at = client;
            while let Some(Some(before)) = came_from.get(at).copied() {
                way.push(before);
                at = before;
            }
            way.reverse();
            return Some(way);
        }
        for &other in waits.get(client).into_iter().flatten() {
            if !came_from.contains_key(other) {
                came_from.insert(other, Some(client));
                next.push_back(other);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::queue::Record;
    use crate::store::{LeaseId, Revision};

    fn one(resource: &str, client: String, created: u64) -> Contender {
        let record = Record { mode: LockMode::Exclusive, held: 1, lease: LeaseId(1), place: 0 };
        let (created, modified) = (Revision(created), Revision(created));
        Contender { key: String::new(), resource: resource.to_owned(), client, record, created, modified }
    }

    #[test]
    fn a_thousand_that_wait_cost_no_more_than_a_look_at_each() {
        let mut all: Vec<_> = (0..4_000).map(|n| one("arm", format!("c{n}"), n)).collect();
        all.push(one("drill", "c3999".to_owned(), 4_000));
        // Quadratic work would take minutes here.
        let begun = std::time::Instant::now();
        assert_eq!(cycles(&all), Vec::<Vec<String>>::new());
        let path = cycle_through(&all, "drill", "c0", LockMode::Exclusive).unwrap();
        assert_eq!((path.len(), path[0].as_str(), path[1].as_str()), (4_001, "c0", "c3999"));
        all.push(one("drill", "c0".to_owned(), 4_001));
        assert_eq!(cycles(&all).len(), 1);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }
}
