//! Tracks the holders and waiters of all locks for the waiting calls of one process, with a single
//! watch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, ClientId};
use crate::limits;
use crate::locks::queue::{Waiter, parse_key, sorted_waiters};
use crate::locks::{FencingToken, LockMode, LockStatus, PREFIX};
use crate::store::list_watch::{self, List, Update};
use crate::store::scan::Snapshot;
use crate::store::{Change, Revision, Store};

/// All queues, as one process sees them.
#[derive(Clone)]
pub(super) struct LockTable(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By key.
    all: HashMap<String, Waiter>,
    /// By resource.
    queues: HashMap<String, WaitQueue>,
    revision: Revision,
    /// By resource and client.
    subscriptions: HashMap<(String, ClientId), watch::Sender<ClientState>>,
    task: Option<AbortOnDropHandle<()>>,
}

/// The waiters of one resource.
#[derive(Default)]
struct WaitQueue {
    /// In queue order.
    order: BTreeMap<FencingToken, (ClientId, LockMode)>,
    tokens: HashMap<ClientId, FencingToken>,
}

/// The state of one client in one queue. Its position changes whenever an entry ahead of it goes. No
/// waiter is woken for that, so a long queue costs no more than a short one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ClientState {
    /// The table's revision when this state was computed.
    revision: Revision,
    lock: LockState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LockState {
    /// The client has no entry.
    #[default]
    Absent,
    Waiting,
    Held(FencingToken),
}

/// A subscription to the state of one client in one queue.
pub(super) struct StatusWatch {
    state: watch::Receiver<ClientState>,
    /// Whether the newest state has been returned.
    returned: bool,
    table: LockTable,
    names: (String, ClientId),
}

impl StatusWatch {
    /// Waits for a new status that holds at `revision` or later; `None`: the client has no entry. A
    /// position may change without waking this.
    pub(super) async fn after(&mut self, revision: Revision) -> Option<LockStatus> {
        loop {
            if !std::mem::replace(&mut self.returned, true) {
                let state = *self.state.borrow_and_update();
                if state.revision >= revision {
                    return match state.lock {
                        LockState::Absent => None,
                        LockState::Waiting => Some(LockStatus::Waiting(self.position().unwrap_or(1))),
                        LockState::Held(token) => Some(LockStatus::Held(token)),
                    };
                }
            }
            if self.state.changed().await.is_err() {
                // Unreachable while this subscription exists: it keeps the table alive.
                std::future::pending::<()>().await;
            }
            self.returned = false;
        }
    }

    /// The queue position of a waiting client, as far as it is known; 1 is the next.
    pub(super) fn position(&self) -> Option<usize> {
        let state = self.table.0.state.lock();
        let queue = state.queues.get(&self.names.0)?;
        let ahead = queue.order.range(..queue.tokens.get(&self.names.1)?).count();
        (ahead + 1).checked_sub(queue.holders().count()).filter(|position| *position > 0)
    }
}

impl Drop for StatusWatch {
    fn drop(&mut self) {
        let mut state = self.table.0.state.lock();
        // The last subscription to the same state.
        if state.subscriptions.get(&self.names).is_some_and(|sender| sender.receiver_count() <= 1) {
            state.subscriptions.remove(&self.names);
        }
    }
}

impl WaitQueue {
    fn holders(&self) -> impl Iterator<Item = (&ClientId, FencingToken)> {
        let shares = |mode: LockMode| mode == LockMode::Shared;
        let first = self.order.values().next().is_some_and(|(_, mode)| shares(*mode));
        let holds = move |(position, (_, (_, mode))): &(usize, (&FencingToken, &(ClientId, LockMode)))| {
            *position == 0 || (first && shares(*mode))
        };
        let holders = self.order.iter().enumerate().take_while(holds);
        holders.map(|(_, (token, (client, _)))| (client, *token))
    }

    fn insert(&mut self, waiter: &Waiter) {
        let token = waiter.token();
        if let Some(old) = self.tokens.insert(waiter.client.clone(), token) {
            self.order.remove(&old);
        }
        self.order.insert(token, (waiter.client.clone(), waiter.record.mode));
    }

    fn remove(&mut self, waiter: &Waiter) {
        let token = waiter.token();
        // A handover may have re-created it under another key.
        if self.tokens.get(&waiter.client) == Some(&token) {
            self.tokens.remove(&waiter.client);
        }
        self.order.remove(&token);
    }
}

