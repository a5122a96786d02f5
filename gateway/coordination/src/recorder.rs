//! Records domain events in the event log: locks acquired and lost, dead letters, lifecycle
//! transitions, alarms. Events are derived from changes of the store, regardless of their cause, so an expired lease
//! is recorded as well and no process can forget to record anything.
//!
//! One process records at a time. Its checkpoint is in the store, and an event id contains the revision
//! it was derived from, so an event that is recorded again after a crash is not appended twice. The
//! recorder also compacts the store's history once it is recorded and old.

mod compaction;
mod event_source;
mod leader;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use bytes::Bytes;

use crate::Coordination;
use crate::alarms::AlarmEventSource;
use crate::event_source::EventSource;
use crate::events::{EventError, Expected};
use crate::limits;
use crate::locks::LockEventSource;
use crate::recorder::compaction::Compaction;
use crate::recorder::event_source::{DeadLetterEvents, LifecycleEvents};
use crate::store::scan::{get, newest_revision, scan};
use crate::store::{Change, Op, Revision, Store, StoreError, Txn};

/// Before the first change.
const STORE_START: Revision = Revision(0);

/// Interval at which a checkpoint is stored.
const RECORDER_CHECKPOINT_MS: u64 = 1_000;

/// Checkpoints, one per event source.
const CHECKPOINT_PREFIX: &str = "recorder/place/";
/// The leased key of the process that records.
const LEADER_KEY: &str = "recorder/leader";

/// Wall clock, nanoseconds since the Unix epoch.
pub type Clock = fn() -> i64;

impl Coordination {
    /// Records events whenever no other process does. Never ends.
    pub async fn record(&self, clock: Clock) {
        loop {
            match leader::acquire(&*self.store, self.events.node()).await {
                Ok(lease) => {
                    let kept = leader::renew(&*self.store, lease);
                    let recorded = self.record_all(clock);
                    let ended = tokio::select! {
                        error = kept => error,
                        error = recorded => error,
                    };
                    tracing::debug!(error = %ended, "recording ends");
                    // Otherwise the lease expires by itself, later.
                    let _ = self.store.revoke(lease).await;
                }
                Err(error) => tracing::debug!(%error, "no recorder can be elected now"),
            }
            tokio::time::sleep(Duration::from_millis(limits::RECORDER_RETRY_MS)).await;
        }
    }

    /// Runs all event sources until one fails.
    async fn record_all(&self, clock: Clock) -> EventError {
        let ended = tokio::try_join!(
            self.record_source(LockEventSource::default(), clock),
            self.record_source(DeadLetterEvents, clock),
            self.record_source(LifecycleEvents, clock),
            self.record_source(AlarmEventSource::default(), clock),
            Compaction::new(&self.store).run(),
        );
        match ended {
            Err(error) => error,
            Ok(_) => StoreError::Unavailable("the watch ended".to_owned()).into(),
        }
    }

    async fn record_source(&self, mut source: impl EventSource, clock: Clock) -> Result<(), EventError> {
        let mut checkpoint = Checkpoint::load(&*self.store, source.name()).await?;
        // Without a seed, this only checks that the history is still available. etcd has no revision 0.
        let source_prefix = if source.is_seeded() { source.prefix() } else { CHECKPOINT_PREFIX };
        let is_seeded = source.is_seeded() && checkpoint.at != STORE_START;
        let prefix = if is_seeded { source_prefix } else { CHECKPOINT_PREFIX };
        let seed = match scan(&*self.store, prefix, Some(checkpoint.at.max(STORE_START.next()))).await {
            Ok(seed) if is_seeded => seed.entries,
            Ok(_) => Vec::new(),
            // Compacted changes cannot be recorded; log the gap and continue from now.
            Err(StoreError::Compacted(from)) => {
                tracing::warn!(
                    source = source.name(),
                    checkpoint = checkpoint.at.0,
                    from = from.0,
                    "not recorded"
                );
                checkpoint.at = newest_revision(&*self.store, CHECKPOINT_PREFIX).await?;
                scan(&*self.store, source_prefix, Some(checkpoint.at)).await?.entries
            }
            Err(error) => return Err(error.into()),
        };
        source.seed(&seed);
        let mut watch = self.store.watch(source.prefix().to_owned(), checkpoint.at.next()).await?;
        while let Some(changes) = watch.next().await {
            for changes in changes?.chunk_by(|a, b| a.revision() == b.revision()) {
                self.record_revision(&mut source, changes, clock).await?;
                checkpoint.at = changes.first().map_or(checkpoint.at, Change::revision);
            }
            checkpoint.store_if_due(&*self.store).await?;
        }
        Ok(())
    }

    /// Records the events of one revision.
    async fn record_revision(
        &self,
        source: &mut impl EventSource,
        changes: &[Change],
        clock: Clock,
    ) -> Result<(), EventError> {
        let Some(revision) = changes.first().map(Change::revision) else { return Ok(()) };
        let events = source.events(changes).into_iter().enumerate().map(|(n, mut event)| {
            // The data carry the full names. A name that is too long for a stream, or a client name of
            // any form, must not keep an event out of the log.
            event.stream = fit_name(&event.stream);
            event.by = event.by.map(|by| fit_name(&by)).filter(|by| !by.is_empty());
            event.client = event.client.map(|client| fit_name(&client)).filter(|client| !client.is_empty());
            event.id = Some(format!("{}@{}.{n}", source.name(), revision.0));
            if event.at_ns == 0 {
                event.at_ns = clock();
            }
            tracing::info!(
                event_type = event.kind,
                aggregate_id = event.stream,
                by = event.by,
                "recorded in the event log"
            );
            self.events.append(event, Expected::Any)
        });
        // In order, and in one commit where possible.
        for appended in futures_util::future::join_all(events.collect::<Vec<_>>()).await {
            match appended {
                // An event that can never be valid must not block all others.
                Err(error @ (EventError::Bad(_) | EventError::Long(_))) => {
                    tracing::warn!(%error, revision = revision.0, "not recorded");
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// The longest prefix of a name that the log accepts, without control characters.
fn fit_name(name: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += c.len_utf8();
        bytes <= limits::EVENT_NAME_BYTES
    };
    name.chars().filter(|c| !c.is_control()).take_while(fits).collect()
}

/// How far an event source is recorded.
struct Checkpoint {
    key: String,
    at: Revision,
    stored_at: tokio::time::Instant,
}

impl Checkpoint {
    /// Loads the checkpoint. A new one starts with the store, so that what happened before the first
    /// recorder was elected is recorded as well.
    async fn load(store: &dyn Store, name: &str) -> Result<Checkpoint, StoreError> {
        let key = format!("{CHECKPOINT_PREFIX}{name}");
        let (entry, newest) = get(store, &key, None).await?;
        let known = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok());
        let at = known.map_or(STORE_START, Revision).min(newest);
        let mut checkpoint = Checkpoint { key, at, stored_at: tokio::time::Instant::now() };
        if known.is_none() {
            checkpoint.write(store).await?;
        }
        Ok(checkpoint)
    }

    /// Stores the checkpoint at intervals; events recorded twice are appended once.
    async fn store_if_due(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        match self.stored_at.elapsed() >= Duration::from_millis(RECORDER_CHECKPOINT_MS) {
            true => self.write(store).await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let value = Bytes::from(self.at.0.to_string());
        let put = Op::Put { key: self.key.clone(), value, lease: None };
        store.txn(Txn { success: vec![put], ..Txn::default() }).await?;
        self.stored_at = tokio::time::Instant::now();
        Ok(())
    }
}
