//! Following the log: what is in it, then what comes. One watch serves all who follow here; who is
//! slower than the log reads from the store again, so that nothing is skipped and nothing piles up.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use crate::events::entry::{LOG, Stored};
use crate::events::{EventError, Events, Query};
use crate::store::{Change, Range, Store, StoreError};

#[derive(Clone)]
enum Live {
    /// An event that is new.
    New(Arc<Stored>),
    /// There may be some that were not told.
    Look,
}

/// Watches the log, from the first who asks on until it is dropped.
#[derive(Default)]
pub(super) struct Follower(OnceLock<(broadcast::Sender<Live>, AbortHandle)>);

impl Follower {
    fn join(&self, store: &Arc<dyn Store>) -> broadcast::Receiver<Live> {
        let (tell, _) = self.0.get_or_init(|| {
            let tell = broadcast::Sender::new(limits::EVENT_LIVE_EVENTS);
            let task = tokio::spawn(follow(store.clone(), tell.clone()));
            (tell, task.abort_handle())
        });
        tell.subscribe()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((_, task)) = self.0.get() {
            task.abort();
        }
    }
}

async fn follow(store: Arc<dyn Store>, tell: broadcast::Sender<Live>) {
    loop {
        if let Err(error) = watch(&*store, &tell).await {
            tracing::debug!(%error, "the event log is watched anew");
        }
        tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS)).await;
    }
}

/// Tells what is new, until the watch ends.
async fn watch(store: &dyn Store, tell: &broadcast::Sender<Live>) -> Result<(), StoreError> {
    let now = store.range(Range { prefix: LOG.to_owned(), limit: 1, ..Range::default() }).await?.revision;
    let mut watch = store.watch(LOG.to_owned(), now.next()).await?;
    // What came before is read by who needs it. That nobody listens is no error.
    let _ = tell.send(Live::Look);
    while let Some(changes) = watch.next().await {
        for change in changes? {
            let Change::Put(entry) = change else { continue };
            let live = Stored::read(&entry.value).map_or(Live::Look, |event| Live::New(Arc::new(event)));
            let _ = tell.send(live);
        }
    }
    Ok(())
}

/// Events in their order, each once, as they come.
pub struct Subscription {
    events: Events,
    live: broadcast::Receiver<Live>,
    /// Read, and not yet taken.
    ready: VecDeque<Arc<Stored>>,
    /// The number of the next one.
    next: u64,
    /// Whether it has to be read from the store.
    behind: bool,
}

impl Events {
    /// Every event from this one on; without it, every one that comes.
    pub async fn subscribe(&self, from: Option<u64>) -> Result<Subscription, EventError> {
        let live = self.0.follower.join(&self.0.store);
        let next = match from {
            Some(from) => from.max(1),
            None => self.head().await?.map_or(1, |head| head.seq + 1),
        };
        Ok(Subscription { events: self.clone(), live, ready: VecDeque::new(), next, behind: true })
    }
}

impl Subscription {
    /// The next event, when it comes. Nothing is lost where the wait is given up. An error can be
    /// asked again after; behind [`EventError::Removed`] it goes on with the first event that is kept.
    pub async fn next(&mut self) -> Result<Arc<Stored>, EventError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.next = event.event.seq + 1;
                return Ok(event);
            }
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            match self.live.recv().await {
                Ok(Live::New(event)) if event.event.seq < self.next => {}
                Ok(Live::New(event)) if event.event.seq == self.next => self.ready.push_back(event),
                Ok(_) | Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => {
                    let why = "nobody watches the event log any more";
                    return Err(StoreError::Unavailable(why.to_owned()).into());
                }
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), EventError> {
        let query = Query { from: Some(self.next), limit: limits::EVENT_LIVE_EVENTS, ..Query::default() };
        match self.events.read(query).await {
            Ok(page) => {
                self.behind = !page.events.is_empty();
                self.ready.extend(page.events.into_iter().map(Arc::new));
                Ok(())
            }
            Err(error) => {
                if let EventError::Removed(first) = error {
                    self.next = first;
                }
                Err(error)
            }
        }
    }
}
