//! Checks of queues, the event log, shared values and the journal of commands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roverline_protocol::limits;

use super::{CheckResult, FinalState, check_increasing};
use crate::chaos::journal::{Operation, Outcome, Record};

/// One delivery of a message.
struct Delivery<'a> {
    number: u32,
    visible_ns: u64,
    record: &'a Record,
}

/// Everything recorded about one message.
#[derive(Default)]
struct Message<'a> {
    enqueued: Option<&'a Record>,
    bodies: BTreeSet<u64>,
    deliveries: Vec<Delivery<'a>>,
    /// The time of the first confirmed acknowledgement.
    acked: Option<u64>,
    /// An acknowledgement with unknown outcome exists.
    possibly_acked: bool,
    /// By delivery number: when it was (or may have been) given back.
    returned: HashMap<u32, u64>,
}

fn messages(records: &[Record]) -> BTreeMap<&str, Message<'_>> {
    let mut all: BTreeMap<&str, Message<'_>> = BTreeMap::new();
    for record in records {
        match (&record.operation, &record.outcome) {
            (Operation::Enqueue { body, .. }, Some(Outcome::Queued { id })) => {
                let message = all.entry(id).or_default();
                message.enqueued = Some(record);
                message.bodies.insert(*body);
            }
            (Operation::Dequeue { .. }, Some(Outcome::Delivered { id, body, delivery, visible_ms })) => {
                let message = all.entry(id).or_default();
                message.bodies.insert(*body);
                let visible_ns = visible_ms * 1_000_000;
                message.deliveries.push(Delivery { number: *delivery, visible_ns, record });
            }
            (Operation::Ack { id, .. }, Some(Outcome::Acked)) => {
                let acked = &mut all.entry(id).or_default().acked;
                *acked = Some(acked.map_or(record.returned, |other| other.min(record.returned)));
            }
            (Operation::Ack { id, .. }, None | Some(Outcome::Unknown { .. })) => {
                all.entry(id).or_default().possibly_acked = true;
            }
            (Operation::Nak { id, delivery }, None | Some(Outcome::Returned | Outcome::Unknown { .. })) => {
                all.entry(id).or_default().returned.insert(*delivery, record.called);
            }
            _ => {}
        }
    }
    all
}

/// No message is lost, none is stored twice, and none is delivered again after its acknowledgement or while
/// it is in flight.
pub(super) fn queues(records: &[Record], state: &FinalState, result: &mut CheckResult) {
    let mut violations = Vec::new();
    let mut enqueued: HashMap<u64, &str> = HashMap::new();
    let bodies = records.iter().filter_map(|record| match &record.operation {
        Operation::Enqueue { body, .. } => Some(*body),
        _ => None,
    });
    let requested: BTreeSet<u64> = bodies.collect();
    let all = messages(records);
    for (id, message) in &all {
        for body in &message.bodies {
            if !requested.contains(body) {
                violations.push(format!("{id}: no client enqueued {body}"));
            }
            if let Some(other) = enqueued.insert(*body, id) {
                violations.push(format!("{body} is in a queue as {other} and as {id}"));
            }
        }
        if message.bodies.len() > 1 {
            violations.push(format!("{id} says {:?}", message.bodies));
        }
        let dead = state.dead_letters.contains(*id);
        if message.enqueued.is_some() && message.acked.is_none() && !message.possibly_acked && !dead {
            violations.push(format!("{id} was enqueued and has vanished"));
        }
        if dead && message.acked.is_some() {
            violations.push(format!("{id} was acknowledged and is dead"));
        }
        check_deliveries(id, message, &mut violations);
    }
    result.violations.extend(violations);
    result.counts.insert("dead letters", state.dead_letters.len());
    let again = all.values().filter(|message| message.deliveries.len() > 1).count();
    result.counts.insert("messages delivered again", again);
}

fn check_deliveries(id: &str, message: &Message<'_>, violations: &mut Vec<String>) {
    let mut deliveries: Vec<&Delivery<'_>> = message.deliveries.iter().collect();
    deliveries.sort_by_key(|delivery| delivery.number);
    for delivery in &deliveries {
        if message.acked.is_some_and(|acked| acked < delivery.record.called) {
            violations.push(format!("{id} came again after it was acknowledged: {:?}", delivery.record));
        }
    }
    for pair in deliveries.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if before.number == after.number {
            violations.push(format!("{id}: two have delivery {}", after.number));
        }
        let given_back =
            message.returned.get(&before.number).is_some_and(|called| *called < after.record.returned);
        // It was delivered after its request was sent, and is hidden from others for so long.
        let hidden_until = before.record.called + before.visible_ns;
        if after.record.returned < hidden_until && !given_back {
            violations
                .push(format!("{id} came while another had it: {:?}, {:?}", before.record, after.record));
        }
    }
}

/// First deliveries are in FIFO order.
pub(super) fn order(records: &[Record], _state: &FinalState, result: &mut CheckResult) {
    let mut by_queue: BTreeMap<&str, Vec<(u64, u64, &Record)>> = BTreeMap::new();
    for message in messages(records).values() {
        let (Some(enqueued), Some(first)) = (message.enqueued, message.deliveries.first()) else { continue };
        let Operation::Dequeue { queue } = &first.record.operation else { continue };
        if let (1, Some(Outcome::Queued { id })) = (first.number, &enqueued.outcome)
            && let Some(sequence) = id.rsplit(':').nth(1).and_then(|text| text.parse().ok())
        {
            by_queue.entry(queue).or_default().push((sequence, enqueued.returned, first.record));
        }
    }
    for (queue, mut firsts) in by_queue {
        firsts.sort_by_key(|(sequence, ..)| *sequence);
        for (index, (sequence, there, record)) in firsts.iter().enumerate() {
            let overtook = firsts[index + 1..]
                .iter()
                .find(|(_, _, later)| later.called > *there && later.returned < record.called);
            if let Some((other, ..)) = overtook {
                result.violations.push(format!("{queue}: message {other} came before {sequence}"));
            }
        }
    }
}

