//! Random use, against queues in plain memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::locks::tests::*;

const CLIENTS: [&str; 4] = ["ann", "bob", "cat", "dan"];
const RESOURCES: [&str; 3] = ["arm", "map", "drill"];

#[derive(Clone, Copy, Debug)]
enum Act {
    Acquire(LockMode),
    Release,
    Force,
}

/// Who wants a resource, in the order of asking: the client, how, and how often it has it.
type Queue = Vec<(&'static str, LockMode, u32)>;

#[derive(Default)]
struct Model {
    queues: BTreeMap<&'static str, Queue>,
}

#[derive(Debug, PartialEq)]
enum Said {
    Held,
    Waiting(usize),
    /// How often it is held still.
    Done(u32),
    NotHeld,
    Upgrade,
    Deadlock,
}

fn holding(queue: &Queue) -> usize {
    match queue.first() {
        None => 0,
        Some((_, Exclusive, _)) => 1,
        Some(_) => queue.iter().position(|one| one.1 == Exclusive).unwrap_or(queue.len()),
    }
}

impl Model {
    /// Everybody for whom a client waits, directly or not.
    fn waits_for(&self, client: &str) -> BTreeSet<&'static str> {
        let (mut all, mut next) = (BTreeSet::new(), vec![client.to_owned()]);
        while let Some(client) = next.pop() {
            for queue in self.queues.values() {
                let Some(place) = queue.iter().position(|one| one.0 == client) else { continue };
                if place < holding(queue) {
                    continue;
                }
                for ahead in &queue[..place] {
                    let both_share = (ahead.1, queue[place].1) == (Shared, Shared);
                    if !both_share && all.insert(ahead.0) {
                        next.push(ahead.0.to_owned());
                    }
                }
            }
        }
        all
    }

    fn act(&mut self, resource: &'static str, client: &'static str, act: Act) -> Said {
        let queue = self.queues.entry(resource).or_default();
        let place = queue.iter().position(|one| one.0 == client);
        match (act, place) {
            (Act::Acquire(mode), None) => {
                queue.push((client, mode, 0));
                if self.waits_for(client).contains(client) {
                    self.queues.entry(resource).or_default().pop();
                    return Said::Deadlock;
                }
                self.told(resource, client)
            }
            (Act::Acquire(Exclusive), Some(place)) if queue[place].1 == Shared => Said::Upgrade,
            (Act::Acquire(_), Some(_)) => self.told(resource, client),
            (_, None) => Said::NotHeld,
            (Act::Release, Some(place)) if queue[place].2 > 1 => {
                queue[place].2 -= 1;
                Said::Done(queue[place].2)
            }
            (Act::Release | Act::Force, Some(place)) => {
                queue.remove(place);
                Said::Done(0)
            }
        }
    }

    fn told(&mut self, resource: &'static str, client: &str) -> Said {
        let queue = self.queues.entry(resource).or_default();
        let (place, held) = (queue.iter().position(|one| one.0 == client).unwrap(), holding(queue));
        if place >= held {
            return Said::Waiting(place + 1 - held);
        }
        queue[place].2 += 1;
        Said::Held
    }
}

async fn act(locks: &Locks, resource: &str, client: &str, act: Act) -> Said {
    let said = match act {
        Act::Acquire(mode) => match locks.acquire(resource, client, mode, LONG).await {
            Ok(Standing::Held(_)) => return Said::Held,
            Ok(Standing::Waiting(place)) => return Said::Waiting(place),
            Err(error) => Err(error),
        },
        Act::Release => locks.release(resource, client).await,
        Act::Force => locks.force_release(resource, client, "chief", "tea").await.map(|()| 0),
    };
    match said {
        Ok(left) => Said::Done(left),
        Err(LockError::NotHeld { .. } | LockError::Taken { .. }) => Said::NotHeld,
        Err(LockError::Upgrade(_)) => Said::Upgrade,
        Err(LockError::Deadlock(_)) => Said::Deadlock,
        Err(error) => panic!("{error}"),
    }
}

/// The same holders and waiters; and whoever holds later has a higher token.
async fn compare(locks: &Locks, model: &Model, newest: &mut BTreeMap<String, FencingToken>) {
    let (views, _) = locks.list().await.unwrap();
    let expected: Vec<_> = model.queues.iter().filter(|(_, queue)| !queue.is_empty()).collect();
    assert_eq!(views.len(), expected.len());
    let mut views = views.into_iter().map(|view| (view.resource.clone(), view)).collect::<BTreeMap<_, _>>();
    for (resource, queue) in expected {
        let view = views.remove(*resource).unwrap();
        let (holders, waiting) = queue.split_at(holding(queue));
        let names = |list: &[(&'static str, LockMode, u32)]| {
            list.iter().map(|one| one.0.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(view.holders.iter().map(|one| one.0.clone()).collect::<Vec<_>>(), names(holders));
        assert_eq!(view.waiting.iter().map(|one| one.0.clone()).collect::<Vec<_>>(), names(waiting));
        for (client, token) in view.holders {
            let holds_since = newest.get(&format!("{resource} {client}")).copied();
            let before = newest.get(*resource).copied().unwrap_or(FencingToken(0));
            assert!(token > before || holds_since == Some(token), "{client} {token:?} after {before:?}");
            newest.insert(format!("{resource} {client}"), token);
            newest.insert((*resource).to_owned(), token.max(before));
        }
    }
    assert_eq!(locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
}

fn acts() -> impl Strategy<Value = Vec<(usize, usize, Act)>> {
    let act = prop_oneof![
        3 => Just(Act::Acquire(Exclusive)),
        3 => Just(Act::Acquire(Shared)),
        3 => Just(Act::Release),
        1 => Just(Act::Force),
    ];
    proptest::collection::vec((0..RESOURCES.len(), 0..CLIENTS.len(), act), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn locks_are_queues(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let team = Team::new();
            // Whichever process it is.
            let processes = [team.locks.clone(), Locks::new(team.locks.store.clone())];
            let (mut model, mut newest) = (Model::default(), BTreeMap::new());
            for (n, (resource, client, what)) in acts.into_iter().enumerate() {
                let (resource, client) = (RESOURCES[resource], CLIENTS[client]);
                let said = act(&processes[n % 2], resource, client, what).await;
                assert_eq!(said, model.act(resource, client, what), "{client} {what:?} {resource}");
                compare(&processes[0], &model, &mut newest).await;
            }
        });
    }
}
