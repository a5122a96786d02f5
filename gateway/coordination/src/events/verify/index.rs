//! What leads to events: every entry of the indexes has its event, and every event its entries.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::events::dump::Dump;
use crate::events::entry::{Event, ROOT, is_index, seq_of, tip_of};
use crate::events::verify::{Fault, Verdict};
use crate::store::StoreError;

/// Entries that no event has claimed yet, by half a hash of key and value: there may be millions.
pub(super) struct Index {
    unclaimed: HashSet<[u8; 16]>,
    /// The newest version of each stream, as events have it.
    versions: HashMap<String, u64>,
}

fn mark(key: &str, value: &[u8]) -> [u8; 16] {
    let hash = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize();
    let mut mark = [0; 16];
    mark.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    mark
}

impl Index {
    pub(super) fn read(dump: &impl Dump) -> Result<Index, StoreError> {
        let mut unclaimed = HashSet::new();
        dump.scan(ROOT, &mut |key, value| {
            if is_index(key) {
                unclaimed.insert(mark(key, value));
            }
        })?;
        Ok(Index { unclaimed, versions: HashMap::new() })
    }

    /// Claims what leads to an event; a key that should and does not.
    pub(super) fn take(&mut self, event: &Event) -> Option<String> {
        self.versions.insert(event.stream.clone(), event.version);
        let mut missing = None;
        for (key, value) in event.index() {
            if !self.unclaimed.remove(&mark(&key, value.as_bytes())) {
                missing = Some(key);
            }
        }
        missing
    }

    /// What is left leads to nothing. `removed`: streams may have lost all their events on purpose.
    pub(super) fn end(
        self,
        dump: &impl Dump,
        removed: bool,
        verdict: &mut Verdict,
    ) -> Result<(), StoreError> {
        // Where events are not as they were written, the indexes cannot agree with them.
        let sound = verdict.is_sound();
        if sound && !self.unclaimed.is_empty() {
            dump.scan(ROOT, &mut |key, value| {
                if is_index(key) && self.unclaimed.contains(&mark(key, value)) {
                    let seq = seq_of(key).unwrap_or_default();
                    verdict.find(seq, Fault::Index, format!("{key:?} leads to no event"));
                }
            })?;
        }
        if !sound {
            return Ok(());
        }
        let mut streams = self.versions;
        dump.scan(ROOT, &mut |key, value| {
            let Some(stream) = tip_of(key) else { return };
            let tip = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let known = streams.remove(stream);
            if tip != known && !(removed && known.is_none() && tip.is_some()) {
                let what = format!("{stream} is said to be at version {tip:?}, and is at {known:?}");
                verdict.find(0, Fault::Index, what);
            }
        })?;
        for (stream, version) in streams {
            verdict.find(
                0,
                Fault::Index,
                format!("{stream} is at version {version}, which is noted nowhere"),
            );
        }
        Ok(())
    }
}
