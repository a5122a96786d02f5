//! Checks a recorded history against the store's guarantees.

mod services;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::journal::{Operation, Outcome, Record};
use super::linearizability::{self, NotLinearizable, Op, RegisterOp};

/// The result of checking a history.
#[derive(Debug, Default)]
pub(crate) struct CheckResult {
    /// Acknowledged operations, by kind.
    pub(crate) counts: BTreeMap<&'static str, usize>,
    /// Reasons of refused requests, and how many there were of each.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// Broken guarantees.
    pub(crate) violations: Vec<String>,
}

/// The contents of the store after the run.
#[derive(Debug, Default)]
pub(crate) struct FinalState {
    /// Keys that must be present.
    pub(crate) keys: BTreeSet<String>,
    /// Ids of dead letters.
    pub(crate) dead_letters: BTreeSet<String>,
    /// The log's events in order: sequence number and id.
    pub(crate) log: Vec<(u64, String)>,
    /// Findings of the log's own verification.
    pub(crate) findings: Vec<String>,
}

/// A check of the history. A service that records new operations gets its own check here.
type Check = fn(&[Record], &mut CheckResult);
const CHECKS: &[Check] = &[registers, revisions, tokens, holders, guarded];
/// A check of the history together with the final contents of the store.
type FinalCheck = fn(&[Record], &FinalState, &mut CheckResult);
const FINAL_CHECKS: &[FinalCheck] =
    &[services::queues, services::order, services::events, services::cache, services::commands];

/// Runs all checks.
pub(crate) fn check(records: &[Record], state: &FinalState) -> CheckResult {
    let mut result = CheckResult::default();
    count(records, &mut result);
    for check in CHECKS {
        check(records, &mut result);
    }
    for check in FINAL_CHECKS {
        check(records, state, &mut result);
    }
    result
}

/// Acknowledged keys that are missing from `present`.
pub(crate) fn lost(records: &[Record], present: &BTreeSet<String>) -> Vec<String> {
    let made = records.iter().filter_map(|record| match (&record.operation, &record.outcome) {
        (Operation::Create { key }, Some(Outcome::Done { .. })) => Some(key),
        _ => None,
    });
    made.filter(|key| !present.contains(*key)).cloned().collect()
}

fn count(records: &[Record], result: &mut CheckResult) {
    for record in records {
        let kind = match (&record.operation, &record.outcome) {
            (_, None) => "pending at a kill",
            (_, Some(Outcome::Refused { why } | Outcome::Unknown { why })) => {
                *result.refusals.entry(why.clone()).or_default() += 1;
                continue;
            }
            (_, Some(Outcome::Stale { .. })) => "stale tokens refused",
            (Operation::Read { .. }, _) => "reads",
            (Operation::Write { .. } | Operation::Create { .. }, _) => "writes",
            (Operation::Swap { .. }, _) => "swaps",
            (Operation::Lock { .. }, _) => "locks",
            (Operation::Unlock { .. }, _) => "releases",
            (Operation::Guarded { .. }, _) => "guarded writes",
            (Operation::Enqueue { .. }, _) => "enqueued",
            (Operation::Dequeue { .. }, Some(Outcome::Empty)) => "queues found empty",
            (Operation::Dequeue { .. }, _) => "deliveries",
            (Operation::Ack { .. }, _) => "acknowledged",
            (Operation::Nak { .. }, _) => "given back",
            (Operation::Append { .. }, _) => "events",
            (Operation::Share { .. }, _) => "shared values",
            (Operation::CachedRead { .. }, _) => "cached reads",
            (Operation::Begin { .. }, Some(Outcome::Known { .. })) => "commands known",
            (Operation::Begin { .. }, _) => "commands begun",
            (Operation::Finish { .. }, _) => "commands finished",
        };
        *result.counts.entry(kind).or_default() += 1;
    }
}

/// Each register is linearizable.
fn registers(records: &[Record], result: &mut CheckResult) {
    let mut by_key: BTreeMap<&str, Vec<(Op, &Record)>> = BTreeMap::new();
    for record in records {
        if let Some((key, op)) = operation(record) {
            by_key.entry(key).or_default().push((op, record));
        }
    }
    for (key, history) in by_key {
        let ops: Vec<Op> = history.iter().map(|(op, _)| op.clone()).collect();
        match linearizability::check(&ops) {
            Ok(()) => {}
            Err(NotLinearizable::At(index)) => {
                let culprit = history[index].1;
                result.violations.push(format!("{key} is not linearizable: no order explains {culprit:?}"));
            }
            Err(NotLinearizable::Undecided) => {
                result.violations.push(format!("{key}: too much at once to be decided"));
            }
        }
    }
}

/// The register operation of a record; `None` if it certainly did not touch a register.
fn operation(record: &Record) -> Option<(&str, Op)> {
    let op = |effect, certain| Op { called: record.called, returned: record.returned, effect, certain };
    let uncertain = matches!(record.outcome, None | Some(Outcome::Unknown { .. }));
    let done = matches!(record.outcome, Some(Outcome::Done { .. }));
    match (&record.operation, &record.outcome) {
        // A swap that found another value has read that value.
        (Operation::Read { key } | Operation::Swap { key, .. }, Some(Outcome::Value { value, .. })) => {
            Some((key, op(RegisterOp::Read(*value), true)))
        }
        (Operation::Write { key, value }, _) if done || uncertain => {
            Some((key, op(RegisterOp::Write(*value), done)))
        }
        (Operation::Swap { key, from, to }, _) if done || uncertain => {
            Some((key, op(RegisterOp::Swap(*from, *to), done)))
        }
        _ => None,
    }
}

