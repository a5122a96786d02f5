//! Verifies the hash chain, event by event.

use std::collections::HashMap;

use crate::events::entry::{Event, Hash, Parts, seq_of};
use crate::events::verify::index::Index;
use crate::events::verify::seals::Seals;
use crate::events::verify::{VerifyReport, Violation};

/// The state of the chain so far.
pub(super) struct Chain<'a> {
    seals: &'a Seals,
    /// The next expected sequence number.
    next: u64,
    /// Possible hashes of the previous event; empty if they are not known.
    prior: Vec<Hash>,
    /// The newest version of each stream.
    versions: HashMap<String, u64>,
    /// Whether retention may have removed the first events of a stream.
    removed: bool,
    /// Whether versions are missing because events are.
    gap: bool,
    /// The last event that is covered by a signature.
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

    /// Checks the next entry of the log.
    pub(super) fn next(&mut self, key: &str, value: &[u8], index: &mut Index, report: &mut VerifyReport) {
        let Some(seq) = seq_of(key) else {
            report.find(0, Violation::Spliced, format!("{key} is no place in the log"));
            return;
        };
        if seq < self.next {
            report.find(seq, Violation::Spliced, format!("event {seq} lies before the beginning of the log"));
            return;
        }
        if seq > self.next {
            let last = seq - 1;
            report.find(self.next, Violation::Deleted, format!("events {} to {last} are missing", self.next));
            (self.gap, self.prior) = (true, Vec::new());
        }
        (report.events, report.last) = (report.events + 1, seq);
        if report.first == 0 {
            report.first = seq;
        }
        (self.next, self.bytes) = (seq + 1, self.bytes + value.len() as u64);
        let Some(parts) = Parts::of(value) else {
            report.find(seq, Violation::Edited, format!("event {seq} cannot be read"));
            (self.prior, self.gap) = (Vec::new(), true);
            return;
        };
        self.check_link(seq, &parts, index, report);
    }

    /// Checks an event and its link to the previous one.
    fn check_link(&mut self, seq: u64, parts: &Parts<'_>, index: &mut Index, report: &mut VerifyReport) {
        let event = serde_json::from_slice::<Event>(parts.json).ok();
        let hash = parts.prev.after(parts.json);
        let mut as_written = false;
        if hash != parts.hash {
            report.find(
                seq,
                Violation::Edited,
                format!("event {seq} does not have the hash that is beside it"),
            );
        } else if let Some(event) = event.as_ref().filter(|event| event.seq != seq) {
            let what = format!("in place {seq} lies event {}", event.seq);
            report.find(seq, Violation::Reordered, what);
        } else if event.is_none() {
            report.find(seq, Violation::Edited, format!("event {seq} is none"));
        } else if !self.prior.is_empty() && !self.prior.contains(&parts.prev) {
            let what = format!(
                "event {seq} does not follow the one before it: that one was edited and sealed anew, or this \
                 one is of another log"
            );
            report.find(seq, Violation::Spliced, what);
        } else {
            as_written = true;
        }
        // After an event in the wrong position, the next link cannot be checked.
        let in_place = event.as_ref().is_some_and(|event| event.seq == seq);
        self.prior = if in_place { vec![parts.hash, hash] } else { Vec::new() };
        self.check_signed_hash(seq, hash, as_written, report);
        match event.filter(|_| in_place) {
            Some(event) => self.check_stream_version(&event, as_written, index, report),
            None => self.gap = true,
        }
    }

    /// Checks the hash against the signed ones.
    fn check_signed_hash(&mut self, seq: u64, hash: Hash, as_written: bool, report: &mut VerifyReport) {
        let Some(promises) = self.seals.hashes.get(&seq) else { return };
        match promises.iter().find(|(signed, _)| *signed != hash) {
            None => self.proven = seq,
            Some((_, by)) if as_written => {
                let first = self.proven + 1;
                let what =
                    format!("events {first} to {seq} are not those that {by}, saw: one of them was edited");
                report.find(first, Violation::Edited, what);
            }
            // The violation has already been reported.
            Some(_) => {}
        }
    }

    /// Checks the version in the stream and the index entries.
    fn check_stream_version(
        &mut self,
        event: &Event,
        as_written: bool,
        index: &mut Index,
        report: &mut VerifyReport,
    ) {
        let before = self.versions.insert(event.stream.clone(), event.version);
        let expected = before.map_or(1, |before| before.saturating_add(1));
        let begins = before.is_none() && self.removed;
        if event.version != expected && !begins && !self.gap && as_written {
            let (stream, version, seq) = (&event.stream, event.version, event.seq);
            let what = format!("event {seq} is version {version} of {stream}, where {expected} comes next");
            report.find(seq, Violation::Spliced, what);
        }
        let missing = index.claim(event);
        if let Some(missing) = missing.filter(|_| as_written) {
            let what = format!("nothing leads to event {} from {missing:?}", event.seq);
            report.find(event.seq, Violation::Index, what);
        }
    }

    /// Checks that the log ends at its signed head.
    pub(super) fn end(self, report: &mut VerifyReport) {
        let last = self.next - 1;
        if let Some((signed, says)) = self.seals.hashes.last_key_value().filter(|(seq, _)| **seq > last) {
            let by = says.first().map_or("it", |(_, by)| by);
            let what = format!("events {} to {signed} are missing: {by}, was behind them", last + 1);
            report.find(last + 1, Violation::Truncated, what);
        }
        match &self.seals.head {
            Some(head) if head.seq < last => {
                let first = head.seq + 1;
                let what = format!("events {first} to {last} lie behind the signed head");
                report.find(first, Violation::Spliced, what);
            }
            Some(head) if report.is_sound() && head.bytes != self.bytes => {
                let what = format!("the log has {} bytes, not {} as the head says", self.bytes, head.bytes);
                report.find(head.seq, Violation::Edited, what);
            }
            None if last > 0 => {
                report.find(last, Violation::Truncated, "the log has no head that vouches for its end");
            }
            _ => {}
        }
    }
}
