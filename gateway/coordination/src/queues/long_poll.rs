//! Waiting for a message. Those of one process who wait at one queue stand in a line: the first of it
//! watches the queue for all, and whoever asked first is served first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::time::Instant;

use crate::queues::{By, Delivery, QueueError, Queues, Take, check_name, keys};
use crate::store::{Change, Revision, Store, StoreError, Watch};

/// The watch of one line, in the hands of its first.
type Line = Arc<tokio::sync::Mutex<Option<Watch>>>;

/// The lines of one process.
#[derive(Default)]
pub(super) struct Lines {
    all: Mutex<HashMap<String, (Line, usize)>>,
}

/// Somebody's place in a line, until it is dropped.
struct Place<'a> {
    lines: &'a Lines,
    queue: &'a str,
    line: Line,
}

impl Lines {
    fn join<'a>(&'a self, queue: &'a str) -> Result<Place<'a>, QueueError> {
        let mut all = self.all();
        if all.values().map(|(_, waiting)| waiting).sum::<usize>() >= limits::QUEUE_WAITING_CLIENTS {
            return Err(QueueError::Crowded);
        }
        let (line, waiting) = all.entry(queue.to_owned()).or_default();
        *waiting += 1;
        Ok(Place { lines: self, queue, line: line.clone() })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (Line, usize)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.all().values().map(|(_, waiting)| waiting).sum()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.lines.all();
        if let Some((_, waiting)) = all.get_mut(self.queue) {
            *waiting -= 1;
            // With the last one goes the watch.
            if *waiting == 0 {
                all.remove(self.queue);
            }
        }
    }
}

impl Queues {
    /// Takes messages as soon as there are some; none, if there are none for so long.
    pub async fn dequeue_within(
        &self,
        queue: &str,
        take: Take,
        wait: Duration,
        by: &By<'_>,
    ) -> Result<Vec<Delivery>, QueueError> {
        check_name(queue)?;
        let wait = wait.min(Duration::from_millis(limits::QUEUE_WAIT_MS));
        let deadline = Instant::now() + wait;
        if wait.is_zero() {
            return self.dequeue(queue, take, by).await;
        }
        let place = self.here.lines.join(queue)?;
        let Ok(mut watch) = tokio::time::timeout_at(deadline, place.line.lock()).await else {
            // Whoever is ahead got none either, or will get the next.
            return Ok(Vec::new());
        };
        loop {
            let (taken, since) = self.attempt(queue, take, by).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            let changed = changed(&*self.store, &mut watch, queue, since);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(changed) => changed?,
                Err(_) => return Ok(Vec::new()),
            }
        }
    }
}

/// Returns when there may be a message that was not there at this revision.
async fn changed(
    store: &dyn Store,
    watch: &mut Option<Watch>,
    queue: &str,
    since: Revision,
) -> Result<(), StoreError> {
    loop {
        let told = match watch {
            Some(watch) => watch.next().await,
            None => {
                *watch = Some(store.watch(keys::all(queue), since.next()).await?);
                continue;
            }
        };
        match told {
            Some(Ok(changes)) if changes.iter().any(|change| is_news(change, queue, since)) => return Ok(()),
            Some(Ok(_)) => {}
            // Fallen behind, or the store was closed: what there is now is looked at.
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

/// A new or changed message, or one that is no longer hidden.
fn is_news(change: &Change, queue: &str, since: Revision) -> bool {
    change.revision() > since
        && match change {
            Change::Put(entry) => entry.key.starts_with(&keys::messages(queue)),
            Change::Delete { key, .. } => key.starts_with(&keys::hidden_all(queue)),
        }
}
