//! What changes of the locks' keys mean: who got a lock, who lost it, who waits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::events::NewEvent;
use crate::locks::queue::{Contender, holders, names, prefix_of};
use crate::locks::{FORCED, FencingToken, HANDOVER, LockMode, PREFIX};
use crate::recorder::Facts;
use crate::store::{Change, Entry};

/// Everybody who wants a lock, revision by revision.
#[derive(Default)]
pub(crate) struct LockFacts {
    all: BTreeMap<String, Contender>,
}

impl Facts for LockFacts {
    fn name(&self) -> &'static str {
        "locks"
    }

    fn prefix(&self) -> &'static str {
        // Locks, and what is said about them.
        "lock"
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn seed(&mut self, entries: &[Entry]) {
        let of_locks = entries.iter().filter(|entry| entry.key.starts_with(PREFIX));
        self.all = of_locks.filter_map(|e| Some((e.key.clone(), Contender::of(e)?))).collect();
    }

    fn of(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        let mut touched = BTreeSet::new();
        let (mut forced, mut events) = (None, Vec::new());
        for change in changes {
            let (Change::Put(Entry { key, .. }) | Change::Delete { key, .. }) = change;
            if let Some((resource, _)) = names(key) {
                touched.insert(resource.to_owned());
            }
            match change {
                Change::Put(entry) if key.starts_with(FORCED) => {
                    forced = serde_json::from_slice::<Value>(&entry.value).ok();
                }
                Change::Put(entry) => events.extend(handover(entry)),
                Change::Delete { .. } => {}
            }
        }
        let before: Vec<_> = touched.iter().map(|resource| self.queue(resource)).collect();
        for change in changes {
            match change {
                Change::Put(entry) => {
                    if let Some(one) = Contender::of(entry) {
                        self.all.insert(entry.key.clone(), one);
                    }
                }
                Change::Delete { key, .. } => drop(self.all.remove(key)),
            }
        }
        for (resource, before) in touched.iter().zip(before) {
            events.extend(compare(resource, &before, &self.queue(resource), forced.as_ref()));
        }
        events
    }
}

/// Who holds, and who waits.
#[derive(Default)]
struct Queue {
    holding: BTreeMap<String, Held>,
    waiting: BTreeMap<String, Held>,
}

type Held = (LockMode, FencingToken);

impl LockFacts {
    fn queue(&self, resource: &str) -> Queue {
        let prefix = prefix_of(resource);
        let here = self.all.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let mut here: Vec<&Contender> = here.map(|(_, one)| one).collect();
        here.sort_by_key(|one| one.token());
        let held = holders(&here).len();
        let shown = |one: &&Contender| (one.client.clone(), (one.record.mode, one.token()));
        let (holding, waiting) = here.split_at(held);
        Queue { holding: holding.iter().map(shown).collect(), waiting: waiting.iter().map(shown).collect() }
    }
}

fn compare(resource: &str, before: &Queue, after: &Queue, forced: Option<&Value>) -> Vec<NewEvent> {
    let event = |kind: &str, client: &str, (mode, token): Held| NewEvent {
        stream: format!("lock/{resource}"),
        kind: kind.to_owned(),
        data: json!({"resource": resource, "client": client, "mode": mode, "token": token}),
        ..NewEvent::default()
    };
    let mut events = Vec::new();
    for (client, held) in &before.holding {
        if after.holding.get(client) == Some(held) {
            continue;
        }
        let mut gone = event("lock.released", client, *held);
        if let Some(forced) = forced.filter(|forced| forced["token"] == json!(held.1)) {
            gone.kind = "lock.taken".to_owned();
            gone.by = forced["by"].as_str().map(str::to_owned);
            gone.data["reason"] = forced["reason"].clone();
        }
        events.push(gone);
    }
    let new = after.holding.iter().filter(|(client, held)| before.holding.get(*client) != Some(*held));
    events.extend(new.map(|(client, held)| event("lock.acquired", client, *held)));
    // Who is put in order again does not begin to wait.
    let waits = after.waiting.iter().filter(|(client, _)| !before.waiting.contains_key(*client));
    events.extend(waits.map(|(client, held)| event("lock.waiting", client, *held)));
    let left = before
        .waiting
        .iter()
        .filter(|(client, _)| !after.waiting.contains_key(*client) && !after.holding.contains_key(*client));
    events.extend(left.map(|(client, held)| event("lock.given_up", client, *held)));
    events
}

/// A holder is asked, or refuses.
fn handover(entry: &Entry) -> Option<NewEvent> {
    let (resource, asker) = entry.key.strip_prefix(HANDOVER)?.split_once('/')?;
    let record: Value = serde_json::from_slice(&entry.value).ok()?;
    let refused = record["refused"].as_str();
    let kind = if refused.is_some() { "lock.handover_refused" } else { "lock.handover_asked" };
    Some(NewEvent {
        stream: format!("lock/{resource}"),
        kind: kind.to_owned(),
        data: json!({"resource": resource, "client": asker, "message": record["message"], "reason": refused}),
        ..NewEvent::default()
    })
}
