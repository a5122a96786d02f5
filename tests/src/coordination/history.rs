//! Everything that was recorded, and what of it cannot be true of a store that keeps its word.

mod parts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::journal::{Act, Got, Record};
use super::linear::{self, Does, Op, Wrong};

/// What a history shows.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What was acknowledged, by kind.
    pub(crate) counts: BTreeMap<&'static str, usize>,
    /// Why requests were refused, and how many were.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// What must not be.
    pub(crate) violations: Vec<String>,
}

/// What was found in the store when all was over.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Keys that were made to stay.
    pub(crate) keys: BTreeSet<String>,
    /// Names of dead letters.
    pub(crate) dead: BTreeSet<String>,
    /// The log's events in order: number and id.
    pub(crate) log: Vec<(u64, String)>,
    /// What the log itself says is wrong with it.
    pub(crate) findings: Vec<String>,
}

/// One check. A part of the product that records more gets one of its own here.
type Check = fn(&[Record], &mut Verdict);
const CHECKS: &[Check] = &[registers, revisions, tokens, holders, guarded];
/// The same, of what is left as well.
type Afterwards = fn(&[Record], &Left, &mut Verdict);
const AFTERWARDS: &[Afterwards] = &[parts::queues, parts::order, parts::events, parts::cache];

/// Judges a history.
pub(crate) fn judge(records: &[Record], left: &Left) -> Verdict {
    let mut verdict = Verdict::default();
    count(records, &mut verdict);
    for check in CHECKS {
        check(records, &mut verdict);
    }
    for check in AFTERWARDS {
        check(records, left, &mut verdict);
    }
    verdict
}

/// Keys that were made and are not there: `present` are those that are.
pub(crate) fn lost(records: &[Record], present: &BTreeSet<String>) -> Vec<String> {
    let made = records.iter().filter_map(|record| match (&record.act, &record.got) {
        (Act::Create { key }, Some(Got::Done { .. })) => Some(key),
        _ => None,
    });
    made.filter(|key| !present.contains(*key)).cloned().collect()
}

fn count(records: &[Record], verdict: &mut Verdict) {
    for record in records {
        let kind = match (&record.act, &record.got) {
            (_, None) => "under way at a kill",
            (_, Some(Got::Refused { why } | Got::Unknown { why })) => {
                *verdict.refusals.entry(why.clone()).or_default() += 1;
                continue;
            }
            (_, Some(Got::Stale { .. })) => "stale tokens refused",
            (Act::Read { .. }, _) => "reads",
            (Act::Write { .. } | Act::Create { .. }, _) => "writes",
            (Act::Swap { .. }, _) => "swaps",
            (Act::Lock { .. }, _) => "locks",
            (Act::Unlock { .. }, _) => "releases",
            (Act::Guarded { .. }, _) => "guarded writes",
            (Act::Enqueue { .. }, _) => "enqueued",
            (Act::Dequeue { .. }, Some(Got::Empty)) => "queues found empty",
            (Act::Dequeue { .. }, _) => "deliveries",
            (Act::Ack { .. }, _) => "acknowledged",
            (Act::Nak { .. }, _) => "given back",
            (Act::Append { .. }, _) => "events",
            (Act::Share { .. }, _) => "shared values",
            (Act::Look { .. }, _) => "looks into a cache",
        };
        *verdict.counts.entry(kind).or_default() += 1;
    }
}

/// Each register is linearizable.
fn registers(records: &[Record], verdict: &mut Verdict) {
    let mut by_key: BTreeMap<&str, Vec<(Op, &Record)>> = BTreeMap::new();
    for record in records {
        if let Some((key, op)) = operation(record) {
            by_key.entry(key).or_default().push((op, record));
        }
    }
    for (key, history) in by_key {
        let ops: Vec<Op> = history.iter().map(|(op, _)| op.clone()).collect();
        match linear::check(&ops) {
            Ok(()) => {}
            Err(Wrong::At(place)) => {
                let culprit = history[place].1;
                verdict.violations.push(format!("{key} is not linearizable: no order explains {culprit:?}"));
            }
            Err(Wrong::TooMuch) => {
                verdict.violations.push(format!("{key}: too much at once to be decided"));
            }
        }
    }
}

/// What a record says of a register; nothing where it was surely not touched.
fn operation(record: &Record) -> Option<(&str, Op)> {
    let op = |does, sure| Op { called: record.called, returned: record.returned, does, sure };
    let unsure = matches!(record.got, None | Some(Got::Unknown { .. }));
    let done = matches!(record.got, Some(Got::Done { .. }));
    match (&record.act, &record.got) {
        // A swap that found another value has read it.
        (Act::Read { key } | Act::Swap { key, .. }, Some(Got::Value { value, .. })) => {
            Some((key, op(Does::Read(*value), true)))
        }
        (Act::Write { key, value }, _) if done || unsure => Some((key, op(Does::Write(*value), done))),
        (Act::Swap { key, from, to }, _) if done || unsure => Some((key, op(Does::Swap(*from, *to), done))),
        _ => None,
    }
}