impl LockTable {
    pub(super) fn new(store: Arc<dyn Store>) -> LockTable {
        LockTable(Arc::new(Inner { store, state: Mutex::default() }))
    }

    /// Subscribes to one client's state; the first subscription starts the watch.
    pub(super) fn subscribe(&self, resource: &str, client: &ClientId) -> StatusWatch {
        let names = (resource.to_owned(), client.clone());
        let mut state = self.0.state.lock();
        if state.task.is_none() {
            let run = run(Arc::downgrade(&self.0), self.0.store.clone());
            state.task = Some(AbortOnDropHandle::new(tokio::spawn(run)));
        }
        let current = state.client_state(resource, client);
        let subscription = state.subscriptions.entry(names.clone());
        let receiver = subscription.or_insert_with(|| watch::channel(current).0).subscribe();
        drop(state);
        StatusWatch { state: receiver, returned: false, table: self.clone(), names }
    }
}

impl State {
    fn client_state(&self, resource: &str, client: &ClientId) -> ClientState {
        let queue = self.queues.get(resource);
        let held = queue.and_then(|queue| queue.holders().find(|(holder, _)| *holder == client));
        let lock = match held {
            Some((_, token)) => LockState::Held(token),
            None if queue.is_some_and(|queue| queue.tokens.contains_key(client)) => LockState::Waiting,
            None => LockState::Absent,
        };
        ClientState { revision: self.revision, lock }
    }

    /// Publishes the client's state to its subscriptions if it changed, or if the client came and went.
    fn notify(&self, resource: &str, client: &ClientId) {
        let Some(sender) = self.subscriptions.get(&(resource.to_owned(), client.clone())) else { return };
        let state = self.client_state(resource, client);
        sender.send_if_modified(|previous| {
            let is_relevant = previous.lock != state.lock || state.lock != LockState::Waiting;
            *previous = state;
            is_relevant
        });
    }

    fn insert(&mut self, waiter: Waiter) {
        self.queues.entry(waiter.resource.clone()).or_default().insert(&waiter);
        self.all.insert(waiter.key.clone(), waiter);
    }

    fn remove(&mut self, key: &str) {
        let Some(waiter) = self.all.remove(key) else { return };
        if let Some(queue) = self.queues.get_mut(&waiter.resource) {
            queue.remove(&waiter);
            if queue.order.is_empty() {
                self.queues.remove(&waiter.resource);
            }
        }
    }

    fn replace(&mut self, snapshot: &Snapshot) {
        (self.all, self.queues, self.revision) = (HashMap::new(), HashMap::new(), snapshot.revision);
        sorted_waiters(&snapshot.entries).into_iter().for_each(|waiter| self.insert(waiter));
        self.subscriptions.keys().for_each(|(resource, client)| self.notify(resource, client));
    }

    fn apply(&mut self, changes: &[Change]) {
        let mut touched: BTreeMap<&str, BTreeSet<Client<'_>>> = BTreeMap::new();
        for change in changes {
            let key = match change {
                Change::Put(entry) => &entry.key,
                Change::Delete { key, .. } => key,
            };
            if let Some((resource, client)) = parse_key(key) {
                touched.entry(resource).or_default().insert(client);
            }
            match change {
                Change::Put(entry) => drop(Waiter::parse(entry).map(|waiter| self.insert(waiter))),
                Change::Delete { key, .. } => self.remove(key),
            }
            self.revision = change.revision();
        }
        for (resource, clients) in touched {
            clients.iter().for_each(|client| self.notify(resource, &ClientId::from(*client)));
            // The new holders may not have changed themselves.
            let holders = self.queues.get(resource).into_iter().flat_map(WaitQueue::holders);
            holders.filter(|(client, _)| !clients.contains(&client.as_client())).for_each(|(client, _)| {
                self.notify(resource, client);
            });
        }
    }
}

/// Keeps the table up to date for as long as it exists. Waiting calls have deadlines of their own,
/// which hold even if the store fails.
async fn run(table: Weak<Inner>, store: Arc<dyn Store>) {
    let retry = Duration::from_millis(limits::STORE_POLL_MS);
    let apply = |update| {
        let Some(table) = table.upgrade() else { return ControlFlow::Break(()) };
        match update {
            Update::Snapshot(snapshot) => table.state.lock().replace(&snapshot),
            Update::Changes(changes) => table.state.lock().apply(&changes),
        }
        ControlFlow::Continue(())
    };
    list_watch::run(&*store, PREFIX, List::Entries, retry, apply).await;
}
