//! Who holds and who waits, kept up to date for all who wait in this process: one watch for all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::locks::queue::{Contender, contenders, names};
use crate::locks::{FencingToken, LockMode, PREFIX, Standing};
use crate::store::{Change, Range, Revision, Store, StoreError};

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
    all: HashMap<String, Contender>,
    /// By resource.
    lines: HashMap<String, Line>,
    revision: Revision,
    /// By resource and client.
    followed: HashMap<(String, String), watch::Sender<Seen>>,
    watching: Option<JoinHandle<()>>,
}

/// Those who want one resource.
#[derive(Default)]
struct Line {
    /// In the order in which they asked.
    order: BTreeMap<FencingToken, (String, LockMode)>,
    tokens: HashMap<String, FencingToken>,
}

/// How one client stands in one line. A place in it moves whenever somebody ahead goes; nobody is woken
/// for that, so that a long line costs no more than a short one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Not as it was before this.
    revision: Revision,
    whether: Whether,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Whether {
    /// It does not ask for it.
    #[default]
    Absent,
    Waits,
    Holds(FencingToken),
}

/// One client's place in one line from now on.
pub(super) struct Follow {
    seen: watch::Receiver<Seen>,
    /// Whether the newest was handed out.
    told: bool,
    board: Board,
    names: (String, String),
}

impl Follow {
    /// How it stands, when that is another than before, and not as it was before this revision; `None`:
    /// it does not ask for it. The place of one who waits may move without being told.
    pub(super) async fn after(&mut self, revision: Revision) -> Option<Standing> {
        loop {
            if !std::mem::replace(&mut self.told, true) {
                let seen = *self.seen.borrow_and_update();
                if seen.revision >= revision {
                    return match seen.whether {
                        Whether::Absent => None,
                        Whether::Waits => Some(Standing::Waiting(self.place().unwrap_or(1))),
                        Whether::Holds(token) => Some(Standing::Held(token)),
                    };
                }
            }
            if self.seen.changed().await.is_err() {
                // The board lives as long as this does.
                std::future::pending::<()>().await;
            }
            self.told = false;
        }
    }

    /// The place of one who waits, as far as it is known; the next is 1.
    pub(super) fn place(&self) -> Option<usize> {
        let state = self.board.0.lock();
        let line = state.lines.get(&self.names.0)?;
        let ahead = line.order.range(..line.tokens.get(&self.names.1)?).count();
        (ahead + 1).checked_sub(line.holders().count()).filter(|place| *place > 0)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut state = self.board.0.lock();
        // The last of those who follow the same.
        if state.followed.get(&self.names).is_some_and(|tell| tell.receiver_count() <= 1) {
            state.followed.remove(&self.names);
        }
    }
}

impl Line {
    fn holders(&self) -> impl Iterator<Item = (&str, FencingToken)> {
        let shares = |mode: LockMode| mode == LockMode::Shared;
        let first = self.order.values().next().is_some_and(|(_, mode)| shares(*mode));
        let holds = move |(place, (_, (_, mode))): &(usize, (&FencingToken, &(String, LockMode)))| {
            *place == 0 || (first && shares(*mode))
        };
        let holders = self.order.iter().enumerate().take_while(holds);
        holders.map(|(_, (token, (client, _)))| (client.as_str(), *token))
    }

    fn put(&mut self, one: &Contender) {
        let token = one.token();
        if let Some(old) = self.tokens.insert(one.client.clone(), token) {
            self.order.remove(&old);
        }
        self.order.insert(token, (one.client.clone(), one.record.mode));
    }

    fn remove(&mut self, one: &Contender) {
        let token = one.token();
        // It may have been put in order again, under another key.
        if self.tokens.get(&one.client) == Some(&token) {
            self.tokens.remove(&one.client);
        }
        self.order.remove(&token);
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

    /// Follows one client's place; the first who does starts the watch.
    pub(super) fn follow(&self, resource: &str, client: &str) -> Follow {
        let names = (resource.to_owned(), client.to_owned());
        let mut state = self.0.lock();
        if state.watching.is_none() {
            state.watching = Some(tokio::spawn(keep(Arc::downgrade(&self.0), self.0.store.clone())));
        }
        let now = state.seen(resource, client);
        let seen = state.followed.entry(names.clone()).or_insert_with(|| watch::channel(now).0).subscribe();
        drop(state);
        Follow { seen, told: false, board: self.clone(), names }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seen(&self, resource: &str, client: &str) -> Seen {
        let line = self.lines.get(resource);
        let held = line.and_then(|line| line.holders().find(|(holder, _)| *holder == client));
        let whether = match held {
            Some((_, token)) => Whether::Holds(token),
            None if line.is_some_and(|line| line.tokens.contains_key(client)) => Whether::Waits,
            None => Whether::Absent,
        };
        Seen { revision: self.revision, whether }
    }

    /// Tells those who follow this client in this line, where it stands otherwise than before or, for
    /// one who is not in it, came and went.
    fn tell(&self, resource: &str, client: &str) {
        let Some(tell) = self.followed.get(&(resource.to_owned(), client.to_owned())) else { return };
        let now = self.seen(resource, client);
        tell.send_if_modified(|seen| {
            let news = seen.whether != now.whether || now.whether != Whether::Waits;
            *seen = now;
            news
        });
    }

    fn put(&mut self, one: Contender) {
        self.lines.entry(one.resource.clone()).or_default().put(&one);
        self.all.insert(one.key.clone(), one);
    }

    fn remove(&mut self, key: &str) {
        let Some(one) = self.all.remove(key) else { return };
        if let Some(line) = self.lines.get_mut(&one.resource) {
            line.remove(&one);
            if line.order.is_empty() {
                self.lines.remove(&one.resource);
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        let mut touched: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for change in changes {
            let key = match change {
                Change::Put(entry) => &entry.key,
                Change::Delete { key, .. } => key,
            };
            if let Some((resource, client)) = names(key) {
                touched.entry(resource).or_default().insert(client);
            }
            match change {
                Change::Put(entry) => drop(Contender::of(entry).map(|one| self.put(one))),
                Change::Delete { key, .. } => self.remove(key),
            }
            self.revision = change.revision();
        }
        for (resource, clients) in touched {
            clients.iter().for_each(|client| self.tell(resource, client));
            // Whoever is next now did nothing itself.
            let holders = self.lines.get(resource).into_iter().flat_map(Line::holders);
            holders.filter(|(client, _)| !clients.contains(client)).for_each(|(client, _)| {
                self.tell(resource, client);
            });
        }
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
    if let Some(board) = board.upgrade() {
        let mut state = board.lock();
        (state.all, state.lines, state.revision) = (HashMap::new(), HashMap::new(), revision);
        contenders(&entries).into_iter().for_each(|one| state.put(one));
        state.followed.keys().for_each(|(resource, client)| state.tell(resource, client));
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