/// Every appended event is in the log once, at its sequence number; the log has no gap and follows real time.
pub(super) fn events(records: &[Record], state: &FinalState, result: &mut CheckResult) {
    for (index, (seq, _)) in state.log.iter().enumerate() {
        if *seq != index as u64 + 1 {
            result.violations.push(format!("event {seq} is at index {}", index + 1));
            break;
        }
    }
    let mut positions: HashMap<&str, u64> = HashMap::new();
    for (seq, id) in &state.log {
        if let Some(other) = positions.insert(id, *seq) {
            result.violations.push(format!("{id} is in the log as {other} and as {seq}"));
        }
    }
    let mut appended = Vec::new();
    for record in records {
        let Operation::Append { id, .. } = &record.operation else { continue };
        match (&record.outcome, positions.remove(id.as_str())) {
            (Some(Outcome::Appended { seq }), found) => {
                if found != Some(*seq) {
                    result.violations.push(format!("{id} was appended as {seq} and is at {found:?}"));
                }
                appended.push((*seq, record));
            }
            (Some(Outcome::Refused { .. }), Some(seq)) => {
                result.violations.push(format!("{id} was refused and is at {seq}"));
            }
            _ => {}
        }
    }
    result.violations.extend(positions.keys().map(|id| format!("no client appended {id}")));
    check_increasing("the log", appended, result);
    result.violations.extend(state.findings.iter().map(|what| format!("the log: {what}")));
    result.counts.insert("events in the log", state.log.len());
}

/// Checks a process's cache: its value of a key never goes back, and is never older than the staleness bound.
pub(super) fn cache(records: &[Record], _state: &FinalState, result: &mut CheckResult) {
    let stale_ns = limits::KV_STALE_MS * 1_000_000;
    let mut by_key: BTreeMap<&str, Vec<(u64, &Record)>> = BTreeMap::new();
    let mut by_client: BTreeMap<(&str, &str), Vec<(u64, &Record)>> = BTreeMap::new();
    let mut values: HashMap<u64, Option<u64>> = HashMap::new();
    for record in records {
        let Some(Outcome::Shared { modified, value }) = &record.outcome else { continue };
        let (Operation::Share { key, .. } | Operation::CachedRead { key }) = &record.operation else {
            continue;
        };
        // One revision has one value, for every reader.
        if *modified > 0 && *values.entry(*modified).or_insert(*value) != *value {
            result.violations.push(format!("revision {modified} has two values: {record:?}"));
        }
        let process = record.client.rsplit_once('-').map_or("", |(process, _)| process);
        by_client.entry((process, key)).or_default().push((*modified, record));
        if let Operation::Share { .. } = record.operation {
            by_key.entry(key).or_default().push((*modified, record));
        }
    }
    for seen in by_client.values_mut() {
        // Across all clients of a process: every answer that came before this request.
        let (mut ends, mut newest) = (seen.clone(), 0);
        seen.sort_unstable_by_key(|(_, record)| record.called);
        ends.sort_unstable_by_key(|(_, record)| record.returned);
        let mut ends = ends.into_iter().peekable();
        for (modified, record) in seen {
            while let Some((before, _)) = ends.next_if(|(_, other)| other.returned < record.called) {
                newest = newest.max(before);
            }
            if *modified < newest {
                result.violations.push(format!("after revision {newest} was seen: {record:?}"));
            }
        }
    }
    for writes in by_key.values_mut() {
        writes.sort_unstable_by_key(|(_, record)| record.returned);
    }
    for record in records {
        let (Operation::CachedRead { key }, Some(Outcome::Shared { modified, .. })) =
            (&record.operation, &record.outcome)
        else {
            continue;
        };
        let writes = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let seen = writes.partition_point(|(_, write)| write.returned + stale_ns < record.called);
        if let Some((newer, _)) = writes[..seen].iter().rev().take(64).find(|(other, _)| other > modified) {
            result.violations.push(format!("revision {newer} was long there: {record:?}"));
        }
    }
}

/// Each command is begun by one client only, which every other one learns; a recorded outcome stays.
pub(super) fn commands(records: &[Record], _: &FinalState, result: &mut CheckResult) {
    let mut begun: BTreeMap<&str, &Record> = BTreeMap::new();
    let mut finished: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        match (&record.operation, &record.outcome) {
            (Operation::Begin { id, .. }, Some(Outcome::Begun)) => {
                if let Some(other) = begun.insert(id, record) {
                    result.violations.push(format!("{id} was begun twice: {other:?} and {record:?}"));
                }
            }
            (Operation::Finish { id, .. }, Some(Outcome::Finished)) => {
                finished.insert(id, record.returned);
            }
            _ => {}
        }
    }
    for record in records {
        let (Operation::Begin { id, .. }, Some(Outcome::Known { by, finished: is_finished })) =
            (&record.operation, &record.outcome)
        else {
            continue;
        };
        let winner = begun.get(id.as_str()).map(|record| &record.operation);
        if let Some(Operation::Begin { by: first, .. }) = winner
            && first != by
        {
            result.violations.push(format!("{id} was begun by {first}, and is known as that of {by}"));
        }
        let ended = finished.get(id.as_str()).is_some_and(|at| *at < record.called);
        if ended && !is_finished {
            result.violations.push(format!("the outcome of {id} is lost: {record:?}"));
        }
    }
}
