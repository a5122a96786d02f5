//! Verifies the indexes: every entry has its event, and every event its entries.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::events::entry::{Event, ROOT, is_index, seq_of, tip_of};
use crate::events::source::EntrySource;
use crate::events::verify::{VerifyReport, Violation};
use crate::store::StoreError;

/// Entries that no event has claimed yet, as half a hash of key and value, because there may be millions.
pub(super) struct Index {
    unclaimed: HashSet<[u8; 16]>,
    /// The newest version of each stream, according to the events.
    versions: HashMap<String, u64>,
}

fn mark(key: &str, value: &[u8]) -> [u8; 16] {
    let hash = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize();
    let mut mark = [0; 16];
    mark.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    mark
}

impl Index {
    pub(super) fn read(source: &impl EntrySource) -> Result<Index, StoreError> {
        let mut unclaimed = HashSet::new();
        source.scan(ROOT, &mut |key, value| {
            if is_index(key) {
                unclaimed.insert(mark(key, value));
            }
        })?;
        Ok(Index { unclaimed, versions: HashMap::new() })
    }

    /// Claims the index entries of an event, and returns a missing key.
    pub(super) fn claim(&mut self, event: &Event) -> Option<String> {
        self.versions.insert(event.stream.clone(), event.version);
        let mut missing = None;
        for (key, value) in event.index() {
            if !self.unclaimed.remove(&mark(&key, value.as_bytes())) {
                missing = Some(key);
            }
        }
        missing
    }

    /// Reports entries that no event has claimed. `removed`: retention may have removed all events of a
    /// stream.
    pub(super) fn end(
        self,
        source: &impl EntrySource,
        removed: bool,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        // If the events are not intact, the indexes cannot agree with them.
        let sound = report.is_sound();
        if sound && !self.unclaimed.is_empty() {
            source.scan(ROOT, &mut |key, value| {
                if is_index(key) && self.unclaimed.contains(&mark(key, value)) {
                    let seq = seq_of(key).unwrap_or_default();
                    report.find(seq, Violation::Index, format!("{key:?} leads to no event"));
                }
            })?;
        }
        if !sound {
            return Ok(());
        }
        let mut streams = self.versions;
        source.scan(ROOT, &mut |key, value| {
            let Some(stream) = tip_of(key) else { return };
            let tip = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let known = streams.remove(stream);
            if tip != known && !(removed && known.is_none() && tip.is_some()) {
                let what = format!("{stream} is said to be at version {tip:?}, and is at {known:?}");
                report.find(0, Violation::Index, what);
            }
        })?;
        for (stream, version) in streams {
            report.find(
                0,
                Violation::Index,
                format!("{stream} is at version {version}, which is noted nowhere"),
            );
        }
        Ok(())
    }
}
