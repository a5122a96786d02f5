//! What cannot be true of queues, the event log and shared values that keep their word.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roverline_protocol::limits;

use super::super::journal::{Act, Got, Record};
use super::{Left, Verdict, rising};

/// One delivery of a message.
struct Delivery<'a> {
    number: u32,
    visible_ns: u64,
    record: &'a Record,
}

/// Everything that is known of one message.
#[derive(Default)]
struct Message<'a> {
    enqueued: Option<&'a Record>,
    bodies: BTreeSet<u64>,
    deliveries: Vec<Delivery<'a>>,
    /// When it was acknowledged for sure.
    acked: Option<u64>,
    /// It may have been.
    perhaps_acked: bool,
    /// When it was given back, or may have been: by delivery.
    returned: HashMap<u32, u64>,
}

fn messages(records: &[Record]) -> BTreeMap<&str, Message<'_>> {
    let mut all: BTreeMap<&str, Message<'_>> = BTreeMap::new();
    for record in records {
        match (&record.act, &record.got) {
            (Act::Enqueue { body, .. }, Some(Got::Queued { id })) => {
                let message = all.entry(id).or_default();
                message.enqueued = Some(record);
                message.bodies.insert(*body);
            }
            (Act::Dequeue { .. }, Some(Got::Delivered { id, body, delivery, visible_ms })) => {
                let message = all.entry(id).or_default();
                message.bodies.insert(*body);
                let visible_ns = visible_ms * 1_000_000;
                message.deliveries.push(Delivery { number: *delivery, visible_ns, record });
            }
            (Act::Ack { id, .. }, Some(Got::Acked)) => {
                let acked = &mut all.entry(id).or_default().acked;
                *acked = Some(acked.map_or(record.returned, |other| other.min(record.returned)));
            }
            (Act::Ack { id, .. }, None | Some(Got::Unknown { .. })) => {
                all.entry(id).or_default().perhaps_acked = true;
            }
            (Act::Nak { id, delivery }, None | Some(Got::Returned | Got::Unknown { .. })) => {
                all.entry(id).or_default().returned.insert(*delivery, record.called);
            }
            _ => {}
        }
    }
    all
}

/// No message vanishes, none is in a queue twice, none comes again once it was acknowledged or while
/// somebody has it.
pub(super) fn queues(records: &[Record], left: &Left, verdict: &mut Verdict) {
    let mut wrong = Vec::new();
    let mut enqueued: HashMap<u64, &str> = HashMap::new();
    let bodies = records.iter().filter_map(|record| match &record.act {
        Act::Enqueue { body, .. } => Some(*body),
        _ => None,
    });
    let asked: BTreeSet<u64> = bodies.collect();
    let all = messages(records);
    for (id, message) in &all {
        for body in &message.bodies {
            if !asked.contains(body) {
                wrong.push(format!("{id}: nobody enqueued {body}"));
            }
            if let Some(other) = enqueued.insert(*body, id) {
                wrong.push(format!("{body} is in a queue as {other} and as {id}"));
            }
        }
        if message.bodies.len() > 1 {
            wrong.push(format!("{id} says {:?}", message.bodies));
        }
        let dead = left.dead.contains(*id);
        if message.enqueued.is_some() && message.acked.is_none() && !message.perhaps_acked && !dead {
            wrong.push(format!("{id} was enqueued and has vanished"));
        }
        if dead && message.acked.is_some() {
            wrong.push(format!("{id} was acknowledged and is dead"));
        }
        delivered(id, message, &mut wrong);
    }
    verdict.violations.extend(wrong);
    verdict.counts.insert("dead letters", left.dead.len());
    let again = all.values().filter(|message| message.deliveries.len() > 1).count();
    verdict.counts.insert("messages delivered again", again);
}

fn delivered(id: &str, message: &Message<'_>, wrong: &mut Vec<String>) {
    let mut deliveries: Vec<&Delivery<'_>> = message.deliveries.iter().collect();
    deliveries.sort_by_key(|delivery| delivery.number);
    for delivery in &deliveries {
        if message.acked.is_some_and(|acked| acked < delivery.record.called) {
            wrong.push(format!("{id} came again after it was acknowledged: {:?}", delivery.record));
        }
    }
    for pair in deliveries.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if before.number == after.number {
            wrong.push(format!("{id}: two have delivery {}", after.number));
        }
        let given_back =
            message.returned.get(&before.number).is_some_and(|called| *called < after.record.returned);
        // It was taken after it was asked for, and for so long nobody else gets it.
        let hidden_until = before.record.called + before.visible_ns;
        if after.record.returned < hidden_until && !given_back {
            wrong.push(format!("{id} came while another had it: {:?}, {:?}", before.record, after.record));
        }
    }
}

