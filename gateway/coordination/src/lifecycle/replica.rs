//! The read model of one process: a snapshot and a watch, and a snapshot again whenever the watch has
//! fallen behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lifecycle::model::Model;
use crate::lifecycle::record::{Name, PREFIX};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::store::Revision;

/// What this process knows.
pub(super) struct Seen {
    /// Nothing before the first snapshot.
    model: RwLock<Option<Model>>,
    revision: watch::Sender<Revision>,
    /// When this process last spoke for whom.
    spoken: Mutex<BTreeMap<Name, Instant>>,
}

impl Default for Seen {
    fn default() -> Seen {
        let (model, spoken) = (RwLock::default(), Mutex::default());
        Seen { model, revision: watch::Sender::new(Revision(0)), spoken }
    }
}

impl Lifecycle {
    /// Keeps what [`Lifecycle::with`] reads up to date. One task per process; never ends.
    pub async fn follow(&self) {
        loop {
            if let Err(error) = self.follow_on().await {
                tracing::debug!(%error, "lives are not followed now");
            }
            tokio::time::sleep(Duration::from_millis(limits::LIFECYCLE_WATCH_MS)).await;
        }
    }

    /// Until the watch is lost.
    async fn follow_on(&self) -> Result<(), LifecycleError> {
        let model = self.scan().await?;
        let from = model.revision();
        self.shared.seen.replace(model);
        let mut watch = self.store.watch(PREFIX.to_owned(), from.next()).await?;
        while let Some(changes) = watch.next().await {
            let changes = changes?;
            self.shared.seen.update(|model| model.apply(&changes, Instant::now()));
        }
        Ok(())
    }

    /// Reads what this process knows of all; `None` before it knows anything.
    pub fn with<T>(&self, read: impl FnOnce(&Model) -> T) -> Option<T> {
        self.shared.seen.model.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }

    /// Waits until what this process knows holds at this revision or a later one. Only changes of lives
    /// count: wait for the revision of one.
    pub async fn caught_up(&self, revision: Revision) {
        // The sender is as old as this.
        let _ = self.shared.seen.revision.subscribe().wait_for(|seen| *seen >= revision).await;
    }

    /// How long ago this process last spoke for one; `None`: it does not.
    pub fn spoke_ago(&self, name: &Name) -> Option<Duration> {
        let spoken = self.shared.seen.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        spoken.get(name).map(Instant::elapsed)
    }

    /// This process speaks for these, and for no others.
    pub(super) fn heard(&self, of: &BTreeSet<Name>) {
        let now = Instant::now();
        let mut spoken = self.shared.seen.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        spoken.retain(|name, _| of.contains(name));
        spoken.extend(of.iter().map(|name| (name.clone(), now)));
    }
}

impl Seen {
    fn replace(&self, model: Model) {
        let revision = model.revision();
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = Some(model);
        self.revision.send_replace(revision);
    }

    fn update(&self, change: impl FnOnce(&mut Model)) {
        let mut model = self.model.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = model.as_mut() {
            change(model);
            self.revision.send_replace(model.revision());
        }
    }
}
