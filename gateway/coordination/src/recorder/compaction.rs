//! Lets the store forget what is recorded and old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::events::EventError;
use crate::locks::TICK as LOCKS;
use crate::recorder::PLACE;
use crate::store::{Op, Range, Revision, Store, StoreError, Txn};

/// Keys under what each part watches; they mean nothing else.
const TICKS: [&str; 3] = [LOCKS, "queues/tick", "lifecycle/tick"];

/// What was newest when.
pub(super) struct Compaction<'a> {
    store: &'a Arc<dyn Store>,
    seen: VecDeque<(Instant, Revision)>,
}

impl Compaction<'_> {
    pub(super) fn new(store: &Arc<dyn Store>) -> Compaction<'_> {
        Compaction { store, seen: VecDeque::new() }
    }

    /// For as long as the store can be used.
    pub(super) async fn run(mut self) -> Result<(), EventError> {
        let mut tick = interval(Duration::from_millis(limits::STORE_COMPACTION_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.compact(Instant::now()).await?;
        }
    }

    pub(super) async fn compact(&mut self, now: Instant) -> Result<(), StoreError> {
        // A part in which nothing happens is as far as the others when it has seen this.
        let tick = |key: &&str| Op::Put { key: (*key).to_owned(), value: Bytes::new(), lease: None };
        self.store.txn(Txn { success: TICKS.iter().map(tick).collect(), ..Txn::default() }).await?;
        let page =
            self.store.range(Range { prefix: PLACE.to_owned(), limit: 10, ..Range::default() }).await?;
        let place = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok().map(Revision);
        // Nothing is forgotten that is to be recorded.
        let recorded = page.entries.iter().filter_map(|entry| place(&entry.value)).min();
        let before = self.before(now, page.revision).min(recorded.unwrap_or_default());
        if before.0 > 1 {
            self.store.compact(before).await?;
        }
        Ok(())
    }

    /// What is older than the past that is kept, by time or by number.
    fn before(&mut self, now: Instant, newest: Revision) -> Revision {
        self.seen.push_back((now, newest));
        let age = Duration::from_millis(limits::STORE_PAST_MS);
        let mut old = Revision(0);
        while let Some((at, revision)) = self.seen.front().copied()
            && now.saturating_duration_since(at) >= age
        {
            old = revision;
            self.seen.pop_front();
        }
        old.max(Revision(newest.0.saturating_sub(limits::STORE_PAST_ENTRIES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Nowhere;

    #[test]
    fn what_is_old_by_time_or_by_number_may_go() {
        let store: Arc<dyn Store> = Arc::new(Nowhere(String::new()));
        let mut compaction = Compaction::new(&store);
        let (start, age) = (Instant::now(), Duration::from_millis(limits::STORE_PAST_MS));
        assert_eq!(compaction.before(start, Revision(10)), Revision(0));
        assert_eq!(compaction.before(start + age / 2, Revision(20)), Revision(0));
        assert_eq!(compaction.before(start + age, Revision(30)), Revision(10));
        assert_eq!(compaction.before(start + age * 2, Revision(40)), Revision(30));
        let many = Revision(limits::STORE_PAST_ENTRIES + 100);
        assert_eq!(compaction.before(start + age * 2, many), Revision(100));
    }
}
