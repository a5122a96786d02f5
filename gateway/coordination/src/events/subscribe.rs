//! Subscriptions: past events, then new ones as they come. One watch serves all subscribers of this process;
//! a subscriber that falls behind reads from the store again, so nothing is skipped and nothing accumulates.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::AbortOnDropHandle;

use crate::events::entry::{LOG, Stored};
use crate::events::{EventError, Events, Query};
use crate::limits;
use crate::store::list_watch::{self, List, Update};
use crate::store::{Change, Store, StoreError};

#[derive(Clone)]
enum StreamEvent {
    /// A new event.
    New(Arc<Stored>),
    /// There may be events that were not delivered: read from the store.
    Resync,
}

/// Watches the log, from the first subscription until it is dropped.
#[derive(Default)]
pub(super) struct Follower(OnceLock<(broadcast::Sender<StreamEvent>, AbortOnDropHandle<()>)>);

impl Follower {
    fn subscribe(&self, store: &Arc<dyn Store>) -> broadcast::Receiver<StreamEvent> {
        let (sender, _) = self.0.get_or_init(|| {
            let sender = broadcast::Sender::new(limits::EVENT_LIVE_EVENTS);
            let task = tokio::spawn(watch_log(store.clone(), sender.clone()));
            (sender, AbortOnDropHandle::new(task))
        });
        sender.subscribe()
    }
}

async fn watch_log(store: Arc<dyn Store>, sender: broadcast::Sender<StreamEvent>) {
    let retry = Duration::from_millis(limits::STORE_POLL_MS);
    list_watch::run(&*store, LOG, List::Revision, retry, |update| {
        match update {
            // Earlier events are read from the store by subscribers that need them. An error of `send`
            // means that there is no subscriber now.
            Update::Snapshot(_) => drop(sender.send(StreamEvent::Resync)),
            Update::Changes(changes) => changes.into_iter().for_each(|change| {
                let Change::Put(entry) = change else { return };
                let live = Stored::read(&entry.value)
                    .map_or(StreamEvent::Resync, |event| StreamEvent::New(Arc::new(event)));
                drop(sender.send(live));
            }),
        }
        ControlFlow::Continue(())
    })
    .await;
}

/// Events in order, each exactly once.
pub struct Subscription {
    events: Events,
    live: broadcast::Receiver<StreamEvent>,
    /// Events that have been read and not delivered yet.
    ready: VecDeque<Arc<Stored>>,
    /// The sequence number of the next event.
    next: u64,
    /// Whether the next event has to be read from the store.
    behind: bool,
}

impl Events {
    /// Subscribes to every event from this sequence number on; without it, to every new event.
    pub async fn subscribe(&self, from: Option<u64>) -> Result<Subscription, EventError> {
        let live = self.0.follower.subscribe(&self.0.store);
        let next = match from {
            Some(from) => from.max(1),
            None => self.head().await?.map_or(1, |head| head.seq + 1),
        };
        Ok(Subscription { events: self.clone(), live, ready: VecDeque::new(), next, behind: true })
    }
}

impl Subscription {
    /// The next event. Cancel-safe. After an error the call may be repeated; after [`EventError::Removed`]
    /// it continues with the first retained event.
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
                Ok(StreamEvent::New(event)) if event.event.seq < self.next => {}
                Ok(StreamEvent::New(event)) if event.event.seq == self.next => self.ready.push_back(event),
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