/// Of messages that were never delivered before, who came first goes first.
pub(super) fn order(records: &[Record], _left: &Left, verdict: &mut Verdict) {
    let mut by_queue: BTreeMap<&str, Vec<(u64, u64, &Record)>> = BTreeMap::new();
    for message in messages(records).values() {
        let (Some(enqueued), Some(first)) = (message.enqueued, message.deliveries.first()) else { continue };
        let Act::Dequeue { queue } = &first.record.act else { continue };
        if let (1, Some(Got::Queued { id })) = (first.number, &enqueued.got)
            && let Some(sequence) = id.rsplit(':').nth(1).and_then(|text| text.parse().ok())
        {
            by_queue.entry(queue).or_default().push((sequence, enqueued.returned, first.record));
        }
    }
    for (queue, mut firsts) in by_queue {
        firsts.sort_by_key(|(sequence, ..)| *sequence);
        for (place, (sequence, there, record)) in firsts.iter().enumerate() {
            let overtook = firsts[place + 1..]
                .iter()
                .find(|(_, _, later)| later.called > *there && later.returned < record.called);
            if let Some((other, ..)) = overtook {
                verdict.violations.push(format!("{queue}: message {other} came before {sequence}"));
            }
        }
    }
}

/// What was appended is in the log, once, at its place; the log has no gap, and the order of real time.
pub(super) fn events(records: &[Record], left: &Left, verdict: &mut Verdict) {
    for (place, (seq, _)) in left.log.iter().enumerate() {
        if *seq != place as u64 + 1 {
            verdict.violations.push(format!("event {seq} stands at place {}", place + 1));
            break;
        }
    }
    let mut places: HashMap<&str, u64> = HashMap::new();
    for (seq, id) in &left.log {
        if let Some(other) = places.insert(id, *seq) {
            verdict.violations.push(format!("{id} is in the log as {other} and as {seq}"));
        }
    }
    let mut appended = Vec::new();
    for record in records {
        let Act::Append { id, .. } = &record.act else { continue };
        match (&record.got, places.remove(id.as_str())) {
            (Some(Got::Appended { seq }), found) => {
                if found != Some(*seq) {
                    verdict.violations.push(format!("{id} was appended as {seq} and is at {found:?}"));
                }
                appended.push((*seq, record));
            }
            (Some(Got::Refused { .. }), Some(seq)) => {
                verdict.violations.push(format!("{id} was refused and is at {seq}"));
            }
            _ => {}
        }
    }
    verdict.violations.extend(places.keys().map(|id| format!("nobody appended {id}")));
    rising("the log", appended, verdict);
    verdict.violations.extend(left.findings.iter().map(|what| format!("the log: {what}")));
    verdict.counts.insert("events in the log", left.log.len());
}

/// What a process's cache says of a key never goes back, and is no older than a cache may be.
pub(super) fn cache(records: &[Record], _left: &Left, verdict: &mut Verdict) {
    let stale_ns = limits::KV_STALE_MS * 1_000_000;
    let mut by_key: BTreeMap<&str, Vec<(u64, &Record)>> = BTreeMap::new();
    let mut by_client: BTreeMap<(&str, &str), Vec<(u64, &Record)>> = BTreeMap::new();
    let mut values: HashMap<u64, Option<u64>> = HashMap::new();
    for record in records {
        let Some(Got::Shared { modified, value }) = &record.got else { continue };
        let (Act::Share { key, .. } | Act::Look { key }) = &record.act else { continue };
        // One revision is one value, whoever sees it.
        if *modified > 0 && *values.entry(*modified).or_insert(*value) != *value {
            verdict.violations.push(format!("revision {modified} has two values: {record:?}"));
        }
        let process = record.client.rsplit_once('-').map_or("", |(process, _)| process);
        by_client.entry((process, key)).or_default().push((*modified, record));
        if let Act::Share { .. } = record.act {
            by_key.entry(key).or_default().push((*modified, record));
        }
    }
    for seen in by_client.values_mut() {
        // Within a process, also by another client: what was answered before this was asked.
        let (mut ends, mut newest) = (seen.clone(), 0);
        seen.sort_unstable_by_key(|(_, record)| record.called);
        ends.sort_unstable_by_key(|(_, record)| record.returned);
        let mut ends = ends.into_iter().peekable();
        for (modified, record) in seen {
            while let Some((before, _)) = ends.next_if(|(_, other)| other.returned < record.called) {
                newest = newest.max(before);
            }
            if *modified < newest {
                verdict.violations.push(format!("after revision {newest} was seen: {record:?}"));
            }
        }
    }
    for writes in by_key.values_mut() {
        writes.sort_unstable_by_key(|(_, record)| record.returned);
    }
    for record in records {
        let (Act::Look { key }, Some(Got::Shared { modified, .. })) = (&record.act, &record.got) else {
            continue;
        };
        let writes = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let known = writes.partition_point(|(_, write)| write.returned + stale_ns < record.called);
        if let Some((newer, _)) = writes[..known].iter().rev().take(64).find(|(other, _)| other > modified) {
            verdict.violations.push(format!("revision {newer} was long there: {record:?}"));
        }
    }
}
