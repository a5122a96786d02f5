//! Compacts the store's history once it is recorded and old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::alarms::TICK_KEY as ALARMS_TICK_KEY;
use crate::events::EventError;
use crate::limits;
use crate::locks::TICK_KEY as LOCKS_TICK_KEY;
use crate::recorder::CHECKPOINT_PREFIX;
use crate::store::scan::scan;
use crate::store::{Op, Revision, Store, StoreError, Txn};

/// Most changes in the history that stays readable.
const STORE_HISTORY_ENTRIES: u64 = 200_000;

/// Interval of compaction.
const STORE_COMPACTION_MS: u64 = 60_000;

/// One key per event source, under the prefix that it watches; they carry no other meaning.
const TICK_KEYS: [&str; 4] = [LOCKS_TICK_KEY, "queues/tick", "lifecycle/tick", ALARMS_TICK_KEY];

/// Past revisions and when they were the newest.
pub(super) struct Compaction<'a> {
    store: &'a Arc<dyn Store>,
    seen: VecDeque<(Instant, Revision)>,
}

impl Compaction<'_> {
    pub(super) fn new(store: &Arc<dyn Store>) -> Compaction<'_> {
        Compaction { store, seen: VecDeque::new() }
    }

    /// Compacts at intervals, until the store fails.
    pub(super) async fn run(mut self) -> Result<(), EventError> {
        let mut tick = interval(Duration::from_millis(STORE_COMPACTION_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.compact(Instant::now()).await?;
        }
    }

    pub(super) async fn compact(&mut self, now: Instant) -> Result<(), StoreError> {
        // An idle event source advances its checkpoint when it sees this write.
        let tick = |key: &&str| Op::Put { key: (*key).to_owned(), value: Bytes::new(), lease: None };
        self.store.txn(Txn { success: TICK_KEYS.iter().map(tick).collect(), ..Txn::default() }).await?;
        let checkpoints = scan(&**self.store, CHECKPOINT_PREFIX, None).await?;
        let parse = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok().map(Revision);
        // Unrecorded history is kept.
        let recorded = checkpoints.entries.iter().filter_map(|entry| parse(&entry.value)).min();
        let before = self.before(now, checkpoints.revision).min(recorded.unwrap_or_default());
        if before.0 > 1 {
            self.store.compact(before).await?;
        }
        Ok(())
    }

    /// The first revision to keep, by age and by number.
    fn before(&mut self, now: Instant, newest: Revision) -> Revision {
        self.seen.push_back((now, newest));
        let age = Duration::from_millis(limits::STORE_HISTORY_MS);
        let mut old = Revision(0);
        while let Some((at, revision)) = self.seen.front().copied()
            && now.saturating_duration_since(at) >= age
        {
            old = revision;
            self.seen.pop_front();
        }
        old.max(Revision(newest.0.saturating_sub(STORE_HISTORY_ENTRIES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DisabledStore;

    #[test]
    fn history_is_compacted_by_age_or_by_number() {
        let store: Arc<dyn Store> = Arc::new(DisabledStore(String::new()));
        let mut compaction = Compaction::new(&store);
        let (start, age) = (Instant::now(), Duration::from_millis(limits::STORE_HISTORY_MS));
        assert_eq!(compaction.before(start, Revision(10)), Revision(0));
        assert_eq!(compaction.before(start + age / 2, Revision(20)), Revision(0));
        assert_eq!(compaction.before(start + age, Revision(30)), Revision(10));
        assert_eq!(compaction.before(start + age * 2, Revision(40)), Revision(30));
        let many = Revision(STORE_HISTORY_ENTRIES + 100);
        assert_eq!(compaction.before(start + age * 2, many), Revision(100));
    }
}
