//! Who waits for whom. A client waits for everybody ahead of it in a queue, since it is served after
//! them; a circle of such waits never ends (Coffman et al., "System Deadlocks", 1971).

use std::collections::{BTreeMap, BTreeSet};

use super::LockMode;
use super::queue::{Contender, holders};

type Waits<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Everybody whom a client waits for, by client.
fn waits(all: &[Contender]) -> Waits<'_> {
    let mut queues: BTreeMap<&str, Vec<&Contender>> = BTreeMap::new();
    for one in all {
        queues.entry(&one.resource).or_default().push(one);
    }
    let mut waits = Waits::new();
    for queue in queues.values() {
        let holding = holders(queue).len();
        for (place, one) in queue.iter().enumerate().skip(holding) {
            let ahead = queue[..place].iter().filter(|other| conflict(other.record.mode, one.record.mode));
            waits.entry(&one.client).or_default().extend(ahead.map(|other| other.client.as_str()));
        }
    }
    waits
}

/// Two that share do not wait for each other, but for the exclusive one between them.
fn conflict(ahead: LockMode, behind: LockMode) -> bool {
    (ahead, behind) != (LockMode::Shared, LockMode::Shared)
}

/// The circle that would close if the client asked for the resource now, beginning and ending with
/// the client. It is the youngest of it: all others waited before.
pub(super) fn cycle_through(
    all: &[Contender],
    resource: &str,
    client: &str,
    mode: LockMode,
) -> Option<Vec<String>> {
    let queue: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
    let shares = mode == LockMode::Shared && queue.iter().all(|one| one.record.mode == LockMode::Shared);
    if queue.is_empty() || shares {
        return None;
    }
    // Nobody waits for one who has nothing and wants nothing yet.
    if all.iter().all(|one| one.client != client) {
        return None;
    }
    let waits = waits(all);
    let ahead = queue.iter().filter(|one| conflict(one.record.mode, mode));
    let path = ahead.map(|one| one.client.as_str()).find_map(|first| path(&waits, first, client))?;
    Some(std::iter::once(client).chain(path).map(str::to_owned).collect())
}

/// Every client that is in a circle, each circle once.
pub(super) fn cycles(all: &[Contender]) -> Vec<Vec<String>> {
    let waits = waits(all);
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for client in waits.keys().copied() {
        if seen.contains(client) {
            continue;
        }
        let mut next = waits[client].iter().copied();
        if let Some(circle) = next.find_map(|first| path(&waits, first, client)) {
            seen.extend(circle.iter().copied());
            found.push(circle.into_iter().map(str::to_owned).collect());
        }
    }
    found
}

/// A shortest way from one client to another, both included.
fn path<'a>(waits: &Waits<'a>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let (mut came_from, mut next) =
        (BTreeMap::from([(from, None)]), std::collections::VecDeque::from([from]));
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
