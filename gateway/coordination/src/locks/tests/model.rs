//! Random operations, compared with in-memory queues.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::locks::tests::*;

const CLIENTS: [&str; 4] = ["ann", "bob", "cat", "dan"];
const RESOURCES: [&str; 3] = ["arm", "map", "drill"];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Acquire(LockMode),
    Release,
    Force,
}

/// The waiters of a resource in queue order: client, mode, hold count.
type Queue = Vec<(&'static str, LockMode, u32)>;

#[derive(Default)]
struct Model {
    queues: BTreeMap<&'static str, Queue>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Held,
    Waiting(usize),
    /// The remaining hold count.
    Remaining(u32),
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
    /// All clients that a client waits for, directly or transitively.
    fn waits_for(&self, client: &str) -> BTreeSet<&'static str> {
        let (mut all, mut next) = (BTreeSet::new(), vec![client.to_owned()]);
        while let Some(client) = next.pop() {
            for queue in self.queues.values() {
                let Some(position) = queue.iter().position(|one| one.0 == client) else { continue };
                if position < holding(queue) {
                    continue;
                }
                for ahead in &queue[..position] {
                    let both_share = (ahead.1, queue[position].1) == (Shared, Shared);
                    if !both_share && all.insert(ahead.0) {
                        next.push(ahead.0.to_owned());
                    }
                }
            }
        }
        all
    }

    fn apply(&mut self, resource: &'static str, client: &'static str, operation: Operation) -> Answer {
        let queue = self.queues.entry(resource).or_default();
        let position = queue.iter().position(|one| one.0 == client);
        match (operation, position) {
            (Operation::Acquire(mode), None) => {
                queue.push((client, mode, 0));
                if self.waits_for(client).contains(client) {
                    self.queues.entry(resource).or_default().pop();
                    return Answer::Deadlock;
                }
                self.answer_for(resource, client)
            }
            (Operation::Acquire(Exclusive), Some(position)) if queue[position].1 == Shared => Answer::Upgrade,
            (Operation::Acquire(_), Some(_)) => self.answer_for(resource, client),
            (_, None) => Answer::NotHeld,
            (Operation::Release, Some(position)) if queue[position].2 > 1 => {
                queue[position].2 -= 1;
                Answer::Remaining(queue[position].2)
            }
            (Operation::Release | Operation::Force, Some(position)) => {
                queue.remove(position);
                Answer::Remaining(0)
            }
        }
    }

    fn answer_for(&mut self, resource: &'static str, client: &str) -> Answer {
        let queue = self.queues.entry(resource).or_default();
        let (position, held) = (queue.iter().position(|one| one.0 == client).unwrap(), holding(queue));
        if position >= held {
            return Answer::Waiting(position + 1 - held);
        }
        queue[position].2 += 1;
        Answer::Held
    }
}

async fn apply(locks: &Locks, resource: &str, client: &str, operation: Operation) -> Answer {
    let answer = match operation {
        Operation::Acquire(mode) => match locks.acquire(resource, client, mode, LONG).await {
            Ok(LockStatus::Held(_)) => return Answer::Held,
            Ok(LockStatus::Waiting(position)) => return Answer::Waiting(position),
            Err(error) => Err(error),
        },
        Operation::Release => locks.release(resource, client).await,
        Operation::Force => locks.force_release(resource, client, "chief", "tea").await.map(|()| 0),
    };
    match answer {
        Ok(left) => Answer::Remaining(left),
        Err(LockError::NotHeld { .. } | LockError::Taken { .. }) => Answer::NotHeld,
        Err(LockError::Upgrade(_)) => Answer::Upgrade,
        Err(LockError::Deadlock(_)) => Answer::Deadlock,
        Err(error) => panic!("{error}"),
    }
}

/// Compares holders and waiters, and checks that later holders have higher tokens.
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
        assert_eq!(view.holders.iter().map(|one| one.client.clone()).collect::<Vec<_>>(), names(holders));
        assert_eq!(view.waiting.iter().map(|one| one.client.clone()).collect::<Vec<_>>(), names(waiting));
        for Holder { client, token, .. } in view.holders {
            let holds_since = newest.get(&format!("{resource} {client}")).copied();
            let before = newest.get(*resource).copied().unwrap_or(FencingToken(0));
            assert!(token > before || holds_since == Some(token), "{client} {token:?} after {before:?}");
            newest.insert(format!("{resource} {client}"), token);
            newest.insert((*resource).to_owned(), token.max(before));
        }
    }
    assert_eq!(locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
}

fn operations() -> impl Strategy<Value = Vec<(usize, usize, Operation)>> {
    let operation = prop_oneof![
        3 => Just(Operation::Acquire(Exclusive)),
        3 => Just(Operation::Acquire(Shared)),
        3 => Just(Operation::Release),
        1 => Just(Operation::Force),
    ];
    proptest::collection::vec((0..RESOURCES.len(), 0..CLIENTS.len(), operation), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn locks_are_queues(operations in operations()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let team = Team::new();
            // The process makes no difference.
            let processes = [team.locks.clone(), Locks::new(team.locks.store.clone())];
            let (mut model, mut newest) = (Model::default(), BTreeMap::new());
            for (n, (resource, client, what)) in operations.into_iter().enumerate() {
                let (resource, client) = (RESOURCES[resource], CLIENTS[client]);
                let answer = apply(&processes[n % 2], resource, client, what).await;
                assert_eq!(answer, model.apply(resource, client, what), "{client} {what:?} {resource}");
                compare(&processes[0], &model, &mut newest).await;
            }
        });
    }
}
