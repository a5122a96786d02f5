//! Derives lock events from changes of the locks' keys: acquired, released, taken, waiting, given up,
//! handover.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::{Client, ClientId};
use crate::event_source::EventSource;
use crate::events::NewEvent;
use crate::locks::queue::{Waiter, holders, parse_key, parse_owner, prefix_of};
use crate::locks::{FORCED_PREFIX, FencingToken, HANDOVER_PREFIX, LockMode, PREFIX};
use crate::store::{Change, Entry};

/// All queue entries, updated revision by revision.
#[derive(Default)]
pub(crate) struct LockEventSource {
    all: BTreeMap<String, Waiter>,
}

impl EventSource for LockEventSource {
    fn name(&self) -> &'static str {
        "locks"
    }

    fn prefix(&self) -> &'static str {
        // Covers the entries, the handover requests and the forced releases.
        "lock"
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn seed(&mut self, entries: &[Entry]) {
        let of_locks = entries.iter().filter(|entry| entry.key.starts_with(PREFIX));
        self.all = of_locks.filter_map(|e| Some((e.key.clone(), Waiter::parse(e)?))).collect();
    }

    fn events(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        let mut touched = BTreeSet::new();
        let (mut forced, mut events) = (None, Vec::new());
        for change in changes {
            let (Change::Put(Entry { key, .. }) | Change::Delete { key, .. }) = change;
            if let Some((resource, _)) = parse_key(key) {
                touched.insert(resource.to_owned());
            }
            match change {
                Change::Put(entry) if key.starts_with(FORCED_PREFIX) => {
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
                    if let Some(waiter) = Waiter::parse(entry) {
                        self.all.insert(entry.key.clone(), waiter);
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

/// The holders and waiters of one resource.
#[derive(Default)]
struct Queue {
    holding: BTreeMap<ClientId, Held>,
    waiting: BTreeMap<ClientId, Held>,
}

type Held = (LockMode, FencingToken);

impl LockEventSource {
    fn queue(&self, resource: &str) -> Queue {
        let prefix = prefix_of(resource);
        let queue = self.all.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let mut queue: Vec<&Waiter> = queue.map(|(_, waiter)| waiter).collect();
        queue.sort_by_key(|waiter| waiter.token());
        let held = holders(&queue).len();
        let shown = |waiter: &&Waiter| (waiter.client.clone(), (waiter.record.mode, waiter.token()));
        let (holding, waiting) = queue.split_at(held);
        Queue { holding: holding.iter().map(shown).collect(), waiting: waiting.iter().map(shown).collect() }
    }
}

fn compare(resource: &str, before: &Queue, after: &Queue, forced: Option<&Value>) -> Vec<NewEvent> {
    let event = |kind: &str, owner: &ClientId, (mode, token): Held| NewEvent {
        stream: format!("lock/{resource}"),
        kind: kind.to_owned(),
        data: json!({"resource": resource, "client": owner.name, "mode": mode, "token": token}),
        by: owner.identity.clone(),
        client: Some(owner.name.clone()),
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
            gone.client = forced["client"].as_str().map(str::to_owned);
            gone.data["from"] = json!(client.identity);
            gone.data["reason"] = forced["reason"].clone();
        }
        events.push(gone);
    }
    let new = after.holding.iter().filter(|(client, held)| before.holding.get(*client) != Some(*held));
    events.extend(new.map(|(client, held)| event("lock.acquired", client, *held)));
    // A waiter that is reordered does not start waiting again.
    let waits = after.waiting.iter().filter(|(client, _)| !before.waiting.contains_key(*client));
    events.extend(waits.map(|(client, held)| event("lock.waiting", client, *held)));
    let left = before
        .waiting
        .iter()
        .filter(|(client, _)| !after.waiting.contains_key(*client) && !after.holding.contains_key(*client));
    events.extend(left.map(|(client, held)| event("lock.given_up", client, *held)));
    events
}

/// The event of a handover request or its refusal.
fn handover(entry: &Entry) -> Option<NewEvent> {
    let (resource, requester) = parse_owner(entry.key.strip_prefix(HANDOVER_PREFIX)?)?;
    let record: Value = serde_json::from_slice(&entry.value).ok()?;
    let refused = record["refused"].as_str();
    let kind = if refused.is_some() { "lock.handover_refused" } else { "lock.handover_asked" };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (by, client) = match refused {
        Some(_) => (text(&record["refused_by"][0]), text(&record["refused_by"][1])),
        None => {
            let Client { identity, name } = requester;
            (identity.map(str::to_owned), Some(name.to_owned()))
        }
    };
    Some(NewEvent {
        stream: format!("lock/{resource}"),
        kind: kind.to_owned(),
        data: json!({
            "resource": resource, "client": requester.name, "from": requester.identity,
            "message": record["message"], "reason": refused,
        }),
        by,
        client,
        ..NewEvent::default()
    })
}
