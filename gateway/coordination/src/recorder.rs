//! Makes events of what changes: who got and lost a lock, which message became a dead letter, which
//! robot is in which state. What happened is what the store says happened, whoever did it and however
//! it came about: so a lease that ended is an event as well, and no process can forget to tell.
//!
//! One process records at a time. It keeps its place in the store, and an event is known by the
//! revision that it is made of: what is recorded again after a crash is not appended twice. It also
//! lets the store forget its past when that is recorded and old.

mod compaction;
mod event_source;
mod leader;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

use crate::Coordination;
use crate::events::{EventError, Expected};
use crate::locks::LockFacts;
use crate::recorder::compaction::Compaction;
pub(crate) use crate::recorder::event_source::Facts;
use crate::recorder::event_source::{Dead, Lives};
use crate::store::{Change, Entry, Op, Range, Revision, Store, StoreError, Txn};

/// Under it is how far each part is recorded.
const PLACE: &str = "recorder/place/";
/// Held by the process that records.
const LEADER: &str = "recorder/leader";

/// Wall clock, nanoseconds since the Unix epoch.
pub type Clock = fn() -> i64;

impl Coordination {
    /// Records for as long as this runs, whenever no other process does. Never ends.
    pub async fn record(&self, clock: Clock) {
        loop {
            match leader::lead(&*self.store, self.events.node()).await {
                Ok(lease) => {
                    let kept = leader::stay(&*self.store, lease);
                    let recorded = self.record_all(clock);
                    let ended = tokio::select! {
                        error = kept => error,
                        error = recorded => error,
                    };
                    tracing::debug!(error = %ended, "recording ends");
                    // It would end by itself, later.
                    let _ = self.store.revoke(lease).await;
                }
                Err(error) => tracing::debug!(%error, "nobody is known to record"),
            }
            tokio::time::sleep(Duration::from_millis(limits::RECORDER_RETRY_MS)).await;
        }
    }

    /// All parts, until one cannot go on.
    async fn record_all(&self, clock: Clock) -> EventError {
        let ended = tokio::try_join!(
            self.record_part(LockFacts::default(), clock),
            self.record_part(Dead, clock),
            self.record_part(Lives, clock),
            Compaction::new(&self.store).run(),
        );
        match ended {
            Err(error) => error,
            Ok(_) => StoreError::Unavailable("the watch ended".to_owned()).into(),
        }
    }

    async fn record_part(&self, mut facts: impl Facts, clock: Clock) -> Result<(), EventError> {
        let mut place = Place::of(&*self.store, facts.name()).await?;
        // Where nothing has to be known, this asks only whether the past is still there.
        let prefix = if facts.is_seeded() { facts.prefix() } else { PLACE };
        let seed = match snapshot(&*self.store, prefix, place.at).await {
            Ok(seed) => seed,
            // What is no longer known cannot be recorded: that it is so can.
            Err(StoreError::Compacted(from)) => {
                tracing::warn!(part = facts.name(), place = place.at.0, from = from.0, "not recorded");
                place.at = newest(&*self.store).await?;
                snapshot(&*self.store, prefix, place.at).await?
            }
            Err(error) => return Err(error.into()),
        };
        facts.seed(&seed);
        let mut watch = self.store.watch(facts.prefix().to_owned(), place.at.next()).await?;
        while let Some(changes) = watch.next().await {
            for changes in changes?.chunk_by(|a, b| a.revision() == b.revision()) {
                self.record_one(&mut facts, changes, clock).await?;
                place.at = changes.first().map_or(place.at, Change::revision);
            }
            place.keep(&*self.store).await?;
        }
        Ok(())
    }

    /// What one revision is made of.
    async fn record_one(
        &self,
        facts: &mut impl Facts,
        changes: &[Change],
        clock: Clock,
    ) -> Result<(), EventError> {
        let Some(revision) = changes.first().map(Change::revision) else { return Ok(()) };
        let events = facts.of(changes).into_iter().enumerate().map(|(n, mut event)| {
            // A name that is longer than one of a stream is whole in the data, and what a client calls
            // itself may be anything: neither must keep a fact out of the log.
            event.stream = fitting(&event.stream);
            event.by = event.by.map(|by| fitting(&by)).filter(|by| !by.is_empty());
            event.id = Some(format!("{}@{}.{n}", facts.name(), revision.0));
            if event.at_ns == 0 {
                event.at_ns = clock();
            }
            self.events.append(event, Expected::Any)
        });
        // One behind the other in the log, and one commit for all where that is possible.
        for appended in futures_util::future::join_all(events.collect::<Vec<_>>()).await {
            match appended {
                // What can never be an event must not keep all others from being one.
                Err(error @ (EventError::Bad(_) | EventError::Long(_))) => {
                    tracing::warn!(%error, revision = revision.0, "not recorded");
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// As much of a name as the log takes.
fn fitting(name: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += c.len_utf8();
        bytes <= limits::EVENT_NAME_BYTES
    };
    name.chars().filter(|c| !c.is_control()).take_while(fits).collect()
}

/// How far a part is recorded.
struct Place {
    key: String,
    at: Revision,
    kept: Revision,
    when: tokio::time::Instant,
}

impl Place {
    /// As it was kept; what was before this is seen for the first time is not recorded.
    async fn of(store: &dyn Store, name: &str) -> Result<Place, StoreError> {
        let key = format!("{PLACE}{name}");
        let page = store.range(Range { prefix: key.clone(), limit: 1, ..Range::default() }).await?;
        let known =
            page.entries.first().and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok());
        let at = known.map_or(page.revision, Revision).min(page.revision);
        let mut place = Place { key, at, kept: Revision(0), when: tokio::time::Instant::now() };
        if known.is_none() {
            place.write(store).await?;
        }
        Ok(place)
    }

    /// Keeps it, now and then: what is recorded twice is appended once.
    async fn keep(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        match self.when.elapsed() >= Duration::from_millis(limits::RECORDER_PLACE_MS) {
            true => self.write(store).await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let value = Bytes::from(self.at.0.to_string());
        let put = Op::Put { key: self.key.clone(), value, lease: None };
        store.txn(Txn { success: vec![put], ..Txn::default() }).await?;
        (self.kept, self.when) = (self.at, tokio::time::Instant::now());
        Ok(())
    }
}

async fn newest(store: &dyn Store) -> Result<Revision, StoreError> {
    Ok(store.range(Range { prefix: PLACE.to_owned(), limit: 1, ..Range::default() }).await?.revision)
}

/// Everything under a prefix, as it was.
async fn snapshot(store: &dyn Store, prefix: &str, at: Revision) -> Result<Vec<Entry>, StoreError> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let (prefix, limit) = (prefix.to_owned(), limits::STORE_PAGE_ENTRIES);
        let page = store.range(Range { prefix, after, at: Some(at), limit, ..Range::default() }).await?;
        after = page.entries.last().map(|entry| entry.key.clone());
        entries.extend(page.entries);
        if !page.more {
            return Ok(entries);
        }
    }
}