/// The numbers of changes follow real time: what is asked after an answer has a higher one, and no two
/// have the same.
fn revisions(records: &[Record], verdict: &mut Verdict) {
    let numbered = |record: &Record| match (&record.act, &record.got) {
        (_, Some(Got::Done { revision } | Got::Counted { revision, .. })) => Some((*revision, true)),
        (_, Some(Got::Value { revision, .. })) => Some((*revision, false)),
        _ => None,
    };
    // A call sees what was answered before it.
    let mut events: Vec<(u64, bool, u64, bool, &Record)> = Vec::new();
    let mut changed: HashMap<u64, &Record> = HashMap::new();
    for record in records {
        let Some((revision, changes)) = numbered(record) else { continue };
        events.push((record.called, false, revision, changes, record));
        events.push((record.returned, true, revision, changes, record));
        if changes && let Some(other) = changed.insert(revision, record) {
            verdict.violations.push(format!("two changes with one revision: {other:?} and {record:?}"));
        }
    }
    events.sort_unstable_by_key(|(at, ends, revision, ..)| (*at, *ends, *revision));
    let mut newest = 0;
    for (_, ends, revision, changes, record) in events {
        if ends {
            newest = newest.max(revision);
        } else if revision < newest || (changes && revision == newest) {
            verdict.violations.push(format!("after revision {newest} was known: {record:?}"));
        }
    }
}

/// The locks that were given: resource, token, record; in the order of their answers.
fn given(records: &[Record]) -> BTreeMap<&str, Vec<(u64, &Record)>> {
    let mut given: BTreeMap<&str, Vec<(u64, &Record)>> = BTreeMap::new();
    for record in records {
        if let (Act::Lock { resource }, Some(Got::Held { token })) = (&record.act, &record.got) {
            given.entry(resource).or_default().push((*token, record));
        }
    }
    for locks in given.values_mut() {
        locks.sort_unstable_by_key(|(_, record)| record.returned);
    }
    given
}

/// A token is given once, and what is given later has a higher one.
fn tokens(records: &[Record], verdict: &mut Verdict) {
    for (resource, locks) in given(records) {
        let mut known = HashMap::new();
        for (token, record) in &locks {
            if let Some(other) = known.insert(*token, *record) {
                verdict.violations.push(format!("{resource}: token {token} twice: {other:?} and {record:?}"));
            }
        }
        rising(resource, locks, verdict);
    }
}

/// Each has a higher number than all that were answered before it was asked for.
fn rising(of: &str, mut numbered: Vec<(u64, &Record)>, verdict: &mut Verdict) {
    let mut by_answer = numbered.clone();
    by_answer.sort_unstable_by_key(|(_, record)| record.returned);
    numbered.sort_unstable_by_key(|(_, record)| record.called);
    let (mut answered, mut highest) = (by_answer.iter().peekable(), 0);
    for (number, record) in numbered {
        while let Some((before, _)) = answered.next_if(|(_, other)| other.returned < record.called) {
            highest = highest.max(*before);
        }
        if number <= highest {
            verdict.violations.push(format!("{of}: {highest} was given before {record:?}"));
        }
    }
}

/// Of locks that were given back while they still were held, no two were held at one moment.
fn holders(records: &[Record], verdict: &mut Verdict) {
    let mut back = HashMap::new();
    for record in records {
        if let (Act::Unlock { resource, token }, Some(Got::Released)) = (&record.act, &record.got) {
            back.insert((resource.as_str(), *token), record.called);
        }
    }
    for (resource, locks) in given(records) {
        let mut last: Option<(u64, &Record)> = None;
        for (token, record) in locks {
            let Some(until) = back.get(&(resource, token)) else { continue };
            if let Some((ends, other)) = last.filter(|(ends, _)| record.returned < *ends) {
                verdict.violations.push(format!("{resource} held twice until {ends}: {other:?}, {record:?}"));
            }
            last = Some((*until, record));
        }
    }
}

/// What a lock protects counts by one, and never by an older token after a newer one.
fn guarded(records: &[Record], verdict: &mut Verdict) {
    let mut by_resource: BTreeMap<&str, Vec<(u64, u64, u64)>> = BTreeMap::new();
    let mut maybe: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        let Act::Guarded { resource, token } = &record.act else { continue };
        match &record.got {
            Some(Got::Counted { count, revision }) => {
                by_resource.entry(resource).or_default().push((*revision, *token, *count));
            }
            None | Some(Got::Unknown { .. }) => *maybe.entry(resource).or_default() += 1,
            _ => {}
        }
    }
    for (resource, mut writes) in by_resource {
        writes.sort_unstable();
        for pair in writes.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if after.1 < before.1 {
                let what = format!("{resource}: token {} wrote after token {}", after.1, before.1);
                verdict.violations.push(what);
            }
            if after.2 <= before.2 {
                let what = format!("{resource}: count {} came after {}", after.2, before.2);
                verdict.violations.push(what);
            }
        }
        // Each write counts once, and only what was under way may have counted unseen.
        let last = writes.last().map_or(0, |write| write.2 + 1);
        let sure = writes.len() as u64;
        if last > sure + maybe.get(resource).copied().unwrap_or(0) {
            verdict.violations.push(format!("{resource}: {sure} writes counted to {last}"));
        }
    }
}
