//! The in-memory replica of one process: a snapshot followed by a watch, and a new snapshot whenever
//! the watch has fallen behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lifecycle::Lifecycle;
use crate::lifecycle::model::Model;
use crate::lifecycle::record::{EntityId, PREFIX};
use crate::limits;
use crate::store::Revision;
use crate::store::list_watch::{self, List, Update};
use crate::store::scan::Snapshot;

/// The replica's state.
pub(super) struct Replica {
    /// `None` before the first snapshot.
    model: RwLock<Option<Model>>,
    revision: watch::Sender<Revision>,
    /// When this process last sent a heartbeat, by entity.
    last_beats: Mutex<BTreeMap<EntityId, Instant>>,
}

impl Default for Replica {
    fn default() -> Replica {
        let (model, last_beats) = (RwLock::default(), Mutex::default());
        Replica { model, revision: watch::Sender::new(Revision(0)), last_beats }
    }
}

impl Lifecycle {
    /// Maintains the model that [`Lifecycle::with`] reads. One task per process; never ends.
    pub async fn run_replica(&self) {
        let retry = Duration::from_millis(limits::LIFECYCLE_WATCH_MS);
        let replica = &self.shared.replica;
        let apply = |update| {
            let now = Instant::now();
            match update {
                Update::Snapshot(Snapshot { entries, revision }) => {
                    replica.replace(Model::from_entries(&entries, revision, now));
                }
                Update::Changes(changes) => replica.update(|model| model.apply(&changes, now)),
            }
            ControlFlow::Continue(())
        };
        list_watch::run(&*self.store, PREFIX, List::Entries, retry, apply).await;
    }

    /// Reads the replica; `None` before the first snapshot.
    pub fn with<T>(&self, read: impl FnOnce(&Model) -> T) -> Option<T> {
        self.shared.replica.model.read().as_ref().map(read)
    }

    /// Waits until the replica has reached this revision. Only lifecycle changes advance it: wait for
    /// the revision of one.
    pub async fn wait_for_revision(&self, revision: Revision) {
        // The sender lives as long as `self`.
        let _ = self.shared.replica.revision.subscribe().wait_for(|seen| *seen >= revision).await;
    }

    /// The time since this process last sent a heartbeat for an entity; `None` if it sends none.
    pub fn last_beat_age(&self, entity: &EntityId) -> Option<Duration> {
        let last_beats = self.shared.replica.last_beats.lock();
        last_beats.get(entity).map(Instant::elapsed)
    }

    /// Records that this process sent heartbeats for exactly these entities.
    pub(super) fn record_beats(&self, of: &BTreeSet<EntityId>) {
        let now = Instant::now();
        let mut last_beats = self.shared.replica.last_beats.lock();
        last_beats.retain(|entity, _| of.contains(entity));
        last_beats.extend(of.iter().map(|entity| (entity.clone(), now)));
    }
}

impl Replica {
    fn replace(&self, model: Model) {
        let revision = model.revision();
        *self.model.write() = Some(model);
        self.revision.send_replace(revision);
    }

    fn update(&self, change: impl FnOnce(&mut Model)) {
        let mut model = self.model.write();
        if let Some(model) = model.as_mut() {
            change(model);
            self.revision.send_replace(model.revision());
        }
    }
}
