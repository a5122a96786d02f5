//! The log itself, event by event.

use std::collections::HashMap;

use crate::events::entry::{Event, Hash, Parts, seq_of};
use crate::events::verify::index::Index;
use crate::events::verify::seals::Seals;
use crate::events::verify::{Fault, Verdict};

/// How far the log has been followed.
pub(super) struct Chain<'a> {
    seals: &'a Seals,
    /// The number that comes next.
    next: u64,
    /// The hashes that the event before may have; empty where nothing can be said.
    prior: Vec<Hash>,
    /// The newest version of each stream.
    versions: HashMap<String, u64>,
    /// Whether a stream's first events may have been removed on purpose.
    removed: bool,
    /// Whether versions are missing because events are.
    gap: bool,
    /// The last event that a signature covers.
    proven: u64,
    bytes: u64,
}

impl Chain<'_> {
    pub(super) fn begin(seals: &Seals) -> Chain<'_> {
        let floor = seals.floor.as_ref();
        Chain {
            seals,
            next: floor.map_or(1, |floor| floor.seq + 1),
            prior: floor.map(|floor| floor.hash).or(seals.log).into_iter().collect(),
            versions: HashMap::new(),
            removed: floor.is_some(),
            gap: false,
            proven: floor.map_or(0, |floor| floor.seq),
            bytes: floor.map_or(0, |floor| floor.bytes),
        }
    }

    /// The next entry of the log.
    pub(super) fn next(&mut self, key: &str, value: &[u8], index: &mut Index, verdict: &mut Verdict) {
        let Some(seq) = seq_of(key) else {
            verdict.find(0, Fault::Spliced, format!("{key} is no place in the log"));
            return;
        };
        if seq < self.next {
            verdict.find(seq, Fault::Spliced, format!("event {seq} lies before the beginning of the log"));
            return;
        }
        if seq > self.next {
            let last = seq - 1;
            verdict.find(self.next, Fault::Deleted, format!("events {} to {last} are missing", self.next));
            (self.gap, self.prior) = (true, Vec::new());
        }
        (verdict.events, verdict.last) = (verdict.events + 1, seq);
        if verdict.first == 0 {
            verdict.first = seq;
        }
        (self.next, self.bytes) = (seq + 1, self.bytes + value.len() as u64);
        let Some(parts) = Parts::of(value) else {
            verdict.find(seq, Fault::Edited, format!("event {seq} cannot be read"));
            (self.prior, self.gap) = (Vec::new(), true);
            return;
        };
        self.link(seq, &parts, index, verdict);
    }

    /// Looks at an event and at how it hangs together with the one before.
    fn link(&mut self, seq: u64, parts: &Parts<'_>, index: &mut Index, verdict: &mut Verdict) {
        let event = serde_json::from_slice::<Event>(parts.json).ok();
        let hash = parts.prev.after(parts.json);
        let mut as_written = false;
        if hash != parts.hash {
            verdict.find(seq, Fault::Edited, format!("event {seq} does not have the hash that is beside it"));
        } else if let Some(event) = event.as_ref().filter(|event| event.seq != seq) {
            let what = format!("in place {seq} lies event {}", event.seq);
            verdict.find(seq, Fault::Reordered, what);
        } else if event.is_none() {
            verdict.find(seq, Fault::Edited, format!("event {seq} is none"));
        } else if !self.prior.is_empty() && !self.prior.contains(&parts.prev) {
            let what = format!(
                "event {seq} does not follow the one before it: that one was edited and sealed anew, or this \
                 one is of another log"
            );
            verdict.find(seq, Fault::Spliced, what);
        } else {
            as_written = true;
        }
        // Behind a place that is out of order the next one cannot be judged by it.
        let in_place = event.as_ref().is_some_and(|event| event.seq == seq);
        self.prior = if in_place { vec![parts.hash, hash] } else { Vec::new() };
        self.promised(seq, hash, as_written, verdict);
        match event.filter(|_| in_place) {
            Some(event) => self.place(&event, as_written, index, verdict),
            None => self.gap = true,
        }
    }

    /// Whether it is what was signed.
    fn promised(&mut self, seq: u64, hash: Hash, as_written: bool, verdict: &mut Verdict) {
        let Some(promises) = self.seals.hashes.get(&seq) else { return };
        match promises.iter().find(|(promised, _)| *promised != hash) {
            None => self.proven = seq,
            Some((_, by)) if as_written => {
                let first = self.proven + 1;
                let what =
                    format!("events {first} to {seq} are not those that {by}, saw: one of them was edited");
                verdict.find(first, Fault::Edited, what);
            }
            // It has been said already what is wrong with it.
            Some(_) => {}
        }
    }

    /// Whether it has its place in its stream, and the indexes lead to it.
    fn place(&mut self, event: &Event, as_written: bool, index: &mut Index, verdict: &mut Verdict) {
        let before = self.versions.insert(event.stream.clone(), event.version);
        let expected = before.map_or(1, |before| before.saturating_add(1));
        let begins = before.is_none() && self.removed;
        if event.version != expected && !begins && !self.gap && as_written {
            let (stream, version, seq) = (&event.stream, event.version, event.seq);
            let what = format!("event {seq} is version {version} of {stream}, where {expected} comes next");
            verdict.find(seq, Fault::Spliced, what);
        }
        let missing = index.take(event);
        if let Some(missing) = missing.filter(|_| as_written) {
            let what = format!("nothing leads to event {} from {missing:?}", event.seq);
            verdict.find(event.seq, Fault::Index, what);
        }
    }

    /// Whether the log goes as far as was signed, and no further.
    pub(super) fn end(self, verdict: &mut Verdict) {
        let last = self.next - 1;
        if let Some((promised, says)) = self.seals.hashes.last_key_value().filter(|(seq, _)| **seq > last) {
            let by = says.first().map_or("it", |(_, by)| by);
            let what = format!("events {} to {promised} are missing: {by}, was behind them", last + 1);
            verdict.find(last + 1, Fault::Truncated, what);
        }
        match &self.seals.head {
            Some(head) if head.seq < last => {
                let first = head.seq + 1;
                let what = format!("events {first} to {last} lie behind the signed head");
                verdict.find(first, Fault::Spliced, what);
            }
            Some(head) if verdict.is_sound() && head.bytes != self.bytes => {
                let what = format!("the log has {} bytes, not {} as the head says", self.bytes, head.bytes);
                verdict.find(head.seq, Fault::Edited, what);
            }
            None if last > 0 => {
                verdict.find(last, Fault::Truncated, "the log has no head that vouches for its end");
            }
            _ => {}
        }
    }
}
