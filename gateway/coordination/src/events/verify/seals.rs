//! Verifies the seals of a log.

use std::collections::BTreeMap;

use crate::events::entry::{CHECKPOINT, FLOOR, HEAD, Hash, KEYS, checkpoint_key};
use crate::events::seal::{Seal, SealError, SealKind, TrustedKeys};
use crate::events::source::EntrySource;
use crate::events::verify::{VerifyReport, Violation};
use crate::store::StoreError;

/// The valid seals.
pub(super) struct Seals {
    /// The head of the log.
    pub(super) head: Option<Seal>,
    /// The floor of the log.
    pub(super) floor: Option<Seal>,
    /// Signed hashes of events, and who signed them.
    pub(super) hashes: BTreeMap<u64, Vec<(Hash, String)>>,
    /// The identity of the log: the hash before its first event.
    pub(super) log: Option<Hash>,
}

impl Seals {
    pub(super) fn read(
        source: &impl EntrySource,
        trust: Option<&TrustedKeys>,
        checkpoints: &[Seal],
        report: &mut VerifyReport,
    ) -> Result<Seals, StoreError> {
        let own = own_keys(source, trust, report)?;
        let keys = trust.unwrap_or(&own);
        let (mut head, mut floor, mut found) = (None, None, Vec::new());
        source.scan(HEAD, &mut |key, value| {
            if key == HEAD {
                head = verify_seal(value, SealKind::Head, "the head", keys, report);
            }
        })?;
        source.scan(FLOOR, &mut |key, value| {
            if key == FLOOR {
                floor = verify_seal(value, SealKind::Floor, "the floor", keys, report);
            }
        })?;
        source.scan(CHECKPOINT, &mut |key, value| {
            let seal = verify_seal(value, SealKind::Head, "a checkpoint", keys, report);
            let Some(seal) = seal else { return };
            if checkpoint_key(seal.seq) != key {
                report.find(seal.seq, Violation::Reordered, format!("a checkpoint lies under {key}"));
            }
            found.push((seal, "a checkpoint"));
        })?;
        for seal in checkpoints {
            let what = "the checkpoint that was kept elsewhere";
            let seal = verify_seal(&seal.bytes(), SealKind::Head, what, keys, report);
            found.extend(seal.map(|seal| (seal, what)));
        }
        found.extend(head.clone().map(|seal| (seal, "the head")));
        let log = head.as_ref().or(floor.as_ref()).map(|seal: &Seal| seal.log);
        let mut seals = Seals { head, floor, hashes: BTreeMap::new(), log };
        seals.collect_hashes(found, report);
        Ok(seals)
    }

    /// Collects the signed hashes; a seal of another log is a violation.
    fn collect_hashes(&mut self, found: Vec<(Seal, &str)>, report: &mut VerifyReport) {
        for (seal, what) in found {
            if self.log.is_some_and(|log| log != seal.log) {
                let what = format!("{what}, signed by {}, is of another log", seal.node);
                report.find(seal.seq, Violation::Spliced, what);
                continue;
            }
            // Nothing can be checked about removed events.
            if self.floor.as_ref().is_some_and(|floor| seal.seq < floor.seq) {
                continue;
            }
            let by = format!("{what}, signed by {}", seal.node);
            self.hashes.entry(seal.seq).or_default().push((seal.hash, by));
        }
    }
}

/// The keys in the log itself. Untrusted keys are a violation: they prove nothing, and an unknown party
/// has added them.
fn own_keys(
    source: &impl EntrySource,
    trust: Option<&TrustedKeys>,
    report: &mut VerifyReport,
) -> Result<TrustedKeys, StoreError> {
    let mut own = TrustedKeys::default();
    source.scan(KEYS, &mut |key, value| {
        let mut one = TrustedKeys::default();
        let name = key.strip_prefix(KEYS).unwrap_or(key);
        if !one.add_entry(key, value) || !one.has(name) {
            report.find(
                0,
                Violation::BadSignature,
                format!("what lies under {key} is not the key of this name"),
            );
        } else if trust.is_some_and(|trust| !trust.has(name)) {
            report.find(0, Violation::UnknownKey, format!("the log has a key that is not trusted: {name}"));
        } else {
            own.add_entry(key, value);
        }
    })?;
    Ok(own)
}

/// Parses and verifies a seal.
fn verify_seal(
    value: &[u8],
    kind: SealKind,
    what: &str,
    keys: &TrustedKeys,
    report: &mut VerifyReport,
) -> Option<Seal> {
    let Some(seal) = Seal::read(value) else {
        report.find(0, Violation::BadSignature, format!("{what} cannot be read"));
        return None;
    };
    let named = format!("{what} at event {} by {} (key {})", seal.seq, seal.node, seal.key);
    match seal.check(keys) {
        Ok(()) if seal.kind == kind => {
            report.seals += 1;
            return Some(seal);
        }
        Ok(()) => report.find(seal.seq, Violation::BadSignature, format!("{named} is no such statement")),
        Err(SealError::BadSignature) => {
            report.find(seal.seq, Violation::BadSignature, format!("{named} was not signed by that key"));
        }
        Err(SealError::UnknownKey) => {
            report.find(seal.seq, Violation::UnknownKey, format!("{named}: that key is not trusted"));
        }
    }
    None
}
