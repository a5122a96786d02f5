//! Who holds and who waits, kept up to date for all who wait in this process: one watch for all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::store::{Change, Range, Revision, Store, StoreError};
use super::queue::{Contender, contenders, names, standings};
use super::{PREFIX, Standing};

/// All queues, as one process sees them.
#[derive(Clone)]
pub(super) struct Board(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By key.
    all: BTreeMap<String, Contender>,
    revision: Revision,
    followed: HashMap<String, watch::Sender<Arc<Queue>>>,
    watching: Option<JoinHandle<()>>,
}

/// One queue at one moment.
#[derive(Debug, Default)]
pub(super) struct Queue {
    revision: Revision,
    standings: HashMap<String, Standing>,
}

impl Queue {
    /// Of a client; `None`: it does not ask for it.
    pub(super) fn standing(&self, client: &str) -> Option<Standing> {
        self.standings.get(client).copied()
    }
}

/// One queue from now on.
pub(super) struct Follow {
    queue: watch::Receiver<Arc<Queue>>,
    /// Whether the newest was handed out.
    seen: bool,
    _board: Board,
}

impl Follow {
    /// The queue, when it is another than before, and not as it was before this revision.
    pub(super) async fn after(&mut self, revision: Revision) -> Arc<Queue> {
        loop {
            if !std::mem::replace(&mut self.seen, true) {
                let queue = self.queue.borrow_and_update().clone();
                if queue.revision >= revision {
                    return queue;
                }
            }
            if self.queue.changed().await.is_err() {
                // The board lives as long as this does.
                std::future::pending::<()>().await;
            }
            self.seen = false;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(watching) = state.watching.take() {
            watching.abort();
        }
    }
}

impl Board {
    pub(super) fn new(store: Arc<dyn Store>) -> Board {
        Board(Arc::new(Inner { store, state: Mutex::default() }))
    }

    /// Follows one queue; the first who does starts the watch.
    pub(super) fn follow(&self, resource: &str) -> Follow {
        let mut state = self.0.lock();
        if state.watching.is_none() {
            state.watching = Some(tokio::spawn(keep(Arc::downgrade(&self.0), self.0.store.clone())));
        }
        let queue = state.queue(resource);
        let queue = match state.followed.get(resource) {
            Some(tell) => tell.subscribe(),
            None => {
                let (tell, queue) = watch::channel(Arc::new(queue));
                state.followed.insert(resource.to_owned(), tell);
                queue
            }
        };
        Follow { queue, seen: false, _board: self.clone() }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue(&self, resource: &str) -> Queue {
        let prefix = super::queue::prefix_of(resource);
        let here = self.all.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let mut here: Vec<&Contender> = here.map(|(_, one)| one).collect();
        here.sort_by_key(|one| one.token());
        let standings = standings(&here).map(|(one, standing)| (one.client.clone(), standing));
        Queue { revision: self.revision, standings: standings.collect() }
    }

    /// Tells those who follow one of these; nobody does any more: it is forgotten.
    fn tell(&mut self, resources: impl IntoIterator<Item = String>) {
        for resource in resources {
            let queue = self.queue(&resource);
            if let Some(tell) = self.followed.get(&resource)
                && tell.send(Arc::new(queue)).is_err()
            {
                self.followed.remove(&resource);
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        let mut touched = BTreeSet::new();
        for change in changes {
            let key = match change {
                Change::Put(entry) => &entry.key,
                Change::Delete { key, .. } => key,
            };
            if let Some((resource, _)) = names(key) {
                touched.insert(resource.to_owned());
            }
            match change {
                Change::Put(entry) => drop(Contender::of(entry).map(|one| self.all.insert(key.clone(), one))),
                Change::Delete { key, .. } => drop(self.all.remove(key)),
            }
            self.revision = change.revision();
        }
        self.tell(touched);
    }
}

/// Keeps the board up to date for as long as there is one.
async fn keep(board: Weak<Inner>, store: Arc<dyn Store>) {
    loop {
        // Whatever is wrong with the store, who waits has a deadline of its own.
        if let Err(error) = watch_once(&board, &*store).await {
            tracing::debug!(%error, "locks are not watched");
        }
        tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS)).await;
        if board.strong_count() == 0 {
            return;
        }
    }
}

/// From what is on, until the watch ends.
async fn watch_once(board: &Weak<Inner>, store: &dyn Store) -> Result<(), StoreError> {
    let (mut entries, mut after, mut at) = (Vec::new(), None, None);
    let revision = loop {
        let (prefix, limit) = (PREFIX.to_owned(), limits::STORE_PAGE_ENTRIES);
        let page = store.range(Range { prefix, after, at, limit, ..Range::default() }).await?;
        after = page.entries.last().map(|entry| entry.key.clone());
        entries.extend(page.entries);
        at = Some(page.revision);
        if !page.more {
            break page.revision;
        }
    };
    let all = contenders(&entries).into_iter().map(|one| (one.key.clone(), one)).collect();
    if let Some(board) = board.upgrade() {
        let mut state = board.lock();
        (state.all, state.revision) = (all, revision);
        let followed: Vec<String> = state.followed.keys().cloned().collect();
        state.tell(followed);
    }
    let mut watch = store.watch(PREFIX.to_owned(), revision.next()).await?;
    while let Some(changes) = watch.next().await {
        let changes = changes?;
        match board.upgrade() {
            Some(board) => board.lock().apply(&changes),
            None => return Ok(()),
        }
    }
    Ok(())
}
