//! What was signed, and by whom.

use std::collections::BTreeMap;

use crate::events::dump::Dump;
use crate::events::entry::{CHECKPOINT, FLOOR, HEAD, Hash, KEYS, checkpoint_key};
use crate::events::seal::{Seal, SealError, SealKind, Trust};
use crate::events::verify::{Fault, Verdict};
use crate::store::StoreError;

/// Signed statements that hold.
pub(super) struct Seals {
    /// The end of the log.
    pub(super) head: Option<Seal>,
    /// What was removed from its beginning.
    pub(super) floor: Option<Seal>,
    /// Hashes that events must have, and who says so.
    pub(super) hashes: BTreeMap<u64, Vec<(Hash, String)>>,
    /// The log's own name: the hash before its first event.
    pub(super) log: Option<Hash>,
}

impl Seals {
    pub(super) fn read(
        dump: &impl Dump,
        trust: Option<&Trust>,
        checkpoints: &[Seal],
        verdict: &mut Verdict,
    ) -> Result<Seals, StoreError> {
        let own = own_keys(dump, trust, verdict)?;
        let keys = trust.unwrap_or(&own);
        let (mut head, mut floor, mut found) = (None, None, Vec::new());
        dump.scan(HEAD, &mut |key, value| {
            if key == HEAD {
                head = holds(value, SealKind::Head, "the head", keys, verdict);
            }
        })?;
        dump.scan(FLOOR, &mut |key, value| {
            if key == FLOOR {
                floor = holds(value, SealKind::Floor, "the floor", keys, verdict);
            }
        })?;
        dump.scan(CHECKPOINT, &mut |key, value| {
            let seal = holds(value, SealKind::Head, "a checkpoint", keys, verdict);
            let Some(seal) = seal else { return };
            if checkpoint_key(seal.seq) != key {
                verdict.find(seal.seq, Fault::Reordered, format!("a checkpoint lies under {key}"));
            }
            found.push((seal, "a checkpoint"));
        })?;
        for seal in checkpoints {
            let what = "the checkpoint that was kept elsewhere";
            let seal = holds(&seal.bytes(), SealKind::Head, what, keys, verdict);
            found.extend(seal.map(|seal| (seal, what)));
        }
        found.extend(head.clone().map(|seal| (seal, "the head")));
        let log = head.as_ref().or(floor.as_ref()).map(|seal: &Seal| seal.log);
        let mut seals = Seals { head, floor, hashes: BTreeMap::new(), log };
        seals.take_down(found, verdict);
        Ok(seals)
    }

    /// Takes down which hashes are promised; a statement on another log is a finding.
    fn take_down(&mut self, found: Vec<(Seal, &str)>, verdict: &mut Verdict) {
        for (seal, what) in found {
            if self.log.is_some_and(|log| log != seal.log) {
                let what = format!("{what}, signed by {}, is of another log", seal.node);
                verdict.find(seal.seq, Fault::Spliced, what);
                continue;
            }
            // Of what was removed, nothing can be said.
            if self.floor.as_ref().is_some_and(|floor| seal.seq < floor.seq) {
                continue;
            }
            let by = format!("{what}, signed by {}", seal.node);
            self.hashes.entry(seal.seq).or_default().push((seal.hash, by));
        }
    }
}

/// The keys that the dump has itself. Those that are not trusted are a finding: they vouch for
/// nothing, and were put there by somebody.
fn own_keys(dump: &impl Dump, trust: Option<&Trust>, verdict: &mut Verdict) -> Result<Trust, StoreError> {
    let mut own = Trust::default();
    dump.scan(KEYS, &mut |key, value| {
        let mut one = Trust::default();
        let name = key.strip_prefix(KEYS).unwrap_or(key);
        if !one.add_entry(key, value) || !one.has(name) {
            verdict.find(
                0,
                Fault::BadSignature,
                format!("what lies under {key} is not the key of this name"),
            );
        } else if trust.is_some_and(|trust| !trust.has(name)) {
            verdict.find(0, Fault::UnknownKey, format!("the log has a key that is not trusted: {name}"));
        } else {
            own.add_entry(key, value);
        }
    })?;
    Ok(own)
}

/// Reads a statement and proves it.
fn holds(value: &[u8], kind: SealKind, what: &str, keys: &Trust, verdict: &mut Verdict) -> Option<Seal> {
    let Some(seal) = Seal::read(value) else {
        verdict.find(0, Fault::BadSignature, format!("{what} cannot be read"));
        return None;
    };
    let named = format!("{what} at event {} by {} (key {})", seal.seq, seal.node, seal.key);
    match seal.check(keys) {
        Ok(()) if seal.kind == kind => {
            verdict.seals += 1;
            return Some(seal);
        }
        Ok(()) => verdict.find(seal.seq, Fault::BadSignature, format!("{named} is no such statement")),
        Err(SealError::BadSignature) => {
            verdict.find(seal.seq, Fault::BadSignature, format!("{named} was not signed by that key"));
        }
        Err(SealError::UnknownKey) => {
            verdict.find(seal.seq, Fault::UnknownKey, format!("{named}: that key is not trusted"));
        }
    }
    None
}