/// Revisions follow real time: a request sent after an answer gets a higher revision, and every change has
/// its own.
fn revisions(records: &[Record], result: &mut CheckResult) {
    let numbered = |record: &Record| match (&record.operation, &record.outcome) {
        (_, Some(Outcome::Done { revision } | Outcome::Counted { revision, .. })) => Some((*revision, true)),
        (_, Some(Outcome::Value { revision, .. })) => Some((*revision, false)),
        _ => None,
    };
    // A call observes every answer that came before it.
    let mut events: Vec<(u64, bool, u64, bool, &Record)> = Vec::new();
    let mut changed: HashMap<u64, &Record> = HashMap::new();
    for record in records {
        let Some((revision, changes)) = numbered(record) else { continue };
        events.push((record.called, false, revision, changes, record));
        events.push((record.returned, true, revision, changes, record));
        if changes && let Some(other) = changed.insert(revision, record) {
            result.violations.push(format!("two changes with one revision: {other:?} and {record:?}"));
        }
    }
    events.sort_unstable_by_key(|(at, ends, revision, ..)| (*at, *ends, *revision));
    let mut newest = 0;
    for (_, ends, revision, changes, record) in events {
        if ends {
            newest = newest.max(revision);
        } else if revision < newest || (changes && revision == newest) {
            result.violations.push(format!("after revision {newest} was seen: {record:?}"));
        }
    }
}

/// The granted locks by resource: token and record, in the order of their answers.
fn grants(records: &[Record]) -> BTreeMap<&str, Vec<(u64, &Record)>> {
    let mut grants: BTreeMap<&str, Vec<(u64, &Record)>> = BTreeMap::new();
    for record in records {
        if let (Operation::Lock { resource }, Some(Outcome::Held { token })) =
            (&record.operation, &record.outcome)
        {
            grants.entry(resource).or_default().push((*token, record));
        }
    }
    for locks in grants.values_mut() {
        locks.sort_unstable_by_key(|(_, record)| record.returned);
    }
    grants
}

/// Every token is unique, and a later grant has a higher one.
fn tokens(records: &[Record], result: &mut CheckResult) {
    for (resource, locks) in grants(records) {
        let mut seen = HashMap::new();
        for (token, record) in &locks {
            if let Some(other) = seen.insert(*token, *record) {
                result.violations.push(format!("{resource}: token {token} twice: {other:?} and {record:?}"));
            }
        }
        check_increasing(resource, locks, result);
    }
}

/// Each number is higher than all numbers that were returned before its call.
fn check_increasing(of: &str, mut numbered: Vec<(u64, &Record)>, result: &mut CheckResult) {
    let mut by_answer = numbered.clone();
    by_answer.sort_unstable_by_key(|(_, record)| record.returned);
    numbered.sort_unstable_by_key(|(_, record)| record.called);
    let (mut answered, mut highest) = (by_answer.iter().peekable(), 0);
    for (number, record) in numbered {
        while let Some((before, _)) = answered.next_if(|(_, other)| other.returned < record.called) {
            highest = highest.max(*before);
        }
        if number <= highest {
            result.violations.push(format!("{of}: {highest} was given before {record:?}"));
        }
    }
}

/// Locks that were released while still held never overlap.
fn holders(records: &[Record], result: &mut CheckResult) {
    let mut back = HashMap::new();
    for record in records {
        if let (Operation::Unlock { resource, token }, Some(Outcome::Released)) =
            (&record.operation, &record.outcome)
        {
            back.insert((resource.as_str(), *token), record.called);
        }
    }
    for (resource, locks) in grants(records) {
        let mut last: Option<(u64, &Record)> = None;
        for (token, record) in locks {
            let Some(until) = back.get(&(resource, token)) else { continue };
            if let Some((ends, other)) = last.filter(|(ends, _)| record.returned < *ends) {
                result.violations.push(format!("{resource} held twice until {ends}: {other:?}, {record:?}"));
            }
            last = Some((*until, record));
        }
    }
}

/// A guarded count increases by one per write, and an older token never writes after a newer one.
fn guarded(records: &[Record], result: &mut CheckResult) {
    let mut by_resource: BTreeMap<&str, Vec<(u64, u64, u64)>> = BTreeMap::new();
    let mut uncertain: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        let Operation::Guarded { resource, token } = &record.operation else { continue };
        match &record.outcome {
            Some(Outcome::Counted { count, revision }) => {
                by_resource.entry(resource).or_default().push((*revision, *token, *count));
            }
            None | Some(Outcome::Unknown { .. }) => *uncertain.entry(resource).or_default() += 1,
            _ => {}
        }
    }
    for (resource, mut writes) in by_resource {
        writes.sort_unstable();
        for pair in writes.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if after.1 < before.1 {
                let what = format!("{resource}: token {} wrote after token {}", after.1, before.1);
                result.violations.push(what);
            }
            if after.2 <= before.2 {
                let what = format!("{resource}: count {} came after {}", after.2, before.2);
                result.violations.push(what);
            }
        }
        // Every write counts once; only operations with unknown outcome may have counted unseen.
        let last = writes.last().map_or(0, |write| write.2 + 1);
        let certain = writes.len() as u64;
        if last > certain + uncertain.get(resource).copied().unwrap_or(0) {
            result.violations.push(format!("{resource}: {certain} writes counted to {last}"));
        }
    }
}
