//! Long polling: waits until a message is available. The waiting calls of a process form a first-come,
//! first-served queue per work queue; the first one watches the store for all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits;
use crate::queues::{Actor, Delivery, DequeueOptions, QueueError, Queues, check_name, keys};
use crate::store::{Change, Revision, Store, StoreError, Watch};

/// The shared watch of one wait queue, locked by its first waiter.
type WaitQueue = Arc<tokio::sync::Mutex<Option<Watch>>>;

/// The wait queues of one process.
#[derive(Default)]
pub(super) struct WaitQueues {
    all: Mutex<HashMap<String, (WaitQueue, usize)>>,
}

/// A slot in a wait queue, freed on drop.
struct WaitSlot<'a> {
    wait_queues: &'a WaitQueues,
    queue: &'a str,
    watch: WaitQueue,
}

impl WaitQueues {
    fn join<'a>(&'a self, queue: &'a str) -> Result<WaitSlot<'a>, QueueError> {
        let mut all = self.all.lock();
        if all.values().map(|(_, waiting)| waiting).sum::<usize>() >= limits::QUEUE_WAITING_CLIENTS {
            return Err(QueueError::TooManyWaiters);
        }
        let (watch, waiting) = all.entry(queue.to_owned()).or_default();
        *waiting += 1;
        Ok(WaitSlot { wait_queues: self, queue, watch: watch.clone() })
    }

    /// The number of waiting calls.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.all.lock().values().map(|(_, waiting)| waiting).sum()
    }
}

impl Drop for WaitSlot<'_> {
    fn drop(&mut self) {
        let mut all = self.wait_queues.all.lock();
        if let Some((_, waiting)) = all.get_mut(self.queue) {
            *waiting -= 1;
            // The watch ends with the last waiter.
            if *waiting == 0 {
                all.remove(self.queue);
            }
        }
    }
}

impl Queues {
    /// Dequeues messages as soon as some are available; empty after `wait` without any.
    pub async fn dequeue_within(
        &self,
        queue: &str,
        options: DequeueOptions,
        wait: Duration,
        actor: &Actor<'_>,
    ) -> Result<Vec<Delivery>, QueueError> {
        check_name(queue)?;
        let wait = wait.min(Duration::from_millis(limits::QUEUE_WAIT_MS));
        let deadline = Instant::now() + wait;
        if wait.is_zero() {
            return self.dequeue(queue, options, actor).await;
        }
        let slot = self.local.wait_queues.join(queue)?;
        let Ok(mut watch) = tokio::time::timeout_at(deadline, slot.watch.lock()).await else {
            // The call ahead got none either, or will get the next one.
            return Ok(Vec::new());
        };
        loop {
            let (taken, since) = self.try_dequeue(queue, options, actor).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            let changed = wait_for_change(&*self.store, &mut watch, queue, since);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(changed) => changed?,
                Err(_) => return Ok(Vec::new()),
            }
        }
    }
}

/// Returns when a message may be available that was not at this revision.
async fn wait_for_change(
    store: &dyn Store,
    watch: &mut Option<Watch>,
    queue: &str,
    since: Revision,
) -> Result<(), StoreError> {
    loop {
        let next = match watch {
            Some(watch) => watch.next().await,
            None => {
                *watch = Some(store.watch(keys::all(queue), since.next()).await?);
                continue;
            }
        };
        match next {
            Some(Ok(changes)) if changes.iter().any(|change| may_deliver(change, queue, since)) => {
                return Ok(());
            }
            Some(Ok(_)) => {}
            // The watch has fallen behind: read the present state.
            Some(Err(StoreError::Compacted(_))) => {
                *watch = None;
                return Ok(());
            }
            Some(Err(error)) => {
                *watch = None;
                return Err(error);
            }
            None => {
                *watch = None;
                return Err(StoreError::Unavailable("the watch of the store has ended".to_owned()));
            }
        }
    }
}

/// Whether a change is a new or changed message, or one that is no longer hidden.
fn may_deliver(change: &Change, queue: &str, since: Revision) -> bool {
    change.revision() > since
        && match change {
            Change::Put(entry) => entry.key.starts_with(&keys::messages(queue)),
            Change::Delete { key, .. } => key.starts_with(&keys::hidden_all(queue)),
        }
}
